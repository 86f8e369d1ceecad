"""Energy-based GANs: EBGAN (Zhao et al., 2016, arXiv 1609.03126) and BEGAN (Berthelot et al., 2017, 1703.10717)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from zoo import Batch, Critic, Distance, Setting, Variant, hookimpl, mean_over_patches, read_variants
from zoo_energy.autoencoder import Autoencoder

expected_failures = {
    "began:sign-of-the-critic-loss": "k is 0 in the beginning, as in the paper: fakes count only when they are better.",
}


class Ebgan(Distance):
    """The critic's energy, minus its score, is to be low for real samples and at least a margin for fakes (eq. 1).

    The margin is each sample's own: fakes beyond it count no more, whatever the others are. At the equilibrium fakes
    are as the data, with an energy of at most the margin (their theorem 1).

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.tensor([[-0.5], [0.0]]), fake=torch.tensor([[-3.0], [0.0]]))
    >>> Ebgan(margin=1.0).critic_loss(batch).item()
    0.75
    """

    def __init__(
        self,
        *,
        margin: Annotated[float, Setting("m, the energy that fakes are pushed to", gt=0)] = 1.0,
        repelling: Annotated[
            float, Setting("weight of the pull-away term of the fakes' codes; paper: 0.1", ge=0)
        ] = 0.0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.repelling = repelling

    def critic_loss(self, batch: Batch) -> Tensor:
        """E E(x) + E max(0, m - E(y))."""
        return relu(self.margin + batch.fake_scores).mean() - batch.real_scores.mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """E E(y), and the pull-away term if it is asked for. Raises IncompatibleParts for a critic without codes."""
        energy = -batch.fake_scores.mean()
        return energy + self.repelling * pull_away(batch.fake_vectors) if self.repelling else energy


def pull_away(codes: Tensor) -> Tensor:
    """The mean squared cosine between the codes `(N, D)` of different samples (section 2.4), from 0 to 1."""
    n = len(codes)
    squares = (normalize(codes) @ normalize(codes).T).square()
    return (squares.sum() - squares.diagonal().sum()) / max(n * (n - 1), 1)


class Began(Distance):
    """The distance between two distributions of reconstruction errors, in balance: errors are minus scores.

    A saved number k, from 0 to 1, weighs the fakes in the critic's loss. It follows gamma E(x) - E(y) after each of the
    critic's steps, so that fakes keep the share gamma of the error of real samples: the smaller gamma is, the better
    the samples and the less their variety. The log has k as `balance`, and as `convergence` the paper's M, which is
    E(x) + |gamma E(x) - E(y)| and falls while the training gets better.

    >>> import torch
    >>> batch = Batch(critic=torch.nn.Flatten(0), real=torch.full((2, 1), -0.5), fake=torch.full((2, 1), -0.25))
    >>> Began().critic_loss(batch).item()  # k is 0 in the beginning
    0.5
    """

    k: Tensor

    def __init__(
        self,
        *,
        gamma: Annotated[
            float, Setting("the fakes' error over that of real samples; paper: 0.3 to 0.7", gt=0, le=1)
        ] = 0.5,
        rate: Annotated[float, Setting("lambda_k, how fast k follows", ge=0)] = 0.001,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.rate = rate
        self.register_buffer("k", torch.zeros(()))

    def critic_loss(self, batch: Batch) -> Tensor:
        """E(x) - k E(y)."""
        real, fake = (-mean_over_patches(scores).mean() for scores in (batch.real_scores, batch.fake_scores))
        gap = self.gamma * real - fake
        batch.record(real_error=real, fake_error=fake, convergence=real + gap.abs(), balance=self.k.clone())
        return real - self.k * fake

    def generator_loss(self, batch: Batch) -> Tensor:
        """E(y)."""
        return -batch.fake_scores.mean()

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """k <- k + rate (gamma E(x) - E(y)), held between 0 and 1; after the critic's steps alone."""
        if "real_error" in means:
            self.k.add_(self.rate * (self.gamma * means["real_error"] - means["fake_error"])).clamp_(0, 1)


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The autoencoder, whose error is the energy."""
    return {"autoencoder": Autoencoder}


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The losses of EBGAN and BEGAN."""
    return {"ebgan": Ebgan, "began": Began}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
