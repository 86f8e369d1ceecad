"""EBGAN (Zhao et al., 2017, arXiv 1609.03126) and BEGAN (Berthelot et al., 2017, arXiv 1703.10717)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from zoo import Batch, Critic, Distance, IncompatibleParts, Setting, Variant, hookimpl, read_variants
from zoo_energy.autoencoder import Autoencoder

__all__ = ["BEGAN", "EBGAN", "Autoencoder"]


class EBGAN(Distance):
    """The critic gives real samples little energy, and fakes more, up to a margin (eq. 1 and 2). Energy is -score.

    Where the energy is between 0 and the margin, the best loss is the margin times 1 - TV, which shows the total
    variation. Each fake has a margin of its own: the mean of the batch has none.

    The repelling term (eq. 4) keeps the codes of fakes apart, over the whole batch; codes are the critic's features.

    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.tensor([[-1.0], [0.0]]), fake=torch.tensor([[-3.0], [-0.5]]))
    >>> EBGAN(margin=2.0).critic_loss(batch).item()
    1.25
    """

    estimates = "TV"

    def __init__(
        self,
        *,
        margin: Annotated[float, Setting("energy above which a fake counts no more", gt=0)] = 10.0,
        repelling: Annotated[float, Setting("weight of the repelling term; the paper's is 0.1", ge=0)] = 0.0,
    ) -> None:
        super().__init__()
        self.margin, self.repelling = margin, repelling

    def critic_loss(self, batch: Batch) -> Tensor:
        """E e(x) + E max(0, margin - e(y))."""
        return relu(self.margin + batch.fake_scores).mean() - batch.real_scores.mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """E e(y), and the repelling term if it has a weight."""
        loss = -batch.fake_scores.mean()
        return loss + self.repelling * _alikeness(batch) if self.repelling else loss

    def estimate(self, batch: Batch) -> Tensor:
        """The total variation that this critic shows if no energy is above the margin: 1 - loss / margin."""
        return 1 - self.critic_loss(batch) / self.margin


class BEGAN(Distance):
    """Two reconstruction errors in balance: the fakes' is held at `gamma` times that of real samples (section 3.4).

    The critic's weight k of fakes is the state that holds it: it grows while fakes are reconstructed too well. Scores
    are minus the errors. The convergence measure is logged as `convergence`.
    """

    k: Tensor

    def __init__(
        self,
        *,
        gamma: Annotated[
            float, Setting("the fakes' error over the real samples', lower for less variety", ge=0, le=1)
        ] = 0.5,
        rate: Annotated[float, Setting("lambda: how fast k follows", ge=0)] = 1e-3,
    ) -> None:
        super().__init__()
        self.gamma, self.rate = gamma, rate
        self.register_buffer("k", torch.zeros(()))

    def critic_loss(self, batch: Batch) -> Tensor:
        """E e(x) - k E e(y)."""
        real, fake = -batch.real_scores.mean(), -batch.fake_scores.mean()
        imbalance = self.gamma * real - fake
        batch.record(imbalance=imbalance, convergence=real + imbalance.abs())
        return real - self.k * fake

    def generator_loss(self, batch: Batch) -> Tensor:
        """E e(y)."""
        return -batch.fake_scores.mean()

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Moves k after the critic's steps, which are the ones that record the imbalance."""
        if "imbalance" in means:
            self.k.add_(self.rate * means["imbalance"]).clamp_(0, 1)


def _alikeness(batch: Batch) -> Tensor:
    """The mean squared cosine between the codes of different fakes, from 0 to 1."""
    if not isinstance(batch.fake_features, Tensor):
        raise IncompatibleParts("ebgan repels codes, and this critic has none; take autoencoder, or repelling = 0.")
    codes = normalize(batch.fake_features.flatten(1), dim=1)
    n = len(codes)
    return ((codes @ codes.T).square().sum() - n) / (n * (n - 1))


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The autoencoder."""
    return {"autoencoder": Autoencoder}


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """Both papers' games."""
    return {"ebgan": EBGAN, "began": BEGAN}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
