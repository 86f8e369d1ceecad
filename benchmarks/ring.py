"""Mode coverage on the ring: trains docs/recipes/ring.toml with several seeds and measures each run.

Usage: python benchmarks/ring.py [--seeds 0 1 2 3 4] [--out runs/ring]. Runs that are there already are only measured.
A sample is of high quality within 3 sigma of its nearest centre (98.889% of perfect samples are); a mode is covered by
at least one of 2,500 samples; a mode's width is the standard deviation of its high-quality samples over sigma, from
10,000 samples.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import zoo

RECIPE = Path(__file__).parent.parent / "docs" / "recipes" / "ring.toml"
NEAR = 3.0


def measure(samples: torch.Tensor, centres: torch.Tensor, sigma: float) -> tuple[int, float, list[float]]:
    """(modes covered by the first 2,500 samples, share of high quality, each mode's width over sigma)."""
    distances, mode = torch.cdist(samples, centres).min(1)
    good = distances <= NEAR * sigma
    covered = mode[:2500][good[:2500]].unique().numel()
    widths = [
        float(samples[good & (mode == k)].var(0).mean().sqrt() / sigma) if (good & (mode == k)).sum() > 2 else 0.0
        for k in range(len(centres))
    ]
    return covered, float(good.float().mean()), widths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/ring"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| seed | modes | high quality | narrowest mode | widest mode | seconds |\n|---|---|---|---|---|---|")
    for seed in arguments.seeds:
        path = arguments.out / f"seed{seed}"
        start = time.monotonic()
        if not path.exists():
            zoo.train(RECIPE, seed=seed, out=arguments.out, name=path.name, progress=True, device="cpu")
            seconds = f"{time.monotonic() - start:.0f}"
        else:
            seconds = "-"
        run = zoo.load(path, device="cpu")
        density = run.dataset
        modes, quality, widths = measure(run.sample(10_000, seed=1), density.centres, density.sigma)
        print(f"| {seed} | {modes} | {quality:.1%} | {min(widths):.2f} | {max(widths):.2f} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
