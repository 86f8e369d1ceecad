"""A NumPy file as a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from zoo import ArrayDataset, BadData, Setting, ZooError
from zoo_datasets.paths import expanded

_CHANNELS = (1, 3)


def array(
    *,
    path: Annotated[str, Setting("a .npy or .npz file")] = "",
    key: Annotated[str, Setting("which array of a .npz file; needed if there are several")] = "",
    labels_key: Annotated[str, Setting("the array of a .npz file that holds the class indices")] = "",
) -> ArrayDataset:
    """The samples in a `.npy` or `.npz` file.

    Vectors are floats `(N, D)`, or `(N,)` for numbers on the line, and are used as they are. Images are
    `(N, H, W)`, `(N, C, H, W)` or `(N, H, W, C)` with one or three channels: uint8 from 0 to 255, or floats
    that lie either in [0, 1], which are stretched to [-1, 1], or in [-1, 1]. Floats of which none is negative
    count as [0, 1].

    Raises:
        BadData: The file is missing, is not of this format, holds other types, shapes or ranges, or values
            that are NaN or infinite.
    """
    file = _file(path)
    with _arrays(file) as arrays:
        name = _sample_key(file, list(arrays), key, labels_key)
        samples = _samples(arrays[name], f"'{file}'")
        labels = _labels(arrays[labels_key], f"labels '{labels_key}' of '{file}'") if labels_key else None
    return ArrayDataset(samples, labels)


def _file(path: str) -> Path:
    if not path:
        raise BadData("array needs a .npy or .npz file: give it as `--dataset array:PATH`.")
    file = expanded(path)
    if not file.is_file():
        raise BadData(f"the array file '{file}' does not exist; give a file with `--dataset array:PATH`.")
    return file


@contextmanager
def _arrays(file: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file by name, read while this is open; a `.npy` file has one, without a name."""
    try:
        # NumPy leaves a file that it opened itself open when it turns out to be damaged.
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            yield {"": loaded} if isinstance(loaded, np.ndarray) else loaded
    except ZooError:
        raise
    except Exception as error:  # Damaged bytes fail in a dozen ways: in zip, zlib, tokens, sizes.
        raise BadData(f"'{file}' cannot be read as a .npy or .npz file of numbers: {error}") from error


def _sample_key(file: Path, keys: list[str], key: str, labels_key: str) -> str:
    if keys == [""]:
        if key or labels_key:
            raise BadData(f"'{file}' is one array without names; `key` and `labels_key` are for .npz files.")
        return ""
    for asked in filter(None, (key, labels_key)):
        if asked not in keys:
            raise BadData(f"'{file}' has no array '{asked}'; it has {', '.join(keys)}.")
    others = [name for name in keys if name != labels_key]
    if key or len(others) == 1:
        return key or others[0]
    raise BadData(f"'{file}' holds {', '.join(keys) or 'no array'}; say which are the samples with `dataset.key`.")


def _samples(values: np.ndarray, what: str) -> Tensor:
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise BadData(f"{what} has values of type {values.dtype}; convert them to float32, or images to uint8.")
    if values.ndim not in (1, 2, 3, 4) or values.size == 0:
        raise BadData(f"{what} has shape {values.shape}; samples are (N, D), (N, H, W) or (N, C, H, W), and some.")
    if values.ndim > 2:
        return _image_range(_numbers(channels_first(values, what), what), what)
    if values.dtype == np.uint8:
        raise BadData(f"{what} has uint8 vectors of shape {values.shape}; uint8 is for images, convert to float32.")
    return _numbers(values.reshape(len(values), -1), what)


def channels_first(values: np.ndarray, what: str) -> np.ndarray:
    """Images `(N, H, W)`, `(N, C, H, W)` or `(N, H, W, C)` as `(N, C, H, W)`. Raises BadData naming `what`."""
    if values.ndim == 3:
        return values[:, None]
    first, last = values.shape[1] in _CHANNELS, values.shape[3] in _CHANNELS
    if first == last:
        trouble = "either the first or the last axis could be" if first else "neither the first nor the last axis is"
        raise BadData(f"{what} has images of shape {values.shape[1:]}: {trouble} one or three channels.")
    return values if first else values.transpose(0, 3, 1, 2)


def _numbers(values: np.ndarray, what: str) -> Tensor:
    """uint8 as it is, floats in single precision."""
    if values.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(values))
    with np.errstate(over="ignore"):
        samples = torch.from_numpy(values.astype(np.float32))
    if not bool(samples.isfinite().all()):
        raise BadData(f"{what} has values that are NaN, infinite or beyond single precision; clean them first.")
    return samples


def _image_range(images: Tensor, what: str) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    low, high = images.min().item(), images.max().item()
    if low < -1 or high > 1:
        raise BadData(
            f"{what} has images with values from {low:g} to {high:g}; rescale them to [-1, 1] or [0, 1], or use uint8."
        )
    return images if low < 0 else images * 2 - 1


def _labels(values: np.ndarray, what: str) -> Tensor:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise BadData(f"{what} has shape {values.shape} and type {values.dtype}; class indices are integers (N,).")
    labels = torch.from_numpy(values.astype(np.int64))
    if len(labels) and int(labels.min()) < 0:
        raise BadData(f"{what} has the negative class {int(labels.min())}; classes are counted from 0.")
    return labels
