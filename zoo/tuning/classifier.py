"""The ordinary classifier: a backbone's last stage, pooled over its pixels, and a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

from torch import Tensor, nn

from zoo.backbones import Backbone
from zoo.classifiers import Classifier
from zoo.errors import IncompatibleParts
from zoo.hookspecs import hookimpl
from zoo.settings import Setting

Pool: TypeAlias = Literal["average", "max", "gem"]
GEM_POWER = 3.0
"""The power of GeM pooling, as its paper begins with."""
LEAST = 1e-6
"""What GeM pooling takes for smaller values, of which the power has no derivative or is not defined."""


def pooled(feature_map: Tensor, pool: Pool) -> Tensor:
    """A feature map `(N, C, H, W)` as features `(N, C)`.

    Args:
        feature_map: The feature map.
        pool: `average` or `max` over the pixels, or `gem`: the third root of the mean third power of what is above 0
            (Radenovic, Tolias and Chum, 2018, arXiv 1711.02512, equation 3).
    """
    if pool == "max":
        return feature_map.amax(dim=(2, 3))
    if pool == "gem":
        powers = feature_map.clamp(min=LEAST).pow(GEM_POWER)
        return powers.mean(dim=(2, 3)).pow(1 / GEM_POWER)
    return feature_map.mean(dim=(2, 3))


class BackboneClassifier(Classifier):
    """The backbone's last stage, pooled, and a linear layer that starts at 0: at first all classes are as likely.

    Args:
        shape: Channels, height and width of the images.
        classes: How many there are.
        backbone: What it stands on.
        pool: How the last feature map is pooled; see `pooled`.
        dropout: The share of features that is left out in training.

    Raises:
        IncompatibleParts: Samples without labels, or of one class only.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None,
        backbone: Backbone,
        *,
        pool: Annotated[Pool, Setting("how the last feature map is pooled")] = "average",
        dropout: Annotated[float, Setting("share of features left out in training", ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if classes is None or classes < 2:
            found = "have no labels" if classes is None else "are all of one class"
            raise IncompatibleParts(f"these samples {found}; a classifier needs two classes at least.")
        self.backbone = backbone
        self.pool = pool
        linear = nn.Linear(backbone.stages[-1].channels, classes)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        self.head = nn.Sequential(nn.Dropout(dropout), linear)

    def features(self, images: Tensor) -> Tensor:
        """The last stage, pooled: `(N, channels)`."""
        return pooled(self.backbone(images)[-1], self.pool)


@hookimpl
def network() -> Mapping[str, Callable[..., nn.Module]]:
    """The classifier that fine-tuning takes where none is named."""
    return {"backbone-classifier": BackboneClassifier}
