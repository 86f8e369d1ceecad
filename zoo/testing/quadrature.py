"""Integrals of a density over where its samples lie, on the line or in the plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.components import Density

CELLS = (32, 64, 128, 256)
"""Cells a side, until two rules in them agree."""
AGREEMENT = 0.003
MOST = 400_000
"""Points that a density is computed at, at most."""


@dataclass(frozen=True)
class Quadrature:
    """Integrals of a density p.

    Attributes:
        mass: Of p.
        mean_log: Of p log p.
    """

    mass: float
    mean_log: float


def integrated(density: Density, points: Tensor) -> Quadrature | str:
    """The integrals over all cells of a grid that samples lie in, and their neighbours; or why there are none.

    Args:
        density: With a log density.
        points: Many samples of it, `(N, D)` with D of 1 or 2.
    """
    for cells in CELLS:
        corners, side = _occupied(points.double(), cells)
        if len(corners) * 4 ** points.shape[1] > MOST:
            break
        coarse, fine = (_midpoints(density, corners, side, parts) for parts in (3, 4))
        if abs(coarse.mass - fine.mass) < AGREEMENT and abs(coarse.mean_log - fine.mean_log) < AGREEMENT * 10:
            return fine
    return "its density is too sharp, or too wide, to be integrated on a grid."


def _occupied(points: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The lower corners of the cells with samples and of their neighbours, `(K, D)`, and the cells' sides, `(D,)`."""
    low, high = points.min(0).values, points.max(0).values
    side = ((high - low) / cells).clamp(min=1e-9)
    index = torch.unique(((points - low) / side).long(), dim=0)
    steps = torch.cartesian_prod(*[torch.tensor([-1, 0, 1])] * points.shape[1]).view(-1, points.shape[1])
    around = torch.unique((index[:, None] + steps).flatten(0, 1), dim=0)
    return low + around * side, side


def _midpoints(density: Density, corners: Tensor, side: Tensor, parts: int) -> Quadrature:
    """The midpoint rule with so many parts a side of each cell."""
    middles = (torch.arange(parts, dtype=torch.float64) + 0.5) / parts
    inside = torch.cartesian_prod(*[middles] * len(side)).view(-1, len(side))
    points = (corners[:, None] + inside * side).flatten(0, 1)
    logs = density.log_density(points.float())
    assert logs is not None
    logs = logs.double()
    weights = logs.exp() * float(side.prod()) / parts ** len(side)
    return Quadrature(float(weights.sum()), float((weights * logs.clamp(min=-700)).sum()))
