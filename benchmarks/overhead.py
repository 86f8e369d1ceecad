"""What the generic trainer costs: its iteration against a hand-written loop of the same step, interleaved.

Usage: python benchmarks/overhead.py [--rounds N]

Prints the median of the ratios of neighbouring runs, and an A/A control (the hand-written loop against a second copy
of itself); a control off by more than 3% makes the run void.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from handwritten import HandwrittenWGANGP

from zoo import ArrayDataset
from zoo.api import compose_table
from zoo.data import Batches
from zoo.devices import derived
from zoo.draws import Draws
from zoo.trainer import Trainer

GOAL, CONTROL = 1.05, 0.03


def composition(case: str, batch_size: int = 64) -> Any:
    """WGAN-GP on points with the MLP, or on random 32x32 images with the DCGAN; no averaged generator."""
    given = {} if case == "mlp" else {"dataset": ArrayDataset(Draws(0).rand(512, 3, 32, 32) * 2 - 1)}
    table = {"variant": "wgan-gp", "train": {"average": 0.0, "batch_size": batch_size}}
    if case == "mlp":
        table["dataset"] = {"name": "ring"}
    return compose_table(table, device="cpu", given=given)


def handwritten(case: str, batch_size: int = 64) -> HandwrittenWGANGP:
    """The hand-written loop with the same networks, seeds and settings as `composition(case)`."""
    same = composition(case, batch_size)
    train, choice = same.training.train, same.training.optimizer
    (constraint,) = same.parts.constraints.values()
    return HandwrittenWGANGP(
        same.networks["generator"],
        same.networks["critic"],
        Batches(same.dataset, same.device, derived(train.seed, "data")),
        Draws(derived(train.seed, "noise"), same.device),
        batch_size=train.batch_size,
        critic_steps=train.critic_steps,
        weight=constraint.weight,
        lr=choice.settings["lr"],
        betas=tuple(choice.settings["betas"]),
    )


def cpu_time(iterate: Callable[[], None], iterations: int) -> float:
    """Process CPU seconds of some iterations: this machine is shared, so the wall clock means little."""
    start = time.process_time()
    for _ in range(iterations):
        iterate()
    return time.process_time() - start


def measure(case: str, rounds: int) -> tuple[float, float]:
    """(trainer / hand-written, hand-written / hand-written): medians over rounds in random order."""
    trainer = Trainer(composition(case))
    first, second = handwritten(case), handwritten(case)
    runs = {"trainer": trainer.iterate, "first": first.iterate, "second": second.iterate}
    iterations = 10 if case == "mlp" else 1
    for iterate in runs.values():
        cpu_time(iterate, 2)
    ratios, controls = [], []
    for _ in range(rounds):
        names = random.sample(list(runs), len(runs))
        seconds = {name: cpu_time(runs[name], iterations) for name in names}
        trainer.flush()
        ratios.append(seconds["trainer"] / seconds["first"])
        controls.append(seconds["second"] / seconds["first"])
    return statistics.median(ratios), statistics.median(controls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, one thread, {rounds} rounds; goal: ratio <= {GOAL}, control within {CONTROL:.0%}"
    )
    for case in ("mlp", "dcgan-32"):
        ratio, control = measure(case, rounds)
        verdict = "void: the control is off" if abs(control - 1) > CONTROL else "ok" if ratio <= GOAL else "MISSED"
        print(f"{case:10} trainer / hand-written {ratio:.3f}   control {control:.3f}   {verdict}")


if __name__ == "__main__":
    main()
