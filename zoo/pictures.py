"""Pictures of samples: grids of images, scatter plots over the true density, histograms on the line."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset, Density
from zoo.draws import Draws
from zoo.errors import SaveFailed, UsageError

GRID_SCALE = 512
"""Grids are enlarged by a whole factor until they have about so many pixels a side."""


MOST_CLASSES = 16
"""Of more classes than these a picture shows some, evenly spread."""
WIDEST = 8
REAL = 2500
"""A plot shows at least so many real points if there are, since they say what is in sight."""


def save_picture(
    path: Path, samples: Tensor, dataset: Dataset, labels: Sequence[int] | None = None, columns: int | None = None
) -> None:
    """Saves samples `(N, *shape)` as PNG: images as a grid, points in the plane or on the line as a plot.

    Args:
        path: The file.
        samples: The samples.
        dataset: The real ones, which a plot shows as well.
        labels: The classes of the samples, `N`; no row of a grid then has more than one.
        columns: Of a grid without labels; as many as it has rows if None. In the plane the points of a row are ways
            from the first to the last, joined by lines.

    Raises:
        UsageError: Samples are neither images nor of one or two dimensions.
        SaveFailed: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if dataset.kind == "image":
            grid, width = _by_class(samples, labels)
            _save_grid(path, grid, width if labels or columns is None else columns)
        elif math.prod(dataset.shape) <= 2:
            _save_plot(path, samples.flatten(1).cpu(), dataset, columns)
            # A figure refers to itself in a ring. Left to Python, forty of them and 40 MiB would gather in a run.
            gc.collect()
        else:
            raise UsageError(f"samples of shape {dataset.shape} cannot be drawn; save them with --out FILE.npy.")
    except OSError as error:
        raise SaveFailed(f"{path} could not be written: {error}.") from error


def drawable(dataset: Dataset) -> bool:
    """Whether `save_picture` can draw samples of this data."""
    return dataset.kind == "image" or math.prod(dataset.shape) <= 2


def classes_shown(classes: int, n: int) -> list[int]:
    """The classes that a picture of `n` samples is to show.

    >>> classes_shown(3, 64), classes_shown(1000, 4)
    ([0, 1, 2], [0, 250, 500, 750])
    """
    count = min(classes, MOST_CLASSES, n)
    return [row * classes // count for row in range(count)]


def _by_class(images: Tensor, labels: Sequence[int] | None) -> tuple[Tensor, int]:
    """Images in the order of a grid's rows, with grey ones where a row is not full, and its number of columns."""
    side = math.ceil(math.sqrt(len(images)))
    if labels is None:
        return images, side
    rows = [[n for n, label in enumerate(labels) if label == one] for one in dict.fromkeys(labels)]
    columns = min(max(map(len, rows)), max(side, WIDEST))
    parts = [images.new_zeros(-len(row) % columns, *images.shape[1:]) for row in rows]
    return torch.cat([each for row, gap in zip(rows, parts, strict=True) for each in (images[row], gap)]), columns


def _save_grid(path: Path, images: Tensor, columns: int) -> None:
    from torchvision.utils import make_grid, save_image

    grid = make_grid(images.float().cpu().clamp(-1, 1).add(1).div(2), nrow=columns, padding=1, pad_value=0.5)
    scale = max(1, GRID_SCALE // grid.shape[-1])
    save_image(grid.repeat_interleave(scale, 1).repeat_interleave(scale, 2), path, format="png")


def _save_plot(path: Path, points: Tensor, dataset: Dataset, columns: int | None) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    real = _real(dataset, max(len(points), REAL))
    if points.shape[1] == 1:
        _draw_line(axes, points[:, 0], real[:, 0], dataset)
    else:
        _draw_plane(axes, real, dataset)
        _draw_points(axes, points, columns)
    axes.legend(loc="upper right")
    figure.savefig(path, format="png")


def _real(dataset: Dataset, n: int) -> Tensor:
    if isinstance(dataset, Density):
        return dataset.sample(n, Draws(0)).flatten(1)
    assert isinstance(dataset, ArrayDataset)
    return dataset.samples[:n].float().flatten(1)


def _draw_plane(axes: Any, real: Tensor, dataset: Dataset) -> None:
    low, high = real.min(0).values, real.max(0).values
    margin = 0.15 * (high - low).clamp(min=1e-6)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    side = 300
    plane = torch.cartesian_prod(torch.linspace(y0, y1, side), torch.linspace(x0, x1, side)).flip(1)
    log_density = dataset.log_density(plane) if isinstance(dataset, Density) else None
    if log_density is None:
        axes.scatter(*real.numpy().T, s=4, c="tab:blue", label="real")
    else:
        # The square root keeps narrow modes and faint tails visible in one picture.
        image = (log_density - log_density.max()).div(2).exp().view(side, side).numpy()
        axes.plot([], [], color="tab:blue", label="density")
        axes.imshow(image, origin="lower", extent=(x0, x1, y0, y1), cmap="Blues", aspect="auto")
    axes.set(xlim=(x0, x1), ylim=(y0, y1))


def _draw_points(axes: Any, points: Tensor, columns: int | None) -> None:
    """Points, or ways of so many points each; how many of them are outside of what is shown stands above."""
    low, high = (torch.tensor(each) for each in zip(axes.get_xlim(), axes.get_ylim(), strict=True))
    outside = int(((points < low) | (points > high)).any(1).sum())
    if columns is None:
        axes.scatter(*points.numpy().T, s=4, c="tab:red", alpha=0.5, label="generated")
    else:
        ways = points.view(-1, columns, points.shape[1]).numpy()
        axes.plot(*ways.transpose(2, 1, 0), color="tab:orange", linewidth=0.7, alpha=0.7)
        axes.scatter(*ways[:, :-1].reshape(-1, 2).T, s=4, c="tab:orange", label="from")
        axes.scatter(*ways[:, -1].T, s=8, c="tab:red", label="to")
    if outside:
        axes.set_title(f"{outside:,} of {len(points):,} points are outside of this picture", fontsize=9)


def _draw_line(axes: Any, points: Tensor, real: Tensor, dataset: Dataset) -> None:
    low, high = float(min(real.min(), points.min())), float(max(real.max(), points.max()))
    axes.hist(
        points.numpy(),
        bins=60,
        range=(low, high),
        density=True,
        color="tab:red",
        alpha=0.5,
        label="generated",
    )
    line = torch.linspace(low, high, 500)
    log_density = dataset.log_density(line[:, None]) if isinstance(dataset, Density) else None
    if log_density is None:
        axes.hist(real.numpy(), bins=60, range=(low, high), density=True, histtype="step", label="real")
    else:
        axes.plot(line.numpy(), log_density.exp().numpy(), color="tab:blue", label="real")
