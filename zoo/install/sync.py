"""Putting back the plugins of a lock file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def missing(locked: Sequence[Locked]) -> list[Locked]:
    """Those plugins of a lock file that are not installed from the very file that it names."""
    here = {name: installed_file(name, version, metadata) for name, version, metadata in first_distributions()}
    return [plugin for plugin in locked if here.get(plugin.name) != (plugin.wheel, plugin.sha256)]


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
    plans = []
    for plugin in wanted:
        place = folder / plugin.name
        place.mkdir()
        chosen = _chosen(plugin, catalogues, sources, place)
        # The lock file names these plugins, and so agrees to their change; not to that of anything else.
        plans.append((make_plan(chosen, sources, place, allow=[p.name for p in wanted], again=True), place))
    return plans


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
