"""Pictures of any kind and size as uint8 arrays, decoded in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zoo import BadData, ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

Put: TypeAlias = Callable[[int, np.ndarray], None]
"""Puts the pixels of picture i in their place."""

PIXEL_LIMIT = 178_956_970
"""Pictures with more pixels are refused: a small file can hold a picture that fills the memory. Pillow has the same
limit, but any library may lift that one for the whole process."""
_NAMED = 5
"""So many unreadable pictures are named in the message."""


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


def read_all(
    count: int, shape: tuple[int, ...], read: Callable[[int], np.ndarray], name: Callable[[int], str]
) -> Tensor:
    """`count` pictures as uint8 `(count, *shape)` in memory. See `decode_all`."""
    images = np.empty((count, *shape), np.uint8)
    decode_all(count, read, name, images.__setitem__)
    return torch.from_numpy(images)


def decode_all(count: int, read: Callable[[int], np.ndarray], name: Callable[[int], str], put: Put) -> None:
    """Decodes `count` pictures in threads, with a progress bar on a terminal when it takes long.

    Args:
        count: How many there are.
        read: The pixels of picture i, uint8; called in threads.
        name: What to call picture i in a message.
        put: Called in threads with each picture's number and pixels.

    Raises:
        BadData: Some cannot be read; the first few are named, each with its cause.
    """

    def decode(index: int) -> str | None:
        try:
            image = read(index)
        except ZooError:
            raise
        except Exception as error:  # Pillow has a dozen kinds for a broken file
            return f"{name(index)} ({error})"
        put(index, image)
        return None

    with ThreadPoolExecutor() as pool:
        progress = tqdm(pool.map(decode, range(count)), "reading images", count, leave=False, delay=1.0, disable=None)
        broken = [message for message in progress if message]
    if broken:
        raise BadData(_unreadable(broken, count))


def _unreadable(broken: list[str], count: int) -> str:
    first = ", ".join(broken[:_NAMED])
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"{len(broken)} of {count} images cannot be read: {first}{more}. Repair or remove them."
