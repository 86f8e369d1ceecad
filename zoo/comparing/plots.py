"""Plots of a comparison as SVG that takes its colours and its font from the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from zoo.comparing.results import Cell, Comparison, Point, Scale
from zoo.comparing.scales import title

Across: TypeAlias = Literal["step", "seconds"]

PALETTE = (
    "#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadb",
)  # fmt: skip
"""Petroff's ten colours (2021, arXiv 2107.02270), for every colour vision; red brought forward."""
MARKERS, GLYPHS = "os^Dv*P<ph", "●■▲◆▼★✚◀⬟⬢"
"""A shape goes with each colour, in plots and in text, so that no contender is known by its colour alone."""
INK = "#010203"
"""Stands for the page's own text colour until the SVG is written."""
PAPER = "#040506"
"""Stands for what the plot lies upon, likewise."""
DECADES = 30.0
"""The ratio of the greatest to the least value from which an axis is logarithmic."""
FEW = 15
"""Up to so many points, each has its marker."""
WIDTH, HEIGHT = 5.2, 3.2
"""Inches of 72 pixels, as a phone shows them; a wider page enlarges them."""
_METADATA = ("Date", "Creator", "Format", "Type")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
}


@dataclass(frozen=True)
class Band:
    """A figure of one contender in the course of training, at each step that it was measured at.

    Attributes:
        x: Steps, or the median seconds until each, `(k,)`.
        middle: The median over the seeds, `(k,)`.
        low: The least of them.
        high: The greatest.
        ends: Where runs that failed were last measured, as `(x, y)`.
    """

    x: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    ends: Sequence[tuple[float, float]]


def band(cells: Iterable[Cell], key: str, across: Across) -> Band:
    """The band of a contender's cells. Runs that failed belong to it as long as they went."""
    cells = list(cells)
    found: dict[int, list[Point]] = {}
    for point in (point for cell in cells for point in cell.points if _measured(point, key)):
        found.setdefault(point.step, []).append(point)
    rows = [found[step] for step in sorted(found)]
    values = [[point.figures[key] for point in row] for row in rows]
    last = [[point for point in cell.points if _measured(point, key)][-1:] for cell in cells if cell.state == "failed"]
    return Band(
        [float(np.median([getattr(point, across) for point in row])) for row in rows],
        [float(np.median(row)) for row in values],
        [min(row) for row in values],
        [max(row) for row in values],
        [(getattr(point, across), point.figures[key]) for ends in last for point in ends],
    )


def _measured(point: Point, key: str) -> bool:
    return bool(np.isfinite(point.figures.get(key, np.nan)))


def course(comparison: Comparison, key: str, across: Across) -> str:
    """A figure against steps or seconds as SVG: median and range over the seeds, failures crossed, the floor dashed."""
    scale = comparison.scales[key]
    points = (point for cell in comparison.cells for point in cell.points if _measured(point, key))

    def draw(axes: Any) -> None:
        for number, contender in enumerate(comparison.contenders):
            _draw_band(axes, band(comparison.of(contender.label), key, across), number)
        _draw_floor(axes.axhline, axes.axhspan, scale)
        axes.set_xlabel("iterations" if across == "step" else "seconds of training")
        axes.locator_params("x", nbins=7, integer=across == "step")
        axes.margins(x=0.03)
        axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
        _lay_out(axes.yaxis, [*(point.figures[key] for point in points), *_floor(scale)])

    return _svg(draw, f"f{list(comparison.scales).index(key)}-{across}", HEIGHT)


