"""Layers as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.tuning.pictures import new_figure, save_figure
from zoo.tuning.study import Study

TITLES = {
    "linear_probe": "linear probe, accuracy",
    "k_nn": "5 nearest neighbours, accuracy",
    "retrieval_map": "retrieval, mAP",
}


def save_layers(path: Path, study: Study) -> None:
    """Draws each figure of each layer as a bar, with its spread over splits, and chance. Raises SaveFailed."""
    kinds = list(dict.fromkeys(each.weights for each in study.layers))
    names = [each.layer for each in study.of(kinds[0])]
    figure = new_figure(12, 1.4 + 0.28 * len(names) * len(kinds))
    for place, (name, title) in enumerate(TITLES.items(), 1):
        axes = figure.add_subplot(1, len(TITLES), place)
        for number, weights in enumerate(kinds):
            _bars(axes, study, name, weights, (number + 0.5) / len(kinds) - 0.5, 0.8 / len(kinds))
        axes.axvline(study.chance[name == "retrieval_map"], color="black", linestyle="--", linewidth=1, label="chance")
        axes.set(title=title, xlim=(0, 1), yticks=range(len(names)))
        axes.set_yticklabels(names if place == 1 else [])
        axes.invert_yaxis()
    figure.set_layout_engine("constrained")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    save_figure(figure, path)


def _bars(axes: Any, study: Study, name: str, weights: str, shift: float, height: float) -> None:
    layers = study.of(weights)
    places = [number + 0.8 * shift for number in range(len(layers))]
    errors = [each.spread(name) or 0.0 for each in layers]
    axes.barh(places, [each.mean(name) for each in layers], height, xerr=errors, label=weights)
