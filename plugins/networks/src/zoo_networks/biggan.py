"""The generator of BigGAN (Brock, Donahue and Simonyan 2019, arXiv 1809.11096), for image sides from 8 to 256.

Its blocks are those of the resnet generator, told by their normalisations what to make: each has scales and shifts
that are linear in a vector, of a learnt embedding of the class that all share (section 3.1) and of a part of the
latent point that is the block's own (appendix B). Weights are orthogonal at first (section 3). The critic that goes
with it is resnet's with `condition = "projection"` and `attention`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor, nn

from zoo import BadSetting, Generator, Setting
from zoo_networks.attention import ATTENTION, put_attention
from zoo_networks.conditions import Conditioned, needed, required
from zoo_networks.layers import CentreCrop, halved, halvings, image_shape
from zoo_networks.resnet import ResidualBlock, generator_places, generator_widths

_Condition: TypeAlias = Literal["none", "shared"]


class BigGANGenerator(Generator):
    """A linear layer, a residual block a doubling of resolution, norm, ReLU, 3x3 convolution, tanh.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at full resolution; the paper's is 96.
        latent_dim: Size of the latent points, of which the linear layer and each block get an equal part; what is
            left over goes to the first. The paper's parts have 20 entries.
        condition: `shared` gives every block an embedding of the class; `none` is for no class.
        embedding: Size of that embedding; the paper's is 128.
        attention: Shorter side of the feature map that self-attention stands behind; 0 is for none.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: There are fewer latent entries than parts; or no feature map has the side `attention`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("channels at full resolution", ge=1)] = 64,
        latent_dim: Annotated[int, Setting("size of the latent points, an equal part for each block", ge=1)] = 80,
        condition: Annotated[_Condition, Setting("whether every block is told the class, by one embedding")] = "none",
        embedding: Annotated[int, Setting("size of the class's embedding", ge=1)] = 128,
        attention: Annotated[int, ATTENTION] = 0,
    ) -> None:
        super().__init__()
        channels, sides = image_shape(shape, "biggan")
        widths = generator_widths(sides, width)
        self.latent_dim, self.sizes = latent_dim, _parts(latent_dim, len(widths))
        self.conditional = condition == "shared"
        self.classes = nn.Embedding(needed(classes, condition), embedding) if self.conditional else None
        base = (widths[0], *halved(sides, halvings(sides)))
        self.first = nn.Sequential(nn.Linear(self.sizes[0], base[0] * base[1] * base[2]), nn.Unflatten(1, base))
        told = self.sizes[1] + (embedding if self.conditional else 0)
        self.blocks = nn.Sequential(
            *(ResidualBlock(before, after, "batch", "up", bias=False, told=told) for before, after in pairwise(widths))
        )
        places = {side: (at - len(self.first), count) for side, (at, count) in generator_places(sides, width).items()}
        put_attention(self.blocks, places, attention)
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))
        self.last.extend([CentreCrop(sides), nn.Tanh()])
        _make_orthogonal(self)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] from latent points `(N, latent_dim)`."""
        first, *parts = torch.split(z, self.sizes, 1)
        shared = [] if self.classes is None else [self.classes(required(condition))]
        maps, told = self.first(first), iter(parts)
        for block in self.blocks:
            is_told = isinstance(block, Conditioned)
            maps = block(maps, torch.cat([*shared, next(told)], 1)) if is_told else block(maps)
        images: Tensor = self.last(maps)
        return images


def _parts(latent_dim: int, count: int) -> list[int]:
    """The sizes of a latent point's parts, one for the linear layer and one a block: `count` in all."""
    size = latent_dim // count
    if size == 0:
        raise BadSetting(f"latent_dim = {latent_dim} is too few for {count} parts; use {count} or more.")
    return [latent_dim - size * (count - 1), *[size] * (count - 1)]


def _make_orthogonal(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            nn.init.orthogonal_(module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
