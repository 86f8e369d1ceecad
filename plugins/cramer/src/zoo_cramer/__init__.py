"""The Cramer GAN (Bellemare et al., 2017, arXiv 1705.10743): the energy distance, of features or of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo import Batch, Distance, IncompatibleParts, Samples, Variant, hookimpl, read_variants

TINY = 1e-12
"""Squares below it count as 0."""


class Energy(Distance):
    """The squared energy distance of samples, 2 E|x - y| - E|x - x'| - E|y - y'|, which needs no critic.

    Its gradients from batches are unbiased, unlike those of Wasserstein distances between batches. In one dimension it
    is twice the Cramer distance, the integral of the squared difference of distribution functions.
    """

    estimates = "energy distance^2"

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the distance, in which a critic has no part."""
        return -self.estimate(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The distance."""
        return self.estimate(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The distance between the batches, without pairs of a sample with itself."""
        real, fake = self._compared(batch)
        return 2 * _lengths(real, fake).mean() - _within(real).mean() - _within(fake).mean()

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return _flat(batch.real), _flat(batch.fake)


class Cramer(Energy):
    """The same distance of a critic's features h, which the critic chooses by a surrogate (appendix C, algorithm 1).

    Its own score is f(x) = E|h(x) - h(y)| - |h(x)|, the witness of the distance with the real samples replaced by 0, so
    that a batch needs no second set of them; slopes are the slopes of f. The paper's penalty of these has weight 10.
    """

    def critic_loss(self, batch: Batch) -> Tensor:
        """E f(y) - E f(x)."""
        real, fake = self._compared(batch)
        at_fakes = _within(fake) - _length(fake)
        return at_fakes.mean() - self.witness(real, real, batch).mean()

    def witness(self, scores: Tensor, features: Any, batch: Batch) -> Tensor:
        """f at points of these features, `(N,)`."""
        points = features.flatten(1)
        return _lengths(points, self._compared(batch)[1]).mean(1) - _length(points)

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        real, fake = batch.real_features, batch.fake_features
        if not (isinstance(real, Tensor) and isinstance(fake, Tensor)):
            raise IncompatibleParts(
                "cramer compares features, and this critic returns none; take another, such as mlp, or distance energy."
            )
        return real.flatten(1), fake.flatten(1)


def _flat(samples: Samples) -> Tensor:
    if not isinstance(samples, Tensor):
        raise IncompatibleParts("energy compares samples that are one tensor each; cramer compares features.")
    return samples.flatten(1)


def _lengths(one: Tensor, other: Tensor) -> Tensor:
    """Distances of all pairs, `(N, M)`."""
    return _root((one[:, None] - other).square().sum(2))


def _within(points: Tensor) -> Tensor:
    """The mean distance of each point to the others, `(N,)`."""
    return _lengths(points, points).sum(1) / (len(points) - 1)


def _length(points: Tensor) -> Tensor:
    return _root(points.square().sum(1))


def _root(squares: Tensor) -> Tensor:
    """Square roots that have derivatives everywhere, which are 0 at 0."""
    present = squares > TINY
    return torch.where(present, squares, 1.0).sqrt() * present


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The energy distance of samples, and of features."""
    return {"energy": Energy, "cramer": Cramer}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
