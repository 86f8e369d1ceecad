"""Mode coverage: which of the known modes samples fall on, how evenly, and how wide they are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from scipy.stats import chi2
from torch import Tensor

from zoo import Better, Dataset, Density, Evidence, IncompatibleParts, Metric, Setting

_NUMBERS_AT_ONCE = 4_000_000
"""Bounds the memory of distances: so many at a time."""


class ModeCoverage(Metric):
    """Modes that are covered, as VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018) count them.

    For mixtures of Gaussians of equal weight whose centres and sigma are known. A sample is of high quality if it lies
    within `near` sigma of its nearest centre; it is that mode's. Only these are counted, in every figure:

    - `modes`: how many modes have at least `at_least` of them.
    - `reverse-kl`: KL(shares of the modes among them || equal shares), in nats; log K if there are none. K modes and N
      perfect samples have about (K - 1) / 2N, not 0.
    - `high-quality`: their share of all samples. More is not better: perfect samples in D dimensions have the
      chi-squared probability of near^2, in the plane 98.889 % for 3 sigma, and a larger share means shrunken modes.
    - `narrowest`, `widest`: the least and the greatest standard deviation in a mode over that of perfect samples, cut
      off at `near` sigma alike; 1 is perfect. Over the modes with two of them or more; 0 if there is none.
    """

    figures: ClassVar[Mapping[str, Better]] = {
        "modes": "higher",
        "reverse-kl": "lower",
        "high-quality": "",
        "narrowest": "",
        "widest": "",
    }
    least = 1

    def __init__(
        self,
        *,
        near: Annotated[float, Setting("how many sigma from a centre are of high quality; 10 for 1200-D", gt=0)] = 3.0,
        at_least: Annotated[int, Setting("samples of high quality that cover a mode", ge=1)] = 1,
    ) -> None:
        self.near = near
        self.at_least = at_least

    def refuse(self, evidence: Evidence) -> None:
        """It needs a density with modes that are known and apart."""
        centres, sigma = _modes(evidence)
        if len(centres) > 1 and bool(torch.pdist(centres).min() < sigma):
            raise IncompatibleParts("two of the modes are within one sigma of each other, or the same.")

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """It says what is wrong, where a distance says how much is."""
        return {"": 0.5}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures."""
        centres, sigma = _modes(evidence)
        samples = evidence.fake.values.flatten(1).double()
        distances, mode = nearest_centres(samples, centres)
        good = distances <= self.near * sigma
        counts = torch.bincount(mode[good], minlength=len(centres))
        widths = _widths(samples[good], mode[good], counts) / (sigma * _cut_width(centres.shape[1], self.near))
        return {
            "modes": float((counts >= self.at_least).sum()),
            "reverse-kl": reverse_kl(counts),
            "high-quality": float(good.double().mean()),
            "narrowest": float(widths.min()) if len(widths) else 0.0,
            "widest": float(widths.max()) if len(widths) else 0.0,
        }


def nearest_centres(samples: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The distance `(N,)` of each sample to its nearest centre, and which that is, `(N,)`."""
    # By differences: products of matrices would lose the digits that a small sigma magnifies.
    parts = samples.split(max(1, _NUMBERS_AT_ONCE // len(centres)))
    found = [torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist").min(1) for part in parts]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def reverse_kl(counts: Tensor) -> float:
    """KL(shares || equal shares) of counts `(K,)`, in nats; log K, the most that there is, if all are 0.

    >>> round(reverse_kl(torch.tensor([3, 1, 0, 0])), 6)
    0.823959
    """
    if int(counts.sum()) == 0:
        return math.log(len(counts))
    shares = counts.double() / counts.sum()
    return max(0.0, float(torch.special.xlogy(shares, shares * len(counts)).sum()))


def _modes(evidence: Evidence) -> tuple[Tensor, float]:
    """The centres `(K, D)` in double precision, and sigma."""
    dataset = evidence.dataset
    if not isinstance(dataset, Density) or dataset.centres is None or dataset.sigma is None:
        raise IncompatibleParts("it needs a density whose modes are known, such as a ring of Gaussians.")
    return dataset.centres.detach().cpu().double(), float(dataset.sigma)


def _widths(samples: Tensor, mode: Tensor, counts: Tensor) -> Tensor:
    """The standard deviation, by the mean variance of the axes, in each mode that has two samples or more."""
    sums = samples.new_zeros(len(counts), samples.shape[1]).index_add(0, mode, samples)
    offsets = samples - (sums / counts.clamp(min=1)[:, None])[mode]
    squares = samples.new_zeros(len(counts)).index_add(0, mode, offsets.square().mean(1))
    several = counts > 1
    return (squares[several] / (counts[several] - 1)).sqrt()


def _cut_width(dimensions: int, near: float) -> float:
    """The standard deviation of an axis of N(0, I) within the ball of radius `near`."""
    inside = chi2.cdf(near**2, dimensions)
    return math.sqrt(chi2.cdf(near**2, dimensions + 2) / inside) if inside > 0 else near / math.sqrt(dimensions + 2)
