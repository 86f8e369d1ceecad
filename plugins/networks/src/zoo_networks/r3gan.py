"""The networks of R3GAN (Huang et al. 2025, arXiv 2501.05441, section 4 and appendix): ResNeXt without normalisation.

Each resolution has residual blocks of a 1x1, a grouped 3x3 and a 1x1 convolution with LeakyReLU 0.2 between them; a
1x1 convolution changes the channels, at the lower of two resolutions, and [1, 2, 1] filters resample. The generator
begins with a learnt map that is scaled channel by channel, the critic ends with one that weighs its last map.

Fix-up initialisation: the last convolution of a block begins at 0, so that every block begins as the identity; the
others are N(0, g^2 L^(-1/2) / fan_in) for L blocks in the network, with the gain g of the LeakyReLU.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from zoo import BadSetting, Critic, Generator, Scores, Setting
from zoo_networks.conditions import (
    CRITIC_CONDITION,
    EMBEDDING,
    CriticCondition,
    label_code,
    projection,
    scored,
)
from zoo_networks.layers import CentreCrop, halved, halvings, image_shape, width_at
from zoo_networks.resampling import Downsampling, Upsampling

InputCondition: TypeAlias = Literal["none", "concat", "embed"]
_Weighted = TypeVar("_Weighted", nn.Linear, nn.Conv2d)

_SLOPE = 0.2
_EXPANSION = 2
_WIDTH = Setting("channels at full resolution", ge=1)
_BLOCKS = Setting("residual blocks of each resolution", ge=1)
_GROUPS = Setting("groups of the 3x3 convolutions at full resolution; they double with the channels", ge=1)
_CONDITION = Setting("how it is told the class: one-hot or embedded beside z")


class R3GANGenerator(Generator):
    """A learnt basis, residual blocks, upsampling and residual blocks again, 1x1 convolution, tanh.

    The authors' has no tanh: here images are in [-1, 1].

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at full resolution. The paper's networks have 768 everywhere for CIFAR-10, and 96 for FFHQ of
            256 pixels, doubling up to 768.
        blocks: Residual blocks of each resolution; the paper has 2.
        groups: Of the 3x3 convolutions at full resolution, which have twice the width; the paper has 16 channels each.
        latent_dim: Size of the latent points; the paper has 64.
        condition: How it is told the class: `concat` puts it one-hot beside the latent points, `embed` a learnt vector
            as in the paper; `none` is for no class.
        embedding: Size of the learnt vector.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: `groups` does not divide twice the width.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, _WIDTH] = 32,
        blocks: Annotated[int, _BLOCKS] = 2,
        groups: Annotated[int, _GROUPS] = 4,
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 64,
        condition: Annotated[InputCondition, _CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        channels, sides = image_shape(shape, "r3gan")
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = latent_dim + (0 if self.code is None else self.code.size)
        widths = _widths(sides, width, groups)[::-1]
        self.layers = nn.Sequential(Basis(inputs, widths[0], halved(sides, len(widths) - 1)))
        for before, after in zip(widths, [*widths[1:], None], strict=True):
            self.layers.extend(_stage(before, groups * before // width, blocks, blocks * len(widths)))
            if after is not None:
                self.layers.extend([*_change(before, after), Upsampling()])
        self.layers.extend([_scaled(nn.Conv2d(width, channels, 1, bias=False)), CentreCrop(sides), nn.Tanh()])

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] from latent points `(N, latent_dim)`."""
        images: Tensor = self.layers(z if self.code is None else self.code.beside(z, condition))
        return images


class R3GANCritic(Critic):
    """A 1x1 convolution, residual blocks, downsampling and residual blocks again, a weighted sum a channel, score.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at full resolution.
        blocks: Residual blocks of each resolution; the paper has 2.
        groups: Of the 3x3 convolutions at full resolution, which have twice the width; the paper has 16 channels each.
        condition: How it is told the class: `concat` puts it one-hot beside the samples (as further channels, each the
            same at all pixels), `embed` a learnt vector, `projection` adds to the score how well features fit the
            class, which is the paper's whole score; `none` is for no class.
        embedding: Size of the learnt vector.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: `groups` does not divide twice the width.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, _WIDTH] = 32,
        blocks: Annotated[int, _BLOCKS] = 2,
        groups: Annotated[int, _GROUPS] = 4,
        condition: Annotated[CriticCondition, CRITIC_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
    ) -> None:
        super().__init__()
        channels, sides = image_shape(shape, "r3gan")
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = channels + (0 if self.code is None else self.code.size)
        widths = _widths(sides, width, groups)
        self.layers = nn.Sequential(_scaled(nn.Conv2d(inputs, width, 1, bias=False)))
        for before, after in zip(widths, [*widths[1:], None], strict=True):
            self.layers.extend(_stage(before, groups * before // width, blocks, blocks * len(widths)))
            if after is not None:
                self.layers.extend([Downsampling(), *_change(before, after)])
        self.feature_size = last = widths[-1]
        base = halved(sides, len(widths) - 1)
        self.layers.extend([_scaled(nn.Conv2d(last, last, base, groups=last, bias=False)), nn.Flatten()])
        self.score = _scaled(nn.Linear(last, 1, bias=False))
        self.projection = projection(condition, classes, last)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)` of images `(N, *shape)`, and the weighted last feature map, `(N, feature_size)`."""
        features = self.layers(samples if self.code is None else self.code.beside(samples, condition))
        return scored(self.score, features, self.projection, condition)


class Block(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions beside the identity, `(N, width, H, W)` to the same shape.

    Args:
        width: Channels; inside there are twice as many.
        groups: Of the 3x3 convolution.
        depth: How many blocks the network has.
    """

    def __init__(self, width: int, groups: int, depth: int) -> None:
        super().__init__()
        hidden = _EXPANSION * width
        # Two of the three convolutions share the fix-up factor L^(-1/2).
        gain = nn.init.calculate_gain("leaky_relu", _SLOPE) * depth ** (-1 / 4)
        self.residual = nn.Sequential(
            *(_scaled(nn.Conv2d(width, hidden, 1), gain), nn.LeakyReLU(_SLOPE)),
            *(_scaled(nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups), gain), nn.LeakyReLU(_SLOPE)),
            _scaled(nn.Conv2d(hidden, width, 1, bias=False), 0.0),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The residual branch plus the maps."""
        total: Tensor = maps + self.residual(maps)
        return total


class Basis(nn.Module):
    """A learnt map `(channels, *sides)`, scaled by a linear function of the input: `(N, inputs)` to `(N, C, H, W)`."""

    def __init__(self, inputs: int, channels: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.randn(channels, *sides))
        self.scales = _scaled(nn.Linear(inputs, channels, bias=False))

    def forward(self, points: Tensor) -> Tensor:
        """The scaled maps."""
        scales = self.scales(points)[:, :, None, None]
        # So that under autocast the maps have the precision of the scales.
        maps: Tensor = scales * self.map.to(scales.dtype)
        return maps


def _scaled(layer: _Weighted, gain: float = 1.0) -> _Weighted:
    """`layer` with bias 0 and weights N(0, gain^2 / fan_in)."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _stage(width: int, groups: int, blocks: int, depth: int) -> list[Block]:
    return [Block(width, groups, depth) for _ in range(blocks)]


def _change(before: int, after: int) -> list[nn.Conv2d]:
    return [] if before == after else [_scaled(nn.Conv2d(before, after, 1, bias=False))]


def _widths(sides: tuple[int, int], width: int, groups: int) -> list[int]:
    """Channels of every resolution, from the highest. Raises BadSetting where the groups do not divide them."""
    if _EXPANSION * width % groups:
        raise BadSetting(
            f"groups = {groups} does not divide the {_EXPANSION * width} channels of the 3x3 convolutions, twice the "
            f"width {width}. Set groups to a divisor, such as {math.gcd(_EXPANSION * width, groups)}, or change width."
        )
    return [width_at(level, sides, width) for level in range(halvings(sides) + 1)]
