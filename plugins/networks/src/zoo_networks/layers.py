"""What the networks share: norms, the arithmetic of image sides, and initialisation."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, TypeVar

from torch import Tensor, nn

from zoo import IncompatibleParts, Setting
from zoo_networks.conditions import ConditionalNorm, ToldNorm

Norm: TypeAlias = Literal["none", "batch", "layer", "instance"]

SMALLEST_SIDE, LARGEST_SIDE = 8, 256
LARGEST_BASE = 7
_WIDEST = 8
_CONSTANT_STAGES = 3

DROPOUT = Setting("share of hidden units left out in training, between hidden layers", ge=0, lt=1)

_Weighted = TypeVar("_Weighted", nn.Linear, nn.Conv2d)


def norm_layer(norm: Norm, channels: int, classes: int | None = None, told: int | None = None) -> nn.Module:
    """A normalisation of feature maps `(N, channels, H, W)`, with a scale and a shift a channel, or class and channel.

    `"batch"` is over N, H, W; `"layer"` over channels, H, W, a sample at a time; `"instance"` over H, W. With `told`
    scales and shifts are linear in vectors `(N, told)`.
    """
    layer = _norm(norm, channels, affine=classes is None and told is None)
    if told is not None:
        return ToldNorm(layer, channels, told)
    return layer if classes is None else ConditionalNorm(layer, channels, classes)


def _norm(norm: Norm, channels: int, affine: bool) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels, affine=affine)
    if norm == "layer":
        return nn.GroupNorm(1, channels, affine=affine)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=affine)
    return nn.Identity()


def image_shape(shape: tuple[int, ...], network: str) -> tuple[int, tuple[int, int]]:
    """`shape` as channels and (height, width).

    Raises:
        IncompatibleParts: `shape` is no image's, or a side is out of the limits that `network` works in.
    """
    if len(shape) != 3:
        raise IncompatibleParts(
            f"{network} is for images (channels, height, width), and these samples have the shape {shape}; use mlp."
        )
    channels, height, width = shape
    for name, side in (("height", height), ("width", width)):
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise IncompatibleParts(
                f"{network} is for image sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, and these images have "
                f"the {name} {side}; resize them, or use mlp."
            )
    return channels, (height, width)


def halvings(sides: tuple[int, int], largest: int = LARGEST_BASE) -> int:
    """How often to halve, rounding up, until the shorter of `sides` is at most `largest`.

    >>> [halvings((side, side)) for side in (8, 25, 28, 32, 96, 256)]
    [1, 2, 2, 3, 4, 6]
    """
    count = 0
    while math.ceil(min(sides) / 2**count) > largest:
        count += 1
    return count


def halved(sides: tuple[int, int], count: int) -> tuple[int, int]:
    """`sides` after `count` halvings that round up.

    >>> halved((25, 32), 2)
    (7, 8)
    """
    return math.ceil(sides[0] / 2**count), math.ceil(sides[1] / 2**count)


def doubled(width: int, times: int) -> int:
    """`width` doubled `times` times, up to eight times the width.

    >>> [doubled(64, times) for times in range(5)]
    [64, 128, 256, 512, 512]
    """
    return min(width << times, width * _WIDEST)


def width_at(level: int, sides: tuple[int, int], width: int) -> int:
    """Channels of a residual network after `level` halvings: they double only where the shorter side is above 56."""
    return width if halvings(sides) <= _CONSTANT_STAGES else doubled(width, level)


def with_dropout(activation: nn.Module, share: float) -> nn.Module:
    """An activation that leaves out a share of its units in training; itself for a share of 0."""
    return nn.Sequential(activation, nn.Dropout(share)) if share else activation


class CentreCrop(nn.Module):
    """The middle of feature maps: `(N, C, H, W)` to `(N, C, *sides)`; an odd pixel goes at the end."""

    def __init__(self, sides: tuple[int, int]) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, maps: Tensor) -> Tensor:
        """The middle of `maps`."""
        height, width = self.sides
        top, left = (maps.shape[-2] - height) // 2, (maps.shape[-1] - width) // 2
        return maps[..., top : top + height, left : left + width]


class Maxout(nn.Module):
    """The largest of each five neighbouring units (Goodfellow et al. 2013): `(N, 5 * units)` to `(N, units)`."""

    pieces = 5

    def forward(self, values: Tensor) -> Tensor:
        """The maxima."""
        return values.view(len(values), -1, self.pieces).amax(2)


def xavier(layer: _Weighted, gain: float = 1.0) -> _Weighted:
    """`layer` with bias 0 and uniform weights of variance `2 gain^2 / (fan_in + fan_out)` (Glorot 2010)."""
    nn.init.xavier_uniform_(layer.weight, gain)
    _clear(layer.bias)
    return layer


def he(layer: _Weighted) -> _Weighted:
    """`layer` with bias 0 and uniform weights of variance `2 / fan_in` (He 2015)."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    _clear(layer.bias)
    return layer


def initialise_as_dcgan(network: nn.Module) -> None:
    """Weights N(0, 0.02) (Radford et al. 2015, section 4), scales of norms N(1, 0.02) (their code)."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            _clear(module.bias)
        elif isinstance(module, ConditionalNorm):
            nn.init.normal_(module.scales.weight, 1.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            _clear(module.bias)


def _clear(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
