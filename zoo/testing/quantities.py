"""Divergences between distributions on two points, in closed form: what an estimate is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

KNOWN = {"W1": 1e-4, "JS": 1e-3, "TV": 1e-2, "KL": 1e-2, "reverse KL": 1e-2, "squared Hellinger": 1e-2}
"""What is known in closed form, with the tolerance of an estimate."""
ATOMS = 16

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "JS": lambda r: 0.5 * (r * math.log(2 * r / (r + 1)) + math.log(2 / (r + 1))),
    "TV": lambda r: 0.5 * abs(r - 1),
    "KL": lambda r: r * math.log(r),
    "reverse KL": lambda r: -math.log(r),
    "squared Hellinger": lambda r: (math.sqrt(r) - 1) ** 2,
}
"""f of the f-divergence, E_q f(p/q)."""


def divergence(quantity: str, p: float, q: float) -> float:
    """The divergence between distributions that give the first of two points the mass `p` and `q`.

    >>> round(divergence("KL", 0.5, 0.25), 4), divergence("TV", 0.75, 0.25)
    (0.1438, 0.5)
    """
    f = _FUNCTIONS[quantity]
    return q * f(p / q) + (1 - q) * f((1 - p) / (1 - q))


def atoms(share: float) -> Tensor:
    """Samples of a distribution on two points, `(1, 0)` with mass `share` and `(0, 1)`, in those very proportions."""
    first = int(share * ATOMS)
    return torch.tensor([[1.0, 0.0]] * first + [[0.0, 1.0]] * (ATOMS - first))
