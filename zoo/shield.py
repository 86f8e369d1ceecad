"""Keeps one distribution's malformed metadata from breaking everybody else's use of `importlib.metadata`."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import Distribution, EntryPoints

_original = Distribution.entry_points


def shield() -> None:
    """Has a distribution whose entry points cannot be read count as one without any, in this process.

    `importlib.metadata.entry_points` raises for all callers when a single distribution is malformed, and torch is one
    of them: its optimisers import triton, which looks for its own entry points.
    """
    if Distribution.entry_points is _original:
        Distribution.entry_points = property(_readable)  # type: ignore[assignment, method-assign]


def _readable(distribution: Distribution) -> EntryPoints:
    try:
        return _original.fget(distribution)  # type: ignore[attr-defined, no-any-return]
    except (ValueError, TypeError, OSError):
        return importlib.metadata.EntryPoints(())
