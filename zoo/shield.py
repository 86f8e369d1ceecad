"""Keeps one distribution's unreadable metadata from breaking everybody else's use of `importlib.metadata`."""

from __future__ import annotations

from importlib.metadata import Distribution, EntryPoints, PathDistribution
from typing import Any

_entry_points = Distribution.entry_points
_read_text = PathDistribution.read_text


def shield() -> None:
    """Has a distribution whose entry points cannot be read count as one without any, in this process.

    `importlib.metadata.entry_points` raises for all callers when a single distribution is malformed, and torch is one
    of them: its optimisers import triton, which looks for its own entry points. pip is another; it ends when any
    distribution's metadata is not UTF-8. Bytes that are none are shown as replacement characters instead.
    """
    if Distribution.entry_points is _entry_points:
        Distribution.entry_points = property(_readable)  # type: ignore[assignment, method-assign]
        PathDistribution.read_text = _decodable  # type: ignore[assignment, method-assign]


def _readable(distribution: Distribution) -> EntryPoints:
    try:
        return _entry_points.fget(distribution)  # type: ignore[attr-defined, no-any-return]
    except (ValueError, TypeError, OSError):
        return EntryPoints(())


def _decodable(distribution: PathDistribution, filename: Any) -> str | None:
    try:
        return _read_text(distribution, filename)
    except UnicodeDecodeError:
        folder: Any = distribution._path  # There is no public way to it.
        raw: bytes = folder.joinpath(filename).read_bytes()
        return raw.decode("utf-8", errors="replace")
