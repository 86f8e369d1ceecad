"""Statistics of a few numbers: bootstrap intervals, the odds that one side beats the other, and what chance would do.

Here greater is better, and minus infinity is a run that failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
"""How much of the resamples an interval holds."""
RESAMPLES = 9999
"""How often is resampled; all permutations are gone through where there are no more."""


def superiority(first: Numbers, second: Numbers, axis: int = -1) -> Any:
    """The probability that one of the first is greater than one of the second, over all pairs; ties count half.

    McGraw and Wong's common-language effect size (1992), Vargha and Delaney's A (2000, eq. 1), Mann and Whitney's
    U / nm (1947).

    Args:
        first: `(..., n)`.
        second: `(..., m)`, the same leading sizes.
        axis: The last one; SciPy names it.

    Returns:
        `(...)`, in [0, 1].

    Examples:
        >>> superiority(np.array([3.0, 2.0]), np.array([2.0, 1.0])).item()
        0.875
    """
    ours, theirs = np.expand_dims(first, -1), np.expand_dims(second, -2)
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean((-2, -1))


def mean_interval(values: Numbers) -> tuple[float, float] | None:
    """Percentile bootstrap interval (Efron, 1979) of the mean of `(n,)` finite values; None of fewer than two."""
    return _bootstrap((values,), np.mean) if len(values) > 1 else None


def superiority_interval(first: Numbers, second: Numbers) -> tuple[float, float]:
    """Percentile bootstrap interval of `superiority` of `(n,)` and `(m,)`; all of [0, 1] where a side has one value."""
    return _bootstrap((first, second), superiority) if min(len(first), len(second)) > 1 else (0.0, 1.0)


def _bootstrap(samples: tuple[Numbers, ...], statistic: Callable[..., Any]) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def chance(first: Numbers, second: Numbers) -> float:
    """How probable `superiority` so far from 1/2, or further, is if both sides are alike: a two-sided permutation test.

    Exact where there are no more than `RESAMPLES` ways to deal the values out; 1 where a side has one value.
    """
    from scipy.stats import rankdata

    if min(len(first), len(second)) < 2:
        return 1.0
    ranks = rankdata(np.concatenate([first, second]))  # Superiority is linear in the sum of the first side's ranks.
    ours, sums = ranks[: len(first)].sum(), _rank_sums(ranks, len(first))
    return min(1.0, 2 * float(min((sums <= ours).mean(), (sums >= ours).mean())))


def _rank_sums(ranks: Numbers, n: int) -> Numbers:
    """The sums of `n` of the ranks, over all ways to choose them, or over many at random and the first `n`."""
    if math.comb(len(ranks), n) <= RESAMPLES:
        chosen = ranks[np.array(list(combinations(range(len(ranks)), n)))]
    else:
        dealt = np.random.default_rng(0).permuted(np.tile(ranks, (RESAMPLES, 1)), axis=1)
        chosen = np.vstack([dealt, ranks])[:, :n]
    return np.asarray(chosen.sum(1))


def least_chance(n: int, m: int) -> float:
    """The least that `chance` can be for `n` and `m` values: every one of the first greater than all of the second.

    Examples:
        >>> least_chance(3, 3)
        0.1
    """
    return min(1.0, 2 / math.comb(n + m, n))
