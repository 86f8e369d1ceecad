"""Tables and pictures of every variant side by side, from comparisons that `zoo compare` has made.

Usage: python benchmarks/collection.py FOLDER... [--galleries FOLDER] [--renew]

Each FOLDER is a comparison's. Its figures go to docs/results/collection-DATASET.json, from which docs/variants.md is
generated, and a table between the marks of its data set in docs/results. A gallery has samples of each variant's best
seed, the best variant first. With --renew the rows of a comparison's variants replace those of the same names, and the
others stay: for a variant that has changed since.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from torch import Tensor
from torchvision.utils import make_grid

import zoo
from zoo.comparing.place import Place
from zoo.comparing.results import Comparison
from zoo.comparing.statistics import summaries
from zoo.writing import write_whole

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
DOCUMENTS = {
    "ring": "ring-grid.md",
    "grid": "ring-grid.md",
    "mixture-1d": "ring-grid.md",
    "digits": "digits.md",
}
COLUMNS = {
    "mode-coverage modes": "modes ↑",
    "mode-coverage high-quality": "high quality",
    "mode-coverage reverse-kl": "reverse KL ↓",
    "wasserstein w1": "W1 ↓",
    "histogram-js": "JS ↓",
    "frechet:classifier": "Fréchet, classifier ↓",
    "prdc coverage": "coverage ↑",
    "prdc precision": "precision ↑",
    "prdc recall": "recall ↑",
    "memorisation copies": "copies",
}
SHOWN, SIDE, REACH = 1000, 4, 6.0
"""Samples of each variant in a gallery; images a row of them; how far points of the plane are drawn."""


def condensed(comparison: Comparison) -> dict[str, Any]:
    """What is kept of a comparison: every figure's median, least and greatest, by contender."""
    keys = [key for key in COLUMNS if key in comparison.scales]
    floors = {key: [comparison.scales[key].floor, comparison.scales[key].spread] for key in keys}
    return {
        "dataset": comparison.dataset,
        "command": re.sub(r" --out \S+", "", comparison.command),
        "about": dict(comparison.about),
        "budget": {"kind": comparison.budget.kind, "amount": comparison.budget.amount},
        "seeds": len(comparison.seeds),
        "samples": comparison.samples,
        "main": next(iter(comparison.scales)),
        "floors": floors,
        "variants": {each.label: _row(comparison, each.label, each.steps, keys) for each in comparison.contenders},
    }


def _row(comparison: Comparison, label: str, steps: int, keys: Sequence[str]) -> dict[str, Any]:
    cells = comparison.of(label)
    seconds = [cell.points[-1].seconds for cell in cells if cell.points]
    return {
        "steps": steps,
        "seconds": round(median(seconds), 1) if seconds else None,
        "runs": len(cells),
        "failures": sum(not cell.figures for cell in cells),
        "errors": sorted({cell.error for cell in cells if cell.error}),
        "figures": {key: found for key in keys if (found := _range([cell.figures.get(key) for cell in cells]))},
    }


