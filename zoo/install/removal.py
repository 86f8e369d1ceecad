"""Taking a plugin out of an environment."""

from __future__ import annotations

import importlib.metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from zoo.environment import keep_disabled, kept_disabled
from zoo.errors import InstallFailed, UsageError
from zoo.index import first_distributions
from zoo.install.ledger import record, recorded
from zoo.install.pip import run_pip
from zoo.install.states import CORE, installed_plugins, plugin_named


def removable(name: str) -> tuple[str, str]:
    """(distribution, version) of an installed plugin. Raises UnknownName, or UsageError for the core."""
    plugins = installed_plugins()
    dist = plugin_named(name, plugins)
    if dist == CORE:
        raise UsageError(f"gan-zoo is the core and no plugin; pip uninstall {CORE} removes it.")
    return dist, plugins[dist]


def dependents(dist: str) -> list[str]:
    """The installed distributions that require one, as far as their metadata can be read."""
    found = set()
    for other in importlib.metadata.distributions():
        try:
            needs = {canonicalize_name(Requirement(text).name) for text in other.requires or ()}
            if dist in needs:
                found.add(canonicalize_name(other.metadata["Name"]))
        except (InvalidRequirement, OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found)


def remove(dist: str) -> None:
    """Removes a distribution and what was written down of it. Raises InstallFailed."""
    run_pip("uninstall", "--yes", dist)
    left = {name for name, _, _ in first_distributions()}
    if dist in left:
        raise InstallFailed(f"the installer says that {dist} is removed, but it is still there; is it installed twice?")
    if dist in recorded():
        record(dist, None)
    if dist in kept_disabled():
        keep_disabled(kept_disabled() - {dist})
