"""Samples and scores: the forms that they may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from zoo.errors import BadData, IncompatibleParts

Samples: TypeAlias = Tensor | tuple[Tensor, ...]
"""`(N, *shape)`, or a tuple of such tensors with the same N."""


@dataclass(frozen=True)
class Scores:
    """What a critic returns when it has more to say than one score a sample.

    Attributes:
        values: `(N,)`, `(N, H, W)` for patches, or a tuple of such tensors, one a head. High is real.
        features: Anything a loss may want beside the scores, such as the last hidden layer `(N, D)`.
    """

    values: Tensor | tuple[Tensor, ...]
    features: Any = None


def mean_over_patches(scores: Tensor) -> Tensor:
    """One number a sample, `(N,)`, from scores `(N,)` or `(N, ...)`."""
    return scores if scores.ndim == 1 else scores.flatten(1).mean(1)


def flat_features(features: Any) -> Tensor:
    """Features of a critic as vectors, `(N, D)`, at least float32.

    Raises:
        IncompatibleParts: There are none, or they are no tensor of a row a sample.
    """
    if not isinstance(features, Tensor) or features.ndim < 2:
        raise IncompatibleParts(
            "this distance compares the critic's features, and this critic returns none: it must return "
            "zoo.Scores(values, features) with features (N, D), as mlp, dcgan and resnet do. Use one of those, or "
            "compare the samples themselves with --critic none --lipschitz-constraint none."
        )
    return full(features).flatten(1)


def tensors(samples: Samples) -> tuple[Tensor, ...]:
    """Samples as a tuple, also where they are one tensor."""
    return samples if isinstance(samples, tuple) else (samples,)


def channels_last(samples: Samples) -> Samples:
    """Images `(N, C, H, W)` in the channels_last memory format, other samples as they are; the values stay."""
    laid = tuple(t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors(samples))
    return laid if isinstance(samples, tuple) else laid[0]


def packed(samples: Samples, count: int) -> Samples:
    """So many samples as one: `(N, C, ...)` as `(N / count, count * C, ...)`, neighbours side by side.

    Raises:
        BadData: There is not a multiple of that many.
    """

    def side_by_side(tensor: Tensor) -> Tensor:
        if len(tensor) % count:
            raise BadData(f"{len(tensor)} samples cannot be packed {count} at a time; use a multiple of {count}.")
        return tensor.reshape(len(tensor) // count, count * tensor.shape[1], *tensor.shape[2:])

    found = tuple(side_by_side(tensor) for tensor in tensors(samples))
    return found if isinstance(samples, tuple) else found[0]


def full(tensor: Tensor) -> Tensor:
    """At least float32: norms and reductions are never taken in half precision."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def tracked(samples: Samples) -> Samples:
    """Points that gradients can be taken by; those of a generator's graph are so already."""
    points = tuple(t if t.requires_grad else t.detach().requires_grad_() for t in tensors(samples))
    return points if isinstance(samples, tuple) else points[0]
