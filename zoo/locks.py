"""A lock of a folder that the system lets go of when its process dies, however it dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from zoo.errors import SaveFailed

WAIT = 1.0
"""Seconds after which a lock counts as somebody else's: who only looks whether it is held, holds it for a moment."""


def lock_of(path: Path) -> FileLock:
    """A lock on a file, which is made if need be and stays; it may be taken again where it is held."""
    return FileLock(path)


def taken(lock: FileLock) -> bool:
    """Takes a lock; False if somebody else has it. Raises SaveFailed if its file cannot be written."""
    try:
        lock.acquire(timeout=WAIT)
    except Timeout:
        return False
    except OSError as error:
        raise SaveFailed(f"{lock.lock_file} could not be written: {error}.") from error
    return True


def is_held(path: Path) -> bool | None:
    """Whether anybody has the lock of a file; None if that cannot be found out, as where nothing may be written."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return None
