"""Files that are written whole, or stay as they were."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import SaveFailed

PARTIAL = ".partial"
"""How the name of a file ends that is being written; one that is left over is torn, and nobody reads it."""


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or as it was before. Raises SaveFailed."""
    partial = partial_of(path)
    with saving(path, partial):
        partial.write_bytes(content)
        put_in_place(partial, path)


def partial_of(path: Path) -> Path:
    """What a file is called while it is being written."""
    return path.with_name(path.name + PARTIAL)


def put_in_place(partial: Path, path: Path) -> None:
    """Gives a written file its name. Both are on the disk then, whatever happens to the machine."""
    sync(partial)
    partial.replace(path)
    if os.name == "posix":  # Elsewhere a folder cannot be opened.
        sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class saving:
    """Turns what goes wrong while writing into SaveFailed, and removes what was half written.

    Args:
        path: What is written, for the message.
        partial: The file that it is written to first.
    """

    def __init__(self, path: Path, partial: Path | None = None) -> None:
        self._path, self._partial = path, partial

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if self._partial is not None and self._partial.parent.is_dir():
            self._partial.unlink(missing_ok=True)
        # torch.save reports a full disk as a RuntimeError of its own, upon the file's.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        if isinstance(error, (OSError, RuntimeError)):
            raise SaveFailed(f"{self._path} could not be written: {cause}. What was saved before is intact.") from error
