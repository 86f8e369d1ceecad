"""The Jensen-Shannon divergence by counting, which only one variable allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from zoo import BadSetting, Evidence, IncompatibleParts, Metric, Setting
from zoo_metrics.rows import dimensions, rows


class HistogramJs(Metric):
    """The Jensen-Shannon divergence of two histograms of one variable, in nats: 0 to log 2.

    Of equal distributions it is about `(bins - 1) / (4 N)`. Without `range` the bins reach from the smallest to the
    largest of both samples; what lies outside a given range counts in its outermost bins.
    """

    figures: ClassVar = {"js": "lower"}

    def __init__(
        self,
        *,
        bins: Annotated[int, Setting("equally wide bins", ge=2)] = 50,
        range: Annotated[Sequence[float] | None, Setting("their two ends; none is the samples' own")] = None,
    ) -> None:
        if range is not None and (len(range) != 2 or not range[0] < range[1]):
            raise BadSetting(f"histogram-js: range must be two numbers, the smaller one first, not {list(range)}.")
        self.bins = bins
        self.range = range

    def refuse(self, evidence: Evidence) -> None:
        """Raises IncompatibleParts for more than one variable, and says how many bins that would take."""
        count = dimensions(evidence)
        if count != 1:
            raise IncompatibleParts(
                f"a histogram of {count} variables would need {_power(self.bins, count)} bins, and with only two "
                f"a variable {_power(2, count)}; nearly all stay empty, and any two samples look disjoint. Use "
                "wasserstein or sliced-wasserstein, or the estimate of a critic that is trained for a neural distance."
            )

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """`js`."""
        self.refuse(evidence)
        real, fake = rows(evidence.real).flatten(), rows(evidence.fake).flatten()
        low, high = self.range or (min(real.min(), fake.min()).item(), max(real.max(), fake.max()).item())
        return {"js": jensen_shannon(*(shares(values, self.bins, low, high) for values in (real, fake)))}


def shares(values: Tensor, bins: int, low: float, high: float) -> Tensor:
    """The share of values `(N,)` in each bin, `(bins,)`; those outside count in the outermost."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    return torch.histc(values.clamp(low, high), bins, low, high) / len(values)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """`(KL(p, m) + KL(q, m)) / 2` with `m = (p + q) / 2`, in nats."""
    middle = (p + q) / 2
    total = sum(float(torch.special.xlogy(each, each / middle.clamp(min=1e-300)).sum()) for each in (p, q))
    return max(0.0, total / 2)


def _power(base: int, exponent: int) -> str:
    digits = exponent * math.log10(base)
    return f"{base}^{exponent} = {base**exponent}" if digits < 6 else f"{base}^{exponent} (about 10^{digits:.0f})"
