"""TOML of anybody's: read, or refused with a ValueError and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

LARGEST = 2**63 - 1
"""The largest whole number that TOML has; of much larger ones Python refuses even to print what is wrong."""


def loads(text: str) -> dict[str, Any]:
    """The tables of a text. Raises ValueError if it is not TOML, nested too deeply or has too large a number."""
    try:
        tables = tomllib.loads(text)
        _refuse_large(tables, "")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return tables


def value_of(text: str) -> Any:
    """What a text stands for as a value in TOML; the text itself if that is nothing."""
    try:
        table = loads(f"value = {text}")
    except ValueError:
        return text
    return table["value"] if len(table) == 1 else text


def fits(value: Any) -> bool:
    """Whether a value is no whole number, or one that TOML has."""
    return not isinstance(value, int) or abs(value) <= LARGEST


def _refuse_large(value: Any, where: str) -> None:
    if not fits(value):
        raise ValueError(f"{where} is too large a number")
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        _refuse_large(each, f"{where}.{key}" if where else str(key))
