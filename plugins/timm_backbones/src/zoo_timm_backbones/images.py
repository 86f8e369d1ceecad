"""From the zoo's images to what a pretrained model was trained on, and images for measuring with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ModelInput(nn.Module):
    """Resizes images and gives them a model's own normalisation. Differentiable any number of times.

    Args:
        mean: The mean that the model subtracts from each of three channels in [0, 1].
        std: What it divides them by.
        size: Height and width that it is given; None keeps the images' own.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: tuple[int, int] | None) -> None:
        super().__init__()
        means, stds = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        self.register_buffer("scale", 0.5 / stds, persistent=False)
        self.register_buffer("offset", (0.5 - means) / stds, persistent=False)
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 1 or 3, H, W)` in [-1, 1] to `(N, 3, *size)` normalised; one channel is repeated."""
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            images = F.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        return images * self.scale + self.offset


def varied_images(n: int, shape: tuple[int, ...]) -> Tensor:
    """`n` images in [-1, 1] from white noise to flat colour, every second one hard-edged; always the same ones.

    Each is a sum of noise at every scale from 1 pixel to the whole image. Narrower choices leave channels with
    tiny variance: calibrated on white noise, a random EfficientNet-B0 amplifies photographs 2000 times.

    Args:
        n: How many.
        shape: Channels, height and width.
    """
    generator = torch.Generator().manual_seed(0)
    channels, side = shape[0], max(shape[1:])
    fineness = torch.linspace(-1, 1, n).view(-1, 1, 1, 1)
    images = torch.zeros(n, *shape)
    cells = 1
    while cells <= side:
        noise = torch.randn(n, channels, cells, cells, generator=generator)
        weight = cells**fineness / side ** fineness.clamp(min=0)
        images += weight * F.interpolate(noise, size=shape[1:], mode="bilinear")
        cells *= 2
    images = images.tanh()
    edged = images[1::2]
    images[1::2] = edged.sign() * torch.linspace(0.2, 1, len(edged)).view(-1, 1, 1, 1)
    return images
