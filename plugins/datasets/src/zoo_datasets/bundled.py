"""Small sets of images that come inside other packages: nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo import ArrayDataset, MissingPackage, Setting

_FACES = 100


def digits(
    *,
    side: Annotated[int, Setting("height and width in pixels; 8 is the original", ge=8, le=256)] = 8,
) -> ArrayDataset:
    """1797 handwritten digits, (1, side, side) in [-1, 1], labels 0 to 9; bundled with scikit-learn.

    The originals have 8x8 pixels of 17 levels (Alpaydin and Kaynak, 1998); other sizes are bilinear,
    antialiased.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float() / 8 - 1
    return ArrayDataset(_resized(images[:, None], side), torch.from_numpy(bunch.target))


def faces(
    *,
    side: Annotated[int, Setting("height and width in pixels; 25 is the original", ge=8, le=256)] = 25,
) -> ArrayDataset:
    """100 grey faces, (1, side, side) in [-1, 1], no labels; bundled with scikit-image.

    The first half of its subset of Labeled Faces in the Wild (Huang et al., 2007); the second half, which is
    background, is left out. The originals have 25x25 pixels; other sizes are bilinear, antialiased.

    Raises:
        MissingPackage: The installed scikit-image does not hold the file.
    """
    images = torch.from_numpy(_lfw_subset()[:_FACES]).float() * 2 - 1
    return ArrayDataset(_resized(images[:, None], side))


def _lfw_subset() -> np.ndarray:
    # skimage.data.lfw_subset() falls back to a download; the file inside the package does not.
    try:
        with (files("skimage") / "data" / "lfw_subset.npy").open("rb") as file:
            return np.asarray(np.load(file, allow_pickle=False))
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackage(
            f"the faces come inside scikit-image, and its file is not there ({error}); "
            "install it with `pip install scikit-image`."
        ) from error


def _resized(images: Tensor, side: int) -> Tensor:
    """Images `(N, C, H, W)` as `(N, C, side, side)`, in the same range."""
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True).clamp(-1, 1)
