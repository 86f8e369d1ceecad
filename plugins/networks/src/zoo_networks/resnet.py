"""The ResNet of WGAN-GP (Gulrajani et al. 2017, appendix) and SN-GAN (Miyato et al. 2018, appendix).

Pre-activation residual blocks; nearest-neighbour upsampling in the generator, average pooling in the critic.
Where the shorter side is at most 56, every feature map has `width` channels, as in both papers' networks for
CIFAR-10; above, channels double per lower resolution up to 8 times the width, as in their networks for larger
images.

Weights are initialised as in both papers' code: uniform of Glorot's variance, which is doubled for the 3x3
convolutions of the residual branches, as a ReLU is before or behind them; biases are 0.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from zoo import Critic, Scores, Setting
from zoo_networks.attention import ATTENTION, put_attention
from zoo_networks.codes import CATEGORIES, CONTINUOUS, CodedGenerator
from zoo_networks.conditions import (
    CRITIC_CONDITION,
    EMBEDDING,
    GENERATOR_CONDITION,
    Conditioned,
    CriticCondition,
    GeneratorCondition,
    label_code,
    norm_classes,
    projection,
    scored,
    through,
)
from zoo_networks.layers import DROPOUT, CentreCrop, Norm, halved, halvings, image_shape, norm_layer, width_at, xavier

_RELU_GAIN = math.sqrt(2)
_CRITIC_BASE = 8


class ResNetGenerator(CodedGenerator):
    """A linear layer, a residual block a doubling of resolution, norm, ReLU, 3x3 convolution, tanh.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at full resolution; the papers' networks for CIFAR-10 have 128 and 256.
        norm: Normalisation before each ReLU; the papers' is batch.
        latent_dim: Size of the latent points.
        condition: How it is told the class: `concat` puts it one-hot beside the latent points, `embed` a learnt vector,
            `norm` gives every normalisation scales and shifts of the class's own; `none` is for no class.
        embedding: Size of the learnt vector.
        attention: Shorter side of the feature map that self-attention (SAGAN) stands behind; 0 is for none.
        categories: The first entries of latent points, of which one is 1 and the others 0: a code to be learnt.
        continuous: How many entries after these are uniform on [-1, 1). `latent_dim` counts all.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: `norm` is to be told the class, and there is none; or no feature map has the side `attention`; or
            there are more codes than latent entries.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("channels at full resolution", ge=1)] = 64,
        norm: Annotated[Norm, Setting("normalisation before each ReLU")] = "batch",
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 128,
        condition: Annotated[GeneratorCondition, GENERATOR_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
        attention: Annotated[int, ATTENTION] = 0,
        categories: Annotated[int, CATEGORIES] = 0,
        continuous: Annotated[int, CONTINUOUS] = 0,
    ) -> None:
        super().__init__()
        self.set_latent(latent_dim, categories, continuous)
        channels, sides = image_shape(shape, "resnet")
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = latent_dim + (0 if self.code is None else self.code.size)
        normed = norm_classes(condition, norm, classes)
        self.layers = _generator_layers(inputs, channels, sides, width, norm, normed)
        put_attention(self.layers, generator_places(sides, width), attention)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] from latent points `(N, latent_dim)`."""
        return through(self.layers, z if self.code is None else self.code.beside(z, condition), condition)


class ResNetCritic(Critic):
    """Residual blocks: some halve the shorter side until it is at most 8, two keep it; ReLU, pooling, score.

    The first block takes the image itself: without norm and ReLU before it, and pooling before its shortcut.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels after the first block; the papers' networks for CIFAR-10 have 128.
        norm: Normalisation before each ReLU of all blocks but the first. The default is none, as in both
            papers' networks for CIFAR-10; where WGAN-GP normalises a critic, it is with layer. `batch` makes
            a score depend on the other samples of the batch, which per-sample gradient penalties cannot take.
        pooling: Over the last feature map: mean as in WGAN-GP, sum as in SN-GAN.
        dropout: Share of the values behind each block but the first that are left out in training, as in CT-GAN
            (Wei et al. 2018, arXiv 1803.01541).
        condition: How it is told the class: `concat` puts it one-hot beside the samples (as further channels, each the
            same at all pixels), `embed` a learnt vector, `projection` adds to the score how well features fit the
            class; `none` is for no class.
        embedding: Size of the learnt vector.
        attention: Shorter side of the feature map that self-attention (SAGAN) stands behind; 0 is for none.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: No feature map has the side `attention`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("channels after the first block", ge=1)] = 64,
        norm: Annotated[Norm, Setting("normalisation before each ReLU")] = "none",
        pooling: Annotated[Literal["mean", "sum"], Setting("pooling of the last feature map")] = "mean",
        dropout: Annotated[float, DROPOUT] = 0.0,
        condition: Annotated[CriticCondition, CRITIC_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
        attention: Annotated[int, ATTENTION] = 0,
    ) -> None:
        super().__init__()
        channels, sides = image_shape(shape, "resnet")
        widths = _critic_widths(sides, width)
        self.pooling = pooling
        self.feature_size = widths[-1]
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = channels + (0 if self.code is None else self.code.size)
        self.blocks = _critic_blocks(inputs, widths, norm, dropout)
        self.score = xavier(nn.Linear(widths[-1], 1))
        self.projection = projection(condition, classes, widths[-1])
        put_attention(self.blocks, {min(halved(sides, n)): (n, c) for n, c in enumerate(widths, 1)}, attention)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)` of images `(N, *shape)`, and the pooled last feature map, `(N, feature_size)`."""
        maps: Tensor = self.blocks(samples if self.code is None else self.code.beside(samples, condition))
        features = maps.mean((2, 3)) if self.pooling == "mean" else maps.sum((2, 3))
        return scored(self.score, features, self.projection, condition)


class ResidualBlock(Conditioned):
    """Norm, ReLU, 3x3 convolution, twice, beside a shortcut: `(N, inputs, H, W)` to `(N, outputs, H', W')`.

    The shortcut is a 1x1 convolution where the shape changes. The papers compute it at the higher of the two
    resolutions; at the lower one, as here, it is the same function and costs a quarter.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        norm: Normalisation before each ReLU.
        resample: Doubles the resolution, halves it rounding up, or keeps it.
        bias: Whether the second convolution has a bias; before a norm, which has its own, it is of no use.
        dropout: Share of the sum that is left out in training.
        classes: How many have scales and shifts of their own in the norms; None for those in common.
        told: The size of the vectors `(N, told)` that tell scales and shifts in the place of classes; None for none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm,
        resample: Literal["up", "down", "none"] = "none",
        *,
        bias: bool = True,
        dropout: float = 0.0,
        classes: int | None = None,
        told: int | None = None,
    ) -> None:
        super().__init__()
        hidden = inputs if resample == "down" else outputs
        up = nn.Upsample(scale_factor=2, mode="nearest") if resample == "up" else nn.Identity()
        down = nn.AvgPool2d(2, ceil_mode=True) if resample == "down" else nn.Identity()
        normed = partial(norm_layer, norm, classes=classes, told=told)
        self.residual = nn.Sequential(
            *(normed(inputs), nn.ReLU(), up, _convolution(inputs, hidden, bias=norm == "none")),
            *(normed(hidden), nn.ReLU(), _convolution(hidden, outputs, bias=bias), down),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs or resample != "none":
            self.shortcut.extend([down, _projection(inputs, outputs), up])
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """The residual branch plus the shortcut; `labels` are what the norms are told, classes or vectors."""
        total: Tensor = self.dropout(through(self.residual, maps, labels) + self.shortcut(maps))
        return total


class FirstCriticBlock(nn.Module):
    """The residual block that takes images, `(N, inputs, H, W)` to `(N, outputs, H/2, W/2)`, rounding up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        pool = nn.AvgPool2d(2, ceil_mode=True)
        self.residual = nn.Sequential(_convolution(inputs, outputs), nn.ReLU(), _convolution(outputs, outputs), pool)
        self.shortcut = nn.Sequential(pool, _projection(inputs, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """The residual branch plus the shortcut."""
        total: Tensor = self.residual(images) + self.shortcut(images)
        return total


def _convolution(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    return xavier(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), _RELU_GAIN)


def _projection(inputs: int, outputs: int) -> nn.Conv2d:
    # The residual branch has the bias of the sum.
    return xavier(nn.Conv2d(inputs, outputs, 1, bias=False))


def _generator_layers(
    inputs: int, channels: int, sides: tuple[int, int], width: int, norm: Norm, classes: int | None
) -> nn.Sequential:
    widths = generator_widths(sides, width)
    base = (widths[0], *halved(sides, halvings(sides)))
    layers = nn.Sequential(xavier(nn.Linear(inputs, base[0] * base[1] * base[2])), nn.Unflatten(1, base))
    for before, after in pairwise(widths):
        layers.append(ResidualBlock(before, after, norm, "up", bias=norm == "none", classes=classes))
    layers.extend([norm_layer(norm, width, classes), nn.ReLU(), xavier(nn.Conv2d(width, channels, 3, padding=1))])
    return layers.extend([CentreCrop(sides), nn.Tanh()])


def generator_widths(sides: tuple[int, int], width: int) -> list[int]:
    """Channels of the generator's feature maps, from its base to full resolution."""
    return [width_at(level, sides, width) for level in range(halvings(sides), -1, -1)]


def generator_places(sides: tuple[int, int], width: int) -> dict[int, tuple[int, int]]:
    """Where attention may stand: a linear layer and its unflattening are before the base."""
    base = min(halved(sides, halvings(sides)))
    return {base << n: (2 + n, channels) for n, channels in enumerate(generator_widths(sides, width))}


def _critic_widths(sides: tuple[int, int], width: int) -> list[int]:
    """Channels after every block that halves the resolution."""
    halving_blocks = max(1, halvings(sides, _CRITIC_BASE))
    return [width_at(level, sides, width) for level in range(halving_blocks)]


def _critic_blocks(channels: int, widths: list[int], norm: Norm, dropout: float) -> nn.Sequential:
    blocks = nn.Sequential(FirstCriticBlock(channels, widths[0]))
    for inputs, outputs in pairwise(widths):
        blocks.append(ResidualBlock(inputs, outputs, norm, "down", dropout=dropout))
    for _ in range(2):
        blocks.append(ResidualBlock(widths[-1], widths[-1], norm, dropout=dropout))
    return blocks.append(nn.ReLU())
