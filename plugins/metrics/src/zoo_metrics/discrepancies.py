"""Distances between distributions by pairs of samples: the energy distance, and a Gaussian kernel's discrepancy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from zoo import BadData, Evidence, Metric, Setting
from zoo_metrics.kid import unbiased_mmd
from zoo_metrics.rows import EXACT_DIMENSIONS, ROUNDING, distances, mean_distance, rows, spread_out

MEDIAN_SAMPLES = 2000
"""How many real samples the median distance is taken of."""


class Energy(Metric):
    """`2 E|X - Y| - E|X - X'| - E|Y - Y'|`, Euclidean (Szekely and Rizzo, 2013): 0 for equal distributions only.

    A V-statistic: the means are over all pairs, a sample with itself included, so it is never below 0, and of equal
    distributions about `2 E|X - X'| / N`. It is the square of what `scipy.stats.energy_distance` returns.
    """

    figures: ClassVar = {"energy": "lower"}

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`energy`."""
        real, fake = rows(evidence.real), rows(evidence.fake)
        within = mean_distance(real, real) + mean_distance(fake, fake)
        return {"energy": max(0.0, 2 * mean_distance(real, fake) - within)}


class Mmd(Metric):
    """The squared maximum mean discrepancy (Gretton et al., 2012) with a mean of Gaussian kernels, unbiased.

    `exp(-|x - y|^2 / (2 s^2))`, averaged over the widths `s = multiple * bandwidth` (Li et al., 2015, arXiv
    1502.02761). At most 2; of equal distributions 0 on average, so it may be below 0. The median is of the real
    samples' distances alone, so that figures of different generators are about the same kernel.
    """

    figures: ClassVar = {"mmd": "lower"}
    least = 4

    def __init__(
        self,
        *,
        bandwidth: Annotated[
            Literal["median"] | float, Setting("the unit of widths; median is of real samples' distances", gt=0)
        ] = "median",
        multiples: Annotated[Sequence[float], Setting("widths, in that unit", gt=0)] = (1.0, 2.0, 4.0, 8.0, 16.0),
    ) -> None:
        self.bandwidth = bandwidth
        self.multiples = tuple(multiples) or (1.0,)

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`mmd`. Raises BadData if the real samples are all equal and the bandwidth is to be their median."""
        real, fake = rows(evidence.real), rows(evidence.fake)
        unit = median_distance(real) if self.bandwidth == "median" else float(self.bandwidth)
        if unit == 0:
            raise BadData("mmd: the real samples are all equal, so they give no bandwidth; set bandwidth to a number.")
        centre = real.mean(0)
        widths = [unit * multiple for multiple in self.multiples]
        return {"mmd": unbiased_mmd(real - centre, fake - centre, lambda a, b: gaussians(a, b, widths))}


def gaussians(one: Tensor, other: Tensor, widths: Sequence[float]) -> Tensor:
    """The mean over widths of `exp(-|x - y|^2 / (2 s^2))`, `(n, M)`."""
    mode = "use_mm_for_euclid_dist" if one.shape[1] > EXACT_DIMENSIONS else "donot_use_mm_for_euclid_dist"
    squares = torch.cdist(one, other, compute_mode=mode).square_()
    total = torch.zeros_like(squares)
    for width in widths:
        total += (squares / (-2 * width**2)).exp_()
    return total.div_(len(widths))


def median_distance(points: Tensor) -> float:
    """The median distance between different rows of `(N, D)`; among those that are not 0, if most of them are."""
    points = spread_out(points, MEDIAN_SAMPLES)
    table = torch.cat(list(distances(points, points)))
    found = table[torch.ones_like(table, dtype=torch.bool).triu_(1)]
    apart = found[found > ROUNDING * (points - points.mean(0)).norm(dim=1).max()]
    if not len(apart):
        return 0.0
    return float((found if 2 * len(apart) > len(found) else apart).median())
