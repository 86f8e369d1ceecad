"""Many pictures as uint8 arrays, decoded in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zoo import BadData, ZooError

Put: TypeAlias = Callable[[int, np.ndarray], None]
"""Puts the pixels of picture i in their place."""

_NAMED = 5
"""So many unreadable pictures are named in the message."""


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