def _range(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return [float(f"{each:.4g}") for each in (median(known), min(known), max(known))] if known else None


def renewed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """An older result with the rows of a newer one, whose command stands behind the older one's.

    Raises:
        ValueError: They have other budgets, seeds, numbers of samples or figures, so that rows cannot be compared.
    """
    for key in ("dataset", "budget", "seeds", "samples", "main"):
        if old[key] != new[key]:
            raise ValueError(f"the {key} of the two comparisons differ: {old[key]} and {new[key]}.")
    if list(old["floors"]) != list(new["floors"]):
        raise ValueError("the two comparisons have other figures.")
    command = f"{old['command']}\n# since then, in the place of their rows:\n{new['command']}"
    return {**old, "command": command, "variants": {**old["variants"], **new["variants"]}}


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """A Markdown table: medians over seeds, the least and the greatest in brackets."""
    keys = list(found["floors"])
    budget = f"{found['budget']['amount']:g} {found['budget']['kind']} a run"
    yield f"{found['seeds']} seeds, {budget}, {found['samples']} samples:\n"
    yield f"```sh\n{found['command']}\n```\n"
    yield "| variant | " + " | ".join(COLUMNS[key] for key in keys) + " | iterations | failed |"
    yield "|---" * (len(keys) + 3) + "|"
    floors = [f"{floor:.3g} ± {spread:.2g}" for floor, spread in found["floors"].values()]
    yield f"| real samples: the floor | {' | '.join(floors)} |  |  |"
    for label, row in sorted(found["variants"].items(), key=lambda item: _rank(found, item[1])):
        cells = [_cell(row["figures"].get(key)) for key in keys]
        yield f"| `{label}` | {' | '.join(cells)} | {row['steps']:,} | {row['failures']} of {row['runs']} |"
    about = ", ".join(f"{key} {value}" for key, value in found["about"].items())
    yield f"\n{about}."


def _cell(values: Sequence[float] | None) -> str:
    if values is None:
        return "-"
    middle, low, high = (f"{each:.3g}" for each in values)
    return middle if low == high else f"{middle} ({low} to {high})"


def _rank(found: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float, float]:
    """The best first: by the main figure, most modes or the least distance, and then by the second one."""
    main = row["figures"].get(found["main"])
    if main is None:
        return math.inf, math.inf
    second = row["figures"].get("mode-coverage high-quality", [0.0])[0]
    return (-main[0], -second) if found["main"].endswith("modes") else (main[0], 0.0)


def write_table(found: Mapping[str, Any]) -> None:
    """Puts a table between the marks of its data set. Raises ValueError if the document has none."""
    document = RESULTS / DOCUMENTS[found["dataset"]]
    begin, end = (f"<!-- {word} of benchmarks/collection.py: {found['dataset']} -->" for word in ("begin", "end"))
    before, mark, rest = document.read_text(encoding="utf-8").partition(begin)
    _, other, after = rest.partition(end)
    if not (mark and other):
        raise ValueError(f"{document} has no '{begin}' followed by '{end}'.")
    write_whole(document, f"{before}{begin}\n{chr(10).join(table(found))}\n{end}{after}".encode())


def save_gallery(path: Path, folder: Path, comparison: Comparison) -> None:
    """Samples of each contender's best seed, a picture each with its name, the best contender first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    main, scale = next(iter(comparison.scales.items()))
    best = {each.label: each for each in summaries(comparison, main) if each.best_seed is not None}
    sign = -1 if scale.better == "higher" else 1
    labels = sorted(best, key=lambda label: sign * (best[label].median or 0.0))
    columns = 9
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows), dpi=110)
    FigureCanvasAgg(figure)
    for number, label in enumerate(labels):
        (run,) = [cell.run for cell in comparison.of(label) if cell.seed == best[label].best_seed]
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw(axes, zoo.load(folder / run, device="cpu").sample(SHOWN))
        axes.set_title(label, fontsize=8)
        axes.set(xticks=[], yticks=[])
    figure.tight_layout(pad=0.4)
    figure.savefig(path)


def _draw(axes: Any, samples: Tensor) -> None:
    """The first samples as a square of images, or all as points of the plane."""
    if samples.ndim == 2:
        axes.scatter(*samples.numpy().T, s=1, linewidths=0)
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        return
    grid = make_grid(samples[: SIDE**2].mean(1, keepdim=True), nrow=SIDE, padding=1, pad_value=0.0)
    axes.imshow(grid[0], cmap="gray", vmin=-1, vmax=1)


def main() -> None:
    """Reads the comparisons, and writes what is made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--galleries", type=Path, metavar="FOLDER")
    parser.add_argument("--renew", action="store_true")
    options = parser.parse_args()
    for folder in options.folders:
        comparison = Place(folder).read()
        if comparison is None:
            parser.error(f"{folder} is no folder of a comparison; zoo compare makes one.")
        found = condensed(comparison)
        target = RESULTS / f"collection-{found['dataset']}.json"
        if options.renew:
            found = renewed(json.loads(target.read_text(encoding="utf-8")), found)
        write_whole(target, (json.dumps(found, indent=1) + "\n").encode())
        write_table(found)
        if options.galleries:
            save_gallery(options.galleries / f"gallery-{found['dataset']}.png", folder, comparison)


if __name__ == "__main__":
    main()
