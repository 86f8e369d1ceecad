"""f-GAN (Nowozin, Cseke and Tomioka, 2016, arXiv 1606.00709): any f-divergence by its variational lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from torch import Tensor
from torch.nn.functional import softplus

from zoo import Batch, Distance, Setting, Variant, hookimpl, read_variants

Name: TypeAlias = Literal["kl", "reverse-kl", "pearson", "squared-hellinger", "jensen-shannon", "total-variation"]
LOG_2 = math.log(2)
LIMIT = 20.0
"""Scores of this size stand for density ratios of half a billion; larger ones are tamed before an exponential."""


@dataclass(frozen=True)
class Divergence:
    """D(p | q), the mean of f(p / q) over q, as its bound needs it (table 2 and table 6).

    Attributes:
        estimates: What it is called.
        activation: g_f, which takes any score to where the conjugate f* is defined.
        conjugate: f* of the activation, simplified, so that large scores do not overflow.
        share: What the divergence of that name is of the paper's.
    """

    estimates: str
    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    share: float = 1.0


def _itself(scores: Tensor) -> Tensor:
    return scores


def _tamed(scores: Tensor) -> Tensor:
    """Scores that grow like a logarithm beyond the limit, so that their exponential and its gradient are finite.

    The activation may be any increasing function onto the domain of f*: the bound stays one, and its maximum as it is.
    """
    return scores.clamp(-LIMIT, LIMIT) + scores.sign() * (scores.abs() - LIMIT).relu().log1p()


DIVERGENCES: Mapping[Name, Divergence] = {
    "kl": Divergence("KL", _tamed, lambda v: (_tamed(v) - 1).exp()),
    "reverse-kl": Divergence("reverse KL", lambda v: -(-_tamed(v)).exp(), lambda v: _tamed(v) - 1),
    "pearson": Divergence("Pearson chi-squared", _itself, lambda v: v.square() / 4 + v),
    "squared-hellinger": Divergence("squared Hellinger", lambda v: -(-_tamed(v)).expm1(), lambda v: _tamed(v).expm1()),
    # The paper's is twice the Jensen-Shannon divergence.
    "jensen-shannon": Divergence("JS", lambda v: LOG_2 - softplus(-v), lambda v: softplus(v) - LOG_2, share=0.5),
    "total-variation": Divergence("TV", lambda v: v.tanh() / 2, lambda v: v.tanh() / 2),
}


class FDivergence(Distance):
    """The critic makes the bound E g(V(x)) - E f*(g(V(y))) as large as it can (eq. 6), and the generator smaller.

    At the best critic the bound is the divergence, and g(V) the slope of f at p / q. Where the data and the fakes lie
    apart, most of these divergences are infinite and the bound says nothing: begin with small learning rates.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.zeros(4, 1), fake=torch.zeros(4, 1))
    >>> FDivergence().critic_loss(batch).item()
    0.0
    """

    divergence: Name

    def __init__(
        self,
        *,
        divergence: Annotated[Name, Setting("which f-divergence of the data from the fakes")] = "jensen-shannon",
        saturating: Annotated[bool, Setting("eq. 6 itself for the generator, and not section 3.2's trick")] = False,
    ) -> None:
        super().__init__()
        self.divergence, self.saturating = divergence, saturating
        self.estimates = self._of.estimates

    @property
    def _of(self) -> Divergence:
        return DIVERGENCES[self.divergence]

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the bound: -E g(V(x)) + E f*(g(V(y)))."""
        return self._of.conjugate(batch.fake_scores).mean() - self._of.activation(batch.real_scores).mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """-E g(V(y)), whose gradient does not vanish; or what depends on the generator in the bound, -E f*(g(V(y)))."""
        scores = batch.fake_scores
        return -(self._of.conjugate if self.saturating else self._of.activation)(scores).mean()

    def estimate(self, batch: Batch) -> Tensor:
        """The divergence that this critic shows, a lower bound."""
        return -self.critic_loss(batch) * self._of.share


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The bound of an f-divergence."""
    return {"f-divergence": FDivergence}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
