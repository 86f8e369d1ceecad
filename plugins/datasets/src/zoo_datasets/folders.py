"""A folder of pictures as a data set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from zoo import ArrayDataset, BadData, Setting, is_picture, read_image
from zoo_datasets.cache import cached_images
from zoo_datasets.paths import expanded
from zoo_datasets.pictures import Put, decode_all

_FORMAT = 1
"""What `key_of` names changes with how images are decoded here."""
_LOOKED_INTO, _BYTES = 256, 65_536
"""So many files, spread over the folder, are looked into for the key, and so many bytes of each."""


def image_folder(
    *,
    path: Annotated[str, Setting("the folder; images in its sub-folders count")] = "",
    side: Annotated[int, Setting("height and width in pixels", ge=4, le=1024)] = 64,
    channels: Annotated[Literal[1, 3], Setting("3 for colour, 1 for grey")] = 3,
) -> ArrayDataset:
    """The images of a folder and all its sub-folders, (channels, side, side), in the order of their paths.

    If every image lies in a sub-folder, and there are two or more, the sub-folders are the classes, in the
    order of their names. The short side becomes `side` long (bicubic, antialiased), then the centre square is
    cut out. Names that begin with a dot are skipped. All images are decoded once, one byte a value, into a file in
    `$ZOO_CACHE` or `~/.cache/gan-zoo` that later runs map to memory.

    Raises:
        BadData: No folder is given, it is missing or has no image, or images cannot be read.
        SaveFailed: The decoded images cannot be kept.
    """
    images, names = cached_folder(found_folder(path, "image-folder"), side, channels)
    classes = _classes(names)
    labels = torch.tensor([classes.index(name.split("/")[0]) for name in names]) if classes else None
    dataset = ArrayDataset(images, labels, mapped=True)
    dataset.class_names = classes or None
    return dataset


def cached_folder(folder: Path, side: int, channels: int) -> tuple[Tensor, list[str]]:
    """The images of a folder `(N, channels, side, side)`, mapped to memory, and their paths in it."""
    names = image_names(folder)

    def fill(put: Put) -> None:
        decode_all(
            len(names),
            lambda index: read_image(folder / names[index], side, channels),
            lambda index: str(folder / names[index]),
            put,
        )

    shape = (len(names), channels, side, side)
    return cached_images(key_of(folder, names, shape), shape, fill), names


def found_folder(path: str, dataset: str) -> Path:
    """The folder that is given to a data set. Raises BadData if none is, or it is not there."""
    if not path:
        raise BadData(f"{dataset} needs the folder of the images: give it as `--dataset {dataset}:PATH`.")
    folder = expanded(path)
    if not folder.is_dir():
        state = "is a file" if folder.is_file() else "does not exist"
        raise BadData(f"the image folder '{folder}' {state}; give a folder with `--dataset {dataset}:PATH`.")
    return folder


def image_names(folder: Path) -> list[str]:
    """The paths of all images, relative to the folder, with forward slashes, sorted."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    names: list[str] = []
    for here, files in _walked(folder):
        inside = Path(here).relative_to(folder).as_posix()
        before = "" if inside == "." else f"{inside}/"
        names += [before + file for file in files if not file.startswith(".") and is_picture(f"{here}/{file}")]
    if not names:
        known = " ".join(sorted(IMG_EXTENSIONS))
        raise BadData(f"the image folder '{folder}' has no image; looked for {known}, in sub-folders too.")
    return sorted(names)


def _walked(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder once, with the names of its files; those that are linked to come last, for links may go round."""
    waiting, seen = [str(folder)], set()
    while waiting:
        for here, folders, files in os.walk(waiting.pop(0), onerror=_refuse):
            found = os.stat(here)
            if (found.st_dev, found.st_ino) in seen:
                folders.clear()
                continue
            seen.add((found.st_dev, found.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [f"{here}/{name}" for name in folders if os.path.islink(f"{here}/{name}")]
            yield here, files


def _refuse(error: OSError) -> None:
    raise BadData(f"the image folder cannot be read: {error}; see to its permissions.") from error


def key_of(folder: Path, names: list[str], shape: tuple[int, ...] = ()) -> str:
    """A hash of what decides the decoded images.

    Of every file its name, size and time, and of some the bytes: reading all of a large folder would take as long as
    the cache saves.
    """
    digest = hashlib.sha256(repr((_FORMAT, _decoder(), shape)).encode())
    for name in names:
        digest.update(os.fsencode(name) + repr(_size_and_time(f"{folder}/{name}")).encode())
    for name in names[:: -(-len(names) // _LOOKED_INTO)]:
        digest.update(_beginning(folder / name))
    return digest.hexdigest()[:32]


def _decoder() -> tuple[str | None, ...]:
    import PIL
    from PIL import features

    return (PIL.__version__, features.version("jpg"), features.version("webp"))


def _size_and_time(file: str) -> tuple[int, int]:
    """Of a file that is not there, a link to nowhere, there is neither; decoding it will name it."""
    try:
        found = os.stat(file)
    except OSError:
        return (-1, -1)
    return (found.st_size, found.st_mtime_ns)


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_BYTES)
    except OSError:
        return b""


def _classes(names: list[str]) -> list[str]:
    """The names of the classes; none if an image lies in no sub-folder, or all lie in one."""
    classes = sorted({name.split("/")[0] for name in names})
    return classes if len(classes) > 1 and all("/" in name for name in names) else []
