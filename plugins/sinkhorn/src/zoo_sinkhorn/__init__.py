"""The Sinkhorn divergence as a loss (Genevay et al., 2018, arXiv 1706.00292; Feydy et al., 2019, arXiv 1810.08278)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from zoo import Batch, Distance, IncompatibleParts, Samples, Setting, Variant, hookimpl, read_variants


class Sinkhorn(Distance):
    """OT(p, q) - OT(p, p) / 2 - OT(q, q) / 2, where OT is transport with an entropic term, the same in all three.

    The last two take away what the entropy adds, so that it is 0 for equal batches, positive for others (Feydy et al.,
    theorem 1), near the Wasserstein distance to the power for a small blur and near a maximum mean discrepancy for a
    large one. Sinkhorn's iterations run in logarithms and in a fixed number, which can be recorded on a GPU. Gradients
    are those of the transport cost for the plan that was found (the envelope theorem), and not through the iterations.
    It is a loss over the set; in the space of samples it needs no critic.
    """

    def __init__(
        self,
        *,
        on: Annotated[
            Literal["samples", "features"], Setting("what is compared; features are the critic's")
        ] = "samples",
        blur: Annotated[float, Setting("epsilon: the weight of the entropy, in units of the cost", gt=0)] = 0.05,
        power: Annotated[Literal[1, 2], Setting("the cost is the distance to this power")] = 2,
        iterations: Annotated[int, Setting("of Sinkhorn's algorithm", ge=1)] = 50,
    ) -> None:
        super().__init__()
        self.on, self.blur, self.power, self.iterations = on, blur, power, iterations
        self.estimates = f"Sinkhorn divergence of blur {blur:g}"

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the divergence: the critic looks for features that are far apart."""
        return -self.estimate(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The divergence."""
        return self.estimate(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The divergence between the batches."""
        real, fake = self._compared(batch)
        return self._transport(real, fake) - (self._transport(real, real) + self._transport(fake, fake)) / 2

    def _transport(self, one: Tensor, other: Tensor) -> Tensor:
        """OT: its value by the dual potentials, and the gradient of the cost under the plan."""
        cost = (one[:, None] - other).square().sum(2)
        cost = cost if self.power == 2 else cost.clamp(min=1e-12).sqrt()
        value, plan = self._solved(cost.detach())
        return value + (plan * (cost - cost.detach())).sum()

    def _solved(self, cost: Tensor) -> tuple[Tensor, Tensor]:
        n, m = cost.shape
        columns = cost.new_zeros(m)
        for _ in range(self.iterations):
            rows = _softmin(cost - columns, self.blur, 1)
            columns = _softmin(cost - rows[:, None], self.blur, 0)
        plan = ((rows[:, None] + columns - cost) / self.blur).exp() / (n * m)
        return rows.mean() + columns.mean(), plan

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.on == "samples":
            return _flat(batch.real), _flat(batch.fake)
        if not isinstance(batch.real_features, Tensor):
            raise IncompatibleParts(
                "sinkhorn compares features, and this critic returns none; take another, such as mlp."
            )
        return batch.real_features.flatten(1), batch.fake_features.flatten(1)


def _softmin(values: Tensor, blur: float, dim: int) -> Tensor:
    return -blur * (torch.logsumexp(-values / blur, dim) - math.log(values.shape[dim]))


def _flat(samples: Samples) -> Tensor:
    if not isinstance(samples, Tensor):
        raise IncompatibleParts(
            "sinkhorn compares samples that are one tensor each, or features: distance.on = features."
        )
    return samples.flatten(1)


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The Sinkhorn divergence."""
    return {"sinkhorn": Sinkhorn}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
