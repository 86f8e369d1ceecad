"""Random projections of feature maps, which are never trained: across channels, and from coarse to fine scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class RandomProjection(nn.Module):
    """Mixes feature maps across channels (CCM) and, if asked to, across scales (CSM).

    Across channels each map goes through a 1x1 convolution of its own, with more channels the coarser it is. Across
    scales, from the coarsest map on, a map is added to the next finer one at that one's size, and a 3x3 convolution
    mixes the sum. All weights are drawn once (Kaiming) and frozen; they are saved with the network.

    Args:
        channels: Of the maps, the finest first.
        width: Channels of the finest map after the mixing across channels; they double per coarser map.
        scales: Whether scales are mixed.
    """

    def __init__(self, channels: Sequence[int], width: int, scales: bool) -> None:
        super().__init__()
        mixed = [width * 2**level for level in range(len(channels))]
        halved = [max(width, each // 2) for each in mixed]
        self.channels = halved if scales else mixed
        self.across_channels = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(channels, mixed, strict=True))
        self.across_scales = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in zip(mixed if scales else [], halved, strict=scales)
        )
        for layer in (*self.across_channels, *self.across_scales):
            _draw(layer)
        self.requires_grad_(False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One projected map for each `(N, channels, height, width)`, of the same size."""
        mixed = [layer(each) for layer, each in zip(self.across_channels, maps, strict=True)]
        if not self.across_scales:
            return mixed
        found: list[Tensor] = []
        for layer, each in zip(reversed(self.across_scales), reversed(mixed), strict=True):
            found.append(layer(each + _resized(found[-1], each) if found else each))
        return found[::-1]


def _draw(layer: nn.Module) -> None:
    """Kaiming's normal weights with the gain of no rectifier, which keeps the size of features; no shift."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)


def _resized(coarse: Tensor, fine: Tensor) -> Tensor:
    if coarse.shape[2:] == fine.shape[2:]:
        return coarse
    return F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
