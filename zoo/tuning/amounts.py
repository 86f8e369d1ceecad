"""What a transfer study comes to: accuracy by way and number of samples, and where training from scratch catches up."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

from zoo.comparing.place import missing
from zoo.comparing.results import Comparison
from zoo.comparing.statistics import Summary, summaries
from zoo.writing import write_whole

ALL = 0
"""The number of shots that stands for all."""
SCRATCH = "scratch"
KEY = "accuracy"
PLOT, TABLE = "transfer.png", "transfer.json"

Curve: TypeAlias = Sequence[tuple[float, float]]
Bound: TypeAlias = Literal["", "at most", "more than"]


@dataclass(frozen=True)
class Amount:
    """The accuracy of one way of tuning on one number of samples.

    Attributes:
        way: The way.
        shots: How many labelled samples of each class, or `all`.
        per_class: How many that are; of `all` the mean over classes.
        runs: How many runs there are, those that failed included.
        failures: How many failed.
        mean: Of the runs that finished; None if none did.
        low: Lower end of the 95% bootstrap interval of the mean over seeds; None of fewer than two.
        high: Upper end.
        seeds: The accuracy by seed.
    """

    way: str
    shots: str
    per_class: float
    runs: int
    failures: int
    mean: float | None
    low: float | None
    high: float | None
    seeds: Mapping[int, float]


@dataclass(frozen=True)
class CatchUp:
    """How many samples of each class training from scratch needs to be as good as a way of tuning is with some.

    Attributes:
        way: The way.
        shots: What it has, or `all`.
        gain: Its mean accuracy less that from scratch on as many samples.
        samples: What scratch needs, interpolated in the logarithm; the end of its curve where there is a bound.
        bound: `at most`: its fewest samples are enough. `more than`: its most are not.
        overlaps: Whether the intervals of both overlap at that number of shots; None without intervals.
    """

    way: str
    shots: str
    gain: float
    samples: float
    bound: Bound
    overlaps: bool | None


@dataclass(frozen=True)
class Study:
    """A transfer study.

    Attributes:
        dataset: What was tuned to.
        seeds: The seeds.
        steps: Iterations of each run.
        tested: How many samples the accuracy is of.
        amounts: By way and number of shots.
        catch_ups: The same without `scratch`; empty where it is not studied.
        missing: How many runs are still to be made.
        failures: What went wrong, by run.
    """

    dataset: str
    seeds: tuple[int, ...]
    steps: int
    tested: int
    amounts: tuple[Amount, ...]
    catch_ups: tuple[CatchUp, ...]
    missing: int
    failures: Mapping[str, str]

    def of(self, way: str) -> list[Amount]:
        """A way's amounts, by number of samples."""
        return sorted((each for each in self.amounts if each.way == way), key=lambda each: each.per_class)

    @property
    def ways(self) -> list[str]:
        """The ways, in order."""
        return list(dict.fromkeys(each.way for each in self.amounts))

    @property
    def shots(self) -> list[str]:
        """The numbers of shots, ascending."""
        ordered = sorted(self.amounts, key=lambda each: each.per_class)
        return list(dict.fromkeys(each.shots for each in ordered))


def label_of(way: str, shots: int) -> str:
    """What the runs of a way with so many shots are called: `head-5shots`."""
    return f"{way}-{shots if shots != ALL else 'all'}shots"


def study_of(comparison: Comparison, per_class: float) -> Study:
    """A study from what its runs came to.

    Args:
        comparison: Its contenders are called as `label_of` says.
        per_class: How many samples a class has in all to train on, on average.
    """
    amounts = tuple(_amount(comparison, each, per_class) for each in summaries(comparison, KEY))
    return Study(
        dataset=comparison.dataset,
        seeds=comparison.seeds,
        steps=int(comparison.budget.amount),
        tested=comparison.samples,
        amounts=amounts,
        catch_ups=tuple(catch_ups(amounts)),
        missing=len(list(missing(comparison))),
        failures={f"{c.contender}, seed {c.seed}": c.error for c in comparison.cells if c.state == "failed"},
    )


def _amount(comparison: Comparison, summary: Summary, per_class: float) -> Amount:
    way, _, shots = summary.label.removesuffix("shots").rpartition("-")
    seeds = {cell.seed: cell.figures[KEY] for cell in comparison.of(summary.label) if KEY in cell.figures}
    count = per_class if shots == "all" else float(shots)
    return Amount(way, shots, count, summary.runs, summary.failures, summary.mean, summary.low, summary.high, seeds)


def catch_ups(amounts: Sequence[Amount]) -> list[CatchUp]:
    """Where scratch catches up with each way at each number of shots at which both have been measured."""
    scratch = {each.shots: each for each in amounts if each.way == SCRATCH and each.mean is not None}
    curve = sorted((each.per_class, each.mean) for each in scratch.values() if each.mean is not None)
    return [
        CatchUp(
            each.way, each.shots, each.mean - (same.mean or 0.0), *caught_up(curve, each.mean), _overlap(each, same)
        )
        for each in amounts
        if each.way != SCRATCH and each.mean is not None and (same := scratch.get(each.shots)) is not None
    ]


def caught_up(curve: Curve, target: float) -> tuple[float, Bound]:
    """The least number of samples at which a curve reaches a target, straight between its points in log samples.

    Args:
        curve: Numbers of samples, ascending, each with the mean accuracy.
        target: The accuracy to reach.

    Examples:
        >>> caught_up([(1, 0.25), (100, 0.75)], 0.5)
        (10.0, '')
        >>> caught_up([(1, 0.5), (100, 0.9)], 0.95)
        (100, 'more than')
    """
    if curve[0][1] >= target:
        return curve[0][0], "at most"
    for (before, low), (after, high) in pairwise(curve):
        if high >= target:
            return before * (after / before) ** ((target - low) / (high - low)), ""
    return curve[-1][0], "more than"


def _overlap(one: Amount, other: Amount) -> bool | None:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return max(one.low, other.low) <= min(one.high, other.high)


def write_study(study: Study, folder: Path) -> None:
    """Writes `transfer.json` and `transfer.png`. Raises SaveFailed."""
    from zoo.tuning.transfer_picture import save_transfer

    write_whole(folder / TABLE, json.dumps(asdict(study), indent=1).encode())
    if any(each.mean is not None and math.isfinite(each.mean) for each in study.amounts):
        save_transfer(folder / PLOT, study)
