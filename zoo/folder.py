"""The run folder: recipe, metrics, samples, checkpoints. What is written is whole, or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from zoo.checkpoints import (
    best_step,
    checkpoint_in,
    hash_of,
    read_checkpoint,
    remove_checkpoint,
    steps_in,
    write_checkpoint,
)
from zoo.errors import BadRun, RunExists
from zoo.locks import is_held, lock_of, taken
from zoo.recipe import DOWNLOAD, Recipe, read_table
from zoo.writing import PARTIAL, saving, sync, write_whole

LOCK = "training.lock"
"""The file that whoever trains the run has locked; that it is there means nothing."""
DIED = "died"


class Folder:
    """One run on disk.

    Args:
        path: The folder.
    """

    writes = True
    """Whether this process writes in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self._lock = lock_of(path / LOCK)

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> Folder:
        """A new run folder that holds the recipe. Raises RunExists, SaveFailed, or BadRun if another one is at it."""
        _refuse_other_files(path)
        folder = cls(path)
        with saving(path):
            path.mkdir(parents=True, exist_ok=True)
        with folder.alone():
            _refuse_other_files(path)
            folder.write_recipe(recipe)
            with saving(path):
                folder.samples.mkdir(exist_ok=True)
                folder.checkpoints.mkdir(exist_ok=True)
        return folder

    @classmethod
    def open(cls, path: Path) -> Folder:
        """An existing run folder. Raises BadRun."""
        if not (path / "recipe.toml").is_file():
            raise BadRun(f"{path} is no run folder: it has no recipe.toml. 'zoo runs' lists runs.")
        return cls(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else trains the run meanwhile; may be nested.

        Raises:
            BadRun: Somebody does.
            SaveFailed: The folder cannot be written.
        """
        if not taken(self._lock):
            note = self.state()
            who = f" by process {note['pid']} on {note['host']}" if note["state"] == "running" else ""
            raise BadRun(f"{self.path} is being trained{who}; stop that first.")
        try:
            yield
        finally:
            self._lock.release()

    def recipe(self) -> Recipe:
        """The recipe that the run was made with, which is not heard on downloading. Raises BadRecipe."""
        table = read_table(self.path / "recipe.toml")
        if DOWNLOAD in table.get("dataset", {}):
            table["dataset"][DOWNLOAD] = False
        return Recipe.of(table)

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes the recipe, whole. Raises SaveFailed."""
        write_whole(self.path / "recipe.toml", tomli_w.dumps(recipe.table()).encode())

    def write_state(self, state: str, step: int, **more: Any) -> None:
        """Notes how far the run is: `running`, `finished`, `interrupted` or `failed`. Raises SaveFailed."""
        note = {"state": state, "step": step, "pid": os.getpid(), "host": socket.gethostname(), **more}
        write_whole(self.path / "state.json", json.dumps(note).encode())

    def state(self) -> dict[str, Any]:
        """What `write_state` noted; a run that says it is running, and that nobody has locked, has `died`."""
        try:
            note: dict[str, Any] = json.loads((self.path / "state.json").read_text())
            known = {"state": str(note["state"]), "step": int(note["step"])}
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return {"state": "unknown", "step": 0}
        if known["state"] == "running" and is_held(self.path / LOCK) is False:
            known["state"] = DIED
        return {"pid": "?", "host": "?", **note, **known}

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends one line of metrics. Raises SaveFailed."""
        with saving(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics, in order; a last line that was cut off is left out.

        Raises:
            BadRun: Another line is damaged; the message names it.
        """
        if not self.metrics.is_file():
            return
        lines = self.metrics.read_bytes().splitlines()
        for number, line in enumerate(lines, 1):
            row = _row(line)
            if row is not None:
                yield row
            elif number < len(lines):
                raise BadRun(f"line {number} of {self.metrics} is damaged; remove that line to go on without it.")

    def forget_after(self, step: int) -> None:
        """Drops the lines of metrics after a step, so that a resumed run writes them once.

        Raises:
            BadRun: A line until then is damaged.
            SaveFailed: They could not be written.
        """
        kept = []
        for row in self.rows():
            if row["step"] > step:
                break
            kept.append(json.dumps(row) + "\n")
        write_whole(self.metrics, "".join(kept).encode())

    def tidy(self) -> None:
        """Removes what a process left half written that was killed. Raises SaveFailed."""
        with saving(self.path):
            for torn in self.path.rglob(f"*{PARTIAL}"):
                torn.unlink(missing_ok=True)

    def steps(self) -> list[int]:
        """The steps of the checkpoints there are, ascending."""
        return steps_in(self.checkpoints)

    def save(self, step: int, state: Mapping[str, Any], keep: int, spared: int | None = None) -> Path:
        """Writes a checkpoint and removes all but the newest `keep` and the one of a step that is to be spared.

        Raises:
            SaveFailed: It could not be written, for want of space perhaps; the older ones are intact.
        """
        path = checkpoint_in(self.checkpoints, step)
        with saving(path):
            if self.metrics.is_file():
                sync(self.metrics)  # A checkpoint never knows of more lines of metrics than there are.
        write_checkpoint(path, state)
        self.prune(keep, spared)
        return path

    def prune(self, keep: int, spared: int | None = None) -> None:
        """Removes all checkpoints but the newest `keep` and a spared one, and hashes of what the user removed."""
        steps = self.steps()
        old = {step for step in steps[: max(0, len(steps) - keep)] if step != spared}
        for step in old:
            remove_checkpoint(checkpoint_in(self.checkpoints, step))
        kept = {hash_of(checkpoint_in(self.checkpoints, step)) for step in steps if step not in old}
        for file in set(self.checkpoints.glob(hash_of(Path("step-*.pt")).name)) - kept:
            file.unlink(missing_ok=True)

    def load(self, step: int | None = None) -> dict[str, Any]:
        """The checkpoint of a step, the newest if None. Loads tensors and numbers only.

        Raises:
            BadRun: There is none.
            BadCheckpoint: It is damaged or foreign.
        """
        steps = self.steps()
        if not steps:
            raise BadRun(f"{self.path} has no checkpoint: nothing to go on from. Remove it to begin anew.")
        if step is not None and step not in steps:
            raise BadRun(f"{self.path} has no checkpoint of step {step}; it has {', '.join(map(str, steps))}.")
        chosen = steps[-1] if step is None else step
        return read_checkpoint(checkpoint_in(self.checkpoints, chosen), self._advice(chosen, steps))

    def load_best(self) -> dict[str, Any]:
        """The checkpoint that was best by validation; the newest where there is no validation. See `load`."""
        newest = self.load()
        best = best_step(newest)
        return newest if best == newest["iteration"] else self.load(best)

    def _advice(self, damaged: int, steps: list[int]) -> str:
        """What to do when a checkpoint cannot be read."""
        others = [step for step in steps if step != damaged]
        if not others:
            return "There is no other one."
        if damaged < steps[-1]:
            return f"There are others, of step {', '.join(map(str, others))}."
        file = shlex.quote(str(checkpoint_in(self.checkpoints, damaged)))
        return f"To go on from the one before, which is of step {others[-1]}, remove it: rm {file}"


class Onlooker(Folder):
    """A run on disk to one of several processes that is not the one that writes."""

    writes = False

    def write_recipe(self, recipe: Recipe) -> None:
        """Nothing."""

    def write_state(self, state: str, step: int, **more: Any) -> None:
        """Nothing."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def forget_after(self, step: int) -> None:
        """Nothing."""

    def save(self, step: int, state: Mapping[str, Any], keep: int, spared: int | None = None) -> Path:
        """Nothing; returns where the checkpoint is."""
        return checkpoint_in(self.checkpoints, step)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing: the process that writes holds the lock."""
        yield

    def rows(self) -> Iterator[dict[str, Any]]:
        """None: another process is writing them."""
        return iter(())

    def tidy(self) -> None:
        """Nothing."""

    def prune(self, keep: int, spared: int | None = None) -> None:
        """Nothing."""


def find_runs(folder: Path) -> list[Folder]:
    """The runs in a folder, by name."""
    recipes = sorted(folder.glob("*/recipe.toml")) if folder.is_dir() else []
    return [Folder(recipe.parent) for recipe in recipes]


def summary(folder: Folder) -> dict[str, Any]:
    """A run in a line: name, variant, data set, step, steps, state; `?` where the recipe cannot be read."""
    known: dict[str, Any] = {"variant": "?", "dataset": "?", "steps": "?"}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        table = tomllib.loads((folder.path / "recipe.toml").read_text(encoding="utf-8"))
        known = {
            "variant": table.get("variant", "-"),
            "dataset": table["dataset"]["name"],
            "steps": table["train"]["steps"],
        }
    note = folder.state()
    # The note is of the start until a run ends in order.
    step = max(note["step"], *folder.steps()[-1:], 0)
    return {"run": str(folder.path), **known, "step": step, "state": note["state"]}


def _refuse_other_files(path: Path) -> None:
    """Raises RunExists unless there is nothing but what a process leaves that was killed before it had a recipe."""
    begun = {LOCK, f"recipe.toml{PARTIAL}"}
    if path.exists() and (not path.is_dir() or any(file.name not in begun for file in path.iterdir())):
        raise RunExists(
            f"{path} exists. Go on with it: zoo train --resume {path}; "
            "or choose another name or folder (--name, --out)."
        )


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of metrics; None if it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
