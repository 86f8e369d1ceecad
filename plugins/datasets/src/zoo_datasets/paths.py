"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from zoo import BadData


def expanded(path: str) -> Path:
    """The path, `~` written out. Raises BadData if no file can have it: it is too long, or that of an unknown user."""
    try:
        whole = Path(path).expanduser()
        whole.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadData(f"'{path}' can be no path: {error}.") from error
    return whole
