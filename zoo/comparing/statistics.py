"""What a comparison comes to in figures: each contender's runs summed up, and who beats whom how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from zoo.comparing.resampling import Numbers, chance, mean_interval, superiority, superiority_interval
from zoo.comparing.results import Cell, Comparison, Scale

SURE = 0.05
"""The greatest probability of a claim where nothing differs."""


@dataclass(frozen=True)
class Summary:
    """One figure over a contender's seeds; None where too few runs have finished.

    Attributes:
        label: The contender's.
        runs: How many runs there are, those that failed included.
        failures: How many of them failed, or have a figure that is not finite.
        mean: Of the runs that finished, as all that follows is.
        std: Standard deviation, of n - 1; of two runs or more.
        median: Half of the runs are below it.
        low: Lower end of the 95% bootstrap interval of the mean; of two runs or more.
        high: Upper end.
        best: The best run; None for a figure that only describes.
        best_seed: Its seed.
        worst: The worst run that finished.
        worst_seed: Its seed.
    """

    label: str
    runs: int
    failures: int
    mean: float | None = None
    std: float | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None
    best: float | None = None
    best_seed: int | None = None
    worst: float | None = None
    worst_seed: int | None = None


@dataclass(frozen=True)
class Odds:
    """How surely a run of one contender beats a run of another.

    Attributes:
        probability: Over all pairs of runs; ties count half.
        low: Lower end of its 95% bootstrap interval over seeds; 0 where a side has one run.
        high: Upper end; 1 where a side has one run.
        chance: How probable so uneven odds, or more, are between contenders that are alike; a permutation test.
    """

    probability: float
    low: float
    high: float
    chance: float

    def reversed(self) -> Odds:
        """The same from the other side."""
        return Odds(1 - self.probability, 1 - self.high, 1 - self.low, self.chance)

    def decided(self, pairs: int) -> bool:
        """Whether one is better: the interval leaves 1/2 out, and chance does not explain it, of so many pairs."""
        return not self.low <= 0.5 <= self.high and self.chance * pairs <= SURE


def summaries(comparison: Comparison, key: str) -> list[Summary]:
    """A figure of each contender summed up over its seeds, in the contenders' order."""
    return [_summary(comparison, contender.label, key) for contender in comparison.contenders]


def _summary(comparison: Comparison, label: str, key: str) -> Summary:
    cells = comparison.of(label)
    failures = sum(_failed(cell, key) for cell in cells)
    seeds = {cell.seed: cell.figures[key] for cell in cells if key in cell.figures and not _failed(cell, key)}
    if not seeds:
        return Summary(label, len(cells), failures)
    values = np.array(list(seeds.values()), dtype=np.float64)
    low, high = mean_interval(values) or (None, None)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    middle = (float(values.mean()), std, float(np.median(values)), low, high)
    return Summary(label, len(cells), failures, *middle, *_ends(seeds, comparison.scales[key]))


def _ends(seeds: dict[int, float], scale: Scale) -> tuple[float, int, float, int] | tuple[()]:
    """The best run and the worst, each with its seed; the first of equal ones."""
    if not scale.better:
        return ()
    order = sorted(seeds, key=lambda seed: seeds[seed], reverse=scale.better == "higher")
    return seeds[order[0]], order[0], seeds[order[-1]], order[-1]


def _failed(cell: Cell, key: str) -> bool:
    return cell.state == "failed" or not math.isfinite(cell.figures.get(key, 0.0))


def beats(comparison: Comparison, key: str) -> dict[tuple[str, str], Odds]:
    """How surely a run of one contender beats a run of another, by both labels.

    A run that failed loses to one that finished; two that failed are even. A pair is left out where one has no run,
    and a run that the figure was not asked of does not count; all are left out for a figure that only describes.
    """
    runs = {label: found for label, found in _goodness(comparison, key).items() if len(found)}
    once = {pair: _odds(runs[pair[0]], runs[pair[1]]) for pair in combinations(runs, 2)}
    return {pair: once[pair] if pair in once else once[pair[::-1]].reversed() for pair in permutations(runs, 2)}


def _odds(ours: Numbers, theirs: Numbers) -> Odds:
    return Odds(float(superiority(ours, theirs)), *superiority_interval(ours, theirs), chance(ours, theirs))


def _goodness(comparison: Comparison, key: str) -> dict[str, Numbers]:
    """A contender's runs, greater being better; minus infinity for one that failed."""
    better = comparison.scales[key].better
    sign = {"higher": 1.0, "lower": -1.0}.get(better)
    if sign is None:
        return {}
    return {
        contender.label: np.array(
            [
                -math.inf if _failed(cell, key) else sign * cell.figures[key]
                for cell in comparison.of(contender.label)
                if _failed(cell, key) or key in cell.figures
            ]
        )
        for contender in comparison.contenders
    }


def missing(comparison: Comparison) -> dict[str, list[int]]:
    """The seeds whose runs are not there yet, by contender; of one that was trained before, all if it has no run."""
    made = {label: {cell.seed for cell in comparison.of(label)} for label in (e.label for e in comparison.contenders)}
    gaps = {
        each.label: [seed for seed in comparison.seeds if seed not in made[each.label]]
        for each in comparison.contenders
        if each.run is None or not made[each.label]
    }
    return {label: seeds for label, seeds in gaps.items() if seeds}


@dataclass(frozen=True)
class Ranking:
    """Who leads by a figure, and how surely.

    Attributes:
        order: The contenders that have runs, by their odds against the others on average, the best first.
        odds: The leader's odds against each of the others.
        pairs: How many pairs of contenders there are: with more of them, chance makes more differ.
    """

    order: tuple[str, ...]
    odds: dict[str, Odds]
    pairs: int

    @property
    def leader(self) -> str:
        """The first of the order."""
        return self.order[0]

    @property
    def open(self) -> list[str]:
        """The others that the leader cannot be told apart from, in order."""
        return [label for label in self.order[1:] if not self.odds[label].decided(self.pairs)]

    @property
    def closest(self) -> str:
        """The one that the leader is least surely better than: the one of the least odds, an open one before others."""
        return min(self.open or self.order[1:], key=lambda label: self.odds[label].probability)


def ranking(odds: Mapping[tuple[str, str], Odds]) -> Ranking | None:
    """Who leads by the odds that `beats` gives; None where there are none."""
    labels = list(dict.fromkeys(ours for ours, _ in odds))
    if not labels:
        return None
    total = {label: sum(each.probability for (ours, _), each in odds.items() if ours == label) for label in labels}
    order = tuple(sorted(labels, key=lambda label: -total[label]))
    against = {label: odds[order[0], label] for label in order[1:]}
    return Ranking(order, against, len(odds) // 2)
