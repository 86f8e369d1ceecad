"""Augmentation of labelled images by torchvision's transforms, each image by its own random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

Augmentation: TypeAlias = Literal["flip", "crop", "erase", "trivial", "rand"]
PADDING = 8
"""A crop is moved by up to one part in so many of the side."""


def augmentation(names: Sequence[Augmentation], shape: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    """What is done to images `(N, C, H, W)` in [-1, 1] before they are learnt from; None for nothing.

    The random numbers are torch's global ones, which a run seeds and saves.

    Args:
        names: In this order. `flip`: mirrored left to right, half of them. `crop`: moved by up to an eighth of the
            side, with the edge repeated. `trivial`: TrivialAugment. `rand`: RandAugment. `erase`: a rectangle is left
            out, of a quarter of them.
        shape: Of an image.
    """
    if not names:
        return None
    from torchvision.transforms import v2

    known = _known(shape)
    transform = v2.Compose([known[name]() for name in names])

    def augment(images: Tensor) -> Tensor:
        return torch.stack([_augmented(transform, image) for image in images])

    return augment


def _known(shape: tuple[int, ...]) -> dict[str, Callable[[], Transform]]:
    from torchvision.transforms import v2

    size = (shape[1], shape[2])
    return {
        "flip": v2.RandomHorizontalFlip,
        "crop": lambda: v2.RandomCrop(size, padding=max(1, min(size) // PADDING), padding_mode="edge"),
        "trivial": v2.TrivialAugmentWide,
        "rand": v2.RandAugment,
        "erase": lambda: v2.RandomErasing(0.25),
    }


def _augmented(transform: Any, image: Tensor) -> Tensor:
    """torchvision's colours are floats in [0, 1]."""
    augmented: Tensor = transform((image + 1) / 2)
    return augmented.clamp(0, 1) * 2 - 1
