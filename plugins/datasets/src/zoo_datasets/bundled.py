"""Small sets of images that come inside other packages: nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo import ArrayDataset, BadSetting, Draws, MissingPackage, Setting

_FACES = 100


def digits(
    *,
    side: Annotated[int, Setting("height and width in pixels; 8 is the original", ge=8, le=256)] = 8,
    classes: Annotated[list[int] | None, Setting("the digits to take; none for all", ge=0, le=9)] = None,
    limit: Annotated[int, Setting("so many images in all, as equally of each digit as can be; 0 for all", ge=0)] = 0,
    seed: Annotated[int, Setting("which ones, where there is a limit", ge=0)] = 0,
) -> ArrayDataset:
    """1797 handwritten digits, (1, side, side) in [-1, 1], labels 0 to 9; bundled with scikit-learn.

    The originals have 8x8 pixels of 17 levels (Alpaydin and Kaynak, 1998); other sizes are bilinear,
    antialiased. Of some digits only, labels count from 0 in the order that they are named in, and class names
    say which they are. With a limit a larger one has what a smaller one of the same seed has.

    Raises:
        BadSetting: A digit is named twice, none is, or there are fewer images than the limit.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = torch.from_numpy(bunch.images).float() / 8 - 1, torch.from_numpy(bunch.target)
    if classes is not None:
        images, labels = _of_classes(images, labels, classes)
    if limit:
        chosen = _chosen(labels, limit, seed)
        images, labels = images[chosen], labels[chosen]
    dataset = ArrayDataset(_resized(images[:, None], side), labels)
    if classes is not None:
        dataset.classes, dataset.class_names = len(classes), [str(each) for each in classes]
    elif limit:
        dataset.classes = 10
    return dataset


def _of_classes(images: Tensor, labels: Tensor, classes: list[int]) -> tuple[Tensor, Tensor]:
    """The samples of some classes, their labels renumbered."""
    if not classes or len(set(classes)) < len(classes):
        raise BadSetting(f"dataset.classes must name digits, each once, not {classes}.")
    taken = (labels[:, None] == torch.tensor(classes)).any(1)
    numbers = {each: number for number, each in enumerate(classes)}
    return images[taken], torch.tensor([numbers[int(label)] for label in labels[taken]])


def _chosen(labels: Tensor, limit: int, seed: int) -> Tensor:
    """Positions of so many samples: the first of each class in a random order, then the second of each, and so on."""
    if limit > len(labels):
        raise BadSetting(f"dataset.limit must be at most {len(labels)}, as many as there are images, not {limit}.")
    order = Draws(seed).randperm(len(labels))
    rank = torch.zeros_like(labels)
    for each in labels.unique():
        of_class = labels[order] == each
        rank[of_class] = torch.arange(int(of_class.sum()))
    return order[rank.argsort(stable=True)[:limit]]


def faces(
    *,
    side: Annotated[int, Setting("height and width in pixels; 25 is the original", ge=8, le=256)] = 25,
    background: Annotated[bool, Setting("as many pictures of background too, and labels")] = False,
) -> ArrayDataset:
    """100 grey faces, (1, side, side) in [-1, 1]; bundled with scikit-image.

    The first half of its subset of Labeled Faces in the Wild (Huang et al., 2007). The second half is background, and
    is left out unless it is asked for: then labels are 0 for background and 1 for a face. The originals have 25x25
    pixels; other sizes are bilinear, antialiased.

    Raises:
        MissingPackage: The installed scikit-image does not hold the file.
    """
    images = _resized(torch.from_numpy(_lfw_subset()).float()[:, None] * 2 - 1, side)
    if not background:
        return ArrayDataset(images[:_FACES])
    dataset = ArrayDataset(images, torch.arange(len(images)).lt(_FACES).long())
    dataset.class_names = ["background", "face"]
    return dataset


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
