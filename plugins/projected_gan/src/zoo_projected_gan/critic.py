"""The critic: a frozen backbone, its maps projected at random, and a small critic on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo import Backbone, BadSetting, Critic, Scores, Setting
from zoo_projected_gan.projection import RandomProjection

Mixing: TypeAlias = Literal["none", "channels", "scales"]
Norm: TypeAlias = Literal["none", "group", "batch"]

STAGES = 4
"""The paper's critics stand on four scales: strides 4, 8, 16 and 32 of an EfficientNet-lite."""
GROUPS = 8
END = 4
"""The side of a map that is scored: a last convolution covers so many pixels."""


class Projected(Critic):
    """Critics on features of a frozen backbone, each of which plays its own game.

    Nothing is trained but the small critics: neither the backbone nor what mixes its maps. A small critic halves its
    map by 4x4 convolutions of stride 2 with leaky ReLU (slope 0.2) until its shorter side is below 8, and scores each
    patch of 4x4 of what is left.

    Args:
        shape: Of the images: channels, height, width.
        backbone: The backbone. All of it is frozen, and stays in evaluation mode; gradients pass to the images.
        stages: Positions among the backbone's stages that a critic stands on, in increasing order. None is the last
            four, or all if there are fewer.
        mixing: "scales" mixes across channels and scales, "channels" across channels only, "none" not at all.
        width: Channels of the finest map after the mixing across channels; they double per coarser stage.
        spectral: Whether the small critics' convolutions are normalised by their largest singular value.
        norm: Normalisation within the small critics. "batch", which is that of the authors' code, makes a score
            depend on the whole batch; per-sample penalties cannot take that.

    Raises:
        BadSetting: Stages that the backbone does not have.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        backbone: Backbone,
        *,
        stages: Annotated[list[int] | None, Setting("stages that get a critic; none is the last four")] = None,
        mixing: Annotated[Mixing, Setting("what is mixed at random")] = "scales",
        width: Annotated[int, Setting("channels of the finest mixed map", ge=1)] = 64,
        spectral: Annotated[bool, Setting("spectral normalisation of the small critics")] = True,
        norm: Annotated[Norm, Setting("normalisation within the small critics")] = "group",
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        self._chosen = _positions(len(backbone.stages), stages)
        channels = [backbone.stages[index].channels for index in self._chosen]
        self.projection = None if mixing == "none" else RandomProjection(channels, width, mixing == "scales")
        seen = channels if self.projection is None else self.projection.channels
        sides = [min(each.shape[2:]) for each in self._maps(torch.zeros(1, *shape))]
        self.critics = nn.ModuleList(
            nn.Sequential(*_layers(side, inputs, norm, spectral)) for side, inputs in zip(sides, seen, strict=True)
        )

    @property
    def remark(self) -> str:
        """That a random backbone has learnt nothing, if it is one."""
        if not self.backbone.random:
            return ""
        return (
            "the critic stands on a backbone with random weights, so that what it is for, features that were learnt "
            "from other images, is lost. Say --set backbone.pretrained=true or --set backbone.checkpoint=FILE, or "
            "--set train.init_from=RUN of a run that trained this backbone."
        )

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores of the patches of each scale, `(N, height, width)` each, the finest scale first."""
        maps = self._maps(samples)
        scores = tuple(critic(each).squeeze(1) for critic, each in zip(self.critics, maps, strict=True))
        return Scores(scores if len(scores) > 1 else scores[0])

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the small critics; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def _maps(self, images: Tensor) -> list[Tensor]:
        found = self.backbone(images)
        maps = [found[index] for index in self._chosen]
        return maps if self.projection is None else self.projection(maps)


def _positions(count: int, stages: list[int] | None) -> list[int]:
    chosen = list(range(count))[-STAGES:] if stages is None else stages
    positions = [index % count for index in chosen if -count <= index < count]
    if not chosen or len(positions) != len(chosen) or positions != sorted(set(positions)):
        raise BadSetting(
            f"critic.stages must list different ones of the backbone's stages 0 to {count - 1}, in increasing order, "
            f"not {chosen}."
        )
    return positions


def _layers(side: int, channels: int, norm: Norm, spectral: bool) -> Iterator[nn.Module]:
    """A small critic of maps whose shorter side is `side`."""
    while side >= 2 * END:
        yield _convolution(channels, channels, 4, spectral, stride=2, padding=1)
        yield from _norm(norm, channels)
        yield nn.LeakyReLU(0.2)
        side //= 2
    yield _convolution(channels, channels, 1, spectral)
    yield from _norm(norm, channels)
    yield nn.LeakyReLU(0.2)
    yield _convolution(channels, 1, min(side, END), spectral)


def _convolution(inputs: int, outputs: int, kernel: int, spectral: bool, **more: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, **more)
    return spectral_norm(layer) if spectral else layer


def _norm(norm: Norm, channels: int) -> Sequence[nn.Module]:
    if norm == "group":
        return [nn.GroupNorm(next(n for n in range(GROUPS, 0, -1) if channels % n == 0), channels)]
    return [nn.BatchNorm2d(channels)] if norm == "batch" else []
