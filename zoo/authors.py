"""Whose code a module is: the plugins that this process has loaded, by the packages that their modules are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.frames import root_of
from zoo.hookspecs import PROJECT
from zoo.index import Entry

LOCAL = "(local file)"
"""What stands for the version of a plugin that is a file."""


@dataclass
class Author:
    """Whose code a module is.

    Attributes:
        entry: A component of the plugin.
        offered: What its modules offer, by what a message calls it.
    """

    entry: Entry
    offered: dict[str, Any] = field(default_factory=dict)

    def name_of(self, own: str) -> str:
        """What a class or function is called as a component, such as `distance 'squares'`; or its own name."""
        return next((name for name, made in self.offered.items() if getattr(made, "__qualname__", "") == own), own)


_AUTHORS: dict[str, Author] = {}


def author_of(module: str) -> Author | None:
    """Whose code a module is, if it belongs to a plugin that this process has loaded."""
    return _AUTHORS.get(root_of(module))


def way_out(entry: Entry) -> str:
    """What to do about a plugin that does not work."""
    if entry.version == LOCAL:
        return "Correct the file."
    return f"If you are its author, correct it; else update it, report it, or put it aside: zoo disable {entry.dist}."


def note_author(entry: Entry, hooks: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes whose the modules beside this one are; those of the core are nobody's plugin."""
    if root_of(entry.module) != PROJECT:
        author = author_of(entry.module)
        if author is None or author.entry.dist != entry.dist:
            author = _AUTHORS[root_of(entry.module)] = Author(entry)
        author.offered |= {f"{hook} '{name}'": made for hook, each in hooks.items() for name, made in each.items()}
