"""MMD GANs (Li et al., 2017, arXiv 1705.08584; Binkowski et al., 2018, arXiv 1801.01401)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from zoo import Batch, Distance, IncompatibleParts, Samples, Setting, Variant, hookimpl, read_variants

SCALES: Mapping[str, tuple[float, ...]] = {"rbf": (1, 2, 4, 8, 16), "rational-quadratic": (0.2, 0.5, 1, 2, 5)}
"""Those of the papers."""


class MMD(Distance):
    """The squared maximum mean discrepancy: the mean of k(x, x') + k(y, y') - 2 k(x, y).

    A kernel that is characteristic makes it 0 only for equal distributions. In the space of samples it needs no critic;
    a critic chooses features in which the same kernel sees the difference. Slopes are then those of the witness
    E k(h, h(x)) - E k(h, h(y)) (Binkowski et al., section 2.1). It is a loss over the set.
    """

    estimates = "MMD^2"

    def __init__(
        self,
        *,
        on: Annotated[
            Literal["samples", "features"], Setting("what is compared; features are the critic's")
        ] = "samples",
        kernel: Annotated[Literal["rbf", "rational-quadratic"], Setting("a sum of such kernels, one a scale")] = "rbf",
        scales: Annotated[list[float] | None, Setting("widths, or alphas; the papers' if none", gt=0)] = None,
        unbiased: Annotated[bool, Setting("leave out pairs of a sample with itself")] = True,
    ) -> None:
        super().__init__()
        self.on, self.unbiased = on, unbiased
        self._kernel = _rbf if kernel == "rbf" else _rational_quadratic
        self._scales = tuple(scales or SCALES[kernel])

    def critic_loss(self, batch: Batch) -> Tensor:
        """-MMD^2: the critic looks for features that differ."""
        return -self.estimate(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """MMD^2."""
        return self.estimate(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """MMD^2 of the batch."""
        real, fake = self._compared(batch)
        return self._within(real) + self._within(fake) - 2 * self._similarity(real, fake).mean()

    def witness(self, scores: Tensor, features: Any, batch: Batch) -> Tensor:
        """The function whose means differ most: the mean similarity to real samples less that to fakes, `(N,)`."""
        real, fake = self._compared(batch)
        points = features.flatten(1)
        return self._similarity(points, real).mean(1) - self._similarity(points, fake).mean(1)

    def _within(self, points: Tensor) -> Tensor:
        similarity, n = self._similarity(points, points), len(points)
        return (similarity.sum() - similarity.trace()) / (n * (n - 1)) if self.unbiased else similarity.mean()

    def _similarity(self, one: Tensor, other: Tensor) -> Tensor:
        lengths = one.square().sum(1)[:, None] + other.square().sum(1)
        squares = (lengths - 2 * one @ other.T).clamp(min=0)  # As a product of matrices, which is much faster.
        return torch.stack([self._kernel(squares, scale) for scale in self._scales]).sum(0)

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.on == "samples":
            return _flat(batch.real), _flat(batch.fake)
        if not isinstance(batch.real_features, Tensor):
            raise IncompatibleParts("mmd compares features, and this critic returns none; take another, such as mlp.")
        return batch.real_features.flatten(1), batch.fake_features.flatten(1)


def _flat(samples: Samples) -> Tensor:
    if not isinstance(samples, Tensor):
        raise IncompatibleParts("mmd compares samples that are one tensor each, or features: distance.on = features.")
    return samples.flatten(1)


def _rbf(squares: Tensor, width: float) -> Tensor:
    return (-squares / (2 * width**2)).exp()


def _rational_quadratic(squares: Tensor, alpha: float) -> Tensor:
    return (1 + squares / (2 * alpha)).pow(-alpha)


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The maximum mean discrepancy."""
    return {"mmd": MMD}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
