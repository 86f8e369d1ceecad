"""Checkpoints: plain tensors and numbers in files that are whole, each with its sha256 beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import IO, Any

import torch

from zoo.archives import refuse_hollow, refuse_inflated
from zoo.errors import BadCheckpoint
from zoo.writing import partial_of, put_in_place, saving, write_whole

FORMAT = 2
"""The version of what a checkpoint holds."""
UNHASHED = 1
"""The version before, which had no hash beside it and said nothing of the data but their shape; it is read as well."""
PARTS = (
    "format", "data", "iteration", "counts", "schedule_steps", "networks", "average", "optimizers", "distance",
    "constraints", "draws", "batches", "random", "history",
)  # fmt: skip
"""What a checkpoint holds."""
VALIDATION = "validation"
"""The key of what is known of validations until then, where samples were held out."""
HASH = ".sha256"
"""How the name of the file goes on that holds a checkpoint's hash, as `sha256sum --check` reads it."""
_CHECKPOINT = re.compile(r"step-(\d+)\.pt")


def best_step(state: Mapping[str, Any]) -> int:
    """The step whose weights are the best known when a checkpoint was made: that of the checkpoint if none is."""
    best: int | None = state.get(VALIDATION, {}).get("best_step")
    own: int = state["iteration"]
    return own if best is None else best


def steps_in(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending."""
    if not folder.is_dir():
        return []
    matches = (_CHECKPOINT.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def checkpoint_in(folder: Path, step: int) -> Path:
    """The file of a step's checkpoint."""
    return folder / f"step-{step:08d}.pt"


def hash_of(checkpoint: Path) -> Path:
    """The file that holds a checkpoint's hash."""
    return checkpoint.with_name(checkpoint.name + HASH)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint, whole, and its hash. Raises SaveFailed.

    The hash is there first, so that a checkpoint without one was not written here. Until the checkpoint gets its name,
    the hash belongs to nothing, and harms nobody.
    """
    partial = partial_of(path)
    with saving(path, partial):
        digest = _written(partial, state)
        path.unlink(missing_ok=True)  # No training saves a step twice; else the new hash would condemn the old file.
        write_whole(hash_of(path), f"{digest}  {path.name}\n".encode())
        put_in_place(partial, path)


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint and its hash."""
    path.unlink(missing_ok=True)
    hash_of(path).unlink(missing_ok=True)


def read_checkpoint(path: Path, advice: str = "") -> dict[str, Any]:
    """A checkpoint's content, on the CPU: tensors and plain values, nothing that runs.

    Args:
        path: The file.
        advice: What to do if it is damaged.

    Raises:
        BadCheckpoint: It is not what was saved, or no checkpoint; the message names the file.
    """
    expected = _noted_hash(path, advice)
    if expected is not None and _sha256_or_none(path) != expected:
        raise BadCheckpoint(
            f"the checkpoint {path} is damaged: its sha256 is not the one in {hash_of(path).name}. {advice}".rstrip()
        )
    state = _loaded(path, advice)
    if not isinstance(state, dict) or not set(state) >= set(PARTS) or not _describes_data(state["data"]):
        raise BadCheckpoint(f"{path} is no checkpoint of a run of the zoo. {advice}".rstrip())
    if state["format"] not in (FORMAT, UNHASHED):
        raise BadCheckpoint(f"{path} has format {state['format']}; this zoo reads format {FORMAT}. Update one of them.")
    if expected is None and state["format"] != UNHASHED:
        command = f"cd {quote(str(path.parent))} && sha256sum {path.name} > {hash_of(path).name}"
        raise BadCheckpoint(
            f"the checkpoint {path} has lost {hash_of(path).name}, which says whether it is whole. If you are sure "
            f"that it is, make that anew: ({command})"
        )
    return state


def _written(path: Path, state: Mapping[str, Any]) -> str:
    """Writes a checkpoint's content, and returns its sha256."""
    # A file that is open here is closed when that fails; of one that torch opens the space is not free again.
    with path.open("wb") as file:
        hashing = _Hashing(file)
        torch.save(dict(state), hashing)  # type: ignore[arg-type]
    return hashing.digest.hexdigest()


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def _loaded(path: Path, advice: str) -> Any:
    try:
        refuse_inflated(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        refuse_hollow(content)
    except Exception as error:  # Bytes of anybody's can fail in a dozen ways: in zip, pickle, storages, text.
        cause = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadCheckpoint(
            f"the checkpoint {path} is truncated or no checkpoint: {cause}. {advice}".rstrip()
        ) from error
    return content


def _describes_data(data: Any) -> bool:
    if not isinstance(data, dict):
        return False
    shape, classes = data.get("shape"), data.get("classes")
    whole = isinstance(shape, (list, tuple)) and all(type(side) is int for side in shape)
    return whole and (classes is None or type(classes) is int)


def _noted_hash(path: Path, advice: str) -> str | None:
    try:
        words = hash_of(path).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{hash_of(path)} cannot be read: {error}. {advice}".rstrip()) from error
    return words[0] if words else ""


def _sha256_or_none(path: Path) -> str | None:
    try:
        return _sha256(path)
    except OSError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
