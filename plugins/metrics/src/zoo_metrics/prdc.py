"""Precision, recall (Kynkaanniemi et al., 2019, 1904.06991), density and coverage (Naeem et al., 2020, 2002.09797)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from zoo import BadData, Dataset, Evidence, Metric, Setting
from zoo_metrics.features import Extractor, FeatureName, Pretrained, Weights
from zoo_metrics.rows import ROUNDING, distances


class Prdc(Metric):
    """Who lies in whose ball. The ball of a sample reaches to its k-th nearest neighbour among its own kind, edge
    included.

    - `precision`: the share of judged samples in any real ball.
    - `recall`: the share of real samples in any judged ball.
    - `density`: how many real balls a judged sample is in, over k; it may exceed 1.
    - `coverage`: the share of real balls that hold a judged sample.
    """

    figures: ClassVar = {"coverage": "higher", "density": "higher", "precision": "higher", "recall": "higher"}

    def __init__(
        self,
        *,
        features: FeatureName = "pixels",
        weights: Weights = "",
        pretrained: Pretrained = True,
        k: Annotated[int, Setting("the neighbour that a ball reaches to", ge=1)] = 5,
    ) -> None:
        self.extractor = Extractor(features, weights, pretrained)
        self.k = k
        self.least = 2 * (k + 1)  # The floor is measured between halves.

    def refuse(self, evidence: Evidence) -> None:
        """Raises IncompatibleParts for samples that the features are not for."""
        self.extractor.refuse(evidence)

    def flatters(self, evidence: Evidence) -> bool:
        """Whether the critic looked at these features."""
        return self.extractor.flatters(evidence)

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """Of points a distance tells more."""
        return {"": 0.8 if dataset.kind == "image" else 0.4}

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """The four figures. Raises BadData if a sample has no k-th neighbour."""
        real, fake = self.extractor.features(evidence)
        fewest = min(len(real), len(fake))
        if self.k >= fewest:
            raise BadData(f"prdc: there is no neighbour number {self.k} among {fewest} samples; choose a smaller k.")
        return balls(real, fake, self.k)


def balls(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """The figures of features `(N, D)` and `(M, D)`."""
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    pairs = covered = recalled = start = 0
    for block in distances(real, fake):
        inside = block <= real_radii[start : start + len(block), None]
        precise |= inside.any(0)
        pairs += int(inside.sum())
        covered += int(inside.any(1).sum())
        recalled += int((block <= fake_radii).any(1).sum())
        start += len(block)
    return {
        "coverage": covered / len(real),
        "density": pairs / (k * len(fake)),
        "precision": precise.double().mean().item(),
        "recall": recalled / len(real),
    }


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance of each row to its k-th nearest other row, `(N,)`; its own, 0, is the smallest of all.

    They are a little longer than that, so that what lies on a ball's edge is in it whatever the rounding.
    """
    radii = torch.cat([block.kthvalue(k + 1, dim=1).values for block in distances(points, points)])
    radii += ROUNDING * torch.linalg.vector_norm(points - points.mean(0), dim=1)
    return radii
