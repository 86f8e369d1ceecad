"""`registry.toml`: what plugins exist, installed or not."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.hookspecs import API, HOOKS

FIELDS = {"name": str, "summary": str, "owner": str, "status": str, "api": int, "provides": dict}
STATUSES = ("active", "deprecated", "removed")


@dataclass(frozen=True)
class CatalogueEntry:
    """One plugin of the catalogue.

    Attributes:
        name: The distribution that is installed.
        summary: What it is, in a sentence.
        owner: Who answers for it.
        status: `active`, `deprecated` or `removed`.
        api: The major version of the plugin API that it is written for.
        provides: The names it offers, by hook.
    """

    name: str
    summary: str
    owner: str
    status: str = "active"
    api: int = API
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, text: str) -> bool:
        """Whether every word of `text` occurs in its name, its summary or the names that it provides."""
        names = " ".join(f"{hook} {' '.join(given)}" for hook, given in self.provides.items())
        everything = f"{self.name} {self.summary} {names}".lower()
        return all(word in everything for word in text.lower().split())


@dataclass(frozen=True)
class Catalogue:
    """The plugins that are known, in the order of their names."""

    entries: tuple[CatalogueEntry, ...]

    @classmethod
    def read(cls, path: Path | None = None) -> Catalogue:
        """Reads a catalogue; the project's own if `path` is None.

        Raises:
            UsageError: The file is missing, is not TOML, or a table is wrong; it names the table and the field.
        """
        return _read(default_path() if path is None else path)

    def search(self, text: str = "") -> list[CatalogueEntry]:
        """The entries that match all words of `text`."""
        return [entry for entry in self.entries if entry.matches(text)]

    def providers(self, hook: str, name: str) -> list[CatalogueEntry]:
        """The plugins that provide a component."""
        return [entry for entry in self.entries if name in entry.provides.get(hook, ())]

    def hint(self, hook: str, name: str) -> str:
        """A sentence that says which plugin provides a name; empty if none does."""
        providers = " or ".join(entry.name for entry in self.providers(hook, name))
        return f"The plugin {providers} provides it: pip install {providers}." if providers else ""


def default_path() -> Path:
    """The catalogue beside the source tree, or the copy that is packed into the wheel."""
    beside = Path(__file__).parent.parent / "registry.toml"
    return beside if beside.is_file() else Path(__file__).with_name("registry.toml")


@functools.cache
def _read(path: Path) -> Catalogue:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the catalogue {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the catalogue {path} is not TOML: {error}.") from error
    plugins = tables.get("plugin", [])
    entries = [_entry(table, f"{path}: plugin {number}") for number, table in enumerate(plugins, start=1)]
    return Catalogue(tuple(sorted(entries, key=lambda entry: entry.name)))


def _entry(table: Mapping[str, Any], where: str) -> CatalogueEntry:
    where = f"{where} ('{table.get('name', '?')}')"
    for key, kind in FIELDS.items():
        if not isinstance(table.get(key), kind):
            raise UsageError(f"{where}: '{key}' must be a {kind.__name__}, not {table.get(key)!r}.")
    for key in table:
        if key not in FIELDS:
            raise UsageError(f"{where}: unknown field '{key}'.")
    if table["status"] not in STATUSES:
        raise UsageError(f"{where}: 'status' must be one of {', '.join(STATUSES)}, not '{table['status']}'.")
    unknown = set(table["provides"]) - set(HOOKS)
    if unknown:
        raise UsageError(f"{where}: unknown hook '{sorted(unknown)[0]}' in 'provides'.")
    provides = {hook: tuple(names) for hook, names in table["provides"].items()}
    return CatalogueEntry(**{**table, "provides": provides})
