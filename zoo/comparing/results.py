"""What a comparison is and what came of it: plain data, kept as JSON files in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoo.errors import BadRun
from zoo.metrics import Better
from zoo.recipe import Table
from zoo.writing import write_whole

BudgetKind: TypeAlias = Literal["steps", "critic updates", "seconds"]
State: TypeAlias = Literal["finished", "failed"]


@dataclass(frozen=True)
class Budget:
    """What every contender may spend.

    Attributes:
        kind: `steps` (iterations: generator steps), `critic updates`, or `seconds` of training.
        amount: How much of it.
    """

    kind: BudgetKind
    amount: float


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    Attributes:
        label: Its name in tables, unique in the comparison.
        table: Its recipe's table, resolved, without a seed; empty for a run that was trained before.
        steps: The iterations that its budget comes to.
        critic_updates: The critic's optimiser steps in these; 0 without a critic.
        run: The folder of a run that was trained before, which is measured only.
    """

    label: str
    table: Table
    steps: int
    critic_updates: int
    run: str | None = None


@dataclass(frozen=True)
class Scale:
    """What is known of a figure apart from any contender.

    Attributes:
        metric: The metric that it belongs to, as it was asked for.
        name: The figure's name in that metric.
        better: Which way it is better; empty for one that only describes.
        floor: Its mean between real samples; None for one that compares nothing.
        spread: The floor's standard deviation.
    """

    metric: str
    name: str
    better: Better
    floor: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class Point:
    """A contender's figures at one moment of one seed.

    Attributes:
        step: The iterations until then.
        seconds: The time of training until then, measuring left out.
        figures: Figures by the keys of `Comparison.scales`.
    """

    step: int
    seconds: float
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """What came of one contender with one seed. A run that diverged is a result.

    Attributes:
        contender: The contender's label.
        seed: Its seed.
        state: `finished` or `failed`.
        error: Why it failed; empty if it did not.
        points: Its figures in the course of training, the last ones at its end; none may be there if it failed.
        picture: A picture of samples at its end, relative to the comparison's folder; None if there is none.
        run: Its run folder, relative to the comparison's folder.
    """

    contender: str
    seed: int
    state: State
    error: str = ""
    points: tuple[Point, ...] = ()
    picture: str | None = None
    run: str = ""

    @property
    def figures(self) -> Mapping[str, float]:
        """The figures at the end; empty if it failed."""
        return self.points[-1].figures if self.state == "finished" and self.points else {}

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Cell:
        """A cell from what `asdict` made of it."""
        return cls(**{**table, "points": tuple(Point(**point) for point in table["points"])})


@dataclass(frozen=True)
class Comparison:
    """Contenders on one data set within one budget, over seeds.

    Attributes:
        dataset: The data set, as `--dataset` says it.
        budget: What each contender may spend.
        seeds: The seeds.
        contenders: In the order asked for.
        scales: What is known of each figure, by its key: the first is the main one.
        samples: How many samples each figure is measured on.
        points: How many times a run is measured in the course of its training, about.
        command: The command that made it.
        about: Versions and hardware, by name.
        cells: What has come of it so far, in no order.
        notes: What to know of its figures, a sentence each.
    """

    dataset: str
    budget: Budget
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]
    scales: Mapping[str, Scale]
    samples: int
    points: int = 5
    command: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, label: str) -> list[Cell]:
        """A contender's cells, by seed."""
        return sorted((cell for cell in self.cells if cell.contender == label), key=lambda cell: cell.seed)

    @classmethod
    def parse(cls, table: Mapping[str, Any], cells: Iterable[Cell] = ()) -> Comparison:
        """A comparison from what `asdict` made of it."""
        return cls(
            **{
                **table,
                "budget": Budget(**table["budget"]),
                "seeds": tuple(table["seeds"]),
                "contenders": tuple(Contender(**contender) for contender in table["contenders"]),
                "scales": {key: Scale(**scale) for key, scale in table["scales"].items()},
                "notes": tuple(table.get("notes", ())),
                "cells": tuple(cells) or tuple(Cell.of(cell) for cell in table.get("cells", ())),
            }
        )


def write_json(path: Path, thing: Comparison | Cell) -> None:
    """Writes a comparison or a cell, whole. Raises SaveFailed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(thing), indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises BadRun naming the file if it is damaged."""
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRun(f"{path} cannot be read: {error}. Remove it to have it made anew.") from error
    return table
