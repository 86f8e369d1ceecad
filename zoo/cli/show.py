"""`zoo show`: what a name stands for. Imports that component's plugin and no other."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click
import tomli_w

from zoo.cli.tables import as_json, print_json, print_table
from zoo.errors import UsageError, ZooError
from zoo.index import Entry
from zoo.plugins import Plugins
from zoo.settings import context_of, settings_of
from zoo.variants import Variant

NEAR = 3


@click.command()
@click.argument("name")
@click.option("--hook", help="Only the component of this hook.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def show(name: str, hook: str | None, files: tuple[Path, ...], json_: bool) -> None:
    """Shows what NAME is: paper, plugin, every setting with its type, default and meaning.

    For a variant its whole recipe is shown, as it may be saved to a file and changed.

    \b
    Examples:
      zoo show wgan-gp
      zoo show gradient-penalty
      zoo show dcgan --hook critic
    """
    plugins = Plugins()
    for file in files:
        plugins.add_file(file)
    entries = [entry for entry in plugins.index.hooks_of(name) if hook in (None, entry.hook)]
    if not entries:
        plugins.index.refuse_disabled(name, hook)
        plugins.index.refuse_other_api(name, hook)
        raise _unknown(plugins, name, hook)
    entries.sort(key=lambda entry: entry.hook != "variant")
    described = [_describe(entry, plugins.load(entry)) for entry in entries]
    if json_:
        print_json(described)
        return
    for number, description in enumerate(described):
        click.echo("\n" if number else "", nl=False)
        _print(description)


def _unknown(plugins: Plugins, name: str, hook: str | None) -> UsageError:
    """Near names with what they are, so that ones that differ by a hyphen are not taken for each other."""
    import difflib

    names = {entry.name: entry for entry in plugins.index.select(hook)}
    near = difflib.get_close_matches(name, names, n=NEAR, cutoff=0.6)
    lines = [f"no {hook or 'component'} is called '{name}'. 'zoo list' shows all names."]
    lines += filter(None, [plugins.hint(h, name) for h in ([hook] if hook else _hooks())])
    lines += ["Names like it, which are something else:"] if near else []
    lines += [f"  {n} ({names[n].hook}): {_summary(plugins, names[n])}" for n in near]
    return UsageError("\n".join(lines))


def _hooks() -> tuple[str, ...]:
    from zoo.hookspecs import HOOKS

    return HOOKS


def _summary(plugins: Plugins, entry: Entry) -> str:
    try:
        offered = plugins.load(entry)
    except ZooError as error:
        return str(error)
    return offered.summary if isinstance(offered, Variant) else _documentation(offered).split("\n")[0]


def _describe(entry: Entry, offered: Any) -> dict[str, Any]:
    about = {"hook": entry.hook, "name": entry.name, "plugin": entry.dist, "version": entry.version}
    if isinstance(offered, Variant):
        paper = {"paper": offered.paper, "authors": offered.authors, "year": offered.year}
        return {**about, "summary": offered.summary, "data": offered.data, **paper, "recipe": dict(offered.table)}
    settings = [
        {
            "name": spec.name,
            "type": spec.type_name,
            "default": spec.default,
            "range": spec.setting.range,
            "meaning": spec.setting.meaning,
        }
        for spec in settings_of(offered).values()
    ]
    return {**about, "summary": _documentation(offered), "context": context_of(offered), "settings": settings}


def _documentation(offered: Any) -> str:
    return inspect.getdoc(offered) or "(no description)"


def _print(description: dict[str, Any]) -> None:
    click.secho(f"{description['hook']} {description['name']}", bold=True)
    click.echo(f"plugin {description['plugin']} {description['version']}\n")
    click.echo(description["summary"])
    if "recipe" in description:
        if description["data"]:
            click.echo(f"Data: {description['data']}")
        click.echo(f"{description['authors']} {description['year'] or ''}  {description['paper']}\n".lstrip())
        click.echo(tomli_w.dumps(_flat(description["recipe"])).rstrip())
    elif description["settings"]:
        click.echo()
        rows = [
            (
                s["name"],
                s["type"],
                _literal(s["default"]),
                " ".join(filter(None, [s["meaning"], _in(s["range"])])),
            )
            for s in description["settings"]
        ]
        print_table(("SETTING", "TYPE", "DEFAULT", "MEANING"), rows)


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """Values before tables, as TOML wants them read."""
    return dict(sorted(table.items(), key=lambda item: isinstance(item[1], dict)))


def _literal(value: Any) -> str:
    return "none" if value is None else str(value)


def _in(bounds: str) -> str:
    return f"({bounds})" if bounds else ""
