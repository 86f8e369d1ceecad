"""The tables of docs/results/mode_coverage.md: the papers' rows, copied, and ours beneath."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]

BEGIN, END = "<!-- begin: benchmarks/mode_coverage.py -->", "<!-- end: benchmarks/mode_coverage.py -->"
KINDS = ("own", "pacgan", "small")
TITLES = {"ring": "Ring: 8 modes, radius 1, sigma 0.01", "grid": "Grid: 25 modes, spacing 2, sigma 0.05"}
VEEGAN = "VEEGAN, table 1 (5 runs)"
PACGAN = "PacGAN, table 1 (10 runs)"

# Modes, high quality in %, reverse KL, as printed. VEEGAN gives no errors, and no KL.
PUBLISHED = {
    "ring": [
        (VEEGAN, "GAN", "1", "99.3", ""),
        (VEEGAN, "ALI", "2.8", "0.13", ""),
        (VEEGAN, "Unrolled (5)", "7.6", "35.6", ""),
        (VEEGAN, "VEEGAN", "8", "52.9", ""),
        (PACGAN, "GAN", "6.3 ± 0.5", "98.2 ± 0.2", "0.45 ± 0.09"),
        (PACGAN, "ALI", "6.6 ± 0.3", "97.6 ± 0.4", "0.36 ± 0.04"),
        (PACGAN, "PacGAN2", "7.9 ± 0.1", "95.6 ± 2.0", "0.07 ± 0.03"),
        (PACGAN, "PacGAN3", "7.8 ± 0.1", "97.7 ± 0.3", "0.10 ± 0.02"),
        (PACGAN, "PacGAN4", "7.8 ± 0.1", "95.9 ± 1.4", "0.07 ± 0.02"),
    ],
    "grid": [
        (VEEGAN, "GAN", "3.3", "0.5", ""),
        (VEEGAN, "ALI", "15.8", "1.6", ""),
        (VEEGAN, "Unrolled (5)", "23.6", "16", ""),
        (VEEGAN, "VEEGAN", "24.6", "40", ""),
        (PACGAN, "GAN", "17.3 ± 0.8", "94.8 ± 0.7", "0.70 ± 0.07"),
        (PACGAN, "ALI", "24.1 ± 0.4", "95.7 ± 0.6", "0.14 ± 0.03"),
        (PACGAN, "PacGAN2", "23.8 ± 0.7", "91.3 ± 0.8", "0.13 ± 0.04"),
        (PACGAN, "PacGAN3", "24.6 ± 0.4", "94.2 ± 0.4", "0.06 ± 0.02"),
        (PACGAN, "PacGAN4", "24.8 ± 0.2", "93.6 ± 0.6", "0.04 ± 0.01"),
    ],
}
PERFECT = {"ring": ("8", "98.9", "0.0014"), "grid": ("25", "98.9", "0.0048")}
"""Of 2,500 perfect samples: 1 - exp(-4.5) of them within 3 sigma, and a KL of about (K - 1) / 2N."""
HEAD = ("source", "method", "modes", "high quality, %", "reverse KL", "widths", "seeds", "steps", "seconds a run")


def written(text: str, rows: Sequence[Row]) -> str:
    """The document with the part between the two marks replaced by the tables of all results.

    Raises:
        ValueError: The marks are not there.
    """
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the file has no part between {BEGIN} and {END}.")
    tables = "\n\n".join(f"### {TITLES[data]}\n\n{table(data, rows)}" for data in TITLES)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def table(data: str, rows: Sequence[Row]) -> str:
    """One data set's table, in Markdown."""
    lines = [line(HEAD), line(["---"] * len(HEAD))]
    lines.append(line(["", "perfect samples", *PERFECT[data], "1.00 to 1.00", "", "", ""]))
    lines += [line([*published, "", "", "", ""]) for published in PUBLISHED[data]]
    ours = sorted((row for row in rows if row["data"] == data), key=kind)
    lines += [line(summary(list(runs))) for _, runs in groupby(ours, key=kind)]
    return "\n".join(lines)


def kind(row: Row) -> tuple[int, str, int]:
    """What runs must share to stand in one line of a table."""
    return KINDS.index(row["networks"]), row["variant"], row["steps"] or 0


def summary(runs: Sequence[Row]) -> list[str]:
    """The line of one variant's runs; a run that diverged counts as one that covers nothing."""
    networks, variant, steps = runs[0]["networks"], runs[0]["variant"], runs[0]["steps"]
    good = [run for run in runs if not run.get("diverged")]
    seeds = f"{len(runs)}" + (f", {len(runs) - len(good)} diverged" if len(good) < len(runs) else "")
    if not good:
        return [f"here, {networks}", f"`{variant}`", "", "", "", "", seeds, f"{steps:,}" if steps else "", ""]
    modes = [0.0] * (len(runs) - len(good)) + [run["modes"] for run in good]
    return [
        f"here, {networks}",
        f"`{variant}`",
        mean(modes, 1),
        mean([100 * run["high-quality"] for run in good], 1),
        mean([run["reverse-kl"] for run in good], 3),
        f"{min(run['narrowest'] for run in good):.2f} to {max(run['widest'] for run in good):.2f}",
        seeds,
        f"{steps:,}",
        f"{statistics.mean(run['seconds'] for run in good):.0f}",
    ]


def mean(values: Sequence[float], digits: int) -> str:
    """The mean and its standard error, as PacGAN's.

    >>> mean([8.0, 8.0, 7.0, 7.0], 1)
    '7.5 ± 0.3'
    """
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ± {statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"


def line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
