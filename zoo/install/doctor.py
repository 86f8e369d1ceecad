"""Examines the plugins of an environment: loads each in a process of its own, and compares it with what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.catalogue import CatalogueEntry, Catalogues
from zoo.index import Index, distributions, first_distributions, read_entries
from zoo.install.ledger import installed_file, source_folder
from zoo.install.probe import MARK
from zoo.install.states import PluginState, plugin_states


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a plugin.

    Attributes:
        plugin: The distribution.
        version: Its version.
        kind: `metadata`, `load`, `slow`, `duplicate`, `stale`, `api` or `catalogue`.
        text: What is wrong.
        remedy: What to do about it.
    """

    plugin: str
    version: str
    kind: str
    text: str
    remedy: str


def examine(
    catalogues: Catalogues,
    *,
    timeout: float = 60.0,
    slow: float = 10.0,
    on_done: Callable[[], None] = lambda: None,
) -> list[Finding]:
    """Everything that is wrong with the plugins of this environment; disabled ones are not loaded.

    Args:
        catalogues: What they are compared with.
        timeout: Seconds that loading one may take.
        slow: Seconds of import, beyond torch and the zoo, that are reported.
        on_done: Called after each plugin.
    """
    states = plugin_states()
    usable = [state for state in states if state.state == "ok"]

    def load(state: PluginState) -> list[Finding]:
        found = list(_loading(state, timeout, slow))
        on_done()
        return found

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        loaded = [finding for findings in threads.map(load, usable) for finding in findings]
    found = [*_metadata(states), *loaded, *_duplicates(states), *_hidden(states), *_stale(states)]
    return found + [finding for state in states for finding in _drift(state, catalogues)]


def _loading(state: PluginState, timeout: float, slow: float) -> Iterator[Finding]:
    aside = f"Update {state.name}, or: zoo disable {state.name}"
    command = [sys.executable, "-m", "zoo.install.probe", state.name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        yield _finding(state, "load", f"loading it did not end in {timeout:g} s", aside)
        return
    # A plugin may print bytes that are no text.
    result = _result(done.stdout.decode(errors="replace"))
    if result is None:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
        yield _finding(state, "load", f"loading it ended the process with exit code {done.returncode}: {last}", aside)
        return
    for problem in result["problems"]:
        # What the loader says ends with what to do.
        yield _finding(state, "load", problem, "" if state.name in problem.rpartition(". ")[2] else aside)
    if result["seconds"] > slow:
        yield _finding(state, "slow", f"importing it takes {result['seconds']:.1f} s", f"Tell {state.name}'s author")


def _result(stdout: str) -> dict[str, Any] | None:
    """What the probe printed; None if it printed nothing, or a plugin something that begins as its line does."""
    lines = [line for line in stdout.splitlines() if line.startswith(MARK)]
    try:
        result = json.loads(lines[-1].removeprefix(MARK))
        return {"problems": list(map(str, result["problems"])), "seconds": float(result["seconds"])}
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _metadata(states: Sequence[PluginState]) -> Iterator[Finding]:
    for state in states:
        if state.state == "broken":
            yield _finding(state, "metadata", state.cause, f"Reinstall or update {state.name}")
        elif state.state == "needs another API":
            yield _finding(state, "api", f"it is for plugin API {state.cause}", f"Update {state.name} or gan-zoo")


def _duplicates(states: Sequence[PluginState]) -> Iterator[Finding]:
    entries = Index.scan().select()
    by_name = {state.name: state for state in states}
    for entry in entries:
        others = [e.dist for e in entries if (e.hook, e.name) == (entry.hook, entry.name) and e.dist != entry.dist]
        if others:
            text = f"its {entry.hook} '{entry.name}' is also one of {', '.join(others)}"
            yield _finding(by_name[entry.dist], "duplicate", text, f"Say '{entry.qualified}', or disable one of them")


def _hidden(states: Sequence[PluginState]) -> Iterator[Finding]:
    """Metadata of a plugin that stands behind other metadata of the same distribution, as failed upgrades leave it."""
    used = {metadata: name for name, _, metadata in first_distributions()}
    by_name = {state.name: state for state in states}
    for name, version, metadata in distributions(sys.path):
        if name in by_name and metadata not in used:
            text = f"there is a second installation of it, of version {version}, which is not used: {metadata}"
            yield _finding(by_name[name], "stale", text, "Remove that folder")


def _stale(states: Sequence[PluginState]) -> Iterator[Finding]:
    """Editable installs whose source has moved on, or away."""
    folders = {name: metadata for name, _, metadata in first_distributions()}
    for state in states:
        source = source_folder(folders[state.name])
        if source is not None and not source.is_dir():
            yield _finding(state, "stale", f"its source folder {source} is gone", f"pip uninstall {state.name}")
        elif source is not None and _declared(source, state) not in (None, _provided(state)):
            text = f"the pyproject.toml in {source} declares other components than were installed"
            yield _finding(state, "stale", text, f"pip install -e {source}")


def _declared(source: Path, state: PluginState) -> set[tuple[str, str]] | None:
    """(hook, name) of the components in a source folder; None where its pyproject.toml does not say."""
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        groups = project["entry-points"]
        text = "".join(f"[{g}]\n" + "".join(f"{n} = {m}\n" for n, m in names.items()) for g, names in groups.items())
        return {(entry.hook, entry.name) for entry in read_entries(text, state.name, state.version)}
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _drift(state: PluginState, catalogues: Catalogues) -> Iterator[Finding]:
    for entry in catalogues.named(state.name):
        if entry.status != "active":
            text = f"{entry.qualified} is {entry.status}: {entry.reason}"
            yield _finding(state, "catalogue", text, f"zoo uninstall {state.name}")
        listed = {(hook, name) for hook, names in entry.provides.items() for name in names}
        if state.state == "ok" and _provided(state) != listed and _is_newest(state, entry):
            names = sorted(name for _, name in _provided(state) ^ listed)
            text = f"it and {entry.qualified} differ in what it provides: {', '.join(names)}"
            yield _finding(state, "catalogue", text, f"Update {state.name}, or the catalogue")
        yield from _other_file(state, entry)


def _is_newest(state: PluginState, entry: CatalogueEntry) -> bool:
    return not entry.releases or state.version == entry.releases[-1].version


def _other_file(state: PluginState, entry: CatalogueEntry) -> Iterator[Finding]:
    metadata = next(folder for name, _, folder in first_distributions() if name == state.name)
    known, release = installed_file(state.name, state.version, metadata), entry.release(state.version)
    if known and release and known[1] != release.sha256:
        text = f"the file that was installed is not the one that {entry.qualified} {state.version} lists"
        yield _finding(state, "catalogue", text, f"zoo uninstall {state.name}, and install it again")


def _provided(state: PluginState) -> set[tuple[str, str]]:
    return {(hook, name) for hook, names in state.provides.items() for name in names}


def _finding(state: PluginState, kind: str, text: str, remedy: str) -> Finding:
    return Finding(state.name, state.version, kind, text.rstrip("."), remedy.rstrip("."))
