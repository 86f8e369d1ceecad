"""Class coverage: which classes of labelled data samples fall on, and how evenly; a thousand of them for stacks."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, ClassVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from zoo import ArrayDataset, Better, Dataset, Evidence, IncompatibleParts, Metric, Setting
from zoo_metrics.classifier import classifier_of, why_none
from zoo_metrics.rows import rows

_APART: WeakKeyDictionary[ArrayDataset, ArrayDataset] = WeakKeyDictionary()
"""Pictures by the data set that they are the channels of, so that their classifier is found again."""


class ClassCoverage(Metric):
    """Classes that samples fall on, by a classifier trained on the data, as for Stacked-MNIST (Metz et al., 2016).

    Images whose channels are pictures of their own (`channel_classes`, as in `stacked-digits`) are classified a channel
    at a time, and their class is that of all channels together.

    - `classes`: how many classes have at least `at_least` samples. N perfect samples of K equally likely classes hit
      K (1 - (1 - 1/K)^N) of them: 918 of 1,000 with 2,500 samples.
    - `reverse-kl`: KL(shares among the samples || shares in the data), in nats; those of stacks are the products of
      the channels'. Perfect samples have about (K - 1) / 2N, not 0: 0.050 for 1,000 classes and 10,000 samples.

    Both depend on how many samples there are: compare figures of equally many only, also with a floor.
    """

    figures: ClassVar[Mapping[str, Better]] = {"classes": "higher", "reverse-kl": "lower"}
    least = 1

    def __init__(self, *, at_least: Annotated[int, Setting("samples that cover a class", ge=1)] = 1) -> None:
        self.at_least = at_least

    def refuse(self, evidence: Evidence) -> None:
        """It needs the data that the samples stand for, with labels."""
        reason = why_none(evidence.dataset)
        if reason:
            raise IncompatibleParts(f"it needs labelled data, and {reason}.")

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """Stacks are made for it."""
        return {"": 0.75} if dataset.channel_classes else {}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures."""
        self.refuse(evidence)
        data = cast(ArrayDataset, evidence.dataset)
        shares = _shares(data)
        counts = torch.bincount(_classes(data, rows(evidence.fake)), minlength=len(shares))
        return {"classes": float((counts >= self.at_least).sum()), "reverse-kl": _divergence(counts, shares)}


def _classes(data: ArrayDataset, samples: Tensor) -> Tensor:
    """The class `(N,)` of each of `samples` `(N, D)`, among those that occur in the data."""
    pictures, channels = _pictures(data), _channels(data)
    classifier = classifier_of(pictures)
    unseen = _channel_shares(data).repeat(len(samples), 1) == 0
    scores = classifier.scores(samples.reshape(len(samples) * channels, -1)).masked_fill(unseen, -torch.inf)
    return (scores.argmax(1).view(-1, channels) * _places(data)).sum(1)


def _shares(data: ArrayDataset) -> Tensor:
    """The share of each class in the data, `(K,)`; of stacks, the product of the shares of their channels' classes."""
    shares: Tensor = functools.reduce(torch.kron, _channel_shares(data))
    return shares


def _channel_shares(data: ArrayDataset) -> Tensor:
    """The share of each class in each channel, `(channels, classes of one)`; one channel unless they are apart."""
    base = _pictures(data).classes or 0
    counts = [torch.bincount(labels, minlength=base) for labels in _channel_labels(data).T]
    return torch.stack(counts).double() / len(data.samples)


def _pictures(data: ArrayDataset) -> ArrayDataset:
    """What the classifier is trained on: the data, or their channels where each is a picture of its own."""
    if data.channel_classes is None:
        return data
    if data not in _APART:
        pictures = ArrayDataset(data.samples.flatten(0, 1)[:, None], _channel_labels(data).flatten())
        pictures.classes = data.channel_classes
        _APART[data] = pictures
    return _APART[data]


def _channel_labels(data: ArrayDataset) -> Tensor:
    """The class of each channel, `(N, channels)`."""
    labels = cast(Tensor, data.labels)[:, None]
    return labels if data.channel_classes is None else labels // _places(data) % data.channel_classes


def _places(data: ArrayDataset) -> Tensor:
    """What a channel's class counts in the class of all, `(channels,)`."""
    return (data.channel_classes or 1) ** torch.arange(_channels(data) - 1, -1, -1)


def _channels(data: ArrayDataset) -> int:
    return 1 if data.channel_classes is None else data.shape[0]


def _divergence(counts: Tensor, shares: Tensor) -> float:
    """KL(shares of the counts || shares), in nats, of `(K,)`."""
    found = counts.double() / counts.sum()
    return max(0.0, float(torch.special.xlogy(found, found / shares.where(counts > 0, 1.0)).sum()))
