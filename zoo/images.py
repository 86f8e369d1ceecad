"""Pictures of any kind and size as arrays."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.components import as_floats
from zoo.errors import BadData, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

PIXEL_LIMIT = 178_956_970
"""Pictures with more pixels are refused: a small file can hold a picture that fills the memory. Pillow has the same
limit, but any library may lift that one for the whole process."""

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""The contents that a file of any name may have. Pillow reads some forty, and starts Ghostscript for one of them."""


class Room:
    """So many pixels may be decoded at once, by all threads together.

    Args:
        pixels: How many.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._left = pixels
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for so many, or for all that there is room for."""
        pixels = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


ROOM = Room(PIXEL_LIMIT)
"""A picture of the largest size takes about a gigabyte while it is decoded, however small its file is."""
BLOCK = 64 * 2**20
"""Bytes that Pillow asks the system for at once. The C library keeps blocks of up to 32 MiB, its own 16 MiB among
them, for the thread that had them, so that each thread would keep the memory of the largest picture it has decoded."""


def upright(picture: Image) -> Image:
    """A picture turned as its camera noted.

    Raises:
        ValueError: It has too many pixels, which are then not decoded.
    """
    from PIL import ImageOps

    if picture.width * picture.height > PIXEL_LIMIT:
        raise ValueError(f"{picture.width}x{picture.height} are more than {PIXEL_LIMIT:,} pixels; make it smaller")
    return ImageOps.exif_transpose(picture)


def pixels(picture: Image, side: int | None, channels: int) -> np.ndarray:
    """A picture as uint8 `(channels, height, width)`.

    Args:
        picture: With one to four channels of up to 8 bits; transparency is dropped.
        side: The short side becomes so long (bicubic, antialiased), then the centre square is cut out; None
            keeps the size.
        channels: 1 for grey, 3 for colour.

    Raises:
        ValueError: The picture has more than 8 bits a channel, which Pillow would clip without a word.
    """
    from PIL import Image, ImageOps

    if picture.mode[0] in "IF":
        raise ValueError(f"mode {picture.mode} has more than 8 bits a channel; save it with 8")
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    if side is not None:
        picture = ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)
    array = np.asarray(picture)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def read_image(file: Path, side: int | None, channels: int) -> np.ndarray:
    """A picture's pixels, uint8 `(channels, height, width)`, upright. See `pixels`; raises what Pillow raises."""
    from PIL import Image

    Image.core.set_block_size(BLOCK)  # type: ignore[attr-defined]
    with Image.open(file, formats=FORMATS) as picture, ROOM.of(picture.width * picture.height):
        return pixels(upright(picture), side, channels)


def is_picture(file: str) -> bool:
    """Whether a file has a picture's name, and is no pipe or device, which would keep its reader waiting."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    if not file.lower().endswith(IMG_EXTENSIONS):
        return False
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return True  # A link to nowhere: who reads it says so.


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The pictures that are named, and those in folders that are named, sorted. Raises UsageError if there is none."""
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found += sorted(file for file in source.rglob("*") if is_picture(str(file)))
        elif source.is_file():
            found.append(source)
        else:
            raise UsageError(f"there is no picture or folder {source}.")
    if not found:
        raise UsageError(f"there is no picture in {', '.join(map(str, sources))}.")
    return found


def read_images(files: Sequence[Path], shape: Sequence[int]) -> Tensor:
    """Pictures as samples `(N, channels, side, side)` in [-1, 1], the centre square of each.

    Raises:
        UsageError: Samples of this shape are no square images.
        BadData: One cannot be read; the message names it.
    """
    if len(shape) != 3 or shape[1] != shape[2] or shape[0] not in (1, 3):
        raise UsageError(f"pictures are read as square images of one or three channels, not as samples {tuple(shape)}.")
    images = []
    for file in files:
        try:
            images.append(torch.from_numpy(read_image(file, shape[1], shape[0]).copy()))
        except Exception as error:  # Pillow has a dozen kinds for a broken file.
            raise BadData(f"{file} cannot be read as a picture: {error}.") from error
    return as_floats(torch.stack(images))
