"""Head-only tuning with features that are computed once, against computing them anew for each batch.

Usage: python benchmarks/finetune.py [--rounds N] [--json FILE]

ResNet-18 at 64x64, digits, the head alone tuned, batches of 64. Times are CPU time of the process on one thread,
medians over rounds in random order: an epoch without keeping features; the first epoch with keeping them, computing
them included; a later epoch. The control is an epoch without, a second time. Goals: the first epoch costs at most 1.1
times one without, a later one at most a fiftieth. The exit code is 1 if one is missed, or if the control is off by
more than 3%.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rounds import CONTROL, interleaved, ratio

from zoo.trainer import Trainer
from zoo.tuning.tune import composed, tuning_table

BATCH, SIDE = 64, 64
GOALS = {"first": 1.1, "later": 0.02}


def trainer(cache: bool) -> Trainer:
    """The same fine-tuning, with kept features or without; what is drawn is computed as the trainer is made."""
    options = {"tune": "head", "cache": cache, "batch_size": BATCH, "steps": 10_000, "validate_every": 0}
    table = tuning_table("timm:resnet18", "digits", options)
    return Trainer(composed(table, [(["backbone", "input_size"], SIDE)], device="cpu"))


def epoch(trained: Trainer) -> None:
    """Each sample once."""
    for _ in range(-(-(trained.composition.drawn.size or 0) // BATCH)):
        trained.iterate()


def loops() -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    anew, kept = trainer(cache=False), trainer(cache=True)

    def first() -> None:
        composition = kept.composition
        composition.procedure.drawn(composition.parts, composition.dataset)
        epoch(kept)

    return {
        "anew": lambda: epoch(anew),
        "control": lambda: epoch(anew),
        "first": first,
        "later": lambda: epoch(kept),
    }


def main() -> int:
    """Prints the table, and says whether the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    times = interleaved(loops(), options.rounds)
    ratios = {name: ratio(times, name, "anew") for name in times}
    print(f"torch {torch.__version__}, one thread, {options.rounds} rounds")
    print("| epoch | CPU s | times one without |\n|---|---|---|")
    for name, label in {
        "anew": "features anew",
        "control": "the same again",
        "first": "first",
        "later": "later",
    }.items():
        print(f"| {label} | {statistics.median(times[name]):.3f} | {ratios[name]:.4f} |")
    met = {name: ratios[name] <= goal for name, goal in GOALS.items()}
    for name, goal in GOALS.items():
        print(f"  {name} epoch: {ratios[name]:.4f}, goal <= {goal}: {'PASS' if met[name] else 'FAIL'}")
    if options.json:
        options.json.write_text(json.dumps({"seconds": times, "ratios": ratios}, indent=1))
    return 0 if all(met.values()) and abs(ratios["control"] - 1) <= CONTROL else 1


if __name__ == "__main__":
    sys.exit(main())
