"""Resident memory of a long run: 20,000 iterations of WGAN-GP on points hold it flat, logs and checkpoints included.

Usage: python benchmarks/memory.py [--steps N] [--json FILE]

A whole run, as `zoo train` makes it: a line of metrics every 50 iterations, a picture and a checkpoint every 1,000.
After the first fifth, every reading must be within 2% of the first one from there. For Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

import zoo
from zoo.fit import Row

ALLOWED, WARM_UP = 0.02, 0.2
TRAIN = {"batch_size": 16, "critic_steps": 1, "log_every": 50, "sample_every": 1000, "checkpoint_every": 1000}
SMALL = {f"{part}.{size}": n for part in ("generator", "critic") for size, n in (("width", 32), ("depth", 1))}
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def readings(steps: int) -> list[tuple[int, int]]:
    """(iteration, bytes) at each line of metrics of a run."""
    found: list[tuple[int, int]] = []

    def read(row: Row) -> None:
        found.append((row["step"], resident()))

    with tempfile.TemporaryDirectory() as folder:
        zoo.train(
            "wgan-gp",
            dataset="ring",
            out=folder,
            name="run",
            device="cpu",
            settings=SMALL,
            on_log=read,
            **TRAIN,
            steps=steps,
        )
    return found


def summary(found: list[tuple[int, int]]) -> dict[str, float]:
    """MiB after the warm-up, the largest departure from it, and the trend of a straight line through all readings."""
    warm = found[int(WARM_UP * len(found)) :]
    steps, sizes = [step for step, _ in warm], [size / 2**20 for _, size in warm]
    trend = statistics.linear_regression(steps, sizes).slope
    return {
        "before": found[0][1] / 2**20,
        "warm": sizes[0],
        "least": min(sizes),
        "most": max(sizes),
        "departure": max(abs(size / sizes[0] - 1) for size in sizes),
        "per_1000_steps": 1000 * trend,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--json", type=Path, help="Write the readings there as well.")
    arguments = parser.parse_args()
    if WARM_UP * arguments.steps < TRAIN["sample_every"]:
        parser.error("the warm-up, a fifth of the steps, must hold a picture and a checkpoint: at least 5,000 steps")
    torch.set_num_threads(1)
    start = time.monotonic()
    found = readings(arguments.steps)
    figures = summary(found)
    met = figures["departure"] <= ALLOWED
    took = f"{time.monotonic() - start:.0f} s ({time.process_time():.0f} s of CPU)"
    print(f"torch {torch.__version__}, {arguments.steps} iterations in {took}, MiB resident:")
    print(f"{figures['before']:.1f} at the first line of metrics, {figures['warm']:.1f} after the warm-up,", end=" ")
    print(
        f"then {figures['least']:.1f} to {figures['most']:.1f}; {figures['per_1000_steps']:+.3f} per 1,000 iterations"
    )
    print(f"largest departure {figures['departure']:.2%}, allowed {ALLOWED:.0%}: {'PASS' if met else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "readings": found}) + "\n")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
