"""`zoo plugins`, `zoo disable`, `zoo enable`, `zoo doctor`: the installed plugins and their state."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from zoo.cli.tables import as_json, catalogue_option, print_json, print_table

SECONDS = click.FloatRange(min=0, min_open=True)


@click.command("plugins")
@as_json
def plugins_command(json_: bool) -> None:
    """Lists installed plugins, as their metadata describes them. 'zoo doctor' loads each one as well.

    ORIGIN is the catalogue that a plugin was installed from, 'unlisted', 'editable' (a source folder), or 'core'.
    STATE is ok, broken, disabled, or needs another API.
    """
    from zoo.install.states import plugin_states

    states = plugin_states()
    if json_:
        print_json([asdict(state) for state in states])
        return
    rows = [
        (
            s.name,
            s.version,
            ", ".join(f"v{api}" for api in s.api),
            s.origin,
            _state(s.state, s.cause),
            _hooks(s.provides),
        )
        for s in states
    ]
    print_table(("PLUGIN", "VERSION", "API", "ORIGIN", "STATE", "HOOKS"), rows)
    for s in states:
        if s.state not in ("ok", "disabled"):
            click.echo(f"{s.name}, {s.state}: {s.cause}", err=True)


def _state(state: str, cause: str) -> str:
    return f"{state} {cause}" if state == "disabled" else state


def _hooks(provides: dict[str, list[str]]) -> str:
    return ", ".join(f"{hook} {len(names)}" for hook, names in provides.items())


@click.command()
@click.argument("name")
def disable(name: str) -> None:
    """Keeps the plugin NAME from being loaded in this environment, until 'zoo enable'.

    For one process, ZOO_DISABLE_PLUGINS=NAME,NAME does the same.
    """
    from zoo.install.states import disable as disable_plugin

    dist = disable_plugin(name)
    click.echo(f"{dist} is disabled; 'zoo enable {dist}' undoes it.")


@click.command()
@click.argument("name")
def enable(name: str) -> None:
    """Lets a disabled plugin be used again."""
    from zoo.install.states import enable as enable_plugin

    click.echo(f"{enable_plugin(name)} is enabled.")


@click.command()
@click.option("--timeout", default=60.0, show_default=True, type=SECONDS, help="Seconds that loading one may take.")
@click.option("--slow", default=10.0, show_default=True, type=SECONDS, help="Seconds of import that are reported.")
@catalogue_option
@as_json
def doctor(timeout: float, slow: float, catalogue: tuple[str, ...], json_: bool) -> None:
    """Examines every installed plugin; exit code 1 if anything is wrong.

    Each is loaded in a process of its own. Reported are imports that fail, hang or are slow, metadata that differs
    from what a plugin offers, names that two plugins give, installations that are stale, plugins for another API, and
    differences from the catalogue. Disabled plugins are not loaded.
    """
    from tqdm import tqdm

    from zoo.catalogue import read_catalogues
    from zoo.install.doctor import examine
    from zoo.install.states import installed_plugins

    catalogues = read_catalogues(catalogue)
    count = len(installed_plugins())
    with tqdm(total=count, desc="Loading plugins", unit="plugin", leave=False, disable=None) as bar:
        found = examine(catalogues, timeout=timeout, slow=slow, on_done=bar.update)
    if json_:
        print_json([asdict(finding) for finding in found])
    elif found:
        rows = [(f"{f.plugin} {f.version}", f.kind, f"{f.text}. {f.remedy}{'.' if f.remedy else ''}") for f in found]
        print_table(("PLUGIN", "WHAT", "FINDING"), rows)
    else:
        click.echo(f"{count} plugins, nothing wrong.")
    sys.exit(1 if found else 0)
