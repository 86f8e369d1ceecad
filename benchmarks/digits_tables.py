"""The tables of benchmarks/digits.py, written between two marks in a document whose other text stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from zoo.comparing.place import missing
from zoo.comparing.results import Comparison, Scale
from zoo.writing import write_whole

COVERAGE, TIMES_FLOOR, SPREADS = 0.85, 2.0, 3.0
"""The goal: at least this coverage, at most so many times the floor's Frechet distance, and no memorisation: not more
copies than real samples have by so many of the floor's spreads."""


@dataclass(frozen=True)
class Part:
    """What is trained on and measured.

    Attributes:
        dataset: The data set's name.
        metrics: The metrics, the one that rows are sorted by first.
        samples: How many samples are measured.
        columns: Headings of the figures that the table shows, by key.
        published: Rows of other work, each with a cell a column.
        variants: The variants to train; all installed ones if empty.
        classwise: Whether classes have samples enough for a Gaussian each.
    """

    dataset: str
    metrics: tuple[str, ...]
    samples: int
    columns: Mapping[str, str]
    published: tuple[tuple[str, ...], ...] = ()
    variants: tuple[str, ...] = ()
    classwise: bool = True


DIGITS = Part(
    "digits",
    ("frechet:classifier", "prdc", "memorisation", "kid", "frechet", "sliced-wasserstein"),
    1797,
    {
        "frechet:classifier": "Fréchet, classifier ↓",
        "prdc coverage": "coverage ↑",
        "prdc precision": "precision ↑",
        "prdc recall": "recall ↑",
        "memorisation copies": "copies",
        "memorisation neighbour-ratio": "neighbour ratio",
    },
)
STACKED = Part(
    "stacked-digits",
    ("class-coverage",),
    25_600,
    {"class-coverage classes": "modes of 1,000 ↑", "class-coverage reverse-kl": "KL ↓"},
    (
        ("Stacked-MNIST: DCGAN, PacGAN's table 2", "78.9", "4.50"),
        ("Stacked-MNIST: WGAN-GP, R3GAN's table 3", "959", "0.73"),
        ("Stacked-MNIST: PacDCGAN2, PacGAN's table 2", "1000", "0.06"),
        ("Stacked-MNIST: R3GAN, R3GAN's table 3", "1000", "0.029"),
    ),
    ("wgan-gp",),
    classwise=False,
)


@dataclass(frozen=True)
class Found:
    """What was found of a part.

    Attributes:
        part: What was trained on.
        references: Figures of what is no GAN, by name.
        comparisons: By variant.
        refused: Why other variants cannot be trained on these data, by variant.
        waiting: The variants that were not trained yet.
        processor: By variant, the processor time `seconds` of so many `runs`, measuring included.
    """

    part: Part
    references: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    waiting: Sequence[str] = ()
    processor: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def write_part(found: Found, document: Path) -> None:
    """Writes the tables of a part between its marks. Raises ValueError if the document has no such marks."""
    begin, end = (f"<!-- {word} of benchmarks/digits.py: {found.part.dataset} -->" for word in ("begin", "end"))
    before, mark, rest = document.read_text(encoding="utf-8").partition(begin)
    _, other, after = rest.partition(end)
    if not (mark and other):
        raise ValueError(f"{document} has no '{begin}' followed by '{end}'.")
    text = "\n".join(lines(found)).replace("\n\n\n", "\n\n")
    write_whole(document, f"{before}{begin}\n{text}\n{end}{after}".encode())


def lines(found: Found) -> Iterator[str]:
    """The table, and what is to be said of it."""
    columns = found.part.columns
    yield "| samples | " + " | ".join(columns.values()) + " | CPU seconds a run | runs |"
    yield "|---" * (len(columns) + 3) + "|"
    yield from (_row(name, cells) for name, cells in _rows(found))
    yield ""
    if "prdc coverage" in columns:
        yield _goal(found)
    for variant, reason in found.refused.items():
        yield f"- `{variant}` cannot be trained on these data: {reason}"
    for variant, comparison in found.comparisons.items():
        yield from _gaps(variant, comparison)
    if found.waiting:
        yield f"- Not trained yet: {', '.join(f'`{variant}`' for variant in found.waiting)}."
    yield from _about(found)


