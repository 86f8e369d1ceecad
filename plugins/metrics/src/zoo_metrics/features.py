"""What samples are compared in: their pixels, or what a network makes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, TypeAlias

from torch import Tensor

from zoo import BadData, BadSetting, Evidence, IncompatibleParts, Sample, Setting
from zoo_metrics.classifier import classifier_of, why_none
from zoo_metrics.images import Network, inception_network, timm_network
from zoo_metrics.rows import rows

FeatureName: TypeAlias = Annotated[str, Setting("pixels, classifier, timm:MODEL or inception")]
Weights: TypeAlias = Annotated[str, Setting("a local file of weights of timm:MODEL or inception; empty for none")]
Pretrained: TypeAlias = Annotated[bool, Setting("let timm download weights where no file is named")]

INCEPTION = "inception_v3"
"""What timm calls the network of `inception`."""


class Extractor:
    """Features of real and judged samples by name.

    Args:
        name: `pixels` is the samples as they are. `classifier` is the hidden layer of a small network that is trained
            on the labelled data set. `timm:MODEL` is the last stage of a backbone, averaged over the pixels.
            `inception` is the 2048 features of published Frechet distances (FID).
        weights: A local file of weights; for `timm:MODEL` and `inception` only.
        pretrained: Whether timm may download weights; without them its features are those of a random network.

    Raises:
        BadSetting: There are no such features, or they take no weights.
    """

    def __init__(self, name: str, weights: str = "", pretrained: bool = True) -> None:
        self.name, _, self.model = name.partition(":")
        fine = self.model if self.name == "timm" else name in ("pixels", "classifier", "inception")
        if not fine:
            raise BadSetting(f"features must be pixels, classifier, timm:MODEL or inception, not '{name}'.")
        if weights and self.name not in ("timm", "inception"):
            raise BadSetting(f"features '{name}' have no weights; take away weights='{weights}'.")
        self.weights = weights
        self.pretrained = pretrained

    def refuse(self, evidence: Evidence) -> None:
        """Finds out before a sample is made whether there will be features.

        Raises:
            IncompatibleParts: No images, or no labels.
            MissingPackage, BadData: A package or weights are missing.
        """
        if self.name == "classifier":
            reason = why_none(evidence.dataset)
            if reason:
                raise IncompatibleParts(f"the features of a classifier need labelled data, and {reason}.")
        elif self.name != "pixels":
            self._network(evidence)

    def flatters(self, evidence: Evidence) -> bool:
        """Whether the critic stands on the same model, with whichever weights."""
        backbone = evidence.backbone or {}
        model = str(backbone.get("model", "")).partition(".")[0]
        ours = {"timm": self.model, "inception": INCEPTION}.get(self.name, "").partition(".")[0]
        return backbone.get("name") == "timm" and bool(ours) and model == ours

    def features(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Features of the real and of the judged samples, float64 `(N, D)` and `(M, D)`."""
        self.refuse(evidence)
        extract = self._extract(evidence)
        return _finite(extract(evidence.real), self.name), _finite(extract(evidence.fake), self.name)

    def _extract(self, evidence: Evidence) -> Callable[[Sample], Tensor]:
        if self.name == "pixels":
            return rows
        if self.name == "classifier":
            classifier = classifier_of(evidence.dataset)
            return lambda sample: classifier.hidden(rows(sample))
        network = self._network(evidence)
        return lambda sample: network.features(sample.values)

    def _network(self, evidence: Evidence) -> Network:
        shape = tuple(evidence.shape)
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise IncompatibleParts(f"{self.name} looks at images of one or three channels, not at samples {shape}.")
        return _built(self.name, self.model, self.weights, self.pretrained, shape)


@functools.lru_cache(maxsize=2)
def _built(name: str, model: str, weights: str, pretrained: bool, shape: tuple[int, ...]) -> Network:
    """Networks are large and slow to build, and several metrics share one."""
    if name == "inception":
        return inception_network(weights)
    return timm_network(shape, model, weights, pretrained)


def _finite(features: Tensor, name: str) -> Tensor:
    if not bool(features.isfinite().all()):
        raise BadData(f"the features '{name}' of these samples are NaN or infinite; the samples are too large.")
    return features
