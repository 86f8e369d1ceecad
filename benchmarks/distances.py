"""How far neural distances are from the truth, where that is known; writes the tables of docs/distances.md.

Usage: python benchmarks/distances.py [--again]. What stands in docs/results/distances.json already is not measured
again without --again. 40,000 samples of each kind, two seeds (four for
JS, which costs less), one thread.

Pairs differ in one direction, which is turned at random; in all others both have the same marginals, so that W1 and JS
are those of one dimension.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

import zoo

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "results" / "distances.json"
DOCUMENT = DOCS / "distances.md"
SAMPLES, SEEDS = 40_000, 2
DIMENSIONS = (1, 2, 10)
WEIGHTS = (0.1, 1.0, 10.0, 100.0)
Draw = Callable[[int, zoo.Draws], Tensor]


@dataclass(frozen=True)
class Pair:
    """Two distributions of one variable, and of what is beside it in more dimensions.

    Attributes:
        name: As in the table.
        one: Draws the first.
        other: Draws the second.
        beside: Draws the other variables.
        w1: The truth.
        js: The truth, in nats; None where it is not tabulated.
        least: The least number of dimensions.
    """

    name: str
    one: Draw
    other: Draw
    beside: Draw
    w1: float
    js: float | None = None
    least: int = 1

    def samples(self, dimension: int, seed: int) -> tuple[Tensor, Tensor]:
        """`SAMPLES` of each, `(N, dimension)`."""
        draws = zoo.Draws(seed)
        turn = torch.linalg.qr(draws.randn(dimension, dimension)).Q
        return self._points(self.one, dimension, draws) @ turn, self._points(self.other, dimension, draws) @ turn

    def _points(self, first: Draw, dimension: int, draws: zoo.Draws) -> Tensor:
        beside = [self.beside(SAMPLES, draws) for _ in range(dimension - 1)]
        return torch.stack([first(SAMPLES, draws), *beside], dim=1)


def normal(mean: float, deviation: float) -> Draw:
    return lambda n, draws: mean + deviation * draws.randn(n)


def uniform(low: float, high: float) -> Draw:
    return lambda n, draws: low + (high - low) * draws.rand(n)


def point(at: float) -> Draw:
    return lambda n, draws: torch.full((n,), float(at))


def normals(first: tuple[float, float], second: tuple[float, float]) -> Pair:
    """W1 = d (2 Phi(d / t) - 1) + 2 t phi(d / t) with d and t the differences of means and of deviations."""
    d, t = abs(first[0] - second[0]), abs(first[1] - second[1])
    w1 = d if t == 0 else d * (2 * norm.cdf(d / t) - 1) + 2 * t * norm.pdf(d / t)
    js = normal_js(d) if first[1] == second[1] == 1 else None
    name = f"N({first[0]:g}, {first[1]:g}), N({second[0]:g}, {second[1]:g})"
    return Pair(name, normal(*first), normal(*second), normal(0, 1), float(w1), js)


def normal_js(d: float) -> float:
    """JS of N(0, 1) and N(d, 1), by quadrature."""

    def integrand(x: float) -> float:
        p, q = norm.pdf(x), norm.pdf(x - d)
        return float(p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2

    return float(quad(integrand, d / 2 - 12, d / 2 + 12, limit=200)[0])


def uniforms(first: tuple[float, float], second: tuple[float, float]) -> Pair:
    """W1 is the mean of |p + (q - p) u| over u in [0, 1], with p and q the differences of the ends."""
    p, q = first[0] - second[0], second[1] - first[1]
    w1 = (p * p + q * q) / (2 * (abs(p) + abs(q))) if p * -q < 0 else (abs(p) + abs(q)) / 2
    name = f"U({first[0]:g}, {first[1]:g}), U({second[0]:g}, {second[1]:g})"
    return Pair(name, uniform(*first), uniform(*second), uniform(0, 1), w1)


def lines(apart: float) -> Pair:
    """Example 1 of the WGAN paper, in more dimensions planes."""
    return Pair(f"parallel, {apart:g} apart", point(0), point(apart), uniform(0, 1), apart, math.log(2), least=2)


PAIRS = [
    normals((0, 1), (3, 1)),
    normals((0, 1), (0, 2)),
    normals((0, 1), (1, 2)),
    normals((-1, 0.5), (2, 3)),
    uniforms((0, 1), (2, 3)),
    uniforms((0, 1), (0, 2)),
    uniforms((0, 4), (1, 2)),
    lines(0.25),
    lines(1.0),
]
SHIFTS = [normals((0, 1), (d, 1)) for d in (0.5, 1, 2, 4)]
BIASED = [Pair("points 0 and 3", point(0), point(3), point(0), 3.0), PAIRS[0]]


def theory(pair: Pair, weight: float, scale: float) -> float:
    """What a critic of one variable says at its best, over W1: 1 + E / W1 with E = int (F - G)^2 / (2 weight p) dt.

    F and G are the distribution functions at unit scale, p the density of random points between random pairs, where
    the penalty is taken: at each t the slope k is best that maximises |F - G| k - weight p (k - 1)^2.
    """
    one, other = (samples[:, 0] / scale for samples in pair.samples(1, seed=1))
    grid = torch.linspace(float(min(one.min(), other.min())), float(max(one.max(), other.max())), 402)[1:-1]
    low, high = torch.minimum(one, other), torch.maximum(one, other)
    inverse = 1 / (high - low).clamp(min=1e-6)
    density = torch.stack([(inverse * ((low < t) & (t < high))).mean() for t in grid])
    gap = torch.stack([(one <= t).float().mean() - (other <= t).float().mean() for t in grid]).abs()
    step = float(grid[1] - grid[0])
    excess = (gap.square() / (2 * weight * density.clamp(min=1e-9)))[gap > 0].sum() * step
    return 1 + float(excess) * scale / pair.w1


class Book:
    """Results by key, saved after each."""

    def __init__(self, again: bool) -> None:
        self.found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not again else {}

    def measure(self, pair: Pair, dimension: int, variant: str, **options: Any) -> dict[str, Any]:
        """A neural distance as a table, measured unless it is there."""
        key = " | ".join([pair.name, str(dimension), variant, *(f"{k}={v}" for k, v in options.items())])
        if key not in self.found:
            start = time.process_time()
            one, other = pair.samples(dimension, seed=0)
            made = zoo.neural_distance(variant, one, other, device="cpu", floors=0, **options)
            row = {name: getattr(made, name) for name in ("distance", "spread", "estimate", "slope", "scale")}
            self.found[key] = row | {"seconds": time.process_time() - start}
            RESULTS.write_text(json.dumps(self.found, indent=1) + "\n")
            print(key, self.found[key], flush=True)
        row: dict[str, Any] = self.found[key]
        return row


def w1_table(book: Book) -> list[str]:
    header = "| distributions | W1 | " + " | ".join(f"{d}-D" for d in DIMENSIONS) + " |"
    rows = [header, "|---|---|" + "---|" * len(DIMENSIONS)]
    for pair in PAIRS:
        cells = [
            _error(book.measure(pair, d, "wgan-lp", seeds=SEEDS), pair.w1) if d >= pair.least else "-"
            for d in DIMENSIONS
        ]
        rows.append(f"| {pair.name} | {pair.w1:.4f} | {' | '.join(cells)} |")
    return rows


def js_table(book: Book) -> list[str]:
    rows = ["| distributions | JS | " + " | ".join(f"{d}-D" for d in DIMENSIONS) + " |", "|---|---|" + "---|" * 3]
    for pair in [*SHIFTS, lines(0.25)]:
        assert pair.js is not None
        cells = [
            _error(book.measure(pair, d, "vanilla", seeds=2 * SEEDS), pair.js) if d >= pair.least else "-"
            for d in DIMENSIONS
        ]
        rows.append(f"| {pair.name} | {pair.js:.4f} | {' | '.join(cells)} |")
    return rows


def bias_table(book: Book) -> list[str]:
    rows = [
        "| distributions | weight | theory | wgan-gp | wgan-lp | wgan-gp / slope | wgan-lp / slope |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair in BIASED:
        for weight in WEIGHTS:
            settings = {"lipschitz_constraint.gradient-penalty.weight": weight}
            found = [
                book.measure(pair, 1, variant, seeds=1, own_weight=True, settings=settings)
                for variant in ("wgan-gp", "wgan-lp")
            ]
            expected = theory(pair, weight, found[0]["scale"])
            raw = [f"{row['estimate'] / pair.w1 - 1:+.1%}" for row in found]
            corrected = [f"{row['distance'] / pair.w1 - 1:+.1%}" for row in found]
            rows.append(f"| {pair.name} | {weight:g} | {expected - 1:+.1%} | {' | '.join([*raw, *corrected])} |")
    return rows


def choices_table(book: Book) -> list[str]:
    rows = ["| variant | own estimate | slope | divided by it |", "|---|---|---|---|"]
    for variant in ("wgan-lp", "wgan-gp", "ls-gan", "wgan"):
        row = book.measure(PAIRS[0], 1, variant, seeds=SEEDS)
        own = f"{row['estimate']:.4g} ({row['estimate'] / 3 - 1:+.1%})"
        rows.append(f"| `{variant}` | {own} | {row['slope']:.3g} | {_error(row, 3.0)} |")
    return rows


def _error(row: dict[str, Any], truth: float) -> str:
    return f"{row['distance']:.4f} ± {row['spread']:.3f} ({row['distance'] / truth - 1:+.1%})"


def write(name: str, lines: list[str]) -> None:
    """Puts a table between its marks in the document."""
    text = DOCUMENT.read_text()
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(before + start + "\n" + "\n".join(lines) + "\n\n" + end + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure all of it again")
    torch.set_num_threads(1)
    book = Book(parser.parse_args().again)
    for name, table in {"w1": w1_table, "choices": choices_table, "bias": bias_table, "js": js_table}.items():
        write(name, table(book))
    seconds = [row["seconds"] for row in book.found.values()]
    about = f"{sum(seconds):.0f} s of CPU time in all, {max(seconds):.0f} s at most for one distance"
    write("cost", [f"Measured with torch {torch.__version__} on {platform.machine()}, one thread: {about}."])


if __name__ == "__main__":
    main()
