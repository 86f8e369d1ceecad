"""Samples as rows of numbers, and the distances between rows, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo import Draws, Evidence, Sample

BLOCK = 2**23
"""The most distances that are held at once: 64 MiB."""
EXACT_DIMENSIONS = 32
"""Up to here distances are summed squares of differences, which is slow for many; beyond, by a matrix product."""
ROUNDING = 1e-7
"""The share of the rows' norm below which a distance may be the rounding of 0."""


def rows(sample: Sample) -> Tensor:
    """Samples `(N, *shape)` as float64 rows `(N, D)`."""
    return sample.values.detach().cpu().double().reshape(len(sample), -1)


def dimensions(evidence: Evidence) -> int:
    """How many numbers one sample has."""
    return math.prod(evidence.shape)


def own_draws(evidence: Evidence) -> Draws:
    """A copy of the evidence's random numbers, so that figures do not depend on what was measured before."""
    draws = Draws()
    draws.load_state_dict(evidence.draws.state_dict())
    return draws


def blocks(points: Tensor, beside: int) -> Iterator[Tensor]:
    """The rows of `points`, so many at a time that each block's distances to `beside` others fit in memory."""
    yield from torch.split(points, max(1, BLOCK // max(1, beside)))


def distances(one: Tensor, other: Tensor) -> Iterator[Tensor]:
    """Euclidean distances between `(N, D)` and `(M, D)` in blocks `(n, M)`.

    By a matrix product the error is of the order of 1e-8 of the rows' norms where a distance is near 0, and 1e-15
    elsewhere. Both are centred first, because that error grows with the distance from the origin.
    """
    centre = other.mean(0)
    other = other - centre
    many = one.shape[1] > EXACT_DIMENSIONS
    mode = "use_mm_for_euclid_dist" if many else "donot_use_mm_for_euclid_dist"
    for block in blocks(one, len(other)):
        yield torch.cdist(block - centre, other, compute_mode=mode)


def mean_distance(one: Tensor, other: Tensor) -> float:
    """The mean over all pairs of `(N, D)` and `(M, D)`."""
    return sum(block.sum().item() for block in distances(one, other)) / (len(one) * len(other))


def spread_out(points: Tensor, most: int) -> Tensor:
    """At most so many rows, evenly spaced among all."""
    return points[:: -(-len(points) // most)]
