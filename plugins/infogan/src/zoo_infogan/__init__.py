"""InfoGAN's bound of the mutual information between codes and samples (Chen et al., 2016, arXiv 1606.03657)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo import Batch, Generator, IncompatibleParts, Objective, Setting, Variant, hookimpl, read_variants

_Variance: TypeAlias = Literal["fixed", "learnt"]


class MutualInformation(Objective):
    """A network Q tells the codes from the critic's features; -log Q(c | G(z, c)) is added to both losses.

    As in the authors' code, Q is a part of the critic: it and the features learn in the critic's step, the generator in
    its own. (By eq. 6 only Q and the generator do, where the layers that Q shares are the critic's all the same.)

    L_I = H(c) + E log Q(c | G(z, c)) is at most I(c; G(z, c)), and H(c) is a constant (eq. 4 and 5). The codes are the
    first entries of the generator's latent points: a category, whose Q is a softmax, and uniform numbers, each with a
    Gaussian of its own. What is recorded as `information` is L_I in nats, of the category if there is one.

    Args:
        generator: Says how many `categories` and `continuous` codes its latent points begin with.
        features: How many features the critic returns.
        category_weight: lambda of the category; the paper's is 1.
        continuous_weight: lambda of the continuous codes.
        variance: fixed: Q's Gaussians have the variance 1; learnt: Q tells it as well.
        width: Units of Q's hidden layer.

    Raises:
        IncompatibleParts: The generator has no codes, or the critic returns no features.
    """

    trained_with = ("critic",)

    def __init__(
        self,
        generator: Generator,
        features: int | None,
        *,
        category_weight: Annotated[float, Setting("lambda of the category", ge=0)] = 1.0,
        continuous_weight: Annotated[float, Setting("lambda of the continuous codes", ge=0)] = 0.1,
        variance: Annotated[_Variance, Setting("of Q's Gaussians: 1, or told by Q")] = "fixed",
        width: Annotated[int, Setting("units of Q's hidden layer", ge=1)] = 128,
    ) -> None:
        super().__init__()
        self.categories, self.continuous = (int(getattr(generator, n, 0)) for n in ("categories", "continuous"))
        if self.categories + self.continuous == 0:
            raise IncompatibleParts(
                "mutual-information tells codes from samples, and this generator's latent points have none; "
                "set some, such as --set generator.categories=10."
            )
        if features is None:
            raise IncompatibleParts(
                "mutual-information reads the critic's features, and this one returns none; use another, such as mlp."
            )
        self.category_weight, self.continuous_weight = category_weight, continuous_weight
        self.learnt = variance == "learnt"
        told = self.categories + self.continuous * (2 if self.learnt else 1)
        self.network = nn.Sequential(nn.Linear(features, width), nn.LeakyReLU(0.1), nn.Linear(width, told))

    def critic_loss(self, batch: Batch) -> Tensor:
        """The weighted sum of the negative log-likelihoods of the category and of the continuous codes."""
        return self._unlikelihood(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The same."""
        return self._unlikelihood(batch)

    def _unlikelihood(self, batch: Batch) -> Tensor:
        told = self.network(batch.fake_features.flatten(1))
        category, numbers = batch.z.split([self.categories, batch.z.shape[1] - self.categories], 1)
        loss = told.new_zeros(())
        if self.categories:
            entropy = cross_entropy(told[:, : self.categories], category)
            batch.record(information=math.log(self.categories) - entropy)
            loss = loss + self.category_weight * entropy
        if self.continuous:
            unlikely = self._gaussian(told[:, self.categories :], numbers[:, : self.continuous])
            batch.record(code_error=unlikely)
            loss = loss + self.continuous_weight * unlikely
        return loss

    def _gaussian(self, told: Tensor, codes: Tensor) -> Tensor:
        """-log N(c; mean, variance), summed over the codes, averaged over samples."""
        mean, spread = told[:, : self.continuous], told[:, self.continuous :]
        logarithm = spread if self.learnt else torch.zeros_like(mean)
        square = (codes - mean).square() * torch.exp(-logarithm)
        return 0.5 * (square + logarithm + math.log(2 * math.pi)).sum(1).mean()


@hookimpl
def objective() -> Mapping[str, Callable[..., Objective]]:
    """The mutual information."""
    return {"mutual-information": MutualInformation}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
