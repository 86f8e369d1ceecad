"""What is installed, read from the metadata of distributions. No plugin is imported to know its names."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from zoo.environment import DISABLE, disabled, normalized
from zoo.errors import BrokenPlugin, DisabledPlugin, DuplicateName, UnknownName
from zoo.hookspecs import API, HOOKS

_PREFIX = "zoo.v"


@dataclass(frozen=True)
class Entry:
    """One component that an installed distribution declares."""

    hook: str
    name: str
    dist: str
    version: str
    module: str
    api: int = API

    @property
    def qualified(self) -> str:
        """`dist/name`, which is never ambiguous."""
        return f"{self.dist}/{self.name}"

    def __str__(self) -> str:
        return f"{self.hook} '{self.name}' of {self.dist} {self.version}"


@dataclass(frozen=True)
class Problem:
    """Something wrong with one distribution's metadata; the others are not affected."""

    dist: str
    version: str
    text: str
    unreadable: bool = False
    """Whether the metadata cannot be read at all, by anybody."""

    def __str__(self) -> str:
        return f"plugin {self.dist} {self.version}: {self.text}"


@dataclass
class Index:
    """The components of an environment.

    Attributes:
        entries: The components, in the order of hooks, names and distributions; those of another API too.
        problems: What is wrong with the metadata of distributions.
        disabled: The components that are not to be used.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    disabled: list[Entry] = field(default_factory=list)

    @classmethod
    def scan(cls, path: Sequence[str] | None = None) -> Index:
        """Reads the metadata of every distribution on `path` (`sys.path` if None), each on its own, guarded."""
        index = cls()
        for name, version, file in first_distributions(path):
            try:
                text = _entry_points(file)
                index.entries.extend(read_entries(text, name, version))
            except (OSError, ValueError) as error:
                text = f"unreadable entry_points.txt: {error}. Reinstall it, or: zoo disable {name}"
                index.problems.append(Problem(name, version, text, unreadable=True))
        off = disabled()
        index.disabled = [entry for entry in index.entries if entry.dist in off]
        on = [entry for entry in index.entries if entry.dist not in off]
        index.problems.extend(_unusable(on))
        known = (entry for entry in on if entry.hook in HOOKS or entry.api != API)
        index.entries = sorted(known, key=lambda entry: (entry.hook, entry.name, entry.dist))
        return index

    def select(self, hook: str | None = None, pattern: str = "*") -> list[Entry]:
        """The usable components of a hook (all if None) whose name matches a wildcard pattern."""
        return [
            entry
            for entry in self.entries
            if entry.api == API and hook in (None, entry.hook) and fnmatch.fnmatchcase(entry.name, pattern)
        ]

    def find(self, hook: str, name: str, hint: Callable[[], str] = str) -> Entry:
        """The component of a name, or of `dist/name`.

        Raises:
            UnknownName: Nothing installed gives the name; what `hint` returns is added to what is said.
            DisabledPlugin: What gives it is disabled.
            DuplicateName: Two distributions give it.
            BrokenPlugin: It is there, for an API that this zoo does not have.
        """
        usable = [e for e in self.entries if e.hook == hook and name in (e.name, e.qualified) and e.api == API]
        if len(usable) > 1:
            ways = " or ".join(f"'{entry.qualified}'" for entry in usable)
            raise DuplicateName(f"{hook} '{name}' is given by several plugins; say {ways}.")
        if not usable:
            self.refuse_other_api(name, hook)
            self.refuse_disabled(name, hook)
            raise UnknownName(_words(hook), name, (e.name for e in self.select(hook)), hint())
        return usable[0]

    def refuse_disabled(self, name: str, hook: str | None = None) -> None:
        """Raises DisabledPlugin if what gives a name is disabled."""
        for entry in self.disabled:
            if hook in (None, entry.hook) and name in (entry.name, entry.qualified):
                way = f"zoo enable {entry.dist}, or unset {DISABLE} if that names it"
                raise DisabledPlugin(f"{entry} is disabled: {way}.")

    def refuse_other_api(self, name: str, hook: str | None = None) -> None:
        """Raises BrokenPlugin if what gives a name is written for another plugin API."""
        for entry in self.entries:
            if entry.api != API and hook in (None, entry.hook) and name in (entry.name, entry.qualified):
                raise BrokenPlugin(f"{entry} needs plugin API v{entry.api}; this zoo has v{API}. Update one of them.")

    def hooks_of(self, name: str) -> list[Entry]:
        """Every usable component of that name, whatever its hook."""
        return [entry for entry in self.select() if name in (entry.name, entry.qualified)]


def _words(hook: str) -> str:
    return {"dataset": "data set", "lipschitz_constraint": "Lipschitz constraint"}.get(hook, hook)


def distributions(path: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(name, version, metadata folder) of all distributions on a path, those too that another one hides."""
    for folder in dict.fromkeys(path):
        yield from sorted(_in_folder(folder or "."), key=lambda found: found[2])


def first_distributions(path: Sequence[str] | None = None) -> Iterator[tuple[str, str, str]]:
    """(name, version, metadata folder) of each distribution on a path (`sys.path` if None), the first one winning."""
    seen = set()
    for name, version, metadata in distributions(sys.path if path is None else path):
        if name not in seen:
            seen.add(name)
            yield name, version, metadata


def _in_folder(folder: str) -> Iterator[tuple[str, str, str]]:
    try:
        with os.scandir(folder) as files:
            for file in files:
                if file.name.endswith((".dist-info", ".egg-info")):
                    name, _, rest = file.name.rpartition(".")[0].partition("-")
                    yield normalized(name), rest.partition("-")[0] or "?", file.path
    except OSError:
        return


def _entry_points(metadata: str) -> str:
    try:
        with open(os.path.join(metadata, "entry_points.txt"), "rb") as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return raw.decode("utf-8") if b"zoo.v" in raw else ""


def read_entries(text: str, dist: str, version: str) -> Iterator[Entry]:
    """The components that the text of an `entry_points.txt` declares. Raises ValueError for a malformed line."""
    group = None
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            group = _group(line.strip("[] "))
            if group and not group[1].isprintable():
                raise ValueError(f"{line!r} is not the name of a group")
        elif group and not line.startswith("#"):
            name, equals, module = (part.strip() for part in line.partition("="))
            if not (name and equals and module and (name + module).isprintable()):
                raise ValueError(f"{line!r} is not 'name = module'")
            yield Entry(group[1], name, dist, version, module, group[0])


def _group(name: str) -> tuple[int, str] | None:
    """The interface's version and the hook of an entry-point group, if it is one of the zoo's."""
    major, dot, hook = name.removeprefix(_PREFIX).partition(".")
    return (int(major), hook) if name.startswith(_PREFIX) and dot and major.isdigit() else None


def _unusable(entries: Iterable[Entry]) -> Iterator[Problem]:
    for entry in entries:
        if entry.api != API:
            yield Problem(
                entry.dist,
                entry.version,
                f"'{entry.name}' needs plugin API v{entry.api}; this zoo has v{API}",
            )
        elif entry.hook not in HOOKS:
            yield Problem(entry.dist, entry.version, str(UnknownName("hook", entry.hook, HOOKS)))
