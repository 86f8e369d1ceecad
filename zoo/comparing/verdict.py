"""What a comparison comes to in sentences: which contender to choose, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from zoo.comparing.resampling import least_chance
from zoo.comparing.results import Comparison, Scale
from zoo.comparing.scales import at_floor, number, times_floor, title
from zoo.comparing.statistics import SURE, Odds, Ranking, Summary, beats, missing, ranking, summaries

WORDS = ((0.95, "almost always"), (0.71, "usually"), (0.5, "more often than not"))
"""What decided odds are called, from which probability on; 0.71 is Vargha and Delaney's large effect (2000)."""
MUCH_LONGER = 1.25
"""From which ratio on the seconds of two contenders are worth a sentence."""
AGAINST = {"almost always": "almost never", "usually": "seldom", "more often than not": "less often than not"}
"""The same of the contender that is worse."""


@dataclass(frozen=True)
class Judgement:
    """An answer with its reasons.

    Attributes:
        answer: Which contender to choose, or that the runs do not tell.
        figure: The leader's figure beside its floor; without a leader, that of each contender.
        odds: The leader's odds against the others; empty without a leader, as the next are.
        surety: What chance would do, and how many seeds are needed.
        rest: Failures, and what is missing.
    """

    answer: str
    figure: tuple[str, ...] = ()
    odds: tuple[str, ...] = ()
    surety: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


def verdict(comparison: Comparison) -> str:
    """Which contender to choose by the main figure, and how sure that is, for a newcomer.

    No winner is named unless its odds against every other contender are decided (`Odds.decided`).
    """
    judgement = judge(comparison)
    return " ".join([judgement.answer, *judgement.figure, *judgement.odds, *judgement.surety, *judgement.rest])


def judge(comparison: Comparison, odds: Mapping[tuple[str, str], Odds] | None = None) -> Judgement:
    """The verdict in parts, from the main figure's odds if these are known already."""
    key, scale = next(iter(comparison.scales.items()))
    sums = {each.label: each for each in summaries(comparison, key)}
    found = ranking(beats(comparison, key) if odds is None else odds)
    rest = (*_failures(list(sums.values())), *_gaps(comparison), *_unequal_times(comparison), *_notes(comparison))
    if found is None or sums[found.leader].mean is None:
        figures = [_figure(each, scale) for each in sums.values() if each.mean is not None]
        return Judgement(_nothing_to_tell(list(sums.values()), scale), tuple(figures), rest=rest)
    figure = _figure(sums[found.leader], scale)
    surety = (*_chance(found), *_seeds(found, sums))
    return Judgement(_answer(found, sums, scale), (figure,), tuple(_odds(found)), surety, rest)


def _nothing_to_tell(sums: Sequence[Summary], scale: Scale) -> str:
    made = [each for each in sums if each.runs]
    if not made:
        return "No run has been made yet."
    if all(each.mean is None for each in made):
        return "No run has finished, so that no contender can be recommended."
    if not scale.better:
        return f"{title(scale)} only describes: no contender is better by it. Ask for a figure that has a better side."
    return f"There is nothing to choose from: only {made[0].label} has runs."


def _answer(found: Ranking, sums: dict[str, Summary], scale: Scale) -> str:
    leader, by = found.leader, title(scale)
    if not found.open:
        others = found.closest if len(found.order) == 2 else "every other contender"
        return f"Choose {leader}: by {by} it is better than {others}, and chance does not explain it."
    if _too_few(found, sums):
        seeds = _seeds_each(found, sums)
        return f"Too few seeds to tell: {leader} came out best by {by}, but with {seeds} each that may be luck."
    return f"No winner: by {by} these runs do not tell {listed([leader, *found.open])} apart. {leader} came out ahead."


def _figure(summary: Summary, scale: Scale) -> str:
    assert summary.median is not None
    finished = summary.runs - summary.failures
    over = f"over {finished} seeds" if finished > 1 else "with its one seed"
    direction = f" ({scale.better} is better)" if scale.better else ""
    ours = f"By {title(scale)}{direction} {summary.label} has a median of {number(summary.median)} {over}"
    return f"{ours}{beside_floor(summary.median, scale)}."


def beside_floor(value: float, scale: Scale) -> str:
    """How a figure stands to its floor, to follow it in a sentence; empty without a floor."""
    if scale.floor is None:
        return ""
    ratio, floor = times_floor(value, scale), f"the floor of {number(scale.floor)} that real samples have"
    if at_floor(value, scale):
        return f", which is at {floor} among themselves: as good as this figure can tell"
    if ratio is None:
        return f"; {floor} among themselves is 0 as far as its spread of {scale.spread or 0.0:.2g} tells"
    return f", {ratio:.2g} times {floor} among themselves"


