"""The tables of docs/results/gan_transfer.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

BEGIN, END = "<!-- begin: benchmarks/gan_transfer.py -->", "<!-- end: benchmarks/gan_transfer.py -->"
COLUMNS = {
    "frechet:classifier": "Fréchet, classifier ↓",
    "prdc recall": "recall ↑",
    "prdc coverage": "coverage ↑",
    "prdc precision": "precision ↑",
    "memorisation copies": "copies",
    "memorisation neighbour-ratio": "neighbour ratio",
}
NAMES = {"real": "real, not trained on", "source": "the source itself: digits 0 to 4"}


def written(document: str, rows: Sequence[Row]) -> str:
    """The document with the tables between its marks. Raises ValueError if it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no '{BEGIN}' followed by '{END}'.")
    return f"{before}{BEGIN}\n{chr(10).join(lines(rows))}\n{END}{after}"


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """A table for each number of samples and of iterations; what has none stands in all of its number of samples."""
    for samples in sorted({row["samples"] for row in rows}):
        of_size = [row for row in rows if row["samples"] == samples]
        for steps in sorted({row["steps"] for row in of_size if "steps" in row}):
            yield f"### {samples} samples, {steps:,} iterations\n"
            yield f"| begun as | {' | '.join(COLUMNS.values())} | seeds |"
            yield "|---" * (len(COLUMNS) + 2) + "|"
            shown = [row for row in of_size if row.get("steps", steps) == steps]
            for way in dict.fromkeys([*NAMES, *(row["way"] for row in shown)]):
                yield from _line(way, [row for row in shown if row["way"] == way])
            yield ""


def _line(way: str, rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        cells = [mean(row[key] for row in rows) for key in COLUMNS]
        yield f"| {NAMES.get(way, way)} | {' | '.join(cells)} | {len(rows)} |"


def mean(values: Iterator[float]) -> str:
    """The mean and its standard error, where there are several."""
    numbers = list(values)
    if len(numbers) == 1:
        return f"{numbers[0]:.3f}"
    return f"{statistics.mean(numbers):.3f} ± {statistics.stdev(numbers) / math.sqrt(len(numbers)):.3f}"
