"""Text of others, made fit to be shown on a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any


def shown(text: str) -> str:
    """The text without control and format characters, which could rewrite what stands on the screen; on one line."""
    spaced = " ".join(text.split())
    return "".join(sign for sign in spaced if unicodedata.category(sign) not in ("Cc", "Cf", "Co", "Cs"))


def cleaned(value: Any) -> Any:
    """A TOML value with every text in it made fit to be shown."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {shown(key): cleaned(item) for key, item in value.items()}
    return value
