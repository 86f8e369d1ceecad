"""Putting back the plugins of a lock file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.catalogue import Catalogues
from zoo.environment import keep_disabled, kept_disabled
from zoo.errors import BadPackage
from zoo.index import first_distributions
from zoo.install.choose import Chosen, fetch
from zoo.install.ledger import UNLISTED, installed_file
from zoo.install.lock import Locked
from zoo.install.pip import Sources
from zoo.install.plan import Plan, make_plan
from zoo.install.states import plugin_states
from zoo.install.wheels import Wheel


def missing(locked: Sequence[Locked]) -> list[Locked]:
    """Those plugins of a lock file that are not installed from the very file that it names."""
    here = {name: installed_file(name, version, metadata) for name, version, metadata in first_distributions()}
    return [plugin for plugin in locked if here.get(plugin.name) != (plugin.wheel, plugin.sha256)]


def is_from(wheel: Wheel) -> bool:
    """Whether what is installed under a wheel's name is known to come from that very file."""
    here = ((version, metadata) for name, version, metadata in first_distributions() if name == wheel.name)
    known = [installed_file(wheel.name, version, metadata) for version, metadata in here]
    return known == [(wheel.path.name, wheel.sha256)]


def surplus(locked: Sequence[Locked]) -> list[str]:
    """Installed plugins that a lock file does not name, but for the core and editable ones."""
    named = {plugin.name for plugin in locked}
    return [s.name for s in plugin_states() if s.name not in named and s.origin not in ("core", "editable")]


def plans_for(
    wanted: Sequence[Locked], catalogues: Catalogues, sources: Sources, folder: Path
) -> list[tuple[Plan, Path]]:
    """A plan for each plugin, and the folder that its files lie in.

    Raises:
        BadPackage: A catalogue forbids one, a file is not the one of the lock file, or it holds a risk.
        InstallFailed: One cannot be fetched.
    """
    places = [folder / plugin.name for plugin in wanted]
    for place in places:
        place.mkdir()
    chosen = [_chosen(plugin, catalogues, sources, place) for plugin, place in zip(wanted, places, strict=True)]
    wheels = [each.wheel for each in chosen]
    # The lock file names these plugins, and so agrees to their change; not to that of anything else.
    options: dict[str, Any] = {"allow": [wheel.name for wheel in wheels], "again": True, "beside": wheels}
    plans = [make_plan(each, sources, place, **options) for each, place in zip(chosen, places, strict=True)]
    return list(zip(_each_once(plans), places, strict=True))


def _each_once(plans: Sequence[Plan]) -> list[Plan]:
    """The plans, in which a dependency that several plugins share is installed by the first alone."""
    seen: set[str] = set()
    found = []
    for plan in plans:
        changes = tuple(change for change in plan.changes if change.wheel.name not in seen)
        seen.update(change.wheel.name for change in changes)
        found.append(replace(plan, changes=changes))
    return found


def set_switches(locked: Sequence[Locked]) -> None:
    """Disables and enables the plugins of a lock file as it says; others stay as they are."""
    off = {plugin.name for plugin in locked if plugin.disabled}
    on = {plugin.name for plugin in locked if not plugin.disabled}
    if kept_disabled() != (wanted := (kept_disabled() | off) - on):
        keep_disabled(wanted)


def _chosen(plugin: Locked, catalogues: Catalogues, sources: Sources, folder: Path) -> Chosen:
    entries = catalogues.named(plugin.name)
    for entry in entries:
        if entry.refusal:
            raise BadPackage(f"{entry.refusal}.")
    wheel = fetch(plugin.name, plugin.version, plugin.sha256, sources, folder)
    if wheel.sha256 != plugin.sha256:
        raise BadPackage(f"{wheel.path.name} has the sha256 {wheel.sha256}; the lock file says {plugin.sha256}.")
    listed = [e for e in entries if (r := e.release(plugin.version)) and r.sha256 == plugin.sha256]
    return Chosen(wheel, listed[0].qualified if listed else UNLISTED)
