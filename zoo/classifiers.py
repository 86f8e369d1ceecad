"""What classifiers are: features of a backbone, and a head on them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from zoo.backbones import Backbone


class Classifier(nn.Module, ABC):
    """Says how likely each class is, as logits `(N, classes)`, from the features of a backbone.

    A subclass sets `backbone` and `head`, and defines `features`. It is found on the hook `network`, and given
    `shape`, `classes` and `backbone` as context.
    """

    backbone: Backbone
    head: nn.Module
    """From features `(N, F)` to logits `(N, classes)`."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Features `(N, F)` of images `(N, C, H, W)` in [-1, 1]; nothing in it but the backbone is trained."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, classes)` of images `(N, C, H, W)` in [-1, 1]."""
        logits: Tensor = self.head(self.features(images))
        return logits
