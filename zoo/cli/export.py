"""`zoo export`."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.tables import as_json, print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder that is not there yet.")
@click.option("--step", type=int, help="The checkpoint of this step; the best or newest if not given.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def export(run: Path, out: Path, step: int | None, files: tuple[Path, ...], json_: bool) -> None:
    """Writes the weights of RUN as safetensors, with its recipe, for others to use.

    A classifier on a backbone of another library becomes a model of that library as well, if it has one that computes
    the same: model.json says which, and how it is loaded.

    \b
    Examples:
      zoo export runs/wgan-gp-digits-seed0 --out exported
      zoo export runs/resnet18-digits-all-seed0 --out exported
    """
    from zoo.exporting import export as write
    from zoo.plugins import installed
    from zoo.run import load

    for file in files:
        installed().add_file(file)
    written = write(load(run, device="cpu", step=step), out)
    if json_:
        print_json({"run": str(run), "files": [str(path) for path in written]})
    else:
        click.echo("\n".join(str(path) for path in written))
