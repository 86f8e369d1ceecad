"""The base classes of the axes: what a plugin author subclasses. Samples are `(N, *shape)`, images in [-1, 1]."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.draws import Draws
from zoo.errors import BadData, IncompatibleParts
from zoo.samples import mean_over_patches


class Generator(nn.Module):
    """Turns latent points into samples. It owns its latent distribution, by default N(0, I).

    A subclass sets `latent_dim` and defines `forward(z, condition=None) -> samples`.
    """

    latent_dim: int
    conditional: bool = False
    """Whether `forward` wants a condition: class indices `(N,)`."""

    def latent(self, n: int, draws: Draws) -> Tensor:
        """`n` latent points, `(n, latent_dim)`."""
        return draws.randn(n, self.latent_dim)


class Critic(nn.Module):
    """Scores samples, high for real.

    A subclass defines `forward(samples, condition=None)`, which returns scores `(N,)` or `Scores`.
    """

    conditional: bool = False
    """Whether `forward` wants a condition."""
    remark: str = ""
    """What a user should know before it is trained, such as what is missing for it to be of use; empty for nothing."""


def is_conditional(network: nn.Module) -> bool:
    """Whether a network wants a condition; a module of the caller's own need not say so."""
    return bool(getattr(network, "conditional", False))


class Distance(nn.Module, ABC):
    """What the critic maximises and the generator minimises, as losses that both minimise.

    State is buffers, updated in place in `after_step`; a distance has no trained parameters.
    """

    estimates: str = ""
    """What `estimate` estimates, such as `"W1"` or `"JS"`, a remark behind a comma; empty when there is no estimate.
    `"W1"` is in the unit of the data and in proportion to the critic's slope, by which a neural distance divides it."""

    @abstractmethod
    def critic_loss(self, batch: Batch) -> Tensor:
        """The loss that the critic minimises, a scalar."""

    @abstractmethod
    def generator_loss(self, batch: Batch) -> Tensor:
        """The loss that the generator minimises, a scalar."""

    def estimate(self, batch: Batch) -> Tensor | None:
        """The distance between the distributions that this critic implies, a scalar; None if it implies none."""
        return None

    def witness(self, scores: Tensor, batch: Batch) -> Tensor:
        """What slopes are the slopes of, `(N,)`: the scores, averaged over patches."""
        return mean_over_patches(scores)

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Called after each optimiser step with the means of what was recorded in it."""


class LipschitzConstraint(nn.Module):
    """Bounds or regularises the critic's slope, at up to three moments. State is buffers."""

    constant: float | None = None
    """The Lipschitz constant C that is aimed at; None for what only regularises. The conformance kit compares the
    penalty of critics of slope C with 0 where it is named."""
    guaranteed: bool = False
    """Whether C is kept by construction, rather than encouraged. The kit then looks for critics that are steeper."""

    def parametrize(self, critic: nn.Module) -> None:
        """Changes the critic once, after it is built."""

    def penalty(self, batch: Batch) -> Tensor | None:
        """A scalar added to the critic's loss; None for no penalty."""
        return None

    def project(self, critic: nn.Module) -> None:
        """Changes the critic's parameters in place after each of its steps."""

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Called after each optimiser step with the means of what was recorded in it."""


def overrides(constraint: LipschitzConstraint, moment: str) -> bool:
    """Whether a constraint does anything at a moment: `parametrize`, `penalty` or `project`."""
    return getattr(type(constraint), moment) is not getattr(LipschitzConstraint, moment)


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone: its name, and the channels and the stride of its feature map."""

    name: str
    channels: int
    stride: int


