"""Toy densities: exact samples, exact log densities, and known modes."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from zoo import Density, Draws, Setting

_POINTS_AT_ONCE = 1024
"""Bounds the memory of a log density: so many points meet all centres at a time."""


class _Mixture(Density):
    """Isotropic Gaussians of equal weight and equal standard deviation."""

    centres: Tensor
    sigma: float

    def __init__(self, centres: Tensor, sigma: float) -> None:
        self.centres = centres
        self.sigma = sigma
        self.shape = (centres.shape[1],)

    def sample(self, n: int, draws: Draws) -> Tensor:
        """`n` samples, `(n, D)`: a mode for each, then its noise."""
        centres = self.centres.to(draws.device)
        modes = draws.randint(len(centres), n)
        return centres[modes] + self.sigma * draws.randn(n, centres.shape[1])

    def log_density(self, points: Tensor) -> Tensor:
        """The logarithm of the density at `points` `(N, D)`, `(N,)`."""
        weights = torch.full((len(self.centres),), 1 / len(self.centres), dtype=torch.float64)
        return mixture_log_density(points, self.centres, self.sigma, weights)


class Ring(_Mixture):
    """Gaussians on a circle, the usual test for mode collapse.

    The defaults are those of VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018). The angles leave
    out the end point 2 pi, which would give the first mode twice. A perfect sample has 98.9 % of its points
    within three standard deviations of a mode, not 100 %.
    """

    def __init__(
        self,
        *,
        modes: Annotated[int, Setting("number of modes on the circle", ge=1)] = 8,
        radius: Annotated[float, Setting("radius of the circle", gt=0)] = 1.0,
        sigma: Annotated[float, Setting("standard deviation of every mode", gt=0)] = 0.01,
    ) -> None:
        angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        centres = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
        super().__init__(centres.float(), sigma)


class Grid(_Mixture):
    """Gaussians on a square grid around the origin.

    The defaults are those of VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018): 25 modes at
    {-4, -2, 0, 2, 4} squared. `scale` multiplies everything, the standard deviation included; the toy data of
    WGAN-GP (Gulrajani et al., 2017) have 1 / 2.828 = 0.3536.
    """

    def __init__(
        self,
        *,
        side: Annotated[int, Setting("modes along each side", ge=1)] = 5,
        spacing: Annotated[float, Setting("distance of neighbouring modes, before `scale`", gt=0)] = 2.0,
        sigma: Annotated[float, Setting("standard deviation of every mode, before `scale`", gt=0)] = 0.05,
        scale: Annotated[float, Setting("factor on all lengths", gt=0)] = 1.0,
    ) -> None:
        ticks = _ticks(side, spacing * scale)
        super().__init__(torch.cartesian_prod(ticks, ticks).float(), sigma * scale)


class Gaussian1D(_Mixture):
    """One Gaussian on the line, shape (1,): its distances to others are known in closed form."""

    def __init__(
        self,
        *,
        mean: Annotated[float, Setting("mean")] = 3.0,
        sigma: Annotated[float, Setting("standard deviation", gt=0)] = 1.0,
    ) -> None:
        super().__init__(torch.tensor([[mean]]), sigma)


class Mixture1D(_Mixture):
    """Gaussians on the line, shape (1,), equally far apart around 0: unless more are asked for, two with a gap."""

    def __init__(
        self,
        *,
        modes: Annotated[int, Setting("number of modes", ge=1)] = 2,
        spacing: Annotated[float, Setting("distance of neighbouring modes", gt=0)] = 4.0,
        sigma: Annotated[float, Setting("standard deviation of every mode", gt=0)] = 0.5,
    ) -> None:
        super().__init__(_ticks(modes, spacing).float()[:, None], sigma)


class SwissRoll(Density):
    """A spiral with noise in the plane, as in the toy experiments of WGAN-GP (Gulrajani et al., 2017).

    Points (t cos t, t sin t) with t uniform on [1.5 pi, 4.5 pi], plus Gaussian noise, divided by 7.5:
    coordinates 0 and 2 of scikit-learn's `make_swiss_roll`, drawn with the run's own random numbers. The log
    density integrates t out by Gauss-Legendre quadrature, to single precision.
    """

    _start, _end, _divisor = 1.5 * math.pi, 4.5 * math.pi, 7.5

    def __init__(
        self,
        *,
        noise: Annotated[float, Setting("standard deviation of the noise, before the division", ge=0.05)] = 0.25,
    ) -> None:
        self.noise = noise
        self.shape = (2,)

    def sample(self, n: int, draws: Draws) -> Tensor:
        """`n` samples, `(n, 2)`."""
        angles = self._start + (self._end - self._start) * draws.rand(n)
        return (_spiral(angles) + self.noise * draws.randn(n, 2)) / self._divisor

    def log_density(self, points: Tensor) -> Tensor:
        """The logarithm of the density at `points` `(N, 2)`, `(N,)`."""
        # The outer turn has the longest arc a radian; its panels are at most six standard deviations long,
        # which 16 nodes integrate to about 1e-7.
        panels = math.ceil((self._end - self._start) * math.hypot(1, self._end) / (6 * self.noise))
        angles, weights = _quadrature(self._start, self._end, panels)
        centres = _spiral(angles) / self._divisor
        return mixture_log_density(points, centres, self.noise / self._divisor, weights / weights.sum())


def _ticks(count: int, spacing: float) -> Tensor:
    """So many numbers around 0, equally far apart."""
    return (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * spacing


def mixture_log_density(points: Tensor, centres: Tensor, sigma: float, weights: Tensor) -> Tensor:
    """The log density `(N,)` at `points` `(N, D)` of Gaussians at `centres` `(K, D)`, weighted `(K,)`."""
    centres, log_weights = centres.to(points), weights.log().to(points)
    peak = -centres.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))

    def some(chunk: Tensor) -> Tensor:
        # Matrix products would lose the digits that a small sigma magnifies.
        squares = torch.cdist(chunk, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        return torch.logsumexp(log_weights - squares / (2 * sigma**2), dim=1) + peak

    return torch.cat([some(chunk) for chunk in torch.split(points, _POINTS_AT_ONCE)])


def _spiral(angles: Tensor) -> Tensor:
    return torch.stack([angles * angles.cos(), angles * angles.sin()], dim=1)


def _quadrature(start: float, end: float, panels: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of 16-point Gauss-Legendre quadrature on each of `panels` equal intervals."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(16))
    half = (end - start) / (2 * panels)
    middles = start + half * (2 * torch.arange(panels, dtype=torch.float64) + 1)
    return (middles[:, None] + half * nodes).flatten(), (half * weights).repeat(panels)