def _rows(found: Found) -> Iterator[tuple[str, list[str]]]:
    columns, scales = found.part.columns, _scales(found)
    floors = [f"{_number(scales[key].floor)} ± {_number(scales[key].spread)}" for key in columns if key in scales]
    yield "real, half against half: the floor", [*floors, "", ""]
    for name, figures in found.references.items():
        yield name, [*(spread([each[key] for each in figures]) for key in columns), "", ""]
    for variant, comparison in sorted(found.comparisons.items(), key=lambda pair: _place(pair[1])):
        done = [cell for cell in comparison.cells if cell.figures]
        noted = found.processor.get(variant, {"runs": 0})
        seconds = f"{noted['seconds'] / noted['runs']:.0f}" if noted["runs"] else "-"
        cells = [spread([cell.figures[key] for cell in done]) for key in columns]
        yield f"`{variant}`", [*cells, seconds, str(len(done))]
    yield from ((name, [*cells, "", ""]) for name, *cells in found.part.published)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _scales(found: Found) -> Mapping[str, Scale]:
    return next((comparison.scales for comparison in found.comparisons.values()), {})


def _place(comparison: Comparison) -> float:
    """Where a variant stands in the table: by the median of the first figure, the better first, without one last."""
    key = next(iter(comparison.scales))
    values = [cell.figures[key] for cell in comparison.cells if key in cell.figures]
    sign = -1 if comparison.scales[key].better == "higher" else 1
    return sign * median(values) if values else float("inf")


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the greatest of several values.

    >>> spread([0.25, 0.5, 0.125]), spread([0.25]), spread([])
    ('0.250 (0.125 to 0.500)', '0.250', '-')
    """
    if not values:
        return "-"
    middle, low, high = map(_number, (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.3f}"


def reached(comparison: Comparison) -> bool:
    """Whether a variant's medians reach the goal."""
    done = [cell.figures for cell in comparison.cells if cell.figures]
    if not done:
        return False

    def middle(key: str) -> float:
        return median(figures[key] for figures in done)

    frechet, copies = (comparison.scales[key] for key in ("frechet:classifier", "memorisation copies"))
    far = middle("frechet:classifier") > TIMES_FLOOR * (frechet.floor or 0.0)
    copied = middle("memorisation copies") > (copies.floor or 0.0) + SPREADS * (copies.spread or 0.0)
    return middle("prdc coverage") >= COVERAGE and not far and not copied


def _goal(found: Found) -> str:
    good = [f"`{name}` (runs: {len(each.cells)})" for name, each in found.comparisons.items() if reached(each)]
    return (
        f"The goal, in medians: coverage of {COVERAGE} or more, at most {TIMES_FLOOR:g} times the floor's Fréchet "
        f"distance, copies at most {SPREADS:g} of the floor's standard deviations above its mean. "
        f"Reached by {', '.join(good) or 'none'}.\n"
    )


def _gaps(variant: str, comparison: Comparison) -> Iterator[str]:
    for cell in comparison.of(variant):
        if cell.state == "failed":
            yield f"- `{variant}` failed with seed {cell.seed}: {cell.error}"
    gaps = [str(seed) for _, seed in missing(comparison)]
    if gaps:
        yield f"- `{variant}`: still to be made with seed {', '.join(gaps)}."


def _about(found: Found) -> Iterator[str]:
    first = next(iter(found.comparisons.values()), None)
    if first is None:
        return
    about = ", ".join(f"{name} {version}" for name, version in first.about.items() if name != "executor")
    budgets = {variant: each.contenders[0] for variant, each in found.comparisons.items()}
    steps = ", ".join(f"`{variant}` {each.steps:,} ({each.critic_updates:,})" for variant, each in budgets.items())
    yield f"\n{first.samples:,} samples of each kind. Iterations (critic updates): {steps}. {about}."
