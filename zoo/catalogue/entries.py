"""What a catalogue says of a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.hookspecs import API

SCHEMA = 1
TIERS = ("first-party", "verified", "community")
STATUSES = ("active", "deprecated", "removed", "critical")
REFUSED = ("removed", "critical")
"""What is not to be installed."""
RESULTS = ("passed", "failed")


@dataclass(frozen=True)
class Release:
    """A published version of a plugin.

    Attributes:
        version: The version.
        requires_zoo: The versions of gan-zoo that it works with, such as `>=0.1,<1`.
        wheel: The name of its wheel file.
        sha256: The hash of that file, in hexadecimal.
    """

    version: str
    requires_zoo: str
    wheel: str
    sha256: str


@dataclass(frozen=True)
class Tested:
    """One run of the conformance kit on a release.

    Attributes:
        version: The release.
        zoo: The version of gan-zoo.
        torch: The version of torch.
        result: `passed` or `failed`.
    """

    version: str
    zoo: str
    torch: str
    result: str


@dataclass(frozen=True)
class CatalogueEntry:
    """One plugin of a catalogue.

    Attributes:
        catalogue: The name of the catalogue that it stands in.
        name: The distribution that is installed.
        summary: What it is, in a sentence.
        repository: Where its source is: an https address, or for first-party plugins a folder beside the catalogue.
        owners: The accounts that answer for it.
        tier: `first-party`, `verified` or `community`.
        status: `active`, `deprecated`, `removed` or `critical` (dangerous).
        reason: Why it is not active.
        api: The major version of the plugin API that it is written for.
        provides: The names that it offers, by hook.
        releases: Its published versions, oldest first.
        tested: Where the conformance kit has been run on them.
    """

    catalogue: str
    name: str
    summary: str
    repository: str
    owners: tuple[str, ...]
    tier: str
    status: str = "active"
    reason: str = ""
    api: int = API
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()
    tested: tuple[Tested, ...] = ()

    @classmethod
    def of(cls, catalogue: str, table: Mapping[str, Any]) -> CatalogueEntry:
        """The entry that a table of the right structure stands for."""
        known = {key: table[key] for key in ("name", "summary", "repository", "tier", "status", "api")}
        return cls(
            catalogue=catalogue,
            owners=tuple(table["owners"]),
            reason=table.get("reason", ""),
            provides={hook: tuple(names) for hook, names in table["provides"].items()},
            releases=tuple(
                Release(release["version"], release["requires-zoo"], release["wheel"], release["sha256"])
                for release in table.get("release", ())
            ),
            tested=tuple(Tested(**tested) for tested in table.get("tested", ())),
            **known,
        )

    @property
    def qualified(self) -> str:
        """`catalogue/name`, which is never ambiguous."""
        return f"{self.catalogue}/{self.name}"

    @property
    def refusal(self) -> str:
        """Why it is not to be installed; empty if it may be."""
        return f"{self.qualified} is {self.status}: {self.reason}" if self.status in REFUSED else ""

    def release(self, version: str) -> Release | None:
        """The release of a version, however that is written (1.0 is 1.0.0), or None."""
        from packaging.version import InvalidVersion, Version

        try:
            wanted = Version(version)
        except InvalidVersion:
            return None
        return next((release for release in self.releases if Version(release.version) == wanted), None)

    def matches(self, text: str, more: str = "") -> bool:
        """Whether every word of `text` occurs in its name, summary, what it provides or `more`. See `words_in`."""
        return words_in(text, self.told(more)) == len(text.split())

    def told(self, more: str = "") -> str:
        """What is searched: its name, its summary, what it provides, and what else is known of it."""
        names = " ".join(f"{hook} {' '.join(given)}" for hook, given in self.provides.items())
        return f"{self.name} {self.summary} {names} {more}"


def words_in(words: str, text: str) -> int:
    """How many of the words, or their singulars, occur in a text, however -ize and -ise are spelt.

    >>> words_in("faces labels", "a face and its label"), words_in("normalized pairs", "normalised by its norm")
    (2, 1)
    """
    one = text.lower().replace("iz", "is")
    return sum(word.replace("iz", "is").removesuffix("s") in one for word in words.lower().split())


@dataclass(frozen=True)
class Catalogue:
    """One catalogue.

    Attributes:
        name: Its own name, which qualifies its entries.
        origin: The file or address that it was read from.
        entries: Its plugins, in the order of their names.
    """

    name: str
    origin: str
    entries: tuple[CatalogueEntry, ...]
