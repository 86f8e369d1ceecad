"""Weak scaling: iterations a second of one process and of two, each process with a batch of the same size.

Usage: python benchmarks/processes.py [--rounds N] [--write FILE]

The wall clock decides, since waiting for each other is what is measured; so run it on a quiet machine. Each round
trains one process, two processes, and one process once more, whose ratio to the first is the control; a case whose
control is off by more than 3% is void. At 1.00 a second process costs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

CONTROL = 0.03
CASES = {
    "MLP": (256, 300, ("--dataset", "ring")),
    "DCGAN 8x8": (64, 150, ("--dataset", "digits", "--generator", "dcgan", "--critic", "dcgan")),
}
"""Samples a process, iterations, and the rest of the command."""


def rate(case: str, processes: int, folder: Path, number: int) -> float:
    """Iterations a second of a run, as its own log has it, without the first line of metrics."""
    batch, steps, options = CASES[case]
    settings = ("train.log_every=50", "train.sample_every=0", "train.checkpoint_every=0", "train.average=0.0")
    command = [sys.executable, "-m", "zoo", "train", "wgan-gp", *options, "--steps", str(steps), "--quiet"]
    command += ["--batch-size", str(batch * processes), "--processes", str(processes)]
    command += ["--out", str(folder), "--name", f"{number}"]
    for setting in settings:
        command += ["--set", setting]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    rows = [json.loads(line) for line in (folder / f"{number}" / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["iterations_per_second"] for row in rows[1:])


def measure(case: str, rounds: int) -> tuple[float, float, float]:
    """Iterations a second of one process; the same of two over that of one; and the control."""
    alone, ratios, controls = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            first, two, again = (
                rate(case, count, Path(folder), 3 * number + place) for place, count in enumerate((1, 2, 1))
            )
            alone.append(first)
            ratios.append(2 * two / (first + again))
            controls.append(again / first)
    return statistics.median(alone), statistics.median(ratios), statistics.median(controls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="append the table to this file")
    arguments = parser.parse_args()
    command = f"python benchmarks/processes.py --rounds {arguments.rounds}"
    lines = [
        f"`{command}`, {os.cpu_count()} cores, torch {torch.__version__}:",
        "",
        "| networks | samples a process | iterations/s, one process | two processes, over one | control |",
        "|---|---|---|---|---|",
    ]
    for case, (batch, _, _) in CASES.items():
        alone, ratio, control = measure(case, arguments.rounds)
        void = " (void)" if abs(control - 1) > CONTROL else ""
        lines.append(f"| {case} | {batch} | {alone:.1f} | {ratio:.2f} | {control:.3f}{void} |")
        print(lines[-1], flush=True)
    if arguments.write:
        arguments.write.write_text(arguments.write.read_text() + "\n".join(["", *lines, ""]))


if __name__ == "__main__":
    main()
