"""A folder of pictures as a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor

from zoo import ArrayDataset, BadData, Setting
from zoo_datasets.paths import expanded
from zoo_datasets.pictures import pixels, read_all

if TYPE_CHECKING:
    import numpy as np


def image_folder(
    *,
    path: Annotated[str, Setting("the folder; images in its sub-folders count")] = "",
    side: Annotated[int, Setting("height and width in pixels", ge=4, le=1024)] = 64,
    channels: Annotated[Literal[1, 3], Setting("3 for colour, 1 for grey")] = 3,
) -> ArrayDataset:
    """The images of a folder and all its sub-folders, (channels, side, side), in the order of their paths.

    If every image lies in a sub-folder, and there are two or more, the sub-folders are the classes, in the
    order of their names. The short side becomes `side` long (bicubic, antialiased), then the centre square is
    cut out. All images are decoded once and held in memory, one byte a value. Names that begin with a dot are
    skipped.

    Raises:
        BadData: No folder is given, it is missing or has no image, or images cannot be read.
    """
    folder = _folder(path)
    names = _image_names(folder)

    def read(index: int) -> np.ndarray:
        from PIL import Image, ImageOps

        with Image.open(folder / names[index]) as picture:
            return pixels(ImageOps.exif_transpose(picture), side, channels)

    images = read_all(len(names), (channels, side, side), read, lambda index: str(folder / names[index]))
    return ArrayDataset(images, _labels(names))


def _folder(path: str) -> Path:
    if not path:
        raise BadData("image-folder needs the folder of the images: give it as `--dataset image-folder:PATH`.")
    folder = expanded(path)
    if not folder.is_dir():
        state = "is a file" if folder.is_file() else "does not exist"
        raise BadData(f"the image folder '{folder}' {state}; give a folder with `--dataset image-folder:PATH`.")
    return folder


def _image_names(folder: Path) -> list[str]:
    """The paths of all images, relative to the folder, with forward slashes, sorted."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    names = []
    for here, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if file.lower().endswith(IMG_EXTENSIONS) and not file.startswith("."):
                names.append(Path(here, file).relative_to(folder).as_posix())
    if not names:
        known = " ".join(sorted(IMG_EXTENSIONS))
        raise BadData(f"the image folder '{folder}' has no image; looked for {known}, in sub-folders too.")
    return sorted(names)


def _refuse(error: OSError) -> None:
    raise BadData(f"the image folder cannot be read: {error}; see to its permissions.") from error


def _labels(names: list[str]) -> Tensor | None:
    folders = [name.split("/")[0] if "/" in name else None for name in names]
    classes = sorted({folder for folder in folders if folder is not None})
    if None in folders or len(classes) < 2:
        return None
    return torch.tensor([classes.index(str(folder)) for folder in folders])
