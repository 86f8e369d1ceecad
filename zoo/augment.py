"""Augmentation that gradients pass through: what a critic sees in the place of real and of generated samples alike.

The operations and their ranges are those of Zhao et al. (2020, "Differentiable Augmentation for Data-Efficient GAN
Training", arXiv 2006.10738, section 3.2 and the authors' code). Every sample has random numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from zoo.draws import Draws
from zoo.samples import Samples, tensors

Operation: TypeAlias = Literal["color", "translation", "cutout"]
Augment: TypeAlias = Callable[[Samples, Draws], Samples]

SHIFT = 0.125
"""Images are moved by at most this share of their side, along each axis."""
CUT = 0.5
"""The side of the square that is cut out, as a share of the image's."""


def augmentation(operations: Sequence[Operation]) -> Augment | None:
    """What does these operations in turn; None if there are none.

    Of a tuple of samples the images `(N, C, H, W)` are augmented, and what is no image stays as it is.
    """
    if not operations:
        return None
    steps = [_OPERATIONS[operation] for operation in operations]

    def augment(samples: Samples, draws: Draws) -> Samples:
        seen = tuple(_augmented(tensor, steps, draws) if tensor.ndim == 4 else tensor for tensor in tensors(samples))
        return seen if isinstance(samples, tuple) else seen[0]

    return augment


FADED = 1e-3
"""What is left of instance noise just before it ends."""


class InstanceNoise(nn.Module):
    """Normal noise on everything that the critic sees, which fades: coarse structure is learnt first, and fine last.

    With it real and generated samples overlap, so that the critic has a slope everywhere (Arjovsky and Bottou, 2017,
    arXiv 1701.04862, section 3; Sonderby et al., 2017, arXiv 1610.04490, section 3.1). Its standard deviation falls by
    the same factor in each iteration.

    Args:
        first: The standard deviation at iteration 0, in the unit of the data.
        device: Where it is added.
    """

    std: Tensor

    def __init__(self, first: float, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.first = first
        # A buffer that is filled, so that steps which are compiled or recorded see it change.
        self.register_buffer("std", torch.tensor(first, device=device))

    def fade(self, iteration: int, steps: int) -> None:
        """Sets what it is at an iteration, when it ends after so many."""
        self.std.fill_(self.first * FADED ** (iteration / steps) if iteration < steps else 0.0)

    def forward(self, samples: Samples, draws: Draws) -> Samples:
        """The samples with noise of their own each."""
        noisy = tuple(tensor + self.std * draws.randn(*tensor.shape) for tensor in tensors(samples))
        return noisy if isinstance(samples, tuple) else noisy[0]


def _augmented(images: Tensor, steps: Sequence[Callable[[Tensor, Draws], Tensor]], draws: Draws) -> Tensor:
    for step in steps:
        images = step(images, draws)
    return images


def color(images: Tensor, draws: Draws) -> Tensor:
    """Brightness, saturation and contrast, in that order."""
    return contrast(saturation(brightness(images, draws), draws), draws)


def brightness(images: Tensor, draws: Draws) -> Tensor:
    """A number in [-0.5, 0.5) is added to all values of an image."""
    return images + (_one_each(images, draws) - 0.5)


def saturation(images: Tensor, draws: Draws) -> Tensor:
    """The differences of a pixel's channels from their mean, times a number in [0, 2)."""
    grey = images.mean(1, keepdim=True)
    return torch.lerp(grey, images, 2 * _one_each(images, draws))


def contrast(images: Tensor, draws: Draws) -> Tensor:
    """The differences of an image's values from their mean, times a number in [0.5, 1.5)."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _one_each(images, draws) + 0.5)


def translation(images: Tensor, draws: Draws) -> Tensor:
    """The image is moved by whole pixels along both axes; what comes in from outside is 0."""
    return _moved(_moved(images, 2, draws), 3, draws)


def cutout(images: Tensor, draws: Draws) -> Tensor:
    """A square with its centre anywhere in the image, and half as high and wide, becomes 0."""
    inside = _cut(images, 2, draws) & _cut(images, 3, draws)
    return images * ~inside


def _one_each(images: Tensor, draws: Draws) -> Tensor:
    return draws.rand(len(images)).to(images.dtype).view(-1, 1, 1, 1)


def _moved(images: Tensor, axis: int, draws: Draws) -> Tensor:
    side = images.shape[axis]
    most = int(side * SHIFT + 0.5)
    by = draws.randint(2 * most + 1, len(images)) - most
    source = torch.arange(side, device=images.device) + by[:, None]
    inside = _along(axis, (source >= 0) & (source < side))
    index = _along(axis, source.clamp(0, side - 1)).expand_as(images)
    return images.gather(axis, index) * inside


def _cut(images: Tensor, axis: int, draws: Draws) -> Tensor:
    """Which rows, or columns, the square covers."""
    side = images.shape[axis]
    size = int(side * CUT + 0.5)
    centre = draws.randint(side + 1 - size % 2, len(images))
    place = torch.arange(side, device=images.device) - (centre - size // 2)[:, None]
    return _along(axis, (place >= 0) & (place < size))


def _along(axis: int, values: Tensor) -> Tensor:
    """Values `(N, side)` as a tensor of four axes, of which one has the side."""
    shape = [len(values), 1, 1, 1]
    shape[axis] = values.shape[1]
    return values.view(shape)


_OPERATIONS = cast(
    "dict[Operation, Callable[[Tensor, Draws], Tensor]]",
    {"color": color, "translation": translation, "cutout": cutout},
)
