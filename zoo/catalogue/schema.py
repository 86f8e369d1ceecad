"""Schema 1 of a catalogue: every mistake in one, with line, plugin and field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from zoo.catalogue.entries import RESULTS, SCHEMA, STATUSES, TIERS
from zoo.hookspecs import API, HOOKS

Path: TypeAlias = tuple[str | int, ...]
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
SHA256 = re.compile(r"[0-9a-f]{64}")

LARGEST = 10**6
"""The largest whole number; Python refuses to print much larger ones."""

TOP = {"schema": int, "name": str, "plugin": list}
PLUGIN = {
    "name": str,
    "summary": str,
    "repository": str,
    "owners": list,
    "tier": str,
    "status": str,
    "reason": str,
    "api": int,
    "provides": dict,
    "release": list,
    "tested": list,
}
RELEASE = {"version": str, "requires-zoo": str, "wheel": str, "sha256": str}
TESTED = {"version": str, "zoo": str, "torch": str, "result": str}
OPTIONAL = {"reason", "release", "tested", "plugin"}
WORDS: Mapping[type, str] = {int: "a whole number", str: "text", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class Mistake:
    """Something wrong in a catalogue.

    Attributes:
        path: The way to it: keys and numbers from 0.
        text: What is wrong, and what would be right.
    """

    path: Path
    text: str


def mistakes(tables: Mapping[str, Any]) -> list[Mistake]:
    """What keeps a catalogue from being read: missing, unknown and mistyped fields, and values that mean nothing."""
    found = list(_fields(tables, TOP, ()))
    if found:
        return found
    if tables["schema"] != SCHEMA:
        return [Mistake(("schema",), f"must be {SCHEMA}, not {tables['schema']}; a newer gan-zoo may know it.")]
    found += _text(("name",), tables["name"], NAME, "lower-case letters and digits with hyphens between")
    for number, table in enumerate(tables.get("plugin", [])):
        found += _plugin(("plugin", number), table)
    return found


def _fields(table: Any, fields: Mapping[str, type], path: Path) -> Iterator[Mistake]:
    if not isinstance(table, dict):
        yield Mistake(path, "must be a table.")
        return
    for key, kind in fields.items():
        if key not in table:
            if key not in OPTIONAL:
                yield Mistake((*path, key), "is missing.")
        elif not isinstance(table[key], kind) or isinstance(table[key], bool):
            yield Mistake((*path, key), f"must be {WORDS[kind]}, not {table[key]!r}.")
        elif kind is int and abs(table[key]) > LARGEST:
            yield Mistake((*path, key), "is too large a number.")
        elif kind is str and not table[key].strip():
            yield Mistake((*path, key), "is empty.")
    for key in table.keys() - fields.keys():
        yield Mistake((*path, key), f"is no field; there are {', '.join(fields)}.")


def _plugin(path: Path, table: Any) -> list[Mistake]:
    found = list(_fields(table, PLUGIN, path))
    for key, fields, more in (("release", RELEASE, _release), ("tested", TESTED, _tested)):
        for number, inner in enumerate(table.get(key, []) if not found else []):
            place = (*path, key, number)
            found += list(_fields(inner, fields, place)) or list(more(place, inner, table["name"]))
    return found or list(_values(path, table))


def _values(path: Path, table: Mapping[str, Any]) -> Iterator[Mistake]:
    yield from _text((*path, "name"), table["name"], NAME, "lower-case letters and digits with hyphens between")
    yield from _one_of((*path, "tier"), table["tier"], TIERS)
    yield from _one_of((*path, "status"), table["status"], STATUSES)
    if table["status"] != "active" and not table.get("reason"):
        yield Mistake((*path, "reason"), f"is missing: say why it is {table['status']}.")
    if not table["owners"] or not all(isinstance(o, str) and HANDLE.fullmatch(o) for o in table["owners"]):
        yield Mistake((*path, "owners"), f"must name the accounts that answer for it, not {table['owners']!r}.")
    yield from _provides((*path, "provides"), table["provides"], table["api"])


def _provides(path: Path, provides: Mapping[str, Any], api: int) -> Iterator[Mistake]:
    if not provides:
        yield Mistake(path, "names nothing.")
    for hook, names in provides.items():
        if api == API and hook not in HOOKS:
            yield Mistake((*path, hook), f"is no hook; there are {', '.join(HOOKS)}.")
        elif not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            yield Mistake((*path, hook), f"must be a list of names, not {names!r}.")
        else:
            for name in names:
                yield from _text((*path, hook), name, NAME, "lower-case letters and digits with hyphens between")


def _release(path: Path, table: Mapping[str, str], name: str) -> Iterator[Mistake]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    yield from _text((*path, "sha256"), table["sha256"], SHA256, "64 hexadecimal digits in lower case")
    yield from _version((*path, "version"), table["version"])
    try:
        SpecifierSet(table["requires-zoo"])
    except InvalidSpecifier:
        yield Mistake((*path, "requires-zoo"), f"must be like '>=0.1,<1', not '{table['requires-zoo']}'.")
    try:
        wheel = parse_wheel_filename(table["wheel"])
    except InvalidWheelFilename as error:
        yield Mistake((*path, "wheel"), f"{error}.")
    else:
        if (wheel[0], str(wheel[1])) != (name, table["version"]):
            yield Mistake((*path, "wheel"), f"'{table['wheel']}' is not one of {name} {table['version']}.")


def _tested(path: Path, table: Mapping[str, str], name: str) -> Iterator[Mistake]:
    for key in ("version", "zoo", "torch"):
        yield from _version((*path, key), table[key])
    yield from _one_of((*path, "result"), table["result"], RESULTS)


def _version(path: Path, text: str) -> Iterator[Mistake]:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        yield Mistake(path, f"must be a version such as 1.0.2, not '{text}'.")


def _text(path: Path, text: str, pattern: re.Pattern[str], words: str) -> Iterator[Mistake]:
    if not pattern.fullmatch(text):
        yield Mistake(path, f"must be {words}, not {text!r}.")


def _one_of(path: Path, value: str, choices: tuple[str, ...]) -> Iterator[Mistake]:
    if value not in choices:
        yield Mistake(path, f"must be one of {', '.join(choices)}, not '{value}'.")


HEADER = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]\]?")
KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


def lines(text: str) -> Callable[[Path], int]:
    """Finds the line, from 1, of a key or of the nearest table around it, in a TOML text."""
    places: dict[Path, int] = {(): 1}
    here: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            here = _table(tuple(header[2].split(".")), header[1] == "[[", places)
            places[here] = number
        elif key := KEY.match(line):
            places.setdefault((*here, key[1]), number)

    def line_of(path: Path) -> int:
        while path not in places:
            path = path[:-1]
        return places[path]

    return line_of


def _table(keys: tuple[str, ...], is_new: bool, places: Mapping[Path, int]) -> Path:
    """The way to a table that is headed by `keys`, with the numbers of those that it lies in."""
    path: Path = ()
    for depth, key in enumerate(keys):
        path = (*path, key)
        count = 0
        while (*path, count) in places:
            count += 1
        if is_new and depth == len(keys) - 1:
            path = (*path, count)
        elif count:
            path = (*path, count - 1)
    return path