def at_end(comparison: Comparison, key: str) -> str:
    """Box plot of the runs at their end as SVG: a row a contender, each run a point, the floor dashed."""
    scale, count = comparison.scales[key], len(comparison.contenders)
    runs = [_final(comparison.of(contender.label), key) for contender in comparison.contenders]

    def draw(axes: Any) -> None:
        for number, contender in enumerate(comparison.contenders):
            _draw_box(axes, runs[number], number)
            _write_label(axes, _named(contender.label, comparison.of(contender.label)), number)
        _draw_floor(axes.axvline, axes.axvspan, scale)
        axes.set(ylim=(count - 0.5, -0.8), yticks=[], xlabel=title(scale))
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
        _lay_out(axes.xaxis, [*(value for values in runs for value in values), *_floor(scale)])

    return _svg(draw, f"f{list(comparison.scales).index(key)}-end", max(HEIGHT, 0.9 + 0.4 * count))


def _final(cells: Iterable[Cell], key: str) -> list[float]:
    return [cell.figures[key] for cell in cells if np.isfinite(cell.figures.get(key, np.nan))]


def _floor(scale: Scale) -> list[float]:
    return [] if scale.floor is None else [scale.floor]


def _draw_band(axes: Any, found: Band, number: int) -> None:
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    shape = {"marker": marker, "markersize": 4.5} if len(found.x) <= FEW else {}
    axes.fill_between(found.x, found.low, found.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(found.x, found.middle, color=colour, linewidth=1.8, **shape)
    if len(found.x) == 1:
        axes.vlines(found.x, found.low, found.high, color=colour, linewidth=1.8)
    for x, y in found.ends:
        axes.plot([x], [y], color=colour, marker="x", markersize=8, markeredgewidth=2)


def _draw_box(axes: Any, values: Sequence[float], number: int) -> None:
    """Quartiles as a box, the median as a line, whiskers to the ends, and every run."""
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    if len(values) > 2:
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        axes.hlines(number, min(values), max(values), color=colour, linewidth=1)
        axes.barh(number, high - low, 0.3, low, color=colour, alpha=0.25, linewidth=0)
        axes.vlines(middle, number - 0.15, number + 0.15, color=colour, linewidth=2)
    axes.plot(values, [number] * len(values), color=colour, marker=marker, markersize=4.5, linewidth=0, alpha=0.9)


def _write_label(axes: Any, label: str, number: int) -> None:
    box = {"facecolor": PAPER, "linewidth": 0, "alpha": 0.8, "pad": 1}
    axes.annotate(label, (0, number), (2, 7), ("axes fraction", "data"), "offset points", bbox=box)


def _named(label: str, cells: Sequence[Cell]) -> str:
    failures = sum(cell.state == "failed" for cell in cells)
    return f"{label if len(label) <= 40 else f'{label[:39]}…'}{f' ({failures} failed)' if failures else ''}"


def _draw_floor(line: Any, area: Any, scale: Scale) -> None:
    if scale.floor is not None:
        line(scale.floor, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), alpha=0.8)
        area(
            scale.floor - 2 * (scale.spread or 0),
            scale.floor + 2 * (scale.spread or 0),
            color=INK,
            alpha=0.07,
            linewidth=0,
        )


def _lay_out(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic axis where the values span decades, its numbers without mathematical markup."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if values and min(values) > 0 and max(values) / min(values) >= DECADES:
        axis._set_axes_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) / min(values) < 1000 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _svg(draw: Callable[[Any], None], name: str, height: float) -> str:
    """What `draw` puts on axes, as an SVG element for a page; `name` keeps its parts apart from those of others."""
    import matplotlib
    from matplotlib.figure import Figure

    file = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height))
        figure.subplots_adjust(left=0.12, right=0.98, top=1 - 0.1 / height, bottom=0.5 / height)
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    return _fitted(file.getvalue(), name)


def _fitted(svg: str, name: str) -> str:
    """The element alone: of the page's size, colours and font, with names of its own, without an address."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"font(-family)?: ?[^;\"]*", r"font-size: 11px", svg)
    for number, colour in enumerate(PALETTE):
        svg = svg.replace(colour, f"var(--c{number})")
    return svg.replace(INK, "currentColor").replace(PAPER, "var(--card)")
