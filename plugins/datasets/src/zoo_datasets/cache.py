"""Decoded images, kept on disk as one file that is mapped to memory and not read."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TypeAlias, cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from zoo import SaveFailed
from zoo_datasets.pictures import Put

Fill: TypeAlias = Callable[[Put], None]
"""Puts every image in its place."""


def cache_folder() -> Path:
    """Where decoded images are kept: `$ZOO_CACHE`, or `~/.cache/gan-zoo`."""
    return Path(os.environ.get("ZOO_CACHE") or "~/.cache/gan-zoo").expanduser()


def cached_images(key: str, shape: tuple[int, ...], fill: Fill) -> Tensor:
    """The images of a key as uint8 of a shape, mapped to memory; they are decoded if they are not kept yet.

    A file is written beside its place, synced and renamed, so that what has the name is whole. Of several processes
    one decodes and the others wait for it. A file that is damaged is made anew.

    Args:
        key: What decides the content; a part of the file's name.
        shape: `(count, channels, height, width)`.
        fill: Called where nothing is kept. It may put images from several threads.

    Raises:
        SaveFailed: The file cannot be written.
    """
    path = cache_folder() / f"images-{key}.npy"
    images = _opened(path, shape)
    if images is None:
        with _saving(path), _alone(path):
            # Another process may have made it while this one waited.
            images = _opened(path, shape)
            if images is None:
                _remove_leftovers(path)
                _make(path, shape, fill)
                images = _opened(path, shape)
    if images is None:
        raise SaveFailed(f"{path} was written and cannot be read back; set ZOO_CACHE to another folder.")
    return torch.from_numpy(images)


def _opened(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The file's array, mapped to memory; None if there is no such file, or it is not what was written there."""
    try:
        # Copy on write: torch takes no array that cannot be written. Nobody writes, so nothing is copied.
        images = np.lib.format.open_memmap(path, mode="c")
    except Exception:  # whatever NumPy raises for a file that is too short or none of its own
        return None
    return images if images.dtype == np.uint8 and images.shape == shape else None


def _make(path: Path, shape: tuple[int, ...], fill: Fill) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.stem}.", suffix=".part", delete=False) as file:
        try:
            _write(cast("IO[bytes]", file), shape, fill)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _write(file: IO[bytes], shape: tuple[int, ...], fill: Fill) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    start, size, turn = file.tell(), int(np.prod(shape[1:])), threading.Lock()
    file.truncate(start + shape[0] * size)

    def put(index: int, image: np.ndarray) -> None:
        # Not through a map of the file: a full disk would then end the process by a signal.
        with turn:
            file.seek(start + index * size)
            file.write(image.tobytes())

    fill(put)
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _saving(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SaveFailed(
            f"decoded images could not be kept in {path.parent}: {error}. Set ZOO_CACHE to a folder with room."
        ) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process makes the file. The system lets go of the lock when one dies, however it dies."""
    name = path.with_suffix(".lock")
    lock = FileLock(name)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print("Another process decodes the same images; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        # Who waits for a lock that was removed asks again for a new one. Windows removes no open file.
        with contextlib.suppress(OSError):
            name.unlink()
        lock.release()


def _remove_leftovers(path: Path) -> None:
    """Removes what a process that was killed has left half written."""
    for part in path.parent.glob(f"{path.stem}.*.part"):
        part.unlink(missing_ok=True)
