"""Timing of several loops side by side: interleaved in random order, medians of ratios within a round."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping

CONTROL = 0.03
"""How far the ratio of a loop to a copy of itself may be from 1 before everything measured beside it is void."""
Times = Mapping[str, list[float]]


def cpu_time(iterate: Callable[[], object], iterations: int = 1) -> float:
    """Process CPU seconds per iteration: a shared machine's wall clock means little."""
    start = time.process_time()
    for _ in range(iterations):
        iterate()
    return (time.process_time() - start) / iterations


def interleaved(
    loops: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[Callable[[], object]], float] = cpu_time
) -> dict[str, list[float]]:
    """Seconds per iteration of every loop in every round, each round in a random order.

    Python's garbage is collected between rounds and not while a loop runs.

    Args:
        loops: What is called for an iteration, by name.
        rounds: How often all of them are timed, after one time that does not count.
        clock: Runs a loop and says the seconds of one iteration.
    """
    for iterate in loops.values():
        clock(iterate)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        for name in random.sample(list(loops), len(loops)):
            times[name].append(clock(loops[name]))
        gc.enable()
    return times


def ratio(times: Times, over: str, under: str) -> float:
    """The median over rounds of one loop's time over another's."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))
