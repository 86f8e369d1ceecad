"""The trainer's iteration against the common public style, against the best hand-written loop, and against peers.

Usage: python benchmarks/step.py [--case NAME ...] [--rounds N] [--peers FOLDER] [--json FILE]

The same networks, sizes and mathematics in every loop (benchmarks/cases.py); bf16 differs in its arithmetic only. An
iteration is 5 critic steps of 256 points (mlp), 2 of 64 images (dcgan-32) or 1 (resnet-32), and a generator step. Times
are CPU time of the process on one thread, all loops interleaved in random order, medians over rounds of ratios within a
round. The control is the hand-written loop against a second copy of itself; if it is off by more than 3%, the case is
void. `--peers FOLDER` makes an environment there with torchgan and torch-mimicry, if there is none yet, and measures
them as well; what had to be patched is printed (benchmarks/peers.py). The exit code is 1 if a goal was missed or a case
is void.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cases import CASES, Case, handwritten, naive, ours
from counting import counted, matmul_peak
from peers import measured
from rounds import CONTROL, Times, cpu_time, interleaved, ratio

from zoo.trainer import Trainer

ON_CPU = ("mlp", "dcgan-32", "resnet-32")
ITERATIONS = {"mlp": 3}
FLAVOURS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp32 channels_last": {"channels_last": True},
    "bf16": {"precision": "bf16"},
    "bf16 channels_last": {"precision": "bf16", "channels_last": True},
}
LOW_GOALS = {"mlp": 2.5, "dcgan-32": 2.2, "resnet-32": 3.0}
EXACT_GOAL, OVERHEAD_GOAL = 1.15, 1.05


@dataclass(frozen=True)
class Goal:
    """A ratio that is aimed at.

    Attributes:
        what: Of what to what.
        value: As measured.
        bound: What it should be at least, or at most.
        at_most: Whether the bound is from above.
    """

    what: str
    value: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def line(self, void: bool) -> str:
        """The goal with what became of it."""
        sign, verdict = "<=" if self.at_most else ">=", "void" if void else "PASS" if self.met else "MISSED"
        return f"  {self.what}: {self.value:.3f}, goal {sign} {self.bound}: {verdict}"


@dataclass(frozen=True)
class Result:
    """What was measured of one case."""

    case: str
    control: float
    rows: list[dict[str, Any]]
    goals: list[Goal]

    @property
    def void(self) -> bool:
        """Whether the control is off."""
        return abs(self.control - 1) > CONTROL

    def print(self) -> None:
        """The table and the goals."""
        print(f"\n{self.case}: control {self.control:.3f}{', VOID' if self.void else ''}")
        print("| loop | CPU ms an iteration | times naive | of matmul peak |\n|---|---|---|---|")
        for row in self.rows:
            print(f"| {row['loop']} | {row['ms']:.1f} | {row['speed']:.2f} | {row['of_peak']:.0%} |")
        for goal in self.goals:
            print(goal.line(self.void))


def stepping(trainer: Trainer) -> Callable[[], object]:
    """An iteration of the trainer with its share of what a line of metrics costs: all of it."""

    def iterate() -> None:
        trainer.iterate()
        trainer.flush()

    return iterate


def loops(case: Case) -> dict[str, Callable[[], object]]:
    """Every contestant, by name; a layout makes no difference to points."""
    flavours = {
        name: train for name, train in FLAVOURS.items() if len(case.shape) == 3 or not train.get("channels_last")
    }
    trainers = {f"ours, {name}": stepping(ours(case, **train)) for name, train in flavours.items()}
    return {
        "naive": naive(case).iterate,
        "hand-written": handwritten(case).iterate,
        "control": handwritten(case).iterate,
        **trainers,
    }


def rows(times: Times, flops: Mapping[str, int], peaks: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row a loop: its time, its speed against naive, its share of this machine's peak in its precision."""
    found = []
    for loop in times:
        seconds = statistics.median(times[loop])
        kind = "bf16" if "bf16" in loop else "fp32"
        share = flops["naive" if loop == "naive" else "ours"] / seconds / peaks[kind]
        found.append({"loop": loop, "ms": 1000 * seconds, "speed": ratio(times, "naive", loop), "of_peak": share})
    return found


def goals(name: str, times: Times) -> list[Goal]:
    """What a case aims at; the best bf16 loop is judged by its median."""
    low = max((loop for loop in times if "bf16" in loop), key=lambda loop: ratio(times, "naive", loop))
    return [
        Goal("naive / ours, fp32", ratio(times, "naive", "ours, fp32"), EXACT_GOAL),
        Goal(f"naive / {low}", ratio(times, "naive", low), LOW_GOALS[name]),
        Goal("ours, fp32 / hand-written", ratio(times, "ours, fp32", "hand-written"), OVERHEAD_GOAL, at_most=True),
    ]


def measure(name: str, rounds: int, peaks: Mapping[str, float]) -> Result:
    """One case."""
    case = CASES[name]
    flops = {"naive": counted(naive(case).iterate).flops, "ours": counted(ours(case).iterate).flops}
    times = interleaved(loops(case), rounds, partial(cpu_time, iterations=ITERATIONS.get(name, 1)))
    return Result(name, ratio(times, "control", "hand-written"), rows(times, flops, peaks), goals(name, times))


def measure_peers(folder: Path, rounds: int) -> Iterable[Result]:
    """torchgan and mimicry, each with its own networks."""
    for name, control, table, aims in measured(folder, rounds):
        yield Result(name, control, table, [Goal(*aim) for aim in aims])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=ON_CPU, help="All three if not said; may be repeated.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="Where the peers' environment is, or is made.")
    parser.add_argument("--only-peers", action="store_true", help="No case of our own.")
    parser.add_argument("--json", type=Path, help="Write all figures there as well.")
    arguments = parser.parse_args()
    if arguments.only_peers and not arguments.peers:
        parser.error("--only-peers goes with --peers FOLDER")
    torch.set_num_threads(1)
    results = []
    if not arguments.only_peers:
        peaks = {"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
        told = ", ".join(f"{kind} {peak / 1e9:.0f} GFLOP/s" for kind, peak in peaks.items())
        print(f"torch {torch.__version__}, one thread, {arguments.rounds} rounds; peak of matmul: {told}")
        for name in arguments.case or ON_CPU:
            results.append(measure(name, arguments.rounds, peaks))
            results[-1].print()
    if arguments.peers:
        for result in measure_peers(arguments.peers, arguments.rounds):
            results.append(result)
            result.print()
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    sys.exit(0 if all(goal.met and not result.void for result in results for goal in result.goals) else 1)


if __name__ == "__main__":
    main()
