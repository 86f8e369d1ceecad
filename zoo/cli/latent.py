"""`zoo encode` and `zoo interpolate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.outputs import refuse_given, refuse_outputs, require_array, save_array
from zoo.cli.sample import backdrop, labels_of
from zoo.cli.tables import as_json, print_json
from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.run import Run

SHOWN = {"image": 32, "vector": 500}
"""A picture of what is rebuilt shows so many samples."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Save the latent points, (N, latent_dim), to FILE.npy.")
@click.option("--grid", type=click.Path(path_type=Path), help="Save one PNG: samples, and what is rebuilt of them.")
@click.option("-n", "count", type=int, help="How many of the data are encoded; all of them, or 1,000 of a density.")
@click.option("--labels", help="Classes of IMAGES, such as 0,1,2, in turn, for a conditional run.")
@click.option("--step", type=int, help="The checkpoint of this step; the newest if not given.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def encode(run: Path, images: tuple[Path, ...], files: tuple[Path, ...], json_: bool, **options: Any) -> None:
    """Finds the latent points of IMAGES, or of the data that RUN was trained on, with the encoder of RUN.

    IMAGES are files or folders of pictures; those of other sizes are resized, as by zoo translate.

    \b
    Examples:
      zoo encode runs/vae-digits-seed0 --out codes.npy
      zoo encode runs/vae-digits-seed0 --grid rebuilt.png
      zoo encode runs/bigan-faces-seed0 portrait.png --out code.npy --grid rebuilt.png --json
    """
    out, grid = options["out"], options["grid"]
    if not (out or grid):
        raise UsageError("say where the results go: --out FILE.npy or --grid FILE.png.")
    require_array(out)
    refuse_outputs(grid, out, images)
    from zoo.images import image_files
    from zoo.latent import encoded

    loaded = _loaded(run, files, options)
    samples, labels = _given(loaded, images, options["labels"], options["count"])
    points = encoded(loaded, samples, labels)
    if grid:
        shown = SHOWN[loaded.composition.dataset.kind]
        _save_rebuilt(grid, loaded, samples[:shown], points[:shown], labels)
    if out:
        save_array(out, points)
    saved = [str(path) for path in (out, grid) if path]
    if json_:
        named = [str(each) for each in image_files(images)] if images else None
        about = {"n": len(points), "latent_dim": points.shape[1], "images": named, "labels": labels}
        print_json({"run": str(run), "step": loaded.step, **about, "files": saved})
    else:
        click.echo(f"{len(points)} latent points of {points.shape[1]} entries: {', '.join(saved)}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--grid", type=click.Path(path_type=Path), help="Save a picture to this PNG file.")
@click.option("--out", type=click.Path(path_type=Path), help="Save the samples, (rows, columns, *shape), to FILE.npy.")
@click.option("-n", "count", default=8, show_default=True, help="How many rows.")
@click.option("--columns", default=10, show_default=True, help="How many samples a row, both ends included.")
@click.option("--sweep", metavar="CODE", help="Change one code only: category, or the number of another one, from 1.")
@click.option("--labels", help="Classes of the rows for a conditional run, such as 0,1,2, in turn.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--step", type=int, help="The checkpoint of this step; the newest if not given.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def interpolate(run: Path, images: tuple[Path, ...], files: tuple[Path, ...], json_: bool, **options: Any) -> None:
    """Shows what lies between samples of RUN: a row goes from one latent point to another one.

    The points are random, or those of IMAGES, from each to the next, where RUN has an encoder. With --sweep one code
    changes along a row and nothing else, where the generator's latent points begin with codes.

    \b
    Examples:
      zoo interpolate runs/wgan-gp-digits-seed0 --grid between.png
      zoo interpolate runs/vae-faces-seed0 one.png other.png --grid between.png
      zoo interpolate runs/infogan-digits-seed0 --sweep category --grid categories.png
    """
    grid, out, columns = options["grid"], options["out"], options["columns"]
    if not (grid or out):
        raise UsageError("say where the samples go: --grid FILE.png or --out FILE.npy.")
    _refuse_unheard(images, options["sweep"])
    if columns < 2 or options["count"] < 1:
        raise UsageError(f"--columns must be at least 2 and -n at least 1, not {columns} and {options['count']}.")
    require_array(out)
    refuse_outputs(grid, out, images)
    from zoo.devices import refuse_beyond_memory
    from zoo.latent import generated

    loaded = _loaded(run, files, options)
    refuse_beyond_memory(options["count"] * columns, loaded.composition.dataset.shape)
    points = _rows(loaded, images, options)
    rows, columns, size = points.shape
    labels = _row_labels(loaded, options, rows, columns)
    samples = generated(loaded, points.reshape(rows * columns, size), labels)
    if out:
        save_array(out, samples.view(rows, columns, *samples.shape[1:]))
    if grid:
        from zoo.pictures import save_picture

        save_picture(grid, samples, backdrop(loaded), columns=columns)
    saved = [str(path) for path in (grid, out) if path]
    if json_:
        told = None if labels is None else labels[::columns]
        about = {"rows": rows, "columns": columns, "labels": told}
        print_json({"run": str(run), "step": loaded.step, **about, "files": saved})
    else:
        click.echo(f"{rows} rows of {columns} samples of step {loaded.step}: {', '.join(saved)}")


def _refuse_unheard(images: Sequence[Path], sweep: str | None) -> None:
    """Refuses options that would change nothing."""
    context = click.get_current_context()
    if sweep is not None and images:
        raise UsageError("--sweep changes a code of random points, and IMAGES are other points; leave one of them out.")
    if images:
        refuse_given(context, ["count", "seed"], "is for random points, and the rows go between IMAGES")
    if sweep == "category":
        refuse_given(context, ["columns"], "says nothing where each category is a column")


def _loaded(run: Path, files: Sequence[Path], options: dict[str, Any]) -> Run:
    from zoo.plugins import installed
    from zoo.run import load

    for file in files:
        installed().add_file(file)
    return load(run, device=options["device"], step=options["step"])


def _given(run: Run, images: Sequence[Path], labels: str | None, count: int | None) -> tuple[Tensor, list[int] | None]:
    """The samples that are encoded, with their classes where the run is conditional."""
    from zoo.components import is_conditional
    from zoo.images import image_files, read_images
    from zoo.latent import drawn, real_samples

    if not images:
        if labels is not None:
            raise UsageError("--labels are for IMAGES; data that have labels are encoded with their own. Leave it out.")
        drawn(run, 1)  # Says what a run without latent points is, before its data are read.
        samples, own = real_samples(run.dataset, count)
        conditional = is_conditional(run.composition.networks["generator"])
        return samples, own if conditional else None
    if count is not None:
        raise UsageError("-n is for the data, and IMAGES are all encoded; leave it out.")
    samples, told = read_images(image_files(images), run.composition.dataset.shape), labels_of(labels)
    if told is not None and len(told) > len(samples):
        raise UsageError(
            f"--labels has {len(told)} classes for {len(samples)} pictures; name as many, or a few in turn."
        )
    return samples, told and (told * len(samples))[: len(samples)]


def _rows(run: Run, images: Sequence[Path], options: dict[str, Any]) -> Tensor:
    """Latent points `(rows, columns, D)`."""
    from zoo.images import image_files, read_images
    from zoo.latent import CATEGORY, between, codes_of, drawn, encoded, swept

    count, columns, seed = options["count"], options["columns"], options["seed"]
    if options["sweep"] is not None:
        if options["sweep"] != CATEGORY and getattr(run.composition.networks["generator"], "categories", 0):
            refuse_given(click.get_current_context(), ["count"], "says nothing where each category is a row")
        return swept(run, options["sweep"], count, columns, seed)
    if not images:
        ends = drawn(run, 2 * count, seed)
        return between(ends[:count], ends[count:], columns, codes_of(run))
    paths = image_files(images)
    if len(paths) < 2:
        raise UsageError("a row goes from a picture to another one; name two or more.")
    points = encoded(run, read_images(paths, run.composition.dataset.shape), labels_of(options["labels"]))
    return between(points[:-1], points[1:], columns, codes_of(run))


def _row_labels(run: Run, options: dict[str, Any], rows: int, columns: int) -> list[int] | None:
    """The class of each sample, the same along a row; random ones if none are told."""
    from zoo.components import is_conditional
    from zoo.draws import Draws

    labels = labels_of(options["labels"])
    if labels is None and is_conditional(run.composition.networks["generator"]):
        condition = run.condition(rows, Draws(options["seed"], "cpu"), None)
        labels = None if condition is None else condition.tolist()
    if labels is None:
        return None
    return [label for row in range(rows) for label in [labels[row % len(labels)]] * columns]


def _save_rebuilt(path: Path, run: Run, samples: Tensor, points: Tensor, labels: list[int] | None) -> None:
    """In pairs, a sample and what is rebuilt of it: images side by side, points in the plane with a line between.

    On the line what is rebuilt is a histogram, over that of the data.
    """
    from zoo.latent import generated
    from zoo.pictures import save_picture
    from zoo.previews import beside

    rebuilt = generated(run, points, labels)
    if math.prod(run.composition.dataset.shape) == 1:
        save_picture(path, rebuilt, backdrop(run))
        return
    pairs = beside(samples.cpu().float(), rebuilt)
    columns = 2 * math.ceil(math.sqrt(len(pairs)) / 2) if run.composition.dataset.kind == "image" else 2
    save_picture(path, pairs, backdrop(run), columns=columns)
