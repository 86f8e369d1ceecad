"""The plugins of an environment as distributions: which there are, what state they are in, on and off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zoo.environment import DISABLE, disabled, keep_disabled, kept_disabled, normalized
from zoo.errors import UnknownName, UsageError
from zoo.hookspecs import API
from zoo.index import Entry, Index, Problem, first_distributions
from zoo.install.ledger import origin_of

CORE = "gan-zoo"


@dataclass(frozen=True)
class PluginState:
    """One installed plugin, as far as its metadata says.

    Attributes:
        name: The distribution.
        version: Its version.
        api: The major versions of the plugin API that it is written for.
        provides: The names that it declares, by hook.
        origin: `core`, `editable`, `unlisted`, or the catalogue that it was installed from.
        state: `ok`, `broken`, `disabled` or `needs another API`.
        cause: What is wrong with it, or what disables it.
    """

    name: str
    version: str
    api: tuple[int, ...]
    provides: dict[str, list[str]]
    origin: str
    state: str
    cause: str = ""


def plugin_states() -> list[PluginState]:
    """Every installed plugin, in the order of names. None is imported."""
    index = Index.scan()
    folders = {name: (version, metadata) for name, version, metadata in first_distributions()}
    entries: dict[str, list[Entry]] = {problem.dist: [] for problem in index.problems}
    for entry in [*index.entries, *index.disabled]:
        entries.setdefault(entry.dist, []).append(entry)
    return [_state(name, *folders[name], entries[name], index.problems) for name in sorted(entries)]


def _state(name: str, version: str, metadata: str, entries: list[Entry], problems: list[Problem]) -> PluginState:
    hooks = sorted({entry.hook for entry in entries})
    api = tuple(sorted({entry.api for entry in entries}))
    return PluginState(
        name=name,
        version=version,
        api=api,
        provides={hook: sorted(entry.name for entry in entries if entry.hook == hook) for hook in hooks},
        origin=origin_of(name, version, metadata),
        **_condition(name, api, [problem.text for problem in problems if problem.dist == name]),
    )


def _condition(name: str, api: tuple[int, ...], problems: list[str]) -> dict[str, str]:
    if name in disabled():
        by = "zoo disable" if name in kept_disabled() else DISABLE
        return {"state": "disabled", "cause": f"by {by}"}
    if api and API not in api:
        return {"state": "needs another API", "cause": f"v{', v'.join(map(str, api))}; this zoo has v{API}"}
    return {"state": "broken", "cause": "; ".join(problems)} if problems else {"state": "ok", "cause": ""}


def installed_plugins() -> dict[str, str]:
    """The version of each installed plugin, by distribution; disabled and broken ones too."""
    return {state.name: state.version for state in plugin_states()}


def disable(name: str) -> str:
    """Keeps a plugin from being loaded, in this environment, until it is enabled; its distribution.

    Raises:
        UnknownName: No such plugin is installed.
        UsageError: It is the core, which cannot be disabled.
        SaveFailed: It cannot be written down.
    """
    dist = plugin_named(name, installed_plugins())
    if dist == CORE:
        raise UsageError("gan-zoo is the core; it cannot be disabled.")
    keep_disabled(kept_disabled() | {dist})
    return dist


def enable(name: str) -> str:
    """Undoes `disable`; the distribution. Raises UnknownName, UsageError or SaveFailed."""
    dist = plugin_named(name, {*installed_plugins(), *kept_disabled()})
    if dist not in kept_disabled():
        raise UsageError(f"{dist} is not disabled by zoo disable{_by_variable(dist)}.")
    keep_disabled(kept_disabled() - {dist})
    return dist


def plugin_named(name: str, known: Iterable[str]) -> str:
    """The distribution of that name among `known`. Raises UnknownName, which says whose component is called so."""
    known = set(known)
    if normalized(name) in known:
        return normalized(name)
    index = Index.scan()
    givers = {entry.dist for entry in [*index.entries, *index.disabled] if name == entry.name}
    hint = f"A component of {' and '.join(sorted(givers))} is called so." if givers else ""
    raise UnknownName("installed plugin", name, known, hint)


def _by_variable(dist: str) -> str:
    return f", but by {DISABLE}; change that variable" if dist in disabled() else ""
