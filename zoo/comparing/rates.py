"""How fast contenders train here, and so how many steps fit into a budget of time."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from zoo.api import compose_table
from zoo.comparing.cell import Shared
from zoo.comparing.jobs import Executor
from zoo.comparing.results import Contender
from zoo.devices import seeded
from zoo.errors import Diverged
from zoo.recipe import normalized
from zoo.trainer import Trainer

WARM = 3
"""Iterations that are not timed: the first ones choose kernels and fill caches."""
ROUNDS = 3
"""All are timed in turn, so often: what else the machine does then slows none of them alone."""
SHARE, LEAST, MOST = 0.02, 0.1, 3.0
"""The time that a contender is timed for in a round: a share of its budget, with bounds in seconds."""


@dataclass(frozen=True)
class RateTask:
    """A contender to be timed, in whichever process."""

    shared: Shared
    contender: Contender
    number: int
    seconds: float

    @property
    def name(self) -> str:
        """What its notes are called."""
        return f"{self.contender.label}-rate{self.number}"

    def __call__(self) -> float | str | None:
        """Iterations per second; why there are none; None if it was interrupted."""
        try:
            with self.shared.prepared():
                return self._rate()
        except KeyboardInterrupt:
            return None
        except (Exception, SystemExit) as error:
            return self.failed(str(error) or type(error).__name__)

    def failed(self, reason: str) -> str:
        """Why it has no rate."""
        return f"its speed could not be measured: {reason}"

    def _rate(self) -> float:
        train = {**self.contender.table["train"], "steps": 10**9, "seed": 0}
        trainer = Trainer(
            compose_table(normalized({**self.contender.table, "train": train}), device=self.shared.device)
        )
        with seeded(0, "training"):
            _iterate(trainer, WARM)
            done, begun = 0, time.monotonic()
            while (taken := time.monotonic() - begun) < self.seconds:
                done += _iterate(trainer, max(1, done // 4))
        trainer.release()
        return done / taken


def _iterate(trainer: Trainer, count: int) -> int:
    for _ in range(count):
        trainer.iterate()
    with contextlib.suppress(Diverged):  # That is for the run to say; here it waits for the device.
        trainer.flush()
    return count


def rates(
    contenders: Sequence[Contender], shared: Shared, budget: float, executor: Executor, rounds: int = ROUNDS
) -> dict[str, float | str]:
    """Iterations per second of each contender, or why it has none; fewer if the user wants an end.

    As many are timed at once as will be trained at once, so that they are in each other's way alike. The median of
    several rounds counts.
    """
    seconds = min(max(SHARE * budget, LEAST), MOST)
    turns = itertools.islice(itertools.cycle(contenders), _turns(len(contenders), executor.jobs, rounds))
    tasks = [RateTask(shared, contender, number, seconds) for number, contender in enumerate(turns)]
    found: dict[str, list[float | str]] = {}
    for task, rate in executor.results(tasks):
        found.setdefault(task.contender.label, []).append(rate)
    return {label: _median(values) for label, values in found.items()}


def _turns(contenders: int, jobs: int, rounds: int) -> int:
    """How many are timed in all, so that as many are at it to the end."""
    return -(-contenders * rounds // jobs) * jobs if contenders else 0


def _median(values: Sequence[float | str]) -> float | str:
    wrong = next((value for value in values if isinstance(value, str)), None)
    return median(value for value in values if not isinstance(value, str)) if wrong is None else wrong
