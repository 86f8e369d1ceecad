"""`zoo sample` and `zoo runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.outputs import refuse_outputs, save_array
from zoo.cli.tables import as_json, print_json, print_table
from zoo.errors import SaveFailed, UsageError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-n", "count", default=64, show_default=True, help="How many samples.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--grid", type=click.Path(path_type=Path), help="Save a picture to this PNG file.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Save an array to FILE.npy, or one image each to a folder."
)
@click.option(
    "--labels",
    help="Classes for a conditional generator, such as 0,1,2, in turn; a grid has one a row.",
)
@click.option("--step", type=int, help="The checkpoint of this step; the newest if not given.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def sample(run: Path, files: tuple[Path, ...], json_: bool, **options: Any) -> None:
    """Draws samples from RUN, a run folder, with its averaged generator.

    Arrays are in the samples' own range and shape, (N, *shape): images in [-1, 1].

    \b
    Examples:
      zoo sample runs/wgan-gp-digits-seed0 --grid grid.png
      zoo sample runs/wgan-gp-digits-seed0 -n 10000 --out samples.npy
      zoo sample runs/wgan-gp-digits-seed0 -n 100 --out images/
      zoo sample runs/cgan-digits-seed0 --grid sevens.png --labels 7
    """
    if not (options["grid"] or options["out"]):
        raise UsageError("say where the samples go: --grid FILE.png, --out FILE.npy or --out FOLDER.")
    refuse_outputs(options["grid"], options["out"])
    labels = labels_of(options["labels"])
    if labels is not None and options["count"] < len(labels):
        raise UsageError(f"-n {options['count']} is fewer samples than the {len(labels)} --labels; ask for more.")
    from zoo.pictures import save_picture
    from zoo.plugins import installed
    from zoo.run import load

    for file in files:
        installed().add_file(file)
    loaded = load(run, device=options["device"], step=options["step"])
    if labels is None and options["grid"]:
        labels = _of_all_classes(loaded, options["count"])
    samples = loaded.sample(options["count"], options["seed"], labels)
    shown = None if labels is None else (labels * len(samples))[: len(samples)]
    if options["grid"]:
        save_picture(options["grid"], samples, backdrop(loaded), shown)
    if options["out"]:
        _save(options["out"], samples)
    saved = [str(path) for path in (options["grid"], options["out"]) if path]
    if json_:
        print_json(
            {
                "run": str(run),
                "step": loaded.step,
                "averaged": loaded.averaged,
                "n": len(samples),
                "shape": list(samples.shape),
                "labels": _drawn_labels(loaded, len(samples), options["seed"]) if shown is None else shown,
                "files": saved,
            }
        )
    else:
        click.echo(f"{len(samples)} samples of step {loaded.step}: {', '.join(saved)}")


def backdrop(run: Any) -> Any:
    """Points are drawn over the real data; a grid of images needs none."""
    described = run.composition.dataset
    return described if described.kind == "image" else run.dataset


def _of_all_classes(run: Any, n: int) -> list[int] | None:
    """The classes that a grid has a row of; None where samples are not made for classes."""
    from zoo.components import is_conditional
    from zoo.pictures import classes_shown

    generator, classes = run.composition.networks.get("generator"), run.composition.dataset.classes
    if generator is None or classes is None or not is_conditional(generator):
        return None
    return classes_shown(classes, max(n, 1))


def _drawn_labels(run: Any, n: int, seed: int) -> list[int] | None:
    """The classes that `Run.sample` draws first, if it is told none and its generator is given any."""
    from zoo.components import is_conditional
    from zoo.draws import Draws

    described, generator = run.composition.dataset, run.composition.networks["generator"]
    if described.classes is None or described.source is not None or not is_conditional(generator):
        return None
    labels: list[int] = run.condition(n, Draws(seed, run.composition.device), None).tolist()
    return labels


def labels_of(text: str | None) -> list[int] | None:
    """What `--labels` says, such as `0,1,2`. Raises UsageError."""
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--labels takes whole numbers with commas between, such as 0,1,2, not '{text}'.") from None


def _save(path: Path, samples: Any) -> None:
    if path.suffix == ".npy":
        save_array(path, samples)
    elif path.suffix:
        raise UsageError(f"--out {path}: arrays are saved as .npy; for images name a folder.")
    else:
        _save_images(path, samples)


def _save_images(folder: Path, samples: Any) -> None:
    from torchvision.utils import save_image

    if samples.ndim != 4:
        raise UsageError("these samples are not images; save them with --out FILE.npy.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(samples):
            save_image(image.add(1).div(2), folder / f"{number:06d}.png")
    except OSError as error:
        raise SaveFailed(f"{folder} could not be written: {error}.") from error


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@as_json
def runs(folder: Path, json_: bool) -> None:
    """Lists the runs in FOLDER (runs if not given), with how far they are.

    \b
    Examples:
      zoo runs
      zoo runs experiments/ring --json
    """
    from zoo.folder import find_runs, summary

    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder}'; runs are made by zoo train.")
    rows = [summary(run) for run in find_runs(folder)]
    if json_:
        print_json(rows)
    elif not rows:
        click.echo(f"No run in {folder}.", err=True)
    else:
        keys = ("run", "variant", "dataset", "step", "steps", "state")
        print_table([key.upper() for key in keys], [[row[key] for key in keys] for row in rows])
