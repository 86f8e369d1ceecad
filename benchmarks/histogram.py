"""What a generator without a critic reaches on the line: trains histogram-js with several seeds and counts each run.

Usage: python benchmarks/histogram.py [--seeds 0 1 2 3 4] [--out runs/histogram]. Runs that are there already are only
measured. The JS divergence is that of the metric `histogram-js`: counted, in 50 bins, between 2,000 generated and
2,000 real samples; the mean, and the largest, of 20 such draws. The floor is the same between real samples and others.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean, median

import torch

import zoo

DATA = ("gaussian-1d", "mixture-1d")
SAMPLES, DRAWS = 2000, 20


def counted(density: zoo.Density, judged: list[torch.Tensor]) -> list[float]:
    """The JS divergence of each of several samples from real ones."""
    found = []
    for number, values in enumerate(judged):
        real = zoo.Sample(density.sample(SAMPLES, zoo.Draws(number)))
        fake = zoo.Sample(values)
        evidence = zoo.Evidence(density.shape, None, SAMPLES, lambda r=real: r, lambda f=fake: f)
        found.append(zoo.create("metric", "histogram-js").measure(evidence)["js"])
    return found


def trained(path: Path, dataset: str, seed: int) -> tuple[zoo.Run, str]:
    """The run in a folder, made now unless it is there, and the seconds that it took."""
    if path.exists():
        return zoo.load(path, device="cpu"), "-"
    start = time.monotonic()
    run = zoo.train("histogram-js", dataset=dataset, seed=seed, out=path.parent, name=path.name, device="cpu")
    return run, f"{time.monotonic() - start:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/histogram"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| data | seed | JS | largest | floor | JS / floor | seconds |\n|---|---|---|---|---|---|---|")
    for dataset in DATA:
        density = zoo.create("dataset", dataset)
        floor = mean(counted(density, [density.sample(SAMPLES, zoo.Draws(1000 + n)) for n in range(DRAWS)]))
        ratios = []
        for seed in arguments.seeds:
            run, seconds = trained(arguments.out / f"{dataset}-{seed}", dataset, seed)
            js = counted(density, [run.sample(SAMPLES, seed=n) for n in range(DRAWS)])
            ratios.append(mean(js) / floor)
            row = f"{mean(js):.4f} | {max(js):.4f} | {floor:.4f} | {ratios[-1]:.2f} | {seconds}"
            print(f"| {dataset} | {seed} | {row} |", flush=True)
        print(f"| {dataset} | median, worst | | | | {median(ratios):.2f}, {max(ratios):.2f} | |", flush=True)


if __name__ == "__main__":
    main()
