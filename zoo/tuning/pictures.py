"""Pictures of what a classifier has learnt: its mistakes, and the course of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.comparing.plots import MARKERS, PALETTE
from zoo.errors import SaveFailed
from zoo.validating import PREFIX

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.tuning.result import Tested
    from zoo.tuning.study import Study

SHOWN = 36
"""So many mistakes are shown."""
WRITTEN = 25
"""Numbers are written into a confusion matrix of up to so many classes."""


def save_confusion(path: Path, counts: Sequence[Sequence[int]]) -> None:
    """Draws a confusion matrix: rows are classes, columns what they were taken for. Raises SaveFailed."""
    table, classes = torch.tensor(counts), len(counts)
    figure = _figure(max(4.0, 0.4 * classes + 1.5), max(3.6, 0.4 * classes + 1.2))
    axes = figure.add_subplot()
    axes.imshow((table / table.sum(1, keepdim=True).clamp(min=1)).numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= WRITTEN:
        for row in range(classes):
            for column in range(classes):
                if count := int(table[row, column]):
                    dark = count > 0.5 * int(table[row].sum())
                    axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
        axes.set(xticks=range(classes), yticks=range(classes))
    axes.set(xlabel="taken for", ylabel="class")
    _save(figure, path)


def save_mistakes(path: Path, tested: Tested) -> None:
    """Draws the images that the classifier was surest and wrong about, or says that there are none."""
    shares = torch.softmax(tested.logits, dim=1)
    sure, said = shares.max(dim=1)
    wrong = (said != tested.labels).nonzero().squeeze(1)
    wrong = wrong[sure[wrong].argsort(descending=True)][:SHOWN]
    side = max(1, math.ceil(math.sqrt(len(wrong))))
    figure = _figure(max(3.0, 1.2 * side), max(1.0, 1.35 * math.ceil(len(wrong) / side)))
    for place, number in enumerate(wrong.tolist(), 1):
        axes = figure.add_subplot(math.ceil(len(wrong) / side), side, place)
        image = tested.images[number].add(1).div(2).clamp(0, 1)
        axes.imshow(image.permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(f"{int(tested.labels[number])} as {int(said[number])}, {float(sure[number]):.0%}", fontsize=7)
    if not len(wrong):
        figure.text(0.5, 0.5, "no mistake", ha="center", va="center")
    _save(figure, path)


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draws accuracy and loss against iterations, of training and of validation."""
    figure = _figure(8, 3.2)
    panels = {"accuracy": ("training_accuracy", f"{PREFIX}accuracy")}
    panels["cross-entropy"] = ("classification_loss", f"{PREFIX}cross_entropy")
    for place, (title, names) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        for name, label in zip(names, ("training", "validation"), strict=True):
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else "")
        axes.set(xlabel="iteration", title=title)
        axes.legend()
    _save(figure, path)


def save_transfer(path: Path, study: Study) -> None:
    """Draws accuracy against samples of each class, a line a way, with the interval over seeds as a band."""
    figure = _figure(7.5, 4.6)
    axes = figure.add_subplot()
    for number, way in enumerate(study.ways):
        found = [each for each in study.of(way) if each.mean is not None]
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        counts = [each.per_class for each in found]
        axes.plot(counts, [each.mean or 0.0 for each in found], color=colour, marker=marker, markersize=5, label=way)
        low, high = ([getattr(e, end) if e.low is not None else e.mean for e in found] for end in ("low", "high"))
        axes.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = {each.per_class: each.shots for each in study.amounts}
    axes.set(xscale="log", xlabel="labelled samples of each class", ylabel=f"accuracy on {study.tested} test samples")
    axes.set_xticks(list(ticks), [name if name != "all" else f"all\n({n:.3g})" for n, name in ticks.items()])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.set_title(f"{study.dataset}: means over {len(study.seeds)} seeds, bands are their 95% intervals", fontsize=10)
    axes.legend()
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="tight")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise SaveFailed(f"{path} could not be written: {error}.") from error