def _odds(found: Ranking) -> Iterator[str]:
    leader, closest = found.leader, found.closest
    odds = found.odds[closest]
    share, interval = percent(odds.probability), f" (95% interval {percent(odds.low)} to {percent(odds.high)})"
    # Where every pair says the same, resampling says so too, which would look like certainty.
    interval = "" if odds.low == odds.high else interval
    yield (
        f"A run of {leader} beats a run of {closest} in {share} of all pairs of seeds{interval}: "
        f"{word(odds, found.pairs)}."
    )
    others = sorted(each.probability for label, each in found.odds.items() if label != closest)
    if others:
        who = "others" if len(others) > 1 else "other"
        yield f"Against the {who} that is {span(percent(others[0]), percent(others[-1]))}."
    if better := [label for label in found.odds if found.open and label not in found.open]:
        yield f"It is surely better than {listed(better)}."


def _chance(found: Ranking) -> Iterator[str]:
    leader, closest = found.leader, found.closest
    if (likely := found.odds[closest].chance * found.pairs) < 1:
        yield (
            f"If the contenders were in truth alike, a difference as great as that between {leader} and {closest} "
            f"would come about with a probability of at most {percent(likely)}."
        )


def _seeds(found: Ranking, sums: dict[str, Summary]) -> Iterator[str]:
    if _too_few(found, sums):
        yield (
            f"With {_seeds_each(found, sums)} each, even one that wins every pair cannot be told from a lucky one: "
            f"{fewest_seeds(len(found.order))} seeds each are the least that can decide between {len(found.order)} "
            "contenders."
        )


def fewest_seeds(contenders: int) -> int:
    """The least number of seeds of each that can decide between two contenders or more.

    Examples:
        >>> [fewest_seeds(n) for n in (2, 3, 4, 5)]
        [4, 5, 5, 6]
    """
    pairs = math.comb(contenders, 2)
    return next(n for n in count(2) if least_chance(n, n) * pairs <= SURE)


def _seeds_each(found: Ranking, sums: dict[str, Summary]) -> str:
    runs = min(sums[found.leader].runs, sums[found.closest].runs)
    return f"{runs} seeds" if runs > 1 else "one seed"


def _too_few(found: Ranking, sums: dict[str, Summary]) -> bool:
    """Whether the leader and the closest one could not be told apart whatever their runs had been."""
    runs = (sums[found.leader].runs, sums[found.closest].runs)
    return bool(found.open) and (min(runs) < 2 or least_chance(*runs) * found.pairs > SURE)


def _failures(sums: Sequence[Summary]) -> Iterator[str]:
    failed = [f"{each.label} in {each.failures} of {each.runs} runs" for each in sums if each.failures]
    if failed:
        yield f"Failed: {listed(failed)}; a run that failed loses to every run that finished."
    elif any(each.runs for each in sums):
        yield "No run failed."


def _gaps(comparison: Comparison) -> Iterator[str]:
    if gaps := sum(len(seeds) for seeds in missing(comparison).values()):
        yield f"The comparison is not finished: {gaps} run{'s are' if gaps > 1 else ' is'} still to be made."


def _unequal_times(comparison: Comparison) -> Iterator[str]:
    """A difference in time that the reader should know of: more seconds may be why a contender is better."""
    seconds = {
        contender.label: statistics.median(cell.points[-1].seconds for cell in finished)
        for contender in comparison.contenders
        if (finished := [c for c in comparison.of(contender.label) if c.state == "finished" and c.points])
    }
    if not seconds:
        return
    fast, slow = min(seconds, key=seconds.__getitem__), max(seconds, key=seconds.__getitem__)
    if seconds[slow] > MUCH_LONGER * seconds[fast]:
        yield f"They did not train equally long: {fast} {seconds[fast]:.3g} s a run, {slow} {seconds[slow]:.3g} s."


def _notes(comparison: Comparison) -> Iterator[str]:
    yield from (f"{note.rstrip('.')}." for note in comparison.notes)


def word(odds: Odds, pairs: int) -> str:
    """Odds in words: how often one beats the other, or that it is undecided."""
    if not odds.decided(pairs):
        return "undecided"
    likely = max(odds.probability, 1 - odds.probability)
    said = next(said for least, said in WORDS if likely >= least)
    return said if odds.probability > 0.5 else AGAINST[said]


def percent(share: float) -> str:
    """A share in percent; with a decimal where it is near 0% or 100%, which it is called only if it is."""
    if 0 < share < 0.001:
        return "less than 0.1%"
    if 0.99 < share < 1:
        return f"{min(share, 0.999):.1%}"
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def span(low: str, high: str) -> str:
    """From one to the other, or one if they are the same."""
    return low if low == high else f"{low} to {high}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
