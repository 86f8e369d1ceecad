"""Variants: named compositions, pure data, written in the same TOML as a user's recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import BadRecipe

ABOUT = ("summary", "paper", "authors", "year")
"""The keys of a variant's table that describe it; all others are its recipe."""


@dataclass(frozen=True)
class Variant:
    """A named composition of parts.

    Attributes:
        summary: One sentence: what it is and when to use it.
        table: The recipe that it stands for: axes, `train`, and `for.image` / `for.vector` for what depends on
            the data.
        paper: Where it was published, as an address.
        authors: Who published it.
        year: When.
    """

    summary: str
    table: Mapping[str, Any]
    paper: str = ""
    authors: str = ""
    year: int = 0


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


def _variant(path: Path, name: str, table: Any) -> Variant:
    if not isinstance(table, dict) or not isinstance(table.get("summary"), str):
        raise BadRecipe(f"{path}: [{name}] must be a table with a summary.")
    about = {key: table[key] for key in ABOUT if key in table}
    return Variant(table={key: value for key, value in table.items() if key not in ABOUT}, **about)
