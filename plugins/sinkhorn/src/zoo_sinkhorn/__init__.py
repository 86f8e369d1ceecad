"""The Sinkhorn divergence: optimal transport, smoothed and without bias (Genevay et al., 2018, arXiv 1706.00292)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from zoo import Batch, Distance, Setting, Variant, hookimpl, read_variants

TINY = 1e-12
"""The least squared distance whose root is taken: the root's slope at 0 is infinite."""


class Sinkhorn(Distance):
    """OT(X, Y) - OT(X, X) / 2 - OT(Y, Y) / 2, with one epsilon in all three: of a critic's features, or of samples.

    OT is the least mean cost of carrying one set to the other, with epsilon times the plan's relative entropy added.
    As epsilon goes to 0 the divergence is the cost of optimal transport alone (W1 for `euclidean`, W2 squared for
    `squared`); as it grows, half the energy distance, or the squared distance of the means. A fixed number of
    Sinkhorn's iterations is made on logarithms, the first half of them from the largest cost down to epsilon. Losses
    have the optimum's gradient, by the plan that is then found. It is no mean over samples: micro-batches are refused.

    >>> import torch
    >>> batch = Batch(real=torch.zeros(4, 1), fake=torch.full((4, 1), 3.0))
    >>> round(Sinkhorn().generator_loss(batch).item(), 4)
    9.0
    """

    estimates = "Sinkhorn divergence"

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Setting("how far plans are smoothed, in units of the cost", gt=0)] = 0.1,
        iterations: Annotated[int, Setting("updates of both potentials", ge=1, le=10_000)] = 20,
        cost: Annotated[
            Literal["squared", "euclidean"], Setting("of carrying one point to another: |a - b|^2 or |a - b|")
        ] = "squared",
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.iterations = iterations
        self.cost = cost

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the divergence: the critic looks for features by which carrying is dear."""
        return -self._divergence(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The divergence. Raises IncompatibleParts for a critic without features."""
        return self._divergence(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The divergence."""
        return self._divergence(batch)

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """The first variation of the divergence by the real samples, `(N,)`: potentials, extended to any points."""
        real, fake = batch.real_vectors, batch.fake_vectors
        across = self._potentials(self._costs(real, fake).detach())[1]
        within = self._potentials(self._costs(real, real).detach())[1]
        points = features.flatten(1)
        return self._soft_minimum(self._costs(points, fake) - across) - self._soft_minimum(
            self._costs(points, real) - within
        )

    def _divergence(self, batch: Batch) -> Tensor:
        real, fake = batch.real_vectors, batch.fake_vectors
        across, *within = (self._transport(*pair) for pair in ((real, fake), (real, real), (fake, fake)))
        return across - (within[0] + within[1]) / 2

    def _transport(self, one: Tensor, other: Tensor) -> Tensor:
        """The dual value, with the gradient of the cost under the plan, which is what the optimum has."""
        costs = self._costs(one, other)
        held = costs.detach()
        f, g = self._potentials(held)
        plan = torch.softmax((f[:, None] - held) / self.epsilon, 0) / held.shape[1]
        return f.mean() + g.mean() + (plan * (costs - held)).sum()

    def _potentials(self, costs: Tensor) -> tuple[Tensor, Tensor]:
        """Both potentials, `(N,)` and `(M,)`, without graph."""
        g = costs.new_zeros(costs.shape[1])
        excess = (costs.max() / self.epsilon).clamp(min=1)
        for step in range(1, self.iterations + 1):
            epsilon = self.epsilon * excess ** max(0.0, 1 - 2 * step / self.iterations)
            f = self._soft_minimum(costs - g, epsilon)
            g = self._soft_minimum(costs.T - f, epsilon)
        return f, g

    def _soft_minimum(self, values: Tensor, epsilon: Tensor | float | None = None) -> Tensor:
        """Of each row: -epsilon log of the mean of exp(-value / epsilon)."""
        scale = self.epsilon if epsilon is None else epsilon
        return -scale * (torch.logsumexp(-values / scale, 1) - math.log(values.shape[1]))

    def _costs(self, one: Tensor, other: Tensor) -> Tensor:
        """Of every pair, `(N, M)`. Both sets are moved to their middle, so that little cancels."""
        middle = torch.cat([one, other]).detach().mean(0)
        one, other = one - middle, other - middle
        squares = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
        return squares.clamp(min=0) if self.cost == "squared" else squares.clamp(min=TINY).sqrt()


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The Sinkhorn divergence."""
    return {"sinkhorn": Sinkhorn}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
