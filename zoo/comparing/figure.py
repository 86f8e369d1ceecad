"""A figure in the report: its table, its floor and its plots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from zoo.comparing import plots as drawn
from zoo.comparing.results import Comparison, Scale
from zoo.comparing.scales import number, times_floor, title
from zoo.comparing.statistics import Summary, summaries

ARROWS = {"lower": "↓", "higher": "↑", "": ""}


@dataclass(frozen=True)
class Plot:
    """A plot with what stands above it, and with what is said instead of it."""

    caption: str
    alt: str
    svg: str


class Figure:
    """A figure with its table and its plots."""

    def __init__(self, comparison: Comparison, key: str) -> None:
        self.comparison, self.key = comparison, key
        self.scale: Scale = comparison.scales[key]
        self.title = title(self.scale)
        self.arrow = f" {ARROWS[self.scale.better]}" if self.scale.better else ""
        self.summaries = {each.label: each for each in summaries(comparison, key)}
        self.measured = any(key in point.figures for cell in comparison.cells for point in cell.points)

    @property
    def direction(self) -> str:
        """Which way it is better, in words."""
        return f"{self.arrow} {self.scale.better} is better" if self.scale.better else "only describes"

    @property
    def floor(self) -> str:
        """Its floor in words; empty without one."""
        if self.scale.floor is None:
            return ""
        return f"floor {number(self.scale.floor)} ± {self.scale.spread or 0.0:.2g}"

    @property
    def rows(self) -> list[Summary]:
        """Its contenders, the best median first, those without one last."""
        sign = -1.0 if self.scale.better == "higher" else 1.0
        return sorted(self.summaries.values(), key=lambda row: math.inf if row.median is None else sign * row.median)

    @property
    def best(self) -> float | None:
        """The best median; None where nothing is better or nothing finished."""
        return self.rows[0].median if self.scale.better and self.rows else None

    @property
    def has_times(self) -> bool:
        """Whether figures can be told in floors."""
        return times_floor(1.0, self.scale) is not None

    def times(self, value: float | None) -> float | None:
        """A value over the floor."""
        return times_floor(value, self.scale)

    def median(self, label: str) -> float | None:
        """A contender's median."""
        return self.summaries[label].median

    @cached_property
    def plots(self) -> list[Plot]:
        """Against iterations, against seconds, and at the end."""
        ends = "; ".join(f"{row.label} {number(row.median)}" for row in self.rows if row.median is not None)
        said = f"Medians at the end: {ends}." if ends else "No run has finished."
        return [
            Plot("against iterations", f"{self.title} against iterations. {said}", self._course("step")),
            Plot("against seconds", f"{self.title} against seconds of training. {said}", self._course("seconds")),
            Plot("at the end", f"{self.title} of every run at the end, a row a contender. {said}", self._end()),
        ]

    def _course(self, across: drawn.Across) -> str:
        return drawn.course(self.comparison, self.key, across)

    def _end(self) -> str:
        return drawn.at_end(self.comparison, self.key)
