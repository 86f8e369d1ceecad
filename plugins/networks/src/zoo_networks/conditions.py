"""How networks are told what class a sample is of, or is to be of.

One-hot labels beside the input are of Mirza and Osindero (2014, arXiv 1411.1784), scales and shifts of a normalisation
that are the class's own of De Vries et al. (2017, arXiv 1707.00683), the projection of Miyato and Koyama (2018, arXiv
1802.05637). Labels are class indices `(N,)`; that they are in range is for the caller to see to, since looking at them
would wait for the device.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from zoo import BadSetting, IncompatibleParts, Scores, Setting

GeneratorCondition: TypeAlias = Literal["none", "concat", "embed", "norm"]
CriticCondition: TypeAlias = Literal["none", "concat", "embed", "projection"]

GENERATOR_CONDITION = Setting("how it is told the class: one-hot or embedded beside z, or scales of the norms")
CRITIC_CONDITION = Setting("how it is told the class: one-hot or embedded beside the samples, or a projection")
EMBEDDING = Setting("size of the embedding of a class that is put beside the input", ge=1)


class Conditioned(nn.Module):
    """A layer whose `forward` takes labels beside its input."""


def through(layers: nn.Module | list[nn.Module], values: Tensor, labels: Tensor | None = None) -> Tensor:
    """What comes of `values` after some layers, of which the conditioned ones are told the labels."""
    for layer in layers if isinstance(layers, list) else layers.children():
        values = layer(values, labels) if isinstance(layer, Conditioned) else layer(values)
    return values


class LabelCode(nn.Module):
    """Labels `(N,)` as vectors `(N, size)`: one-hot, or learnt, drawn from N(0, 1) at first.

    Args:
        classes: The number of classes.
        size: Of the learnt vectors; None for one-hot ones.
    """

    onehot: Tensor

    def __init__(self, classes: int, size: int | None = None) -> None:
        super().__init__()
        self.size = classes if size is None else size
        self.register_buffer("onehot", torch.eye(classes) if size is None else None, persistent=False)
        self.embedding = None if size is None else nn.Embedding(classes, size)

    def forward(self, labels: Tensor | None) -> Tensor:
        """The vectors. Raises IncompatibleParts for None."""
        labels = required(labels)
        code: Tensor = self.onehot[labels] if self.embedding is None else self.embedding(labels)
        return code

    def beside(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        """Samples `(N, C, ...)` with the vectors as further channels, the same at every pixel: `(N, C + size, ...)`."""
        code = self(labels)
        spread = code.view(*code.shape, *[1] * (samples.ndim - 2)).expand(-1, -1, *samples.shape[2:])
        return torch.cat([samples, spread], dim=1)


class Projection(nn.Module):
    """How well features fit a class: `<e_y, phi(x)>` (Miyato and Koyama 2018, eq. 3), e of Glorot's variance."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, size)
        nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """The inner products `(N,)` for features `(N, size)`."""
        fit: Tensor = (self.embedding(required(labels)) * features).sum(1)
        return fit


class ConditionalNorm(Conditioned):
    """A normalisation whose scales and shifts are the class's own, 1 and 0 at first.

    Args:
        norm: The normalisation, without scales and shifts.
        channels: Of its feature maps, or the size of its vectors.
        classes: The number of classes.
    """

    def __init__(self, norm: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.scales, self.shifts = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scales.weight)
        nn.init.zeros_(self.shifts.weight)

    def forward(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """The normalised maps `(N, channels, ...)`, scaled and shifted."""
        labels = required(labels)
        return _scaled(self.norm(maps), self.scales(labels), self.shifts(labels))


class ToldNorm(Conditioned):
    """A normalisation whose scales and shifts are linear in a vector: 1 + W v and U v (BigGAN).

    Args:
        norm: The normalisation, without scales and shifts.
        channels: Of its feature maps.
        size: Of the vectors.
    """

    def __init__(self, norm: nn.Module, channels: int, size: int) -> None:
        super().__init__()
        self.norm = norm
        self.scales, self.shifts = (nn.Linear(size, channels, bias=False) for _ in range(2))

    def forward(self, maps: Tensor, vectors: Tensor | None = None) -> Tensor:
        """The normalised maps `(N, channels, ...)`, scaled and shifted as vectors `(N, size)` say."""
        assert vectors is not None
        return _scaled(self.norm(maps), 1 + self.scales(vectors), self.shifts(vectors))


def _scaled(maps: Tensor, scales: Tensor, shifts: Tensor) -> Tensor:
    """Maps `(N, C, ...)` with a scale and a shift a sample and channel, `(N, C)`."""
    scale, shift = (each.view(*each.shape, *[1] * (maps.ndim - 2)) for each in (scales, shifts))
    return maps * scale + shift


def required(labels: Tensor | None) -> Tensor:
    """The labels. Raises IncompatibleParts for None."""
    if labels is None:
        raise IncompatibleParts("a conditional network needs a class for every sample, and got none.")
    return labels


def label_code(condition: str, classes: int | None, size: int) -> LabelCode | None:
    """What is put beside a network's input; None for other conditions.

    Raises:
        IncompatibleParts: There is a condition, and the data have no labels.
    """
    if condition != "none":
        count = needed(classes, condition)
        if condition in ("concat", "embed"):
            return LabelCode(count, size if condition == "embed" else None)
    return None


def projection(condition: str, classes: int | None, size: int) -> Projection | None:
    """What is added to a critic's score; None for other conditions. Raises IncompatibleParts without classes."""
    return Projection(needed(classes, condition), size) if condition == "projection" else None


def needed(classes: int | None, condition: str) -> int:
    """The number of classes. Raises IncompatibleParts where the data have no labels."""
    if classes is None:
        raise IncompatibleParts(
            f"condition = '{condition}' needs classes, and these data have no labels. Use data that have, such as "
            "digits, image-folder or torchvision, or set condition = 'none'."
        )
    return classes


def norm_classes(condition: str, norm: str, classes: int | None) -> int | None:
    """How many classes have scales and shifts of their own in every normalisation; None for those in common.

    Raises:
        BadSetting: There is no normalisation that could have them.
    """
    if condition != "norm":
        return None
    if norm == "none":
        raise BadSetting(
            "condition = 'norm' needs a normalisation to put the class in; set norm = 'batch', or 'layer'."
        )
    return needed(classes, condition)


def scored(score: nn.Module, features: Tensor, fit: Projection | None, labels: Tensor | None) -> Scores:
    """Features `(N, F)` with their scores `(N,)`: linear, and a projection if there is one."""
    values = score(features).squeeze(1)
    return Scores(values if fit is None else values + fit(features, labels), features)
