"""The U-Net of image-to-image translation (Isola et al., 2017, arXiv 1611.07004, section 6.1.1)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo import Generator, Setting
from zoo_translation.layers import Init, Norm, initialise, norm_layer, translation

_WIDEST = 8
_WITH_DROPOUT = 3


class UNet(Generator):
    """Halves the source's resolution to one pixel and doubles it again; each map meets the one of its size before.

    Its only noise is dropout, in training: `latent_dim` is 0, and a source has one result in evaluation mode.

    Args:
        shape: The images' (channels, height, width), sides from 8; those that are no power of two are rounded up on
            the way down, and cut on the way up.
        source: The sources' shape, of the same height and width.
        width: Channels after the first convolution; they double to 8 times as many. The paper's is 64.
        depth: How often the resolution is halved; 0 for as often as it can be, which is the paper's.
        norm: Normalisation of all but the first, the innermost and the last convolution.
        dropout: The share that is dropped of the three innermost maps on the way up; the paper's is 0.5.
        init: The paper's initial weights, N(0, 0.02), or torch's, which learn faster in narrow networks.

    Raises:
        IncompatibleParts: There are no sources, or they are no images of the samples' size.
    """

    latent_dim = 0
    conditional = True

    def __init__(
        self,
        shape: tuple[int, ...],
        source: tuple[int, ...] | None,
        *,
        width: Annotated[int, Setting("channels after the first convolution", ge=1)] = 64,
        depth: Annotated[int, Setting("how often the resolution is halved; 0 for down to one pixel", ge=0)] = 0,
        norm: Annotated[Norm, Setting("normalisation of feature maps")] = "batch",
        dropout: Annotated[float, Setting("the share that is dropped of the innermost maps", ge=0, lt=1)] = 0.5,
        init: Annotated[Init, Setting("initial weights")] = "paper",
    ) -> None:
        super().__init__()
        sides = translation(shape, source, "unet")
        assert source is not None
        most = max(1, math.floor(math.log2(min(sides))))
        depth = min(depth or most, most)
        widths = [min(width << level, width * _WIDEST) for level in range(depth)]
        resolutions = [sides]
        for _ in range(depth):
            resolutions.append((-(-resolutions[-1][0] // 2), -(-resolutions[-1][1] // 2)))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, outputs in enumerate(widths):
            inputs = source[0] if level == 0 else widths[level - 1]
            inner = norm if 0 < level < depth - 1 else "none"
            self.down.append(_halving(inputs, outputs, inner, resolutions[level + 1], level > 0))
        for level in reversed(range(depth)):
            inputs = widths[level] * (1 if level == depth - 1 else 2)
            outputs = widths[level - 1] if level else shape[0]
            dropped = dropout if depth - 1 - _WITH_DROPOUT <= level < depth - 1 and level else 0.0
            self.up.append(_doubling(inputs, outputs, norm if level else "none", resolutions[level], dropped))
        initialise(self, init)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] of sources `(N, *source)`; `z` is `(N, 0)`."""
        assert condition is not None
        maps, skipped = condition, []
        for halve in self.down:
            skipped.append(maps)
            maps = halve(maps)
        for level, double in zip(reversed(range(len(self.up))), self.up, strict=True):
            height, width = skipped[level].shape[2:]
            maps = double(maps)[..., :height, :width]
            maps = torch.cat([maps, skipped[level]], dim=1) if level else maps
        return torch.tanh(maps)


def _halving(inputs: int, outputs: int, norm: Norm, sides: tuple[int, int], rectified: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if rectified else []
    # A map of an odd side is halved rounding up: 4x4, stride 2, with a pixel more of padding at the end.
    layers += [_PadToEven(), nn.Conv2d(inputs, outputs, 4, 2, 1), norm_layer(norm, outputs, sides)]
    return nn.Sequential(*layers)


def _doubling(inputs: int, outputs: int, norm: Norm, sides: tuple[int, int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]
    layers.append(norm_layer(norm, outputs, sides))
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


class _PadToEven(nn.Module):
    """A row and a column of zeros behind maps of an odd side."""

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        return nn.functional.pad(maps, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else maps
