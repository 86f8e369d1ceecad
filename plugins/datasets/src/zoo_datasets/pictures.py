"""Pictures of any kind and size as one uint8 tensor, read in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zoo import BadData, ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2**26
"""No picture with more is decoded: 200 MB in colour, from a file that may have a few KB."""
_NAMED = 5
"""So many unreadable pictures are named in the message."""


def refuse_huge(picture: Image) -> None:
    """Raises ValueError for a picture of too many pixels, by what its head says, before they are decoded."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width}x{height} pixels are more than {MOST_PIXELS:,}; make it smaller")


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
    """`count` pictures as uint8 `(count, *shape)`, with a progress bar on a terminal when it takes long.

    Args:
        count: How many there are.
        shape: `(channels, height, width)`, the same for all.
        read: The pixels of picture i, uint8 of that shape; called in threads.
        name: What to call picture i in a message.

    Raises:
        BadData: Some cannot be read; the first few are named, each with its cause.
    """
    images = np.empty((count, *shape), np.uint8)

    def place(index: int) -> str | None:
        try:
            images[index] = read(index)
        except ZooError:
            raise
        except Exception as error:  # Pillow has a dozen kinds for a broken file
            return f"{name(index)} ({error})"
        return None

    with ThreadPoolExecutor() as pool:
        progress = tqdm(pool.map(place, range(count)), "reading images", count, leave=False, delay=1.0, disable=None)
        broken = [message for message in progress if message]
    if broken:
        raise BadData(_unreadable(broken, count))
    return torch.from_numpy(images)


def _unreadable(broken: list[str], count: int) -> str:
    first = ", ".join(broken[:_NAMED])
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"{len(broken)} of {count} images cannot be read: {first}{more}. Repair or remove them."
