"""The image classification sets of torchvision."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional

from zoo import ArrayDataset, BadData, MissingPackage, Setting, pixels
from zoo_datasets.arrays import channels_first
from zoo_datasets.paths import expanded
from zoo_datasets.pictures import read_all

_FLAG = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_BY_FLAG = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS")
_BY_SPLIT = (
    "CelebA",
    "Country211",
    "DTD",
    "FGVCAircraft",
    "Flowers102",
    "Food101",
    "GTSRB",
    "LFWPeople",
    "PCAM",
    "STL10",
    "SVHN",
    "StanfordCars",
)
SPLITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    **dict.fromkeys(_BY_FLAG, _FLAG),
    **dict.fromkeys(_BY_SPLIT, _SPLIT),
    "EMNIST": {name: {"split": "balanced", **flag} for name, flag in _FLAG.items()},
    "Imagenette": {"train": {"split": "train"}, "test": {"split": "val"}},
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
}
"""How each class of torchvision is asked for its training and its test images."""


def torchvision(
    *,
    which: Annotated[str, Setting("the name of the set in torchvision, such as MNIST")] = "",
    root: Annotated[str, Setting("the folder of the files")] = "data",
    download: Annotated[bool, Setting("fetch the files if they are missing")] = False,
    side: Annotated[int | None, Setting("height and width; none for those of the set", ge=4, le=1024)] = None,
    split: Annotated[Literal["train", "test"], Setting("which of its images")] = "train",
) -> ArrayDataset:
    """The images of one of torchvision's classification sets, with their labels if they have one class each.

    CIFAR10, CIFAR100, CelebA, Country211, DTD, EMNIST (balanced), FGVCAircraft, FashionMNIST, Flowers102,
    Food101, GTSRB, Imagenette, KMNIST, LFWPeople, MNIST, OxfordIIITPet, PCAM, QMNIST, STL10, SVHN,
    StanfordCars, USPS. With `side`, the short side becomes so long (bicubic, antialiased) and the centre
    square is cut out; sets whose images differ in size need it. All images are held in memory, one byte a
    value.

    Raises:
        BadData: The name is unknown, the files are missing or damaged, the download fails, or sizes differ.
        MissingPackage: The set needs a package that is not installed.
    """
    source = _open(_known(which), expanded(root), download, split)
    if isinstance(getattr(source, "data", None), (np.ndarray, Tensor)):
        return _from_memory(source, side)
    with _without_ghostscript():
        return _from_files(source, which, split, side)


@contextmanager
def _without_ghostscript() -> Iterator[None]:
    """Torchvision opens whatever Pillow knows, which for a picture in PostScript would start another program."""
    from PIL import EpsImagePlugin

    before = EpsImagePlugin.gs_binary
    EpsImagePlugin.gs_binary = False
    try:
        yield
    finally:
        EpsImagePlugin.gs_binary = before


def _from_memory(source: Any, side: int | None) -> ArrayDataset:
    """The sets that torchvision holds as one array: some sixty times faster than picture by picture."""
    values = channels_first(np.asarray(source.data), type(source).__name__)
    images = torch.from_numpy(np.ascontiguousarray(values))
    if side is not None:
        images = functional.interpolate(images, size=(side, side), mode="bicubic", antialias=True)
    labels = torch.as_tensor(source.targets if hasattr(source, "targets") else source.labels)
    return ArrayDataset(images, labels if labels.ndim == 1 else labels[:, 0])  # QMNIST notes more than the class


def _from_files(source: Any, which: str, split: str, side: int | None) -> ArrayDataset:
    """The sets of picture files, all in colour."""
    try:
        picture, target = source[0]
    except Exception as error:  # whatever Pillow raises for a broken file
        raise BadData(f"the first {split} image of {which} cannot be read: {error}.") from error
    shape = pixels(picture, side, 3).shape
    labels = torch.zeros(len(source), dtype=torch.long) if isinstance(target, Integral) else None

    def read(index: int) -> np.ndarray:
        picture, target = source[index]
        array = pixels(picture, side, 3)
        if array.shape != shape:
            raise BadData(_sizes_differ(which, shape, array.shape))
        if labels is not None:
            labels[index] = int(target)
        return array

    images = read_all(len(source), shape, read, lambda index: f"{which} {split} image {index}")
    return ArrayDataset(images, labels)


def _known(which: str) -> str:
    if which in SPLITS:
        return which
    if not which:
        known = ", ".join(sorted(SPLITS))
        raise BadData(f"torchvision needs a name, as in `--dataset torchvision:MNIST`; known: {known}.")
    lower = {name.lower(): name for name in SPLITS}
    near = [lower[match] for match in difflib.get_close_matches(which.lower(), lower, n=3, cutoff=0.5)]
    advice = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(SPLITS))}."
    raise BadData(f"no image set of torchvision that can be used here is called '{which}'. {advice}")


def _open(which: str, root: Path, download: bool, split: str) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, which)
    try:
        with _alone(root, which) if download else nullcontext():
            return kind(root=str(root), download=download, **SPLITS[which][split])
    except ImportError as error:
        raise MissingPackage(f"torchvision's {which} needs another package: {error}.") from error
    except Exception as error:  # each of torchvision's sets has its own kinds for missing or damaged files
        raise BadData(_not_opened(which, _place(kind, root), download, error)) from error


def _alone(root: Path, which: str) -> AbstractContextManager[Any]:
    """Of several processes one downloads, and the others then find the files. Where nobody may write, nobody does."""
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{which}.lock") if os.access(root, os.W_OK) else nullcontext()


def _place(kind: type, root: Path) -> Path:
    """Where torchvision looks for the files of a set."""
    from torchvision.datasets import MNIST

    inside = f"{kind.__name__}/raw" if issubclass(kind, MNIST) else getattr(kind, "base_folder", "")
    return root / inside


def _not_opened(which: str, place: Path, download: bool, error: Exception) -> str:
    cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if download:
        return f"{which} could not be downloaded: {cause}. Put its files into '{place}' by hand, or try again."
    return (
        f"{which} could not be read from '{place}': {cause}. "
        "Fetch it with `--download` (dataset.download=true), or put its files there."
    )


def _sizes_differ(which: str, one: tuple[int, ...], other: tuple[int, ...]) -> str:
    sizes = " and ".join(f"{shape[1]}x{shape[2]}" for shape in (one, other))
    return f"the images of {which} differ in size ({sizes}); give them one with `dataset.side`, such as 64."
