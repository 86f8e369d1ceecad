"""What a catalogue that is read by others keeps to, beyond what is needed to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.catalogue.schema import Mistake, Path
from zoo.catalogue.text import shown

RESERVED_PLUGINS = frozenset(
    {"gan-zoo", "zoo", "zoo-core", "pip", "uv", "torch", "torchvision", "timm", "pluggy", "click"}
)
RESERVED_NAMES = frozenset({"none", "name", "every"})
"""Words that recipes use."""
SUMMARY = 160
"""The longest summary, in characters."""


def breaches(tables: Mapping[str, Any]) -> list[Mistake]:
    """Every breach of a convention in a catalogue of the right structure."""
    plugins = tables.get("plugin", [])
    found = [*_order(plugins), *_unique(plugins)]
    for number, table in enumerate(plugins):
        found += _plugin(("plugin", number), table)
    return found


def _order(plugins: list[dict[str, Any]]) -> Iterator[Mistake]:
    for number in range(1, len(plugins)):
        before, name = plugins[number - 1]["name"], plugins[number]["name"]
        if name == before:
            yield Mistake(("plugin", number, "name"), f"'{name}' stands here twice.")
        elif name < before:
            yield Mistake(("plugin", number, "name"), f"plugins stand in the order of their names: before '{before}'.")


def _unique(plugins: list[dict[str, Any]]) -> Iterator[Mistake]:
    givers: dict[tuple[str, str], str] = {}
    for number, table in enumerate(plugins):
        if table["status"] == "removed":
            continue
        for hook, names in table["provides"].items():
            for name in names:
                giver = givers.setdefault((hook, name), table["name"])
                if giver != table["name"]:
                    path = ("plugin", number, "provides", hook)
                    yield Mistake(path, f"'{name}' is a {hook} of {giver} already; a name has one owner.")


def _plugin(path: Path, table: Mapping[str, Any]) -> Iterator[Mistake]:
    if table["name"] in RESERVED_PLUGINS:
        yield Mistake((*path, "name"), f"'{table['name']}' is reserved.")
    if not table["name"].startswith("zoo-"):
        yield Mistake((*path, "name"), f"must begin with 'zoo-': 'zoo-{table['name']}'.")
    if len(table["summary"]) > SUMMARY:
        yield Mistake((*path, "summary"), f"has {len(table['summary'])} characters; {SUMMARY} are allowed.")
    if len(set(table["owners"])) < len(table["owners"]):
        yield Mistake((*path, "owners"), "names somebody twice.")
    for key in ("summary", "reason"):
        if shown(table.get(key, "")) != table.get(key, ""):
            yield Mistake((*path, key), "has control characters.")
    yield from _repository(path, table)
    yield from _names(path, table["provides"])
    yield from _releases(path, table)


def _repository(path: Path, table: Mapping[str, Any]) -> Iterator[Mistake]:
    here = table["tier"] == "first-party"
    if not here and not table["repository"].startswith("https://"):
        yield Mistake((*path, "repository"), f"must be an https address, not '{table['repository']}'.")
    if here and table["repository"].startswith("/"):
        yield Mistake((*path, "repository"), "must be an https address or a folder beside this catalogue.")


def _names(path: Path, provides: Mapping[str, list[str]]) -> Iterator[Mistake]:
    for hook, names in provides.items():
        if names != sorted(set(names)):
            yield Mistake((*path, "provides", hook), f"must be in order, each name once: {sorted(set(names))}.")
        for name in sorted(RESERVED_NAMES.intersection(names)):
            yield Mistake((*path, "provides", hook), f"'{name}' is a word that recipes use.")


def _releases(path: Path, table: Mapping[str, Any]) -> Iterator[Mistake]:
    from packaging.version import Version

    versions = [release["version"] for release in table.get("release", [])]
    if versions != sorted(set(versions), key=Version):
        yield Mistake((*path, "release"), "releases stand in the order of their versions, each once.")
    if not versions and table["tier"] != "first-party" and table["status"] in ("active", "deprecated"):
        yield Mistake((*path, "release"), "is missing: without a release and its sha256 nobody can install it.")
    for number, tested in enumerate(table.get("tested", [])):
        if tested["version"] not in versions:
            yield Mistake((*path, "tested", number, "version"), f"{tested['version']} is no release of it.")
