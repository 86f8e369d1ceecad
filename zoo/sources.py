"""Samples by what a user calls them: an array file, a run folder, or a data set's name."""

from __future__ import annotations

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


def samples_of(source: str, n: int, seed: int = 0, *, device: str = "auto", plugins: Plugins | None = None) -> Sample:
    """`n` samples of a source, or all that it has if those are fewer.

    Args:
        source: `FILE.npy`, `FILE.npz` (one array in it), a run folder, or a data set such as `digits`, `ring` or
            `image-folder:photos`.
        n: How many at most.
        seed: Which samples.
        device: Where a run makes its samples.
        plugins: Where data sets are looked up; the installed ones if None.

    Raises:
        UsageError, UnknownName: There is no such source.
        BadData: It holds no usable samples.
    """
    path = Path(source)
    if path.suffix in ARRAYS:
        return _some(_from_file(path), n, seed)
    if (path / "recipe.toml").is_file():
        return fake_sample(load(path, device=device), n, seed)
    if path.exists():
        raise UsageError(f"'{source}' is no run and no .npy or .npz file; for images, say image-folder:{source}.")
    table = choice_table(source, "a source of samples")
    if not table:
        raise UsageError(f"'{source}' names no samples; give a file, a run folder or a data set.")
    dataset = Components(plugins or installed()).dataset(Choice.of(table))[1]
    return real_sample(dataset, n if dataset.size is None else min(n, dataset.size), Draws(seed))


def _from_file(path: Path) -> Sample:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        arrays = dict(loaded) if path.suffix == ".npz" else {"": loaded}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:
        raise BadData(f"{path} is no array of numbers: {error}.") from error
    if len(arrays) != 1:
        raise BadData(f"{path} holds {len(arrays)} arrays ({', '.join(sorted(arrays))}); it must hold one.")
    return Sample(_checked(next(iter(arrays.values())), path))


def _checked(array: Any, path: Path) -> torch.Tensor:
    if array.dtype.kind not in "fiub" or array.ndim < 1 or array.size == 0:
        raise BadData(
            f"{path} holds an array of type {array.dtype} and shape {array.shape}; it must be numbers, (N, ...)."
        )
    values = torch.from_numpy(np.ascontiguousarray(array))
    values = as_floats(values) if values.dtype == torch.uint8 else values.float()
    if not bool(values.isfinite().all()):
        raise BadData(f"{path} has values that are NaN or infinite.")
    return values[:, None] if values.ndim == 1 else values


def _some(sample: Sample, n: int, seed: int) -> Sample:
    if len(sample) <= n:
        return sample
    return Sample(sample.values[Draws(seed).randperm(len(sample))[:n]])
