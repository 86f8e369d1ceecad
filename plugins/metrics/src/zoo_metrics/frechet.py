"""The Frechet distance between Gaussians fitted to features (Heusel et al., 2017, arXiv 1706.08500)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from zoo import Dataset, Evidence, Metric
from zoo_metrics.classifier import why_none
from zoo_metrics.features import Extractor, FeatureName, Pretrained, Weights


class Frechet(Metric):
    """`|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2))`, of features' means and covariances (with N - 1), 0 and above.

    That is the squared 2-Wasserstein distance of the two Gaussians. With `features=inception` it is the FID.

    It is biased upwards, the more the fewer samples there are; compare figures of equally many only. With fewer
    samples than features the covariances are singular, which makes no difference here.
    """

    figures: ClassVar = {"frechet": "lower"}
    least = 4

    def __init__(
        self, *, features: FeatureName = "pixels", weights: Weights = "", pretrained: Pretrained = True
    ) -> None:
        self.extractor = Extractor(features, weights, pretrained)

    def refuse(self, evidence: Evidence) -> None:
        """Raises IncompatibleParts for samples that the features are not for."""
        self.extractor.refuse(evidence)

    def flatters(self, evidence: Evidence) -> bool:
        """Whether the critic looked at these features."""
        return self.extractor.flatters(evidence)

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """In a classifier's features it tells most where there are labels."""
        return {} if why_none(dataset) else {"classifier": 0.9}

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`frechet`."""
        return {"frechet": frechet_distance(*self.extractor.features(evidence))}


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The squared Frechet distance of features `(N, D)` and `(M, D)`.

    With centred features `A` and `B` over `sqrt(N - 1)` the covariances are `A'A` and `B'B`, and the trace of
    `sqrt(A'A B'B)` is the sum of the singular values of `A B'`. Unlike roots of the eigenvalues of the covariances'
    product, these lose no digits where a covariance is singular. `A` may be replaced by the R of its QR decomposition.
    """
    difference = one.mean(0) - other.mean(0)
    first, second = _root(one), _root(other)
    roots = torch.linalg.svdvals(first @ second.T).sum()
    total = difference @ difference + first.square().sum() + second.square().sum() - 2 * roots
    return max(0.0, float(total))


def _root(features: Tensor) -> Tensor:
    """A matrix R `(min(N, D), D)` with `R'R` the covariance."""
    centred = (features - features.mean(0)) / math.sqrt(len(features) - 1)
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root
