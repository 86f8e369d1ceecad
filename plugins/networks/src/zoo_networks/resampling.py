"""Resampling by 2 with a low-pass, whose kernels are neither trained nor saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


class Resampling(nn.Module):
    """A [1, 2, 1] low-pass of every channel, over height and width, with zeros beyond the borders."""

    kernel: Tensor

    def __init__(self, total: float) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", total * torch.outer(taps, taps)[None, None] / 16, persistent=False)

    def kernels(self, maps: Tensor) -> Tensor:
        """The kernel, for each channel."""
        return self.kernel.to(maps.dtype).expand(maps.shape[1], -1, -1, -1)


class Upsampling(Resampling):
    """Bilinear: `(N, C, H, W)` to `(N, C, 2H, 2W)`."""

    def __init__(self) -> None:
        super().__init__(4.0)

    def forward(self, maps: Tensor) -> Tensor:
        """The larger maps, whose even pixels are the maps' own."""
        kernels = self.kernels(maps)
        return conv_transpose2d(maps, kernels, stride=2, padding=1, output_padding=1, groups=len(kernels))


class Downsampling(Resampling):
    """Low-pass, then every second pixel: `(N, C, H, W)` to `(N, C, H/2, W/2)`, rounding up."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def forward(self, maps: Tensor) -> Tensor:
        """The smaller maps."""
        kernels = self.kernels(maps)
        return conv2d(maps, kernels, stride=2, padding=1, groups=len(kernels))
