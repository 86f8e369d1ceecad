"""`zoo translate`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.errors import SaveFailed, UsageError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Save each result to this folder, by its picture's name.")
@click.option("--grid", type=click.Path(path_type=Path), help="Save one PNG: each picture, and what was made of it.")
@click.option("--backward", is_flag=True, help="Make sources of samples, where RUN has learnt that as well.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same results.")
@click.option("--step", type=int, help="The checkpoint of this step; the newest if not given.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def translate(run: Path, images: tuple[Path, ...], files: tuple[Path, ...], json_: bool, **options: Any) -> None:
    """Makes of each of IMAGES, files or folders of pictures, what RUN has learnt to make of them.

    Pictures of other sizes are resized: the short side becomes as long as in training (bicubic, antialiased), then the
    centre square is cut out.

    \b
    Examples:
      zoo translate runs/pix2pix-paired-folder-seed0 sketch.png --grid sketch-and-photo.png
      zoo translate runs/cyclegan-unpaired-folder-seed0 photos/ --out paintings/
      zoo translate runs/cyclegan-unpaired-folder-seed0 paintings/ --backward --out photos/ --json
    """
    out, grid = options["out"], options["grid"]
    if not (out or grid):
        raise UsageError("say where the results go: --out FOLDER or --grid FILE.png.")
    from zoo.images import image_files, read_images
    from zoo.plugins import installed
    from zoo.run import load
    from zoo.translating import translated, translates_from

    for file in files:
        installed().add_file(file)
    loaded = load(run, device=options["device"], step=options["step"])
    shape = translates_from(loaded, options["backward"])
    paths = image_files(images)
    given = read_images(paths, shape)
    made = translated(loaded, given, backward=options["backward"], seed=options["seed"])
    saved = _saved(out, paths, made) if out else []
    if grid:
        _save_grid(grid, given, made)
    results = saved or [grid] * len(paths)
    rows = [{"image": str(path), "made": str(each)} for path, each in zip(paths, results, strict=True)]
    if json_:
        print_json({"run": str(run), "step": loaded.step, "grid": grid and str(grid), "images": rows})
    else:
        print_table(("IMAGE", "MADE"), [tuple(row.values()) for row in rows])


def _saved(folder: Path, paths: list[Path], images: Any) -> list[Path]:
    """One PNG each, called as the picture that it was made of; two of one name get a number."""
    from torchvision.utils import save_image

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; name a folder.")
    names: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, image in zip(paths, images, strict=True):
            place = _free(folder, path.stem, names)
            if place.exists() and any(place.samefile(each) for each in paths):
                raise UsageError(f"--out {folder} would write over {place}, which is translated; name another folder.")
            save_image(image.clamp(-1, 1).add(1).div(2), place)
            names.append(place)
    except OSError as error:
        raise SaveFailed(f"{folder} could not be written: {error}.") from error
    return names


def _free(folder: Path, stem: str, taken: list[Path]) -> Path:
    place, number = folder / f"{stem}.png", 1
    while place in taken:
        number += 1
        place = folder / f"{stem}-{number}.png"
    return place


def _save_grid(path: Path, given: Any, made: Any) -> None:
    """Each picture and what was made of it, side by side; grey ones in colour where the others are."""
    from zoo.components import Described
    from zoo.pictures import save_picture
    from zoo.previews import beside

    channels = max(given.shape[1], made.shape[1])
    pairs = beside(*(each.expand(-1, channels, -1, -1) for each in (given, made)))
    if len(pairs) == len(made):
        raise UsageError("the results have another size than the pictures; save them with --out FOLDER.")
    # An even number of columns keeps each pair in one row.
    columns = 2 * math.ceil(math.sqrt(len(pairs)) / 2)
    save_picture(path, pairs, Described(made.shape[1:], None), columns=columns)
