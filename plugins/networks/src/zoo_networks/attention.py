"""Self-attention over feature maps (SAGAN: Zhang et al. 2018, arXiv 1805.08318, section 3).

As in the authors' code, and in BigGAN's, keys and values are pooled by 2, values have half the channels, and no
convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from zoo import BadSetting, Setting
from zoo_networks.layers import xavier

ATTENTION = Setting("shorter side of the feature map behind which self-attention stands; 0 for none", ge=0)


class SelfAttention(nn.Module):
    """`maps + gamma * attended`, with gamma 0 at first: `(N, channels, H, W)` to the same shape.

    Every pixel's query is compared with the keys of all pooled pixels; the softmax of the products, which are not
    scaled, weighs their values.

    Args:
        channels: Of the feature maps; queries and keys have an eighth of them, values half, and at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.queries, self.keys = _pointwise(channels, small), _pointwise(channels, small)
        self.values, self.out = _pointwise(channels, half), _pointwise(half, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """The maps and gamma times what their pixels attend to."""
        queries = self.queries(maps).flatten(2)
        keys, values = (_pooled(layer(maps)) for layer in (self.keys, self.values))
        weights = (queries.mT @ keys).softmax(2)
        attended = self.out((values @ weights.mT).unflatten(2, maps.shape[2:]))
        total: Tensor = maps + self.gamma * attended
        return total


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return xavier(nn.Conv2d(inputs, outputs, 1, bias=False))


def _pooled(maps: Tensor) -> Tensor:
    # An odd side has windows of one pixel at its end, so that no pixel is left out.
    return max_pool2d(maps, 2, ceil_mode=True).flatten(2)


def put_attention(layers: nn.Sequential, places: Mapping[int, tuple[int, int]], side: int) -> None:
    """Puts self-attention into a network, or leaves it as it is where `side` is 0.

    Args:
        layers: The network.
        places: For the shorter side of each feature map that it makes, how many layers come before attention to it,
            and its channels.
        side: Where.

    Raises:
        BadSetting: No feature map has the side.
    """
    if side == 0:
        return
    if side not in places:
        there = ", ".join(map(str, sorted(places)))
        raise BadSetting(f"attention = {side}: no feature map has that side; those of these images have {there}.")
    position, channels = places[side]
    layers.insert(position, SelfAttention(channels))
