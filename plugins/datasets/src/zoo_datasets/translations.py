"""Images with sources that they are to be made from, out of images that come inside other packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo import BadSetting, Draws, MissingPackage, Setting, Translations
from zoo_datasets.bundled import digits

Texture: TypeAlias = Literal["brick", "grass", "gravel"]

_TESTED = 5
"""Every fifth digit is held out."""
_EDGE = 1.0
"""The slope of brightness, of 2 in all, from which on a pixel is an edge; each is about a quarter of a digit's."""


def digit_translation(
    *,
    task: Annotated[Literal["rotated", "edges", "noisy", "inverted"], Setting("what sources are made by")] = "noisy",
    paired: Annotated[bool, Setting("whether each digit belongs to its source")] = True,
    split: Annotated[Literal["train", "test", "all"], Setting("which digits; test is every fifth")] = "all",
    side: Annotated[int, Setting("height and width in pixels; 8 is the original", ge=8, le=256)] = 8,
    noise: Annotated[float, Setting("standard deviation of the noise of noisy sources", ge=0)] = 0.75,
    seed: Annotated[int, Setting("which noise", ge=0)] = 0,
) -> Translations:
    """Digits (1, side, side) that are to be made from what was made of them; the digits of `digits`.

    Sources are rotated by a quarter of a turn, or their edges (white where the brightness changes much, by Sobel's
    operator), or noisy, or black on white. Unpaired, the digits are the even ones of the split, and the sources are
    made from the odd ones, so that no source belongs to any sample.
    """
    images = digits(side=side).samples
    tested = torch.arange(len(images)) % _TESTED == _TESTED - 1
    changed = _changes(noise, seed)[task](images)
    kept = {"train": ~tested, "test": tested, "all": torch.ones_like(tested)}[split]
    images, changed = images[kept], changed[kept]
    return Translations(images, changed) if paired else Translations(images[::2], changed[1::2], paired=False)


def _changes(noise: float, seed: int) -> dict[str, Callable[[Tensor], Tensor]]:
    return {
        "rotated": lambda images: images.rot90(1, (2, 3)).contiguous(),
        "edges": _edges,
        "inverted": lambda images: -images,
        "noisy": lambda images: (images + noise * Draws(seed).randn(*images.shape)).clamp(-1, 1),
    }


def _edges(images: Tensor) -> Tensor:
    """1 where the brightness changes much, else -1, `(N, 1, H, W)`."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).div(4)
    kernels = torch.stack([across, across.T])[:, None]
    slopes = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)
    return (slopes[:, None] >= _EDGE).float().mul(2).sub(1)


def texture_translation(
    *,
    source: Annotated[Texture, Setting("the texture that is translated")] = "brick",
    target: Annotated[Texture, Setting("the texture that it is to become")] = "gravel",
    side: Annotated[int, Setting("height and width of a patch in pixels", ge=8, le=256)] = 32,
    size: Annotated[int, Setting("how many patches of each are cut", ge=1)] = 1024,
    seed: Annotated[int, Setting("where they are cut", ge=0)] = 0,
) -> Translations:
    """Patches (1, side, side) of one photographed texture, unpaired with those of another; bundled with scikit-image.

    Each photograph has 512x512 grey pixels. Patches are cut at random places, and keep their size.

    Raises:
        BadSetting: Both textures are the same.
        MissingPackage: The installed scikit-image does not hold the files.
    """
    if source == target:
        raise BadSetting(f"dataset.source and dataset.target are both {source}; name two textures.")
    draws = Draws(seed)
    sources, samples = (_patches(_texture(name), side, size, draws) for name in (source, target))
    return Translations(samples, sources, paired=False)


def _patches(picture: Tensor, side: int, size: int, draws: Draws) -> Tensor:
    """uint8 `(size, 1, side, side)` of a picture `(H, W)`."""
    height, width = picture.shape
    tops, lefts = draws.randint(height - side + 1, size), draws.randint(width - side + 1, size)
    inside = torch.arange(side)
    return picture[(tops[:, None] + inside)[:, :, None], (lefts[:, None] + inside)[:, None, :]][:, None]


def _texture(name: str) -> Tensor:
    from PIL import Image

    # skimage.data.brick() and its like fall back to a download; the files inside the package do not.
    try:
        with (files("skimage") / "data" / f"{name}.png").open("rb") as file, Image.open(file) as picture:
            return torch.from_numpy(np.array(picture.convert("L")))
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackage(
            f"the textures come inside scikit-image, and a file is not there ({error}); "
            "install it with `pip install scikit-image`."
        ) from error
