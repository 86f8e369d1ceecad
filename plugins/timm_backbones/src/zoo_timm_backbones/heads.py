"""A critic that stands on a backbone: a small head on each of the stages that it looks at."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from zoo import Backbone, BadSetting, Critic, Scores, Setting
from zoo_timm_backbones.norms import batch_norms, group_norms


class BackboneHeads(Critic):
    """Heads on a backbone's stages. Each is two 1x1 convolutions with a leaky ReLU (slope 0.2) between them.

    Several heads give several scores, each of which plays its own game, as in Projected GANs (Sauer et al., 2021,
    arXiv 2111.01007).

    Args:
        backbone: The backbone. What is frozen in it stays frozen; the rest is trained with the heads.
        stages: Positions among the backbone's stages, negative ones from the end. None is the last one only.
        width: Channels between a head's two convolutions.
        norm: What becomes of the batch normalisation in the backbone's trained part. "frozen" keeps it in evaluation
            mode, with the running statistics as they are; its scale and shift are trained. "batch" trains it as
            usual, so that a score depends on the whole batch. "group" replaces it by group normalisation with the
            same scale and shift.
        pool: "average" averages a feature map over its pixels before the head; "none" scores each pixel.

    Raises:
        BadSetting: Stages that the backbone does not have.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        stages: Annotated[list[int] | None, Setting("stages that get a head; none is the last one")] = None,
        width: Annotated[int, Setting("hidden channels of a head", ge=1)] = 64,
        norm: Annotated[Literal["frozen", "batch", "group"], Setting("the backbone's batch normalisation")] = "frozen",
        pool: Annotated[Literal["average", "none"], Setting("what is scored: the average or each pixel")] = "average",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._chosen = _positions(backbone, stages)
        self._average = pool == "average"
        self.heads = nn.ModuleList(_head(backbone.stages[index].channels, width) for index in self._chosen)
        self._still: list[nn.Module] = []
        self.train()
        if norm == "group":
            group_norms(backbone)
        elif norm == "frozen":
            self._still.extend(batch_norms(backbone).values())
        self.train()

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores of images `(N, C, H, W)`: `(N,)`, or `(N, height, width)` without pooling; a tuple of several heads.

        Features are the last chosen stage's averages over the pixels, `(N, channels)`.
        """
        maps = self.backbone(samples)
        chosen = [maps[index] for index in self._chosen]
        values = tuple(self._score(head, m) for head, m in zip(self.heads, chosen, strict=True))
        features = chosen[-1].mean(dim=(2, 3))
        return Scores(values if len(values) > 1 else values[0], features)

    def train(self, mode: bool = True) -> BackboneHeads:
        """Sets the mode; batch normalisation stays in evaluation mode if it is frozen."""
        super().train(mode)
        for norm in self._still:
            norm.eval()
        return self

    def _score(self, head: nn.Module, feature_map: Tensor) -> Tensor:
        if self._average:
            scores: Tensor = head(feature_map.mean(dim=(2, 3), keepdim=True))
            return scores.flatten()
        patches: Tensor = head(feature_map)
        return patches.squeeze(1)


def _positions(backbone: Backbone, stages: list[int] | None) -> list[int]:
    count = len(backbone.stages)
    chosen = [-1] if stages is None else stages
    positions = [index % count for index in chosen if -count <= index < count]
    if not chosen or len(set(positions)) != len(chosen):
        raise BadSetting(
            f"critic.stages must list different ones of the backbone's stages 0 to {count - 1}, not {chosen}."
        )
    return positions


def _head(channels: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))
