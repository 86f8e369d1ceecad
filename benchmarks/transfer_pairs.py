"""Differences to training from scratch within each seed of a transfer study, whose shots all ways share.

Usage: python benchmarks/transfer_pairs.py TRANSFER.json

Points of accuracy: mean and standard error over seeds, and in how many seeds the way is ahead.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path


def difference(way: Mapping[str, float], scratch: Mapping[str, float]) -> str:
    """A cell of the table."""
    points = [100 * (way[seed] - scratch[seed]) for seed in way if seed in scratch]
    error = statistics.stdev(points) / len(points) ** 0.5
    ahead = sum(each > 0 for each in points)
    return f"{statistics.mean(points):+.1f} ± {error:.1f} ({ahead} of {len(points)})"


def main() -> None:
    """Prints a row for each way."""
    amounts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["amounts"]
    seeds = {(each["way"], each["shots"]): each["seeds"] for each in amounts}
    shots = list(dict.fromkeys(each["shots"] for each in sorted(amounts, key=lambda each: each["per_class"])))
    for way in dict.fromkeys(each["way"] for each in amounts if each["way"] != "scratch"):
        cells = [difference(seeds[way, each], seeds["scratch", each]) for each in shots]
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
