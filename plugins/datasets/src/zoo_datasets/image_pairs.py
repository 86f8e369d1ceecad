"""Folders of pictures that are to be made from others: in pairs, or two folders without pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeAlias

import numpy as np

from zoo import BadData, Setting, Translations, pixels, read_image
from zoo_datasets.cache import cached_images
from zoo_datasets.folders import cached_folder, found_folder, image_names, key_of
from zoo_datasets.pictures import Put, decode_all

Direction: TypeAlias = Literal["a-to-b", "b-to-a"]

_NAMED = 5
"""So many files are named in a message."""


def paired_folder(
    *,
    path: Annotated[str, Setting("the folder")] = "",
    layout: Annotated[
        Literal["folders", "halves"], Setting("two folders of equal names, or pictures of two halves side by side")
    ] = "folders",
    a: Annotated[str, Setting("the folder of the one side, in that folder")] = "A",
    b: Annotated[str, Setting("the folder of the other side")] = "B",
    direction: Annotated[Direction, Setting("which side is made of which")] = "a-to-b",
    side: Annotated[int, Setting("height and width in pixels", ge=4, le=1024)] = 64,
    channels: Annotated[Literal[1, 3], Setting("3 for colour, 1 for grey")] = 3,
) -> Translations:
    """Pairs of pictures (channels, side, side): of `A/` and `B/` by their names, or each the halves of one picture.

    Names are compared without their endings, and with sub-folders. Of halves the left one is A, as in the data sets of
    pix2pix. The pictures of a pair have one shape; each is resized, cut, decoded once and kept as by `image-folder`.

    Raises:
        BadData: A folder is missing or empty, a picture has no partner, those of a pair have different shapes, a
            picture of two halves has an odd width, or one cannot be read.
        SaveFailed: The decoded images cannot be kept.
    """
    folder = found_folder(path, "paired-folder")
    read, names, key = _halves(folder) if layout == "halves" else _partners(folder, a, b)
    shape = (len(names), 2 * channels, side, side)

    def both(index: int) -> np.ndarray:
        one, other = _of_one_shape(*read(index, channels))
        return np.concatenate([_fitted(each, side, channels) for each in (one, other)])

    def fill(put: Put) -> None:
        decode_all(len(names), both, lambda index: str(folder / names[index]), put)

    images = cached_images(hashlib.sha256(f"{key} {layout} {shape}".encode()).hexdigest()[:32], shape, fill)
    sides = images[:, :channels], images[:, channels:]
    sources, samples = sides if direction == "a-to-b" else sides[::-1]
    return Translations(samples, sources, mapped=True)


def unpaired_folder(
    *,
    path: Annotated[str, Setting("the folder")] = "",
    a: Annotated[str, Setting("the folder of the one side, in that folder")] = "trainA",
    b: Annotated[str, Setting("the folder of the other side")] = "trainB",
    direction: Annotated[Direction, Setting("which side is made of which")] = "a-to-b",
    side: Annotated[int, Setting("height and width in pixels", ge=4, le=1024)] = 64,
    channels: Annotated[Literal[1, 3], Setting("3 for colour, 1 for grey")] = 3,
) -> Translations:
    """Pictures (channels, side, side) of two folders that are no pairs, `trainA/` and `trainB/` as CycleGAN's are.

    Each is resized, cut, decoded once and kept as by `image-folder`; classes are not looked for.

    Raises:
        BadData: A folder is missing or has no image, or images cannot be read.
        SaveFailed: The decoded images cannot be kept.
    """
    folder = found_folder(path, "unpaired-folder")
    sides = [cached_folder(_inside(folder, each), side, channels)[0] for each in (a, b)]
    sources, samples = sides if direction == "a-to-b" else sides[::-1]
    return Translations(samples, sources, paired=False, mapped=True)


Read: TypeAlias = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""Both pictures of pair i with so many channels, uint8 `(channels, height, width)` each."""


def _halves(folder: Path) -> tuple[Read, list[str], str]:
    names = image_names(folder)

    def read(index: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        whole = read_image(folder / names[index], None, channels)
        if whole.shape[2] % 2:
            raise ValueError(f"it is {whole.shape[2]} pixels wide, and has no two equal halves side by side")
        left, right = np.split(whole, 2, axis=2)
        return left, right

    return read, names, key_of(folder, names)


def _partners(folder: Path, a: str, b: str) -> tuple[Read, list[str], str]:
    ours, theirs = (_by_stem(_inside(folder, each)) for each in (a, b))
    for mine, others, here, there in ((ours, theirs, a, b), (theirs, ours, b, a)):
        alone = sorted(set(mine) - set(others))
        if alone:
            raise BadData(
                f"{len(alone)} of {len(mine)} pictures of '{folder / here}' have no partner of the same name in "
                f"'{folder / there}': {', '.join(mine[stem] for stem in alone[:_NAMED])}. Add or remove them."
            )
    stems = sorted(ours)
    pairs = [(folder / a / ours[stem], folder / b / theirs[stem]) for stem in stems]

    def read(index: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        one, other = (read_image(file, None, channels) for file in pairs[index])
        return one, other

    keys = [key_of(folder / each, [by[stem] for stem in stems]) for each, by in ((a, ours), (b, theirs))]
    return read, [f"{a}/{ours[stem]}" for stem in stems], " ".join(keys)


def _inside(folder: Path, name: str) -> Path:
    found = folder / name
    if not name or not found.is_dir():
        raise BadData(f"'{folder}' has no folder '{name}'; name both with `dataset.a` and `dataset.b`.")
    return found


def _by_stem(folder: Path) -> dict[str, str]:
    """The pictures of a folder by their names without endings."""
    found: dict[str, str] = {}
    for name in image_names(folder):
        stem = PurePosixPath(name).with_suffix("").as_posix()
        if stem in found:
            raise BadData(f"'{folder}' has {found[stem]} and {name}, which one partner cannot both have; remove one.")
        found[stem] = name
    return found


def _of_one_shape(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A pair of one shape, so that what is cut from both is the same place. Sizes may differ, as in upscaling."""
    (height, width), (its_height, its_width) = one.shape[1:], other.shape[1:]
    if height * its_width != its_height * width:
        raise ValueError(
            f"it is {width}x{height} and its partner {its_width}x{its_height}, which are cut to different places; "
            "give both one shape"
        )
    return one, other


def _fitted(picture: np.ndarray, side: int, channels: int) -> np.ndarray:
    from PIL import Image

    array = picture[0] if channels == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0))
    return pixels(Image.fromarray(array), side, channels)
