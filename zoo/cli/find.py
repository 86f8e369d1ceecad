"""`zoo list`: names only; no plugin and no torch is imported."""

from __future__ import annotations

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.environment import disabled
from zoo.errors import UnknownName
from zoo.hookspecs import HOOKS
from zoo.index import Entry, Index
from zoo.variants import summary_of


@click.command("list")
@click.argument("hook", required=False)
@click.argument("pattern", required=False)
@as_json
def list_command(hook: str | None, pattern: str | None, json_: bool) -> None:
    """Lists installed components: all, those of a HOOK, or those whose name matches PATTERN.

    Of variants it says what they are, if their plugins do so in a file that can be read without running them.

    \b
    Examples:
      zoo list
      zoo list critic
      zoo list variant 'wgan*'
      zoo list 'ls-*'
    """
    if hook and pattern is None and hook not in HOOKS and hook.replace("-", "_") not in HOOKS:
        if not any(sign in hook for sign in "*?["):
            raise UnknownName("hook", hook, HOOKS, "For names, use a wildcard pattern, such as 'wgan*'.")
        hook, pattern = None, hook
    index = Index.scan()
    off = disabled()
    for problem in index.problems:
        if problem.dist not in off:
            click.echo(f"Warning: {problem}", err=True)
    found = index.select(_hook(hook), pattern or "*")
    if json_:
        print_json([_table(entry) for entry in found])
    elif not found:
        click.echo("No component matches. 'zoo search' looks for plugins that are not installed.", err=True)
    elif all(entry.hook == "variant" for entry in found):
        print_table(("VARIANT", "PLUGIN", "WHAT IT IS"), [(e.name, e.dist, _summary(e) or "-") for e in found])
    else:
        print_table(("HOOK", "NAME", "PLUGIN"), [(e.hook, e.name, f"{e.dist} {e.version}") for e in found])


def _table(entry: Entry) -> dict[str, str | None]:
    about = {"hook": entry.hook, "name": entry.name, "plugin": entry.dist, "version": entry.version}
    return {**about, "summary": _summary(entry) or None}


def _summary(entry: Entry) -> str:
    return summary_of(entry.module, entry.name) if entry.hook == "variant" else ""


def _hook(name: str | None) -> str | None:
    hook = name.replace("-", "_") if name else None
    if hook and hook not in HOOKS:
        raise UnknownName("hook", hook, HOOKS)
    return hook
