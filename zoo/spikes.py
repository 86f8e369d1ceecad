"""Lines of metrics in which a value is far from what it was in the lines before."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.history import NORM

WINDOW = 30
"""So many lines before are looked at."""
FEWEST = 10
"""With fewer, nothing is known of the spread."""
FAR = 10.0
"""So many spreads from the median is a spike."""
SLIGHT = 0.05
"""The spread counts as this share of the median at least, so that a value that hardly changed before may change."""
NORMAL = 1.4826
"""Median absolute deviations times this are standard deviations, of normal values."""
WATCHED = ("loss", NORM)
"""How the names end of what is watched."""


class Spikes:
    """Finds spikes by median and median absolute deviation, which a spike among the lines before does not move.

    Args:
        rows: The lines of metrics there are.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._before: deque[Mapping[str, Any]] = deque(rows, WINDOW)

    def of(self, row: Mapping[str, Any]) -> list[str]:
        """The names of the values of a new line that are spikes; the line is one of those before from then on."""
        found = [name for name in row if name.endswith(WATCHED) and self._far(name, row[name])]
        self._before.append(row)
        return found

    def _far(self, name: str, value: float) -> bool:
        values = [row[name] for row in self._before if name in row]
        if len(values) < FEWEST:
            return False
        median = statistics.median(values)
        spread = NORMAL * statistics.median(abs(each - median) for each in values)
        return bool(abs(value - median) > FAR * max(spread, SLIGHT * abs(median)))
