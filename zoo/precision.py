"""How near gradients in bfloat16 come to those in float32: what is recorded, and when it is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

COSINE, ERROR = "bf16_cosine", "bf16_error"
"""The names of both figures in the metrics; with the phase before them where several phases have them."""
LEAST_COSINE = 0.99
"""Below it the direction of a step is another one."""


def agreement(low: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine between two gradients, and the norm of their difference over that of the full one.

    Two gradients of zero agree.

    >>> cosine, error = agreement(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]))
    >>> round(float(cosine), 3), round(float(error), 3)
    (0.995, 0.1)
    """
    lengths = low.norm(), full.norm()
    tiny = torch.finfo(full.dtype).tiny
    cosine = low.dot(full) / (lengths[0] * lengths[1]).clamp_min(tiny)
    alike = (lengths[0] == 0) & (lengths[1] == 0)
    return torch.where(alike, torch.ones_like(cosine), cosine), (low - full).norm() / lengths[1].clamp_min(tiny)


def warnings(row: Mapping[str, float], precision: str) -> Iterator[str]:
    """What to say about a line of metrics: for each gradient that bf16 turns away too far."""
    for name, value in row.items():
        if name.endswith(COSINE) and value < LEAST_COSINE:
            phase = name.removesuffix(COSINE).rstrip("/") or "only"
            yield (
                f"at step {row['step']:.0f} the gradient of the {phase} phase in {precision} has a cosine of "
                f"{value:.3f} with that in full precision (below {LEAST_COSINE}); --set train.penalty_precision=32 "
                "has slopes in full precision, --precision 32 all of it."
            )
