"""Where catalogues come from: the project's own, and further ones from files and https addresses."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.catalogue.entries import Catalogue, CatalogueEntry, words_in
from zoo.catalogue.files import described, tables_of, text_of
from zoo.catalogue.schema import mistakes
from zoo.catalogue.text import cleaned
from zoo.errors import BadCatalogue, DuplicateName, UnknownName

VARIABLE = "ZOO_CATALOGUES"
"""Further catalogues, files or https addresses, with commas between."""
SHOWN = 5
"""How many mistakes an error lists."""


@dataclass(frozen=True)
class Catalogues:
    """Several catalogues, searched together."""

    catalogues: tuple[Catalogue, ...]

    @property
    def entries(self) -> list[CatalogueEntry]:
        """All their plugins."""
        return [entry for catalogue in self.catalogues for entry in catalogue.entries]

    def search(self, text: str = "", more: Mapping[str, str] | None = None) -> list[CatalogueEntry]:
        """The entries that match all words of `text`, with what else is known of plugins by their names."""
        return [entry for entry in self.entries if entry.matches(text, (more or {}).get(entry.name, ""))]

    def nearest(self, text: str, more: Mapping[str, str] | None = None) -> list[CatalogueEntry]:
        """The entries that match most words of `text`, if they match any; for when none matches all."""
        counts = [words_in(text, entry.told((more or {}).get(entry.name, ""))) for entry in self.entries]
        most = max(counts, default=0)
        return [entry for entry, count in zip(self.entries, counts, strict=True) if count == most > 0]

    def named(self, name: str) -> list[CatalogueEntry]:
        """The entries of a name, or of `catalogue/name`."""
        return [entry for entry in self.entries if name in (entry.name, entry.qualified)]

    def find(self, name: str, hint: str = "") -> CatalogueEntry:
        """The entry of a name, or of `catalogue/name`.

        Raises:
            UnknownName: No catalogue has it; what `hint` says is added.
            DuplicateName: Two catalogues have it.
        """
        found = self.named(name)
        if len(found) > 1:
            ways = " or ".join(f"'{entry.qualified}'" for entry in found)
            raise DuplicateName(f"'{name}' stands in several catalogues; say {ways}.")
        if not found:
            raise UnknownName("plugin of the catalogue", name, (entry.name for entry in self.entries), hint)
        return found[0]

    def providers(self, hook: str, name: str) -> list[CatalogueEntry]:
        """The plugins that provide a component."""
        return [entry for entry in self.entries if name in entry.provides.get(hook, ())]

    def hint(self, hook: str, name: str) -> str:
        """A sentence that says which plugin provides a name; empty if none does."""
        providers = [entry for entry in self.providers(hook, name) if not entry.refusal]
        ways = " or ".join(_way(entry) for entry in providers)
        return f"A plugin that is not installed provides it: {ways}." if providers else ""


def _way(entry: CatalogueEntry) -> str:
    source = f"{entry.name}, whose source is {entry.repository}"
    return f"zoo install {entry.name}" if entry.releases else source


def read_catalogues(further: Sequence[str] = (), *, fetch: bool = True) -> Catalogues:
    """The project's own catalogue, those of `ZOO_CATALOGUES`, and `further` ones.

    Args:
        further: Files or https addresses.
        fetch: Whether addresses are read too; without, only files are.

    Raises:
        BadCatalogue: One cannot be read, is wrong, or has the name of another.
    """
    named = [place.strip() for place in os.environ.get(VARIABLE, "").split(",") if place.strip()]
    places = [str(default_path()), *named, *further]
    found = [read_catalogue(place) for place in dict.fromkeys(places) if fetch or "://" not in place]
    seen: dict[str, Catalogue] = {}
    for catalogue in found:
        other = seen.setdefault(catalogue.name, catalogue)
        if other is not catalogue:
            raise BadCatalogue(
                f"{other.origin} and {catalogue.origin} are both called '{catalogue.name}'; "
                "entries could not be told apart. Change the name in one of them."
            )
    return Catalogues(tuple(found))


def default_path() -> Path:
    """The catalogue beside the source tree, or the copy that is packed into the wheel."""
    package = Path(__file__).parent.parent
    beside = package.parent / "registry.toml"
    return beside if beside.is_file() and (package.parent / "pyproject.toml").is_file() else package / "registry.toml"


@functools.cache
def read_catalogue(place: str) -> Catalogue:
    """Reads one catalogue; control characters in its texts are dropped. Raises BadCatalogue."""
    text = text_of(place)
    tables = cleaned(tables_of(text, place))
    found = mistakes(tables)
    if found:
        raise BadCatalogue("\n".join(described(found[:SHOWN], text, place)))
    entries = (CatalogueEntry.of(tables["name"], table) for table in tables.get("plugin", []))
    return Catalogue(tables["name"], place, tuple(sorted(entries, key=lambda entry: entry.name)))
