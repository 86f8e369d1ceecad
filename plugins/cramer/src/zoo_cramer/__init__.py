"""The energy distance of sets, and the Cramér GAN that plays for it (Bellemare et al., 2017, arXiv 1705.10743)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from zoo import Batch, Distance, Setting, Variant, hookimpl, read_variants

TINY = 1e-12
"""The least squared distance whose root is taken: the root's slope at 0 is infinite."""


class Energy(Distance):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|, squared as statisticians have it: of a critic's features, or of samples.

    It is 0 for equal distributions and for no others. With a critic, its features are what the samples are compared
    by, and the critic looks for those that differ most; with `critic = "none"` it is of the samples themselves. It is
    no mean over samples: micro-batches are refused, and larger batches are better.

    >>> import torch
    >>> batch = Batch(real=torch.zeros(4, 1), fake=torch.ones(4, 1))
    >>> round(Energy().generator_loss(batch).item(), 4)
    2.0
    """

    estimates = "energy distance"

    def __init__(
        self,
        *,
        estimator: Annotated[
            Literal["unbiased", "biased"],
            Setting("whether a sample is compared with the others of its set only, or with itself too"),
        ] = "unbiased",
    ) -> None:
        super().__init__()
        self.unbiased = estimator == "unbiased"

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the energy distance."""
        return -self._energy(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The energy distance. Raises IncompatibleParts for a critic without features."""
        return self._energy(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The energy distance, of features or samples."""
        return self._energy(batch)

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """E|h - h(Y)| - E|h - h(X)|, `(N,)`: how much nearer the reals are than the fakes."""
        points = features.flatten(1)
        return distances(points, batch.fake_vectors).mean(1) - distances(points, batch.real_vectors).mean(1)

    def _energy(self, batch: Batch) -> Tensor:
        real, fake = batch.real_vectors, batch.fake_vectors
        return 2 * distances(real, fake).mean() - self._within(real) - self._within(fake)

    def _within(self, points: Tensor) -> Tensor:
        """The mean distance within a set."""
        found, n = distances(points, points), len(points)
        if not self.unbiased:
            return (found - torch.diag(found.diagonal())).mean()
        return (found.sum() - found.diagonal().sum()) / max(n * (n - 1), 1)


class Cramer(Energy):
    """The Cramér GAN (algorithm 1): the critic plays for a surrogate that needs one set of real samples a batch.

    The critic's function is f(x) = E|h(x) - h(Y)| - |h(x)|, with the origin in the place of other real samples, and it
    maximises E f(X) - E f(Y). The generator minimises the energy distance of features. The paper takes Y from a second
    batch of fakes; here it is every other fake of the same one.
    """

    def critic_loss(self, batch: Batch) -> Tensor:
        """E f(Y) - E f(X)."""
        real, fake = batch.real_vectors, batch.fake_vectors
        of_real = distances(real, fake).mean() - lengths(real).mean()
        return self._within(fake) - lengths(fake).mean() - of_real

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """f, `(N,)`, whose slope the paper's penalty holds near 1."""
        points = features.flatten(1)
        return distances(points, batch.fake_vectors).mean(1) - lengths(points)


def distances(one: Tensor, other: Tensor) -> Tensor:
    """|a - b| of every pair, `(N, M)`, twice differentiable; `torch.cdist` is only once.

    Both sets are moved to their middle, so that little cancels.
    """
    middle = torch.cat([one, other]).detach().mean(0)
    one, other = one - middle, other - middle
    squares = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
    return squares.clamp(min=TINY).sqrt()


def lengths(points: Tensor) -> Tensor:
    """|a| of every point, `(N,)`."""
    return points.square().sum(1).clamp(min=TINY).sqrt()


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The energy distance, and the Cramér GAN's game for it."""
    return {"energy": Energy, "cramer": Cramer}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
