"""One cell of a comparison: a contender trained with a seed, and measured in the course of it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.api import compose_table, resume, start
from zoo.comparing.measures import figures_of, made
from zoo.comparing.place import Place, alone, name_of
from zoo.comparing.results import Cell, Contender, Point, State, read_json, write_json
from zoo.components import Dataset
from zoo.errors import BrokenPlugin, ZooError
from zoo.folder import Folder
from zoo.pictures import drawable, save_picture
from zoo.plugins import installed
from zoo.recipe import Choice, Recipe, Table, normalized
from zoo.resolve import Components
from zoo.run import Run, load

PICTURED = {"image": 64, "vector": 2500}
"""How many samples the picture of a run that was trained before shows; as those of training."""


@dataclass(frozen=True)
class Shared:
    """What all cells of a comparison share where they are made.

    Attributes:
        folder: The comparison's folder, absolute.
        metrics: The metrics, by what they are asked for as.
        samples: How many samples each figure is measured on.
        points: How many times a run is measured, about.
        device: Where it is trained.
        files: Plugins that are local files, absolute.
        threads: How many threads it computes with; 0 to leave that as it is.
        keep: How many of a run's checkpoints are kept when it has been measured.
    """

    folder: str
    metrics: tuple[str, ...]
    samples: int
    points: int
    device: str
    files: tuple[str, ...] = ()
    threads: int = 0
    keep: int = 1

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """The plugins at hand, and the threads set."""
        for file in self.files:
            installed().add_file(Path(file))
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class CellTask:
    """A cell to be made, in whichever process."""

    shared: Shared
    contender: Contender
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return name_of(self.contender.label, self.seed)

    def __call__(self) -> Cell | None:
        """The cell, which is also written to its file; None if it was interrupted.

        Whatever goes wrong makes a failed cell. One that another process is at is waited for.
        """
        try:
            with alone(self._place.running / f"{self.name}.lock"), self.shared.prepared():
                file = self._place.cell(self.name)
                return Cell.of(read_json(file)) if file.is_file() else self._made()
        except KeyboardInterrupt:
            return None

    def failed(self, reason: str, points: tuple[Point, ...] = ()) -> Cell:
        """The cell that says why it failed, written to its file as well."""
        return self._written("failed", reason, points)

    def _made(self) -> Cell | None:
        try:
            if not self._trained():
                return None
            return self._written("finished", "", tuple(self._points()), self._picture())
        except (Exception, SystemExit) as error:
            points: tuple[Point, ...] = ()
            with contextlib.suppress(Exception):  # The samples may be what is wrong.
                points = tuple(self._points())
            return self.failed(self._reason(error), points)

    def _written(self, state: State, error: str, points: tuple[Point, ...] = (), picture: Path | None = None) -> Cell:
        shown = None if picture is None else self._relative(picture)
        cell = Cell(self.contender.label, self.seed, state, error, points, shown, self._relative(self._run))
        write_json(self._place.cell(self.name), cell)
        if self.contender.run is None:
            Folder(self._run).prune(self.shared.keep)
        return cell

    def _trained(self) -> bool:
        """Trains it, if it is not; False if it was interrupted, and has saved what it has."""
        if self.contender.run is not None:
            return True
        folder, table = Folder(self._run), self._table()
        if not self._can_go_on(folder, table):
            shutil.rmtree(self._run, ignore_errors=True)
            return start(compose_table(table, device=self.shared.device), self._run).state == "finished"
        newest = folder.steps()[-1]
        if newest >= self.contender.steps:
            return True
        return resume(self._run, device=self.shared.device).state == "finished"

    def _can_go_on(self, folder: Folder, table: Table) -> bool:
        """Whether there is a run of this recipe with a checkpoint, and all that will be measured of it is there."""
        steps = folder.steps()
        if not steps or not (folder.path / "recipe.toml").is_file():
            return False
        due = {step for step in self._measured_steps() if step <= steps[-1]}
        return due <= set(steps) and _alike(folder.recipe(), Recipe.of(table))

    def _table(self) -> Table:
        """Its recipe, with checkpoints where it will be measured."""
        keeping = {"checkpoint_every": self._every, "keep": self.shared.points + 1, "sample_every": 0}
        train = {**self.contender.table["train"], **keeping, "seed": self.seed}
        return normalized({**self.contender.table, "train": train})

    @property
    def _every(self) -> int:
        return -(-self.contender.steps // self.shared.points)

    def _measured_steps(self) -> list[int]:
        return [*range(self._every, self.contender.steps, self._every), self.contender.steps]

    def _points(self) -> Iterator[Point]:
        """Its figures at each checkpoint; of a run that was trained before at the newest."""
        metrics = made(self.shared.metrics, installed())
        steps = Folder(self._run).steps()
        due = steps[-1:] if self.contender.run else [step for step in self._measured_steps() if step in steps]
        for step in due:
            run = self._loaded(step)
            figures = figures_of(metrics, run, self.shared.samples, strict=step == self.contender.steps)
            yield Point(step, run.seconds, figures)

    def _loaded(self, step: int | None = None) -> Run:
        return load(self._run, step=step, device=self.shared.device, given={"dataset": self._dataset})

    def _picture(self) -> Path | None:
        """The picture of its samples: the run's own, or for a run that was trained before a new one."""
        if self.contender.run is None:
            drawn = self._run / "samples" / f"step-{self.contender.steps:08d}.png"
            return drawn if drawn.is_file() else None
        if not drawable(self._dataset):
            return None
        drawn = self._place.cell(self.name).with_suffix(".png")
        save_picture(drawn, self._loaded().sample(PICTURED[self._dataset.kind]), self._dataset)
        return drawn

    def _reason(self, error: BaseException) -> str:
        """What went wrong; how, if that was not foreseen, is written to a file in the run's folder."""
        if isinstance(error, ZooError) and not isinstance(error, BrokenPlugin):
            return str(error)
        self._run.mkdir(parents=True, exist_ok=True)
        file = self._run / "traceback.txt"
        file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        said = str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        return f"{said} (see {file})"

    @property
    def _place(self) -> Place:
        return Place(Path(self.shared.folder))

    @property
    def _run(self) -> Path:
        return Path(self.contender.run) if self.contender.run else self._place.run(self.name)

    @property
    def _dataset(self) -> Dataset:
        table = self.contender.table or Folder(self._run).recipe().table()
        return _dataset_of(json.dumps(table["dataset"], sort_keys=True))

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._place.path)).as_posix()


@functools.lru_cache(maxsize=1)
def _dataset_of(choice: str) -> Dataset:
    """The data set of a choice, given as JSON. The cells that a process makes share it, and what metrics know of it."""
    return Components(installed()).dataset(Choice.of(json.loads(choice)))[1]


def _alike(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes train the same; a run that was resumed names the end of its schedule."""
    first, second = (
        (recipe.axes, recipe.lists, recipe.parts, {**recipe.train, "schedule_steps": 0}) for recipe in (one, other)
    )
    return first == second
