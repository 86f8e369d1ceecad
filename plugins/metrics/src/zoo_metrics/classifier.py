"""A small classifier of a labelled data set, whose hidden layer serves as features."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from dataclasses import dataclass, fields
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import ArrayDataset, Dataset, Draws

HIDDEN = 64
STEPS = 3000
BATCH = 200
RATE = 1e-3
RECIPE = f"range, hidden {HIDDEN} steps {STEPS} batch {BATCH} rate {RATE}"
"""Names what is trained; a part of the key under which it is kept."""
_KNOWN: WeakKeyDictionary[Dataset, Classifier] = WeakKeyDictionary()


@dataclass(frozen=True)
class Classifier:
    """A trained network of one hidden layer; all float64.

    Attributes:
        low: The smallest number in the data, a scalar.
        scale: The largest less the smallest, a scalar above 0.
        weight: `(D, hidden units)`.
        bias: `(hidden units,)`.
        last: `(hidden units, classes)`.
        last_bias: `(classes,)`.
    """

    low: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    def hidden(self, rows: Tensor) -> Tensor:
        """The hidden units' activations (ReLU) of `(N, D)`, `(N, hidden units)`."""
        return torch.addmm(self.bias, (rows - self.low) / self.scale, self.weight).relu_()

    def scores(self, rows: Tensor) -> Tensor:
        """How likely each class is, as logarithms up to a constant, of `(N, D)`, `(N, classes)`."""
        return torch.addmm(self.last_bias, self.hidden(rows), self.last)


def why_none(dataset: Dataset | None) -> str:
    """Why there is no classifier of a data set, in words; empty if there is one."""
    if dataset is None:
        return "here are samples without their data set"
    if not isinstance(dataset, ArrayDataset) or dataset.labels is None:
        return "these have no labels"
    return "" if (dataset.classes or 0) > 1 else "here is only one class"


def classifier_of(dataset: Dataset | None) -> Classifier:
    """The classifier of a labelled data set: known, kept on disk, or trained now.

    It is kept in `$ZOO_CACHE`, or `~/.cache/gan-zoo`, under a hash of the data.
    """
    data = cast(ArrayDataset, dataset)
    if data not in _KNOWN:
        path = _cache() / f"classifier-{_key(data)}.npz"
        kept = _read(path, math.prod(data.shape), data.classes or 0)
        _KNOWN[data] = kept or train(data)
        if kept is None:
            _write(path, _KNOWN[data])
    return _KNOWN[data]


@torch.inference_mode(False)
@torch.enable_grad()
def train(data: ArrayDataset) -> Classifier:
    """Trains a network of one hidden layer (ReLU) on all samples by Adam on the cross-entropy.

    Everything random comes from one seed, and all is float64, so that the order of sums hardly matters.
    """
    draws = Draws(0)
    low, scale = _range(data)
    sizes = (math.prod(data.shape), HIDDEN, data.classes or 0)
    layers = [draws.randn(a, b).double() * math.sqrt(2 / a) for a, b in pairwise(sizes)]
    biases = [torch.zeros(b, dtype=torch.float64) for b in sizes[1:]]
    parameters = [p.requires_grad_() for p in (*layers, *biases)]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(STEPS):
        chosen = draws.randint(len(data.samples), BATCH)
        hidden = ((_rows(data, chosen) - low) / scale @ layers[0] + biases[0]).relu()
        loss = F.cross_entropy(hidden @ layers[1] + biases[1], cast(Tensor, data.labels)[chosen])
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    first, last = ((weight.detach(), bias.detach()) for weight, bias in zip(layers, biases, strict=True))
    return Classifier(low, scale, *first, *last)


def _rows(data: ArrayDataset, chosen: Tensor) -> Tensor:
    return _floats(data, data.samples[chosen]).reshape(len(chosen), -1)


def _floats(data: ArrayDataset, values: Tensor) -> Tensor:
    return values.double() / 127.5 - 1 if data.samples.dtype == torch.uint8 else values.double()


def _range(data: ArrayDataset) -> tuple[Tensor, Tensor]:
    """The smallest number, and the largest less the smallest; 1 if they are equal."""
    low, high = (_floats(data, end) for end in data.samples.aminmax())
    return low, torch.where(high > low, high - low, 1.0)


def _cache() -> Path:
    folder = os.environ.get("ZOO_CACHE")
    return Path(folder).expanduser() if folder else Path("~/.cache/gan-zoo").expanduser()


def _key(data: ArrayDataset) -> str:
    labels = cast(Tensor, data.labels)
    about = f"{RECIPE} {data.samples.dtype} {tuple(data.samples.shape)}"
    digest = sha256(about.encode())
    for values in (data.samples, labels):
        digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()[:32]


def _read(path: Path, dimension: int, classes: int) -> Classifier | None:
    """What is kept there; None if nothing is, or nothing that can be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            parts = [torch.from_numpy(kept[field.name]) for field in fields(Classifier)]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None
    shapes = [tuple(part.shape) for part in parts]
    good = shapes == [(), (), (dimension, HIDDEN), (HIDDEN,), (HIDDEN, classes), (classes,)] and all(
        part.dtype == torch.float64 and bool(part.isfinite().all()) for part in parts
    )
    return Classifier(*parts) if good else None


def _write(path: Path, classifier: Classifier) -> None:
    """Keeps a classifier, whole or not at all; a folder that cannot be written to is no reason to fail."""
    parts = {name: value.numpy() for name, value in vars(classifier).items()}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez(file, **parts)
        os.replace(file.name, path)