class Backbone(nn.Module):
    """Turns images into feature maps, one a stage.

    A subclass sets `stages` and defines `forward(images) -> list of (N, channels, H, W)`. It knows its own input
    normalisation and size, takes images in [-1, 1] with one or three channels, and keeps frozen what is frozen.
    """

    stages: Sequence[Stage]
    random: bool = False
    """Whether its weights were drawn at random, and have learnt nothing yet."""

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; layers in which everything is frozen at the time stay in evaluation mode."""
        super().train(mode)
        for module in itertools.chain.from_iterable(map(frozen_modules, self.children())):
            module.eval()
        return self

    def parameters_by_stage(self, shape: tuple[int, ...]) -> list[list[nn.Parameter]]:
        """The parameters of each stage: those that its feature map is computed from, and no stage's before it.

        Args:
            shape: Of an image that it takes: channels, height, width.
        """
        parameters, trained = list(self.parameters()), [p.requires_grad for p in self.parameters()]
        self.requires_grad_(True)
        try:
            stages = _owners(self._maps(shape), parameters) if parameters else []
        finally:
            for parameter, was in zip(parameters, trained, strict=True):
                parameter.requires_grad_(was)
        return [[p for p, owner in zip(parameters, stages, strict=True) if owner == n] for n in range(len(self.stages))]

    def whole_model(self, head: nn.Linear) -> tuple[nn.Module, dict[str, Any]]:
        """The model that this is the backbone of, with a linear head on the averaged last stage, for others to load.

        Returns:
            The model, from images as the backbone normalises them to logits; and what whoever loads it needs to know:
            `library`, `model`, `num_classes`, `input_size`, `mean`, `std`.

        Raises:
            IncompatibleParts: There is no such model.
        """
        raise IncompatibleParts(f"{type(self).__name__} is part of no model of another library.")

    def _maps(self, shape: tuple[int, ...]) -> list[Tensor]:
        """Feature maps of an image, with a graph; the mode and statistics are left alone."""
        modes = [(module, module.training) for module in self.modules()]
        try:
            with torch.enable_grad():
                maps: list[Tensor] = self.eval()(torch.zeros(1, *shape, device=next(self.parameters()).device))
        finally:
            for module, training in modes:
                module.training = training
        return maps


def _owners(maps: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[int | None]:
    """The first of the maps that each parameter takes part in; None if it takes part in none."""
    owners: list[int | None] = [None] * len(parameters)
    for number, each in reversed(list(enumerate(maps))):
        found = torch.autograd.grad(each.sum(), parameters, allow_unused=True, retain_graph=True)
        owners = [owner if g is None else number for g, owner in zip(found, owners, strict=True)]
    return owners


def frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules inside a module in which there are parameters and none is trained."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        yield module
    elif parameters:
        for child in module.children():
            yield from frozen_modules(child)


TINY_SIDE = 16


class Dataset(ABC):
    """Where real samples come from. A subclass sets `shape`, and `classes` where samples have labels."""

    shape: tuple[int, ...]
    classes: int | None = None
    """The number of classes of the labels; None for data without labels."""
    class_names: Sequence[str] | None = None
    """What the classes are called, in order; None for their numbers."""
    size: int | None = None
    """The number of samples; None for a density, which never ends."""
    channel_classes: int | None = None
    """The classes of one channel, for images whose channels are pictures of their own; else None. A label is then the
    channels' classes read as the digits of a number in that base, the first channel's first."""

    @property
    def kind(self) -> str:
        """`"image"` for (channels, height, width), else `"vector"`."""
        return "image" if len(self.shape) == 3 else "vector"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a recipe's `for` tables may be for, the more special one last.

        `tiny-image` is an image of at most 16 pixels a side: the papers' settings are for larger ones, which
        take more iterations of wider networks.
        """
        tiny = self.kind == "image" and max(self.shape[1:]) <= TINY_SIDE
        return ("image", "tiny-image") if tiny else (self.kind,)


class Described(Dataset):
    """What is known of a data set that is not at hand: enough to build networks for it, and to sample them."""

    def __init__(self, shape: Sequence[int], classes: int | None, class_names: Sequence[str] | None = None) -> None:
        self.shape = tuple(shape)
        self.classes = classes
        self.class_names = class_names


class ArrayDataset(Dataset):
    """Samples held in a tensor.

    Args:
        samples: `(N, *shape)`. uint8 images become floats in [-1, 1] when drawn; floats are used as they are.
        labels: Class indices `(N,)`, or None.
        mapped: Whether the samples lie in a file that is mapped to memory, so that they are read when touched.

    Raises:
        BadData: No sample, labels that are negative or not one a sample, or a value that is not finite.
    """

    def __init__(self, samples: Tensor, labels: Tensor | None = None, *, mapped: bool = False) -> None:
        if len(samples) == 0:
            raise BadData("the data set is empty.")
        if labels is not None and len(labels) != len(samples):
            raise BadData(f"{len(samples)} samples have {len(labels)} labels; there must be one each.")
        if labels is not None and int(labels.min()) < 0:
            raise BadData(f"labels are class indices from 0, not {int(labels.min())}.")
        if samples.is_floating_point() and not bool(samples.isfinite().all()):
            raise BadData("the data set has values that are NaN or infinite.")
        self.samples = samples if samples.dtype == torch.uint8 else samples.float()
        self.labels = None if labels is None else labels.long()
        self.mapped = mapped
        self.shape = tuple(samples.shape[1:])
        self.size = len(samples)
        self.classes = None if self.labels is None else int(self.labels.max()) + 1


class Density(Dataset):
    """A known density, which samples are drawn from without end."""

    centres: Tensor | None = None
    """The modes' centres `(K, D)`, for a mixture of isotropic Gaussians; else None."""
    sigma: float | None = None
    """The standard deviation of every mode; None where there are no modes."""

    @abstractmethod
    def sample(self, n: int, draws: Draws) -> Tensor:
        """`n` samples, `(n, *shape)`, on the device of `draws`."""

    def log_density(self, points: Tensor) -> Tensor | None:
        """The logarithm of the density at `points` `(N, D)`, `(N,)`; None where it has no closed form."""
        return None


def as_floats(samples: Tensor) -> Tensor:
    """uint8 images as floats in [-1, 1]; floats unchanged."""
    return samples.float().div_(127.5).sub_(1.0) if samples.dtype == torch.uint8 else samples
