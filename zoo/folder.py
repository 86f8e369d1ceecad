"""The run folder: recipe, metrics, samples, checkpoints. What is written is whole, or not there."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import socket
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch

from zoo.errors import BadCheckpoint, BadRun, RunExists, SaveFailed
from zoo.recipe import Recipe, read_table

FORMAT = 1
"""The version of what a checkpoint holds."""
PARTS = (
    "format", "data", "iteration", "counts", "schedule_steps", "networks", "average", "optimizers", "distance",
    "constraints", "draws", "batches", "random", "history",
)  # fmt: skip
"""What a checkpoint holds."""
_CHECKPOINT = re.compile(r"step-(\d+)\.pt")


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

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> Folder:
        """A new run folder that holds the recipe. Raises RunExists or SaveFailed."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunExists(
                f"{path} exists. Go on with it: zoo train --resume {path}; "
                "or choose another name or folder (--name, --out)."
            )
        folder = cls(path)
        with _saving(path):
            folder.samples.mkdir(parents=True, exist_ok=True)
            folder.checkpoints.mkdir(exist_ok=True)
        folder.write_recipe(recipe)
        return folder

    @classmethod
    def open(cls, path: Path) -> Folder:
        """An existing run folder. Raises BadRun."""
        if not (path / "recipe.toml").is_file():
            raise BadRun(f"{path} is no run folder: it has no recipe.toml. 'zoo runs' lists runs.")
        return cls(path)

    def recipe(self) -> Recipe:
        """The recipe that the run was made with. Raises BadRecipe."""
        return Recipe.of(read_table(self.path / "recipe.toml"))

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes the recipe, whole. Raises SaveFailed."""
        write_whole(self.path / "recipe.toml", tomli_w.dumps(recipe.table()).encode())

    def write_state(self, state: str, step: int, **more: Any) -> None:
        """Notes how far the run is: `running`, `finished`, `interrupted` or `failed`. Raises SaveFailed."""
        note = {"state": state, "step": step, "pid": os.getpid(), "host": socket.gethostname(), **more}
        write_whole(self.path / "state.json", json.dumps(note).encode())

    def state(self) -> dict[str, Any]:
        """What `write_state` noted; a run whose process has gone is `died`."""
        try:
            note: dict[str, Any] = json.loads((self.path / "state.json").read_text())
        except (OSError, ValueError):
            return {"state": "unknown", "step": 0}
        if note["state"] == "running" and note["host"] == socket.gethostname() and not _alive(note["pid"]):
            note["state"] = "died"
        return note

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends one line of metrics. Raises SaveFailed."""
        with _saving(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics, in order; a last line that was cut off is left out."""
        if not self.metrics.is_file():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def forget_after(self, step: int) -> None:
        """Drops the lines of metrics after a step, so that a resumed run writes them once. Raises SaveFailed."""
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        write_whole(self.metrics, "".join(kept).encode())

    def steps(self) -> list[int]:
        """The steps of the checkpoints there are, ascending."""
        if not self.checkpoints.is_dir():
            return []
        matches = (_CHECKPOINT.fullmatch(file.name) for file in self.checkpoints.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, step: int, state: Mapping[str, Any], keep: int) -> Path:
        """Writes a checkpoint and removes all but the newest `keep`.

        Raises:
            SaveFailed: It could not be written, for want of space perhaps; the older ones are intact.
        """
        path = self._checkpoint(step)
        partial = path.with_suffix(".partial")
        with _saving(path, partial):
            torch.save(dict(state), partial)
            _sync(partial)
            partial.replace(path)
        self.prune(keep)
        return path

    def prune(self, keep: int) -> None:
        """Removes all checkpoints but the newest `keep`."""
        for old in self.steps()[:-keep]:
            self._checkpoint(old).unlink(missing_ok=True)

    def load(self, step: int | None = None) -> dict[str, Any]:
        """The checkpoint of a step, the newest if None. Loads tensors and numbers only.

        Raises:
            BadRun: There is none.
            BadCheckpoint: It is truncated or foreign.
        """
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            raise BadRun(f"{self.path} has no checkpoint{'' if step is None else f' of step {step}'}.")
        return read_checkpoint(self._checkpoint(steps[-1] if step is None else step))

    def _checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.pt"


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

    def save(self, step: int, state: Mapping[str, Any], keep: int) -> Path:
        """Nothing; returns where the checkpoint is."""
        return self._checkpoint(step)

    def prune(self, keep: int) -> None:
        """Nothing."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. Raises BadCheckpoint naming the file."""
    advice = "Remove it to go on from the one before."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        cause = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadCheckpoint(f"the checkpoint {path} is truncated or no checkpoint: {cause}. {advice}") from error
    if not isinstance(state, dict) or not set(state) >= set(PARTS):
        raise BadCheckpoint(f"{path} is no checkpoint of a run of the zoo. {advice}")
    if state["format"] != FORMAT:
        raise BadCheckpoint(f"{path} has format {state['format']}; this zoo reads format {FORMAT}. Update one of them.")
    return state


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or as it was before. Raises SaveFailed."""
    partial = path.with_name(path.name + ".partial")
    with _saving(path, partial):
        partial.write_bytes(content)
        _sync(partial)
        partial.replace(path)


def find_runs(folder: Path) -> list[Folder]:
    """The runs in a folder, by name."""
    recipes = sorted(folder.glob("*/recipe.toml")) if folder.is_dir() else []
    return [Folder(recipe.parent) for recipe in recipes]


def summary(folder: Folder) -> dict[str, Any]:
    """A run in a line: name, variant, data set, step, steps, state; `?` where the recipe cannot be read."""
    known: dict[str, Any] = {"variant": "?", "dataset": "?", "steps": "?"}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        table = tomllib.loads((folder.path / "recipe.toml").read_text(encoding="utf-8"))
        known = {
            "variant": table.get("variant", "-"),
            "dataset": table["dataset"]["name"],
            "steps": table["train"]["steps"],
        }
    note = folder.state()
    return {"run": str(folder.path), **known, "step": note["step"], "state": note["state"]}


class _saving:
    """Turns what goes wrong while writing into SaveFailed, and removes what was half written."""

    def __init__(self, path: Path, partial: Path | None = None) -> None:
        self._path, self._partial = path, partial

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
        # torch.save reports a full disk as RuntimeError.
        if isinstance(error, (OSError, RuntimeError)):
            raise SaveFailed(f"{self._path} could not be written: {error}. What was saved before is intact.") from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
