"""Variants: named compositions, pure data, written in the same TOML as a user's recipe."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.errors import BadRecipe

ABOUT = ("summary", "data", "paper", "authors", "year")
"""The keys of a variant's table that describe it; all others are its recipe."""


@dataclass(frozen=True)
class Variant:
    """A named composition of parts.

    Attributes:
        summary: One sentence: what it is and when to use it.
        table: The recipe that it stands for: axes, `train`, and `for.image` / `for.vector` for what depends on
            the data.
        data: What the data must have, with data sets that do, in words; empty where any will do.
        paper: Where it was published, as an address.
        authors: Who published it.
        year: When.
    """

    summary: str
    table: Mapping[str, Any]
    paper: str = ""
    authors: str = ""
    year: int = 0
    data: str = ""


def read_variants(beside: str) -> dict[str, Variant]:
    """The variants of `variants.toml`, one a table, in the folder of the module `beside`.

    Args:
        beside: The `__file__` of a plugin's module.

    Raises:
        BadRecipe: The file is not TOML, or a table has no summary.
    """
    path = Path(beside).with_name("variants.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(f"{path}: {error}") from error
    return {name: _variant(path, name, table) for name, table in tables.items()}


def summary_of(module: str, name: str) -> str:
    """What a variant is, from the `variants.toml` beside its plugin's module, which is not imported.

    Args:
        module: The module's name.
        name: The variant's.

    Returns:
        Its summary; empty where the variant is written in Python, or the file cannot be read.
    """
    about = _summaries(module).get(name)
    summary = about.get("summary") if isinstance(about, dict) else None
    return summary if isinstance(summary, str) else ""


@functools.cache
def _summaries(module: str) -> dict[str, Any]:
    try:
        # Of its package, since Python imports that to find a module within.
        spec = find_spec(module.partition(".")[0])
        if spec is None or not spec.has_location or spec.origin is None:
            return {}
        return tomllib.loads(Path(spec.origin).with_name("variants.toml").read_text(encoding="utf-8"))
    except (ImportError, OSError, ValueError):
        return {}


def _variant(path: Path, name: str, table: Any) -> Variant:
    if not isinstance(table, dict) or not isinstance(table.get("summary"), str):
        raise BadRecipe(f"{path}: [{name}] must be a table with a summary.")
    about = {key: table[key] for key in ABOUT if key in table}
    return Variant(table={key: value for key, value in table.items() if key not in ABOUT}, **about)
