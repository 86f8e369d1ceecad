"""The folder of a comparison: its plan, a file for each cell, the runs, the report."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.comparing.jobs import STOP
from zoo.comparing.results import Cell, Comparison, Contender, read_json, write_json
from zoo.errors import RunExists, UsageError
from zoo.folder import Folder
from zoo.locks import lock_of


class Place:
    """A comparison on disk.

    Args:
        path: The folder, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.plan = self.path / "comparison.json"
        self.running = self.path / ".running"
        """Notes of the cells that are being made."""

    def cell(self, name: str) -> Path:
        """The file of a cell."""
        return self.path / "cells" / f"{name}.json"

    def run(self, name: str) -> Path:
        """The run folder of a cell."""
        return self.path / "runs" / name

    def read(self) -> Comparison | None:
        """The comparison with the cells that are done; None if there is none. Raises BadRun for a damaged file."""
        if not self.plan.is_file():
            return None
        files = sorted((self.path / "cells").glob("*.json"))
        cells = [Cell.of(read_json(file)) for file in files]
        found = Comparison.parse(read_json(self.plan))
        names = {contender.label for contender in found.contenders}
        return replace(found, cells=tuple(cell for cell in cells if cell.contender in names))

    def write(self, comparison: Comparison) -> None:
        """Writes the plan. Raises SaveFailed."""
        write_json(self.plan, replace(comparison, cells=()))

    def united(self, asked: Comparison) -> Comparison:
        """What is asked for, together with what the folder holds already.

        Raises:
            UsageError: The folder holds a comparison with other settings; the message says which.
            RunExists: It holds something else.
        """
        held = self.read()
        if held is None:
            if self.path.exists() and not (self.path.is_dir() and set(self.path.iterdir()) <= {self.running}):
                raise RunExists(f"{self.path} exists and holds no comparison; choose another folder with --out.")
            return asked
        differing = list(_differences(held, asked))
        if differing:
            raise UsageError(
                f"{self.path} holds a comparison with other settings: {'; '.join(differing)}. "
                "Choose another folder with --out, or the same settings; seeds and contenders may be added."
            )
        known = {contender.label for contender in held.contenders}
        new = tuple(contender for contender in asked.contenders if contender.label not in known)
        seeds = tuple(sorted({*held.seeds, *asked.seeds}))
        grown = bool(new) or seeds != held.seeds
        command = " && ".join(filter(None, (held.command, asked.command))) if grown else held.command
        return replace(held, contenders=(*held.contenders, *new), seeds=seeds, command=command)

    def forget(self, cell: Cell) -> None:
        """Removes a cell and the run that was trained for it, so that both are made anew."""
        self.cell(name_of(cell.contender, cell.seed)).unlink(missing_ok=True)
        shutil.rmtree(self.run(name_of(cell.contender, cell.seed)), ignore_errors=True)

    def forget_notes(self) -> None:
        """Removes what an earlier command noted: how often each cell was begun, and that the user wanted an end."""
        for note in (*self.running.glob("*.begun"), self.running / STOP):
            note.unlink(missing_ok=True)


def name_of(label: str, seed: int) -> str:
    """What the files of a cell are called."""
    return f"{label}-seed{seed}"


def missing(comparison: Comparison) -> Iterator[tuple[Contender, int]]:
    """The cells that are still to be made, one seed of every contender after the other.

    So that a comparison that is stopped early has something of every contender.
    """
    made = {(cell.contender, cell.seed) for cell in comparison.cells}
    measured = {cell.contender for cell in comparison.cells}
    for contender in comparison.contenders:
        if contender.run is not None and contender.label not in measured:
            yield contender, Folder(Path(contender.run)).recipe().train["seed"]
    for seed in comparison.seeds:
        for contender in comparison.contenders:
            if contender.run is None and (contender.label, seed) not in made:
                yield contender, seed


def _differences(held: Comparison, asked: Comparison) -> Iterator[str]:
    for field, ours, theirs in (
        ("--dataset", held.dataset, asked.dataset),
        ("budget", f"{held.budget.amount:g} {held.budget.kind}", f"{asked.budget.amount:g} {asked.budget.kind}"),
        ("--samples", held.samples, asked.samples),
        ("--points", held.points, asked.points),
        ("metrics", ", ".join(held.scales), ", ".join(asked.scales)),
    ):
        if ours != theirs:
            yield f"{field} is {ours}, not {theirs}"
    there = {contender.label: contender for contender in held.contenders}
    for contender in asked.contenders:
        if contender.label in there:
            yield from _changed(there[contender.label], contender)


def _changed(held: Contender, asked: Contender) -> Iterator[str]:
    if held.run != asked.run:
        yield f"{held.label} is {held.run or 'trained there'}, not {asked.run or 'to be trained'}"
    ours, theirs = _flat(held), _flat(asked)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            yield f"{held.label} has {key}={ours.get(key, 'none')}, not {theirs.get(key, 'none')}"


def _flat(contender: Contender) -> dict[str, Any]:
    """The settings of a contender by path; without its steps, which follow from the budget, and without versions."""
    table = json.loads(json.dumps({key: value for key, value in contender.table.items() if key != "versions"}))
    for key in ("steps", "schedule_steps"):
        table.get("train", {}).pop(key, None)
    return dict(_leaves("", table))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, each)
    else:
        yield path, value


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Waits until no other process is at it. The system lets go of it when a process dies, however it dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(lock):
        yield
