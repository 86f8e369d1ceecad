"""The picture of a transfer study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.comparing.plots import MARKERS, PALETTE
from zoo.tuning.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from zoo.tuning.amounts import Study


def save_transfer(path: Path, study: Study) -> None:
    """Draws accuracy against samples of each class, a line a way, with the interval over seeds as a band."""
    figure = new_figure(7.5, 4.6)
    axes = figure.add_subplot()
    for number, way in enumerate(study.ways):
        found = [each for each in study.of(way) if each.mean is not None]
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        counts = [each.per_class for each in found]
        axes.plot(counts, [each.mean or 0.0 for each in found], color=colour, marker=marker, markersize=5, label=way)
        bands = [each for each in found if each.low is not None and each.high is not None]
        low, high = ([float(getattr(each, end)) for each in bands] for end in ("low", "high"))
        axes.fill_between([each.per_class for each in bands], low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = {each.per_class: each.shots for each in study.amounts}
    axes.set(xscale="log", xlabel="labelled samples of each class", ylabel=f"accuracy on {study.tested} test samples")
    axes.set_xticks(list(ticks), [name if name != "all" else f"all\n({n:.3g})" for n, name in ticks.items()])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.set_title(f"{study.dataset}: means over {len(study.seeds)} seeds, bands are their 95% intervals", fontsize=10)
    axes.legend()
    save_figure(figure, path)
