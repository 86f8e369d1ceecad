"""Optimal transport between samples: exact, and along random lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from zoo import BadData, Dataset, Draws, Evidence, Metric, Setting
from zoo_metrics.rows import dimensions, distances, own_draws, rows

MOST_STEPS = 100_000_000
"""Of the network simplex; samples take about as many as there are pairs."""


class Wasserstein(Metric):
    """The 1- and the 2-Wasserstein distance between the samples, in the unit of the data: exact, by linear programming.

    Between samples, not distributions: for equal distributions it falls only as `N^(-1/D)`, so it means something
    beside its floor only. The cost is N^2 memory and about N^3 time; more than `samples` are cut down at random, on
    both sides, also for the floor.
    """

    figures: ClassVar = {"w1": "lower", "w2": "lower"}

    def __init__(
        self,
        *,
        samples: Annotated[int, Setting("the most of each kind: the cost grows with the cube", ge=2)] = 2000,
    ) -> None:
        self.samples = samples

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`w1` and `w2`."""
        draws = own_draws(evidence)
        real, fake = (_at_most(rows(sample), self.samples, draws) for sample in (evidence.real, evidence.fake))
        pairs = torch.cat(list(distances(real, fake)))
        return {"w1": transport_cost(pairs), "w2": math.sqrt(transport_cost(pairs.square()))}


class SlicedWasserstein(Metric):
    """The p-Wasserstein distance of the samples' projections on random lines (Bonneel et al., 2015).

    `(mean over lines of W_p^p)^(1/p)`. It is at most the Wasserstein distance itself, and of one variable equal to it.
    Its time is that of sorting; its floor does not grow with the dimension.
    """

    figures: ClassVar = {"sliced": "lower"}

    def __init__(
        self,
        *,
        projections: Annotated[int, Setting("random lines", ge=1)] = 128,
        p: Annotated[Literal[1, 2], Setting("the power of distances")] = 2,
    ) -> None:
        self.projections = projections
        self.p = p

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """Most of all of points; in pixels a distance tells little."""
        return {} if dataset.kind == "image" else {"": 0.7}

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`sliced`."""
        lines = directions(dimensions(evidence), self.projections, own_draws(evidence))
        return {"sliced": sliced(rows(evidence.real), rows(evidence.fake), lines, self.p)}


def transport_cost(costs: Tensor) -> float:
    """The least mean cost of moving N equal masses to M equal masses, given `(N, M)` costs of 0 and above."""
    import ot  # It takes seconds, which the other metrics need not pay.

    values: np.ndarray = costs.numpy()
    scale = float(values.max())
    if scale == 0:
        return 0.0
    total, log = ot.emd2([], [], values / scale, numItermax=MOST_STEPS, log=True)
    if log["warning"] is not None:
        raise BadData(f"wasserstein: the optimal transport was not found: {log['warning']}")
    return max(0.0, float(total)) * scale


def directions(dimension: int, count: int, draws: Draws) -> Tensor:
    """Uniform unit vectors `(D, count)`; of one variable both directions are the same line."""
    vectors = draws.randn(dimension, count).double()
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=0)
    return vectors / lengths.clamp(min=1e-300)


def sliced(one: Tensor, other: Tensor, lines: Tensor, p: int) -> float:
    """The sliced distance of `(N, D)` and `(M, D)` along lines `(D, L)`.

    Two sorted samples are matched at every level where either of the two distributions has a step.
    """
    n, m = len(one), len(other)
    upper = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]))
    width = upper.diff(prepend=upper.new_zeros(1)).double() / (n * m)
    total = 0.0
    for some in torch.split(lines, 64, dim=1):
        first, second = (one @ some).sort(dim=0).values, (other @ some).sort(dim=0).values
        gaps = (first[(upper - 1) // m] - second[(upper - 1) // n]).abs()
        total += float((width @ gaps.pow(p)).sum())
    return float((total / lines.shape[1]) ** (1 / p))


def _at_most(points: Tensor, most: int, draws: Draws) -> Tensor:
    return points if len(points) <= most else points[draws.randperm(len(points))[:most]]
