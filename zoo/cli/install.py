"""`zoo install`, `zoo uninstall`, `zoo freeze`, `zoo sync`: plugins put into an environment and taken out."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import catalogue_option, print_table
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.install.plan import Plan
    from zoo.install.wheels import Wheel

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--find-links` and `--index-url`, handed to the installer."""
    command = click.option("--index-url", help="The package index, instead of the installer's own.")(command)
    return click.option("--find-links", multiple=True, metavar="DIR", help="A folder or page with wheels.")(command)


@click.command()
@click.argument("target")
@click.option("--unlisted", is_flag=True, help="Install what no catalogue lists.")
@click.option("-U", "--upgrade", is_flag=True, help="Replace the plugin itself, if it is installed.")
@click.option("--allow-changes", is_flag=True, help="Let any package that is installed be replaced.")
@source_options
@catalogue_option
@yes_option
def install(
    target: str,
    unlisted: bool,
    upgrade: bool,
    allow_changes: bool,
    find_links: tuple[str, ...],
    index_url: str | None,
    catalogue: tuple[str, ...],
    yes: bool,
) -> None:
    """Installs a plugin: TARGET is NAME, NAME==VERSION, CATALOGUE/NAME, FILE.whl or ./FOLDER.

    The file is compared with the sha256 and the components that the catalogue lists. What it needs comes as wheels,
    never built from source. It is refused if it would change any package that is installed (torch above all), write
    into another's package, or have Python execute something at every start. Nothing happens before you agree.

    \b
    Examples:
      zoo install zoo-orthoreg
      zoo install zoo-orthoreg==1.2 --upgrade --yes
      zoo install ./my-plugin --unlisted
    """
    from zoo.catalogue import read_catalogues
    from zoo.install.choose import choose
    from zoo.install.pip import Sources
    from zoo.install.plan import carry_out, make_plan
    from zoo.install.sync import is_from

    catalogues, sources = read_catalogues(catalogue), Sources(find_links, index_url)
    with tempfile.TemporaryDirectory(prefix="zoo-install-") as folder:
        place = Path(folder)
        chosen = choose(target, catalogues, sources, place, unlisted=unlisted)
        allow = None if allow_changes else (chosen.wheel.name,) if upgrade else ()
        plan = make_plan(chosen, sources, place, allow=allow, again=upgrade and not is_from(chosen.wheel))
        if not plan.changes:
            _refuse_other_file(chosen.wheel)
        show_plans([plan])
        if plan.changes:
            _agree(yes)
        carry_out(plan, place)
    _say_installed(plan)


def show_plans(plans: Sequence[Plan]) -> None:
    """Prints what would change, and what should be read before agreeing."""
    rows: list[tuple[str, ...]] = []
    for plan in plans:
        for change in plan.changes:
            own = change.wheel is plan.chosen.wheel
            what = _provides(change.wheel.provides) if own else f"needed by {plan.chosen.wheel.name}"
            rows.append((change.wheel.name, change.before or "-", change.wheel.version, what))
    if rows:
        print_table(("PACKAGE", "NOW", "THEN", "WHAT IT IS"), rows)
    for warning in dict.fromkeys(text for plan in plans for text in plan.chosen.warnings):
        click.secho(f"Warning: {warning}", fg="yellow", err=True)


def _provides(provides: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{hook} {', '.join(names)}" for hook, names in provides.items())


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was changed: nobody is there to agree; add --yes.")
    click.confirm("Go on?", abort=True)


def _refuse_other_file(wheel: Wheel) -> None:
    from zoo.errors import BadPackage
    from zoo.install.sync import is_from

    if not is_from(wheel):
        raise BadPackage(
            f"{wheel.name} {wheel.version} is installed already, but is not known to come from this file; nothing was "
            "changed. --upgrade replaces it."
        )


def _say_installed(plan: Plan) -> None:
    wheel = plan.chosen.wheel
    if not plan.changes:
        click.echo(f"{wheel.name} {wheel.version} is installed already.")
        return
    name = wheel.entries[0].name
    click.echo(f"{wheel.name} {wheel.version} is installed: zoo show {name}, zoo check {wheel.name}")


@click.command()
@click.argument("name")
@yes_option
def uninstall(name: str, yes: bool) -> None:
    """Removes the plugin NAME from this environment; what it needed stays."""
    from zoo.install.removal import dependents, removable, remove

    dist, version = removable(name)
    print_table(("PACKAGE", "NOW", "THEN"), [(dist, version, "-")])
    for other in dependents(dist):
        click.secho(f"Warning: {other} needs it.", fg="yellow", err=True)
    _agree(yes)
    remove(dist)
    click.echo(f"{dist} {version} is removed.")


@click.command()
@click.option("--partial", is_flag=True, help="Leave out plugins whose file is not known, instead of failing.")
def freeze(partial: bool) -> None:
    """Prints the plugins of this environment with the hash of each, for 'zoo sync'.

    \b
    Example:
      zoo freeze > zoo.lock
    """
    from zoo.install.lock import frozen, refuse_unknown, written

    locked, unknown = frozen()
    if not partial:
        refuse_unknown(unknown)
    for text in unknown:
        click.secho(f"Warning: left out: {text}.", fg="yellow", err=True)
    click.echo(written(locked), nl=False)


@click.command()
@click.argument("lock", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Remove plugins that the file does not name.")
@source_options
@catalogue_option
@yes_option
def sync(
    lock: Path, prune: bool, find_links: tuple[str, ...], index_url: str | None, catalogue: tuple[str, ...], yes: bool
) -> None:
    """Puts back the plugins of a LOCK file that 'zoo freeze' printed: the same versions, files and switches.

    Plugins of other versions are replaced; those that the file does not name stay, unless --prune.
    """
    from zoo.catalogue import read_catalogues
    from zoo.install.lock import read_lock
    from zoo.install.pip import Sources
    from zoo.install.plan import carry_out
    from zoo.install.removal import remove
    from zoo.install.sync import missing, plans_for, set_switches, surplus

    locked = read_lock(lock)
    wanted, extra = missing(locked), surplus(locked) if prune else []
    with tempfile.TemporaryDirectory(prefix="zoo-sync-") as folder:
        plans = plans_for(wanted, read_catalogues(catalogue), Sources(find_links, index_url), Path(folder))
        show_plans([plan for plan, _ in plans])
        for name in extra:
            click.echo(f"{name} will be removed.")
        if plans or extra:
            _agree(yes)
        for plan, place in plans:
            carry_out(plan, place)
        for name in extra:
            remove(name)
    set_switches(locked)
    click.echo(f"{len(locked)} plugins are as {lock} says: {len(plans)} installed, {len(extra)} removed.")
