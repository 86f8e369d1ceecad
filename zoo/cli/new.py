"""`zoo new`: a plugin to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from zoo.cli.tables import as_json, print_json
from zoo.scaffold import Made, make, plan


@click.command()
@click.argument("name")
@click.option("--hook", required=True, help="What it offers: one of the hooks of zoo list, such as distance.")
@click.option("--out", default=".", show_default=True, type=click.Path(path_type=Path), help="Folder to make it in.")
@click.option("--author", default="", help="Who writes it; 'The NAME authors' if not given.")
@as_json
def new(name: str, hook: str, out: Path, author: str, json_: bool) -> None:
    """Makes a plugin: a distribution with one component for HOOK that works, and tests that pass.

    Change the component to your own. Its name is NAME without the 'zoo-' that all plugins begin with.

    \b
    Examples:
      zoo new mine --hook distance
      zoo new zoo-banana-split --hook dataset --out plugins --author 'Ada Lovelace'
      zoo new calm --hook lipschitz-constraint
    """
    made = make(plan(name, hook, out, author))
    if json_:
        print_json(_as_table(made))
        return
    renamed = "" if name == made.plan.dist else f" ('{name}', with the prefix of all plugins)"
    click.echo(f"Made {made.plan.dist}{renamed}, with the {made.plan.hook} '{made.plan.component}':\n")
    click.echo("\n".join([f"{made.plan.folder}/", *(f"  {file}" for file in made.files)]))
    click.echo("\nNext:\n")
    for command in _next(made):
        click.echo(f"  {command}")


def _as_table(made: Made) -> dict[str, object]:
    return {
        "name": made.plan.dist,
        "hook": made.plan.hook,
        "component": made.plan.component,
        "path": str(made.plan.folder),
        "files": list(made.files),
        "next": _next(made),
    }


def _next(made: Made) -> list[str]:
    path = str(made.plan.folder)
    folder = shlex.quote(path)
    return [
        f"pip install --no-build-isolation --no-deps -e {folder}",
        f"python -m pytest {folder}",
        f"zoo check {made.plan.dist}",
        *filter(None, [made.train, made.then]),
    ]
