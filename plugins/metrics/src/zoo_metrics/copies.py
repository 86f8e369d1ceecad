"""Memorisation: whether samples lie nearer to training samples than fresh ones would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from zoo import BadData, Better, Dataset, Density, Evidence, IncompatibleParts, Metric, Setting

_NUMBERS_AT_ONCE = 4_000_000
"""Bounds the memory of distances: so many at a time."""


class Memorisation(Metric):
    """Nearest training samples of the judged ones, beside those that real samples have among themselves.

    The distance of a real sample to its nearest other one (left out itself) is what a held-out sample would have, as in
    the leave-one-out tests of Xu et al. (2018) and the tests for copying of Meehan et al. (2020):

    - `copies`: the share of judged samples that are as near to a training sample as the nearest `quantile` of real ones
      are, less the share of real ones. About 0 for fresh samples, -quantile where none is so near, up to 1 - quantile
      for a generator that only copies.
    - `neighbour-ratio`: the median distance of judged samples over that of real ones. About 1 for fresh samples; 0 for
      copies; above 1 for samples that are unlike the real ones, which this metric does not hold against them.

    The real samples of the evidence are taken for the training samples: they are all of them if as many samples are
    measured as the data set has, and otherwise copies of the others are not seen. Distances are Euclidean.
    """

    figures: ClassVar[Mapping[str, Better]] = {"copies": "lower", "neighbour-ratio": ""}
    least = 3

    def __init__(
        self,
        *,
        quantile: Annotated[float, Setting("share of real samples that count as too near", gt=0, lt=1)] = 0.01,
    ) -> None:
        self.quantile = quantile

    def refuse(self, evidence: Evidence) -> None:
        """Of a density every sample is new: there is nothing to copy."""
        if isinstance(evidence.dataset, Density):
            raise IncompatibleParts("a density has no training samples that could be copied.")
        if evidence.dataset is not None and evidence.dataset.source is not None and evidence.dataset.paired:
            raise IncompatibleParts("of images in pairs the real half is what is to be made of the other, and no copy.")

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """A copy is a failure that distances to the data do not see."""
        return {"": 0.6}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures. Raises BadData if most real samples have a twin."""
        real, fake = (sample.values.flatten(1).double() for sample in (evidence.real, evidence.fake))
        among, found = nearest(real), nearest(fake, real)
        usual = float(among.median())
        if usual == 0:
            raise BadData("most of the real samples are there twice, so that a copy does not differ from a new one.")
        # The higher of two neighbours, so that there is a real sample at the threshold.
        threshold = torch.quantile(among, self.quantile, interpolation="higher")
        expected = (among <= threshold).double().mean()
        return {
            "copies": float((found <= threshold).double().mean() - expected),
            "neighbour-ratio": float(found.median()) / usual,
        }


def nearest(points: Tensor, others: Tensor | None = None) -> Tensor:
    """The distance `(N,)` of each point to the nearest of `others`; without them to the nearest other point."""
    targets = points if others is None else others
    size = max(1, _NUMBERS_AT_ONCE // len(targets))
    # By differences: products of matrices have rounding errors as large as the distance to a copy.
    found = []
    for start in range(0, len(points), size):
        some = points[start : start + size]
        distances = torch.cdist(some, targets, compute_mode="donot_use_mm_for_euclid_dist")
        if others is None:
            distances[torch.arange(len(some)), torch.arange(start, start + len(some))] = torch.inf
        found.append(distances.min(1).values)
    return torch.cat(found)
