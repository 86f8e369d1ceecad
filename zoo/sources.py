"""Samples by what a user calls them: an array file, a run folder, or a data set's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.components import as_floats
from zoo.draws import Draws
from zoo.errors import BadData, UsageError
from zoo.measuring import fake_sample, real_sample
from zoo.metrics import Sample
from zoo.plugins import Plugins, installed
from zoo.recipe import Choice, choice_table
from zoo.resolve import Components
from zoo.run import load

ARRAYS = (".npy", ".npz")


def samples_of(
    source: str,
    n: int,
    seed: int = 0,
    *,
    shape: Sequence[int] | None = None,
    device: str = "auto",
    plugins: Plugins | None = None,
) -> Sample:
    """`n` samples of a source, or all that it has if those are fewer.

    Args:
        source: `FILE.npy`, `FILE.npz` (one array in it), a run folder, a folder of images, or a data set such as
            `digits`, `ring` or `image-folder:photos`. What is both a data set and a folder is the data set; say
            `./digits` for the folder.
        n: How many at most.
        seed: Which samples.
        shape: What a folder of images is wanted in, (channels, side, side); the data set's own default if None.
        device: Where a run makes its samples.
        plugins: Where data sets are looked up; the installed ones if None.

    Raises:
        UsageError, UnknownName: There is no such source.
        BadData: It holds no usable samples.
    """
    path, components = Path(source), Components(plugins or installed())
    if path.suffix in ARRAYS:
        return _some(_from_file(path), n, seed)
    if (path / "recipe.toml").is_file():
        return fake_sample(load(path, device=device), n, seed)
    if is_image_folder(source, components.plugins):
        return _of_dataset(components, _image_folder(path, shape), n, seed)
    if path.is_file():
        raise UsageError(f"'{source}' is no .npy or .npz file; give one, a run, a folder of images or a data set.")
    table = choice_table(source, "a source of samples")
    if not table:
        raise UsageError(f"'{source}' names no samples; give a file, a folder or a data set.")
    return _of_dataset(components, Choice.of(table), n, seed)


def is_image_folder(source: str, plugins: Plugins | None = None) -> bool:
    """Whether a source is a folder that is no run and no data set's name: its images can be had in any size."""
    if not Path(source).is_dir() or (Path(source) / "recipe.toml").is_file():
        return False
    return not any(entry.name == source for entry in (plugins or installed()).index.select("dataset"))


def as_samples(values: Any, what: str) -> torch.Tensor:
    """An array or a tensor of numbers as samples `(N, *shape)`, float32; uint8 from 0 to 255 becomes [-1, 1].

    Args:
        values: `(N, ...)`; numbers `(N,)` are samples of one variable.
        what: What a message calls it.

    Raises:
        BadData: It holds no numbers, none at all, or some that are NaN, infinite or beyond single precision.
    """
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind not in "fiub" or array.ndim < 1 or array.size == 0:
        raise BadData(f"{what} holds {array.dtype} of shape {array.shape}; it must be numbers (N, ...), and some.")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.float32))
    samples = as_floats(torch.from_numpy(numbers))
    if not bool(samples.isfinite().all()):
        raise BadData(f"{what} has values that are NaN or infinite, or beyond single precision.")
    return samples[:, None] if samples.ndim == 1 else samples


def _image_folder(path: Path, shape: Sequence[int] | None) -> Choice:
    """The data set of a folder's images; in the wanted shape where that is one of square images."""
    table = choice_table(f"image-folder:{path}", "a folder of images")
    if shape is not None and len(shape) == 3 and shape[1] == shape[2]:
        table |= {"channels": shape[0], "side": shape[1]}
    return Choice.of(table)


def _of_dataset(components: Components, choice: Choice, n: int, seed: int) -> Sample:
    dataset = components.dataset(choice)[1]
    return real_sample(dataset, n if dataset.size is None else min(n, dataset.size), Draws(seed))


def _from_file(path: Path) -> Sample:
    try:
        # NumPy leaves a file that it opened itself open when it turns out to be damaged.
        with path.open("rb") as opened:
            loaded: Any = np.load(opened, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # Damaged bytes fail in a dozen ways: in zip, zlib, tokens, sizes.
        raise BadData(
            f"{path} is no array of numbers as numpy.save and numpy.savez write it, or it is damaged. Arrays of "
            "Python objects are not read, since that may run code."
        ) from error
    if len(arrays) != 1:
        raise BadData(f"{path} holds {len(arrays)} arrays ({', '.join(sorted(arrays))}); it must hold one.")
    return Sample(as_samples(next(iter(arrays.values())), str(path)))


def _some(sample: Sample, n: int, seed: int) -> Sample:
    if len(sample) <= n:
        return sample
    return Sample(sample.values[Draws(seed).randperm(len(sample))[:n]])
