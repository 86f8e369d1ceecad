"""The kernel distance of features (Binkowski et al., 2018, arXiv 1801.01401)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

from torch import Tensor

from zoo import Draws, Evidence, Metric, Setting
from zoo_metrics.features import Extractor, FeatureName, Pretrained, Weights
from zoo_metrics.rows import blocks, own_draws


class Kid(Metric):
    """The squared maximum mean discrepancy with the kernel `(x.y / D + 1)^3`, unbiased: of equal distributions 0.

    It may be below 0. It sees the first three moments of the features, and with `features=inception` it is the KID.
    """

    figures: ClassVar = {"kid": "lower"}
    least = 4

    def __init__(
        self,
        *,
        features: FeatureName = "pixels",
        weights: Weights = "",
        pretrained: Pretrained = True,
        subset_size: Annotated[int | None, Setting("samples in a subset; none takes all at once", ge=2)] = None,
        subsets: Annotated[int, Setting("random subsets that are averaged, where a size is given", ge=1)] = 100,
    ) -> None:
        self.extractor = Extractor(features, weights, pretrained)
        self.subset_size = subset_size
        self.subsets = subsets

    def refuse(self, evidence: Evidence) -> None:
        """Raises IncompatibleParts for samples that the features are not for."""
        self.extractor.refuse(evidence)

    def flatters(self, evidence: Evidence) -> bool:
        """Whether the critic looked at these features."""
        return self.extractor.flatters(evidence)

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`kid`, over all samples or averaged over subsets; a subset is never larger than what there is."""
        real, fake = self.extractor.features(evidence)
        if self.subset_size is None:
            return {"kid": unbiased_mmd(real, fake, cubic)}
        draws = own_draws(evidence)
        size = min(self.subset_size, len(real), len(fake))
        values = [
            unbiased_mmd(_subset(real, size, draws), _subset(fake, size, draws), cubic) for _ in range(self.subsets)
        ]
        return {"kid": sum(values) / len(values)}


def cubic(one: Tensor, other: Tensor) -> Tensor:
    """`(x.y / D + 1)^3` for rows `(n, D)` and `(M, D)`, `(n, M)`."""
    return (one @ other.T / one.shape[1]).add_(1).pow_(3)


def unbiased_mmd(one: Tensor, other: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The unbiased estimate of the squared discrepancy of `(N, D)` and `(M, D)`; Gretton et al., 2012, eq. 3.

    A mean over pairs of different rows within each, less twice the mean over pairs between them.
    """
    n, m = len(one), len(other)
    within = _sum(one, one, kernel, diagonal=False) / (n * (n - 1))
    within += _sum(other, other, kernel, diagonal=False) / (m * (m - 1))
    return within - 2 * _sum(one, other, kernel) / (n * m)


def _sum(one: Tensor, other: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], *, diagonal: bool = True) -> float:
    total, start = 0.0, 0
    for block in blocks(one, len(other)):
        values = kernel(block, other)
        if not diagonal:
            values[:, start : start + len(block)].fill_diagonal_(0)
        total += values.sum().item()
        start += len(block)
    return total


def _subset(features: Tensor, size: int, draws: Draws) -> Tensor:
    return features[draws.randperm(len(features))[:size]]
