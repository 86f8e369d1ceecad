"""What the report says, in the form that its template prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import tomli_w

from zoo.comparing.figure import Figure
from zoo.comparing.plots import GLYPHS, PALETTE
from zoo.comparing.results import Cell, Comparison, Contender
from zoo.comparing.scales import number
from zoo.comparing.statistics import Odds, beats, missing, ranking
from zoo.comparing.verdict import judge, listed, word

PARTS = ("generator", "critic", "backbone", "distance", "lipschitz_constraint", "procedure")
"""The parts of a recipe that the table of contenders names."""
UNITS = {"steps": "iterations (generator steps)", "critic updates": "critic updates", "seconds": "seconds of training"}
REAL = "pictures/real.png"
"""Where a picture of real samples lies in a comparison's folder."""


@dataclass(frozen=True)
class Shown:
    """A picture of samples; of real ones if it has no label."""

    label: str
    source: str
    caption: str
    alt: str


class Page:
    """Everything that the template asks for.

    Args:
        comparison: What is reported.
        picture: A picture in the comparison's folder as a data URI, by its name there; None if it is not to be had.
    """

    def __init__(self, comparison: Comparison, picture: Callable[[str], str | None]) -> None:
        self.comparison, self._picture = comparison, picture
        self.labels = [contender.label for contender in comparison.contenders]
        self.figures = [Figure(comparison, key) for key in comparison.scales]
        self.main, *self.others = self.figures
        self.plotted = [figure for figure in self.figures if figure.measured]
        self.odds = beats(comparison, self.main.key)
        self.ranking = ranking(self.odds)
        self.judgement = judge(comparison, self.odds)
        self.failures = [cell for label in self.labels for cell in comparison.of(label) if cell.state == "failed"]
        self.winner = bool(self.ranking and not self.ranking.open)
        self.has_floors = any(figure.scale.floor is not None for figure in self.figures)

    @property
    def name(self) -> str:
        """The page's title."""
        return f"{listed(self.labels)} on {self.comparison.dataset}"

    @property
    def question(self) -> str:
        """What the comparison was made for."""
        who = listed(self.labels, "or") if len(self.labels) < 5 else f"which of {len(self.labels)} contenders"
        return f"On {self.comparison.dataset}, with {self.budget}: {who}?"

    @property
    def budget(self) -> str:
        """What each contender could spend, in words."""
        budget = self.comparison.budget
        return f"{budget.amount:g} {UNITS.get(budget.kind, budget.kind)} each"

    @property
    def gaps(self) -> str:
        """The runs that are still to be made."""
        gaps = missing(self.comparison).items()
        return "; ".join(f"{label} with seed {', '.join(map(str, seeds))}" for label, seeds in gaps)

    def colour(self, label: str) -> int:
        """The number of a contender's colour."""
        return self.labels.index(label) % len(PALETTE)

    def glyph(self, label: str) -> str:
        """The shape of a contender's marks."""
        return GLYPHS[self.labels.index(label) % len(GLYPHS)]

    def word(self, odds: Odds) -> str:
        """Odds in words."""
        return word(odds, len(self.odds) // 2)

    def strength(self, odds: Odds) -> int:
        """How strongly odds are coloured, in percent."""
        return round(abs(odds.probability - 0.5) * (100 if odds.decided(len(self.odds) // 2) else 25))

    @cached_property
    def _shown(self) -> dict[str, list[Shown]]:
        """Pictures of each contender that has some, the best seed first."""
        found = {label: [self._shown_of(cell) for cell in self._best_first(label)] for label in self.labels}
        there = {label: [shown for shown in pictures if shown is not None] for label, pictures in found.items()}
        return {label: pictures for label, pictures in there.items() if pictures}

    def _best_first(self, label: str) -> list[Cell]:
        sign = -1.0 if self.main.scale.better == "higher" else 1.0
        key = self.main.key
        return sorted(self.comparison.of(label), key=lambda cell: finite(sign * cell.figures.get(key, math.inf)))

    def _shown_of(self, cell: Cell) -> Shown | None:
        source = self._picture(cell.picture) if cell.picture else None
        if source is None:
            return None
        value = cell.figures.get(self.main.key)
        figure = "" if value is None else f", {self.main.title} {number(value)}"
        failed = ", failed" if cell.state == "failed" else ""
        caption = f"seed {cell.seed}{figure}{failed}"
        return Shown(cell.contender, source, caption, f"Samples of {cell.contender}, {caption}")

    @property
    def firsts(self) -> list[Shown]:
        """The picture of each contender's best seed."""
        return [pictures[0] for pictures in self._shown.values()]

    @property
    def seconds(self) -> dict[str, list[Shown]]:
        """The pictures of the other seeds."""
        return {label: pictures[1:] for label, pictures in self._shown.items() if pictures[1:]}

    @property
    def real(self) -> Shown | None:
        """A picture of real samples, where there is one."""
        source = self._picture(REAL)
        return Shown("", source, "what they should look like", "Real samples") if source else None

    def seconds_used(self, label: str) -> float | None:
        """The median time of training over a contender's runs that finished."""
        used = [cell.points[-1].seconds for cell in self.comparison.of(label) if cell.figures]
        return median(used) if used else None

    @property
    def parts(self) -> list[str]:
        """The kinds of parts that a contender has."""
        return [part for part in PARTS if any(self.part(each, part) for each in self.comparison.contenders)]

    def part(self, contender: Contender, part: str) -> str:
        """The names of a contender's parts of a kind."""
        found = contender.table.get(part) or []
        choices = found if isinstance(found, list) else [found]
        names = [each.get("name", "") if isinstance(each, Mapping) else str(each) for each in choices]
        return ", ".join(name for name in names if name != "none")

    @property
    def differences(self) -> dict[str, list[str]]:
        """The settings that are not the same for all contenders with a recipe, by name; `—` where one has none."""
        tables = [flattened(each.table) for each in self.comparison.contenders]
        names = dict.fromkeys(name for table in tables for name in table)
        rows = {name: [table.get(name, "—") for table in tables] for name in names}
        return {name: values for name, values in rows.items() if len(set(values)) > 1}

    @property
    def recipes(self) -> dict[str, str]:
        """The recipes as TOML."""
        return {each.label: tomli_w.dumps(each.table) for each in self.comparison.contenders if each.table}


def flattened(table: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """A recipe's settings by dotted name, as text; parts of a list by their names.

    Examples:
        >>> flattened({"train": {"steps": 5}, "lipschitz_constraint": [{"name": "clip", "bound": 1}]})
        {'train.steps': '5', 'lipschitz_constraint.clip.name': 'clip', 'lipschitz_constraint.clip.bound': '1'}
    """
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            value = {str(each.get("name", place)): each for place, each in enumerate(value)}
        if isinstance(value, Mapping):
            found |= flattened(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = str(value)
    return found


def finite(value: float) -> float:
    """The value, or infinity for what is none."""
    return value if math.isfinite(value) else math.inf
