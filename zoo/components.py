"""The base classes of the axes: what a plugin author subclasses. Samples are `(N, *shape)`, images in [-1, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.draws import Draws
from zoo.errors import BadData
from zoo.samples import mean_over_patches


class Generator(nn.Module):
    """Turns latent points into samples. It owns its latent distribution, by default N(0, I).

    A subclass sets `latent_dim` and defines `forward(z, condition=None) -> samples`.
    """

    latent_dim: int
    categories: int = 0
    """So many entries of a latent point, from the first, are a category: one of them is 1, the others are 0."""
    continuous: int = 0
    """So many entries after the category are uniform on [-1, 1), and not normal."""
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
    feature_size: int | None = None
    """The size of the features `(N, features)` that it returns beside its scores; None if it returns none."""
    remark: str = ""
    """What a user should know before it is trained, such as what is missing for it to be of use; empty for nothing."""


def is_conditional(network: nn.Module) -> bool:
    """Whether a network wants a condition; a module of the caller's own need not say so."""
    return bool(getattr(network, "conditional", False))


PROPORTIONAL = "W1"
"""What a distance estimates that is in proportion to the critic's slope."""


class Distance(nn.Module, ABC):
    """What the critic maximises and the generator minimises, as losses that both minimise.

    State is buffers, updated in place in `after_step`; a distance has no trained parameters.
    """

    estimates: str = ""
    """What `estimate` estimates, such as `"W1"` or `"JS"`, a remark behind a comma; empty when there is no estimate.
    `"W1"` is in the unit of the data and in proportion to the critic's slope, by which a neural distance divides it."""

    neutral_score: float = 0.0
    """The score that is no more real than fake: games in which real and fake change places reflect scores in it."""

    @abstractmethod
    def critic_loss(self, batch: Batch) -> Tensor:
        """The loss that the critic minimises, a scalar."""

    @abstractmethod
    def generator_loss(self, batch: Batch) -> Tensor:
        """The loss that the generator minimises, a scalar."""

    def estimate(self, batch: Batch) -> Tensor | None:
        """The distance between the distributions that this critic implies, a scalar; None if it implies none."""
        return None

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """What slopes are the slopes of, `(N,)`: the scores, averaged over patches.

        Args:
            scores: The critic's scores of the points where slopes are taken, `(N,)` or `(N, H, W)`.
            batch: The game, whose real samples and fakes a witness may compare the points with.
            features: What the critic returned as features of those points, or None.
        """
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


class Objective(nn.Module):
    """A further loss term of the critic, the generator or both, with networks of its own if it has any.

    State is buffers, updated in place in `after_step`. Its parameters are trained, and saved, as a network of the
    objective's name.
    """

    trained_with: tuple[str, ...] = ("generator",)
    """The phases whose steps train its parameters as well: `"critic"`, `"generator"` or both."""

    def critic_loss(self, batch: Batch) -> Tensor | None:
        """A scalar added to the critic's loss; None for none."""
        return None

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """A scalar added to the generator's loss; None for none."""
        return None

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Called after each optimiser step with the means of what was recorded in it."""


def overrides(component: LipschitzConstraint | Objective, moment: str) -> bool:
    """Whether a component does anything at a moment: `parametrize`, `penalty`, `critic_loss`, `after_step`, ..."""
    base = LipschitzConstraint if isinstance(component, LipschitzConstraint) else Objective
    return getattr(type(component), moment) is not getattr(base, moment)


TINY_SIDE = 16


class Dataset(ABC):
    """Where real samples come from. A subclass sets `shape`, and `classes` where samples have labels."""

    shape: tuple[int, ...]
    classes: int | None = None
    """The number of classes of the labels; None for data without labels."""
    class_names: Sequence[str] | None = None
    """What the classes are called, in order; None for their numbers."""
    source: tuple[int, ...] | None = None
    """The shape of the samples that these ones are to be made from, as in a translation of images; None for none. They
    are then the condition of generators and critics, in the place of labels."""
    paired: bool | None = None
    """Whether each sample belongs to its source; None for none."""
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

    def __init__(
        self,
        shape: Sequence[int],
        classes: int | None,
        class_names: Sequence[str] | None = None,
        source: Sequence[int] | None = None,
        paired: bool | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self.paired = paired
        self.classes = classes
        self.class_names = class_names
        self.source = None if source is None else tuple(source)


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


class Translations(ArrayDataset):
    """Samples that are to be made from others, their sources: of pairs, or of two sets that belong to no pairs.

    Args:
        samples: `(N, *shape)`, what is to be made.
        sources: `(M, *source)`, what it is made from. Images are uint8, or floats in [-1, 1].
        paired: Whether the n-th sample belongs to the n-th source. If not, the sources of a batch are drawn on their
            own, evenly at random.

    Raises:
        BadData: As `ArrayDataset`; or there are not as many sources as samples, though they are pairs.
    """

    def __init__(self, samples: Tensor, sources: Tensor, *, paired: bool = True, mapped: bool = False) -> None:
        super().__init__(samples, mapped=mapped)
        held = ArrayDataset(sources)
        if paired and len(sources) != len(samples):
            raise BadData(f"{len(samples)} samples have {len(sources)} sources; pairs need one each.")
        self.sources, self.source, self.paired = held.samples, held.shape, paired


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
