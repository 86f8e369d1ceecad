"""The Wasserstein GAN (Arjovsky et al., 2017, arXiv 1701.07875)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo import Batch, Distance, LipschitzConstraint, Setting, Variant, hookimpl, read_variants


class Wasserstein(Distance):
    """The Wasserstein-1 distance in its dual form (eq. 2): the difference of mean scores, largest over slopes <= 1.

    It means nothing without a Lipschitz constraint: the scores would grow without bound.

    >>> score = nn.Flatten(0)  # of slope 1
    >>> batch = Batch(critic=score, real=torch.full((4, 1), 3.0), fake=torch.zeros(4, 1))
    >>> Wasserstein().estimate(batch).item()
    3.0
    """

    estimates = "W1"

    def critic_loss(self, batch: Batch) -> Tensor:
        """E f(y) - E f(x)."""
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """-E f(y)."""
        return -batch.fake_scores.mean()

    def estimate(self, batch: Batch) -> Tensor:
        """E f(x) - E f(y): W1 where the critic is the best of slope 1, C times that for slope C."""
        return batch.real_scores.mean() - batch.fake_scores.mean()


class WeightClipping(LipschitzConstraint):
    """Every parameter of the critic is clamped to [-limit, limit] after each of its steps (algorithm 1).

    The slope is bounded, but by a constant that depends on the network and that nobody knows: `constant` is None.
    """

    guaranteed = True

    def __init__(
        self, *, limit: Annotated[float, Setting("largest size of a weight, c in the paper", gt=0)] = 0.01
    ) -> None:
        super().__init__()
        self.limit = limit

    def project(self, critic: nn.Module) -> None:
        """Clamps the parameters that are trained."""
        torch._foreach_clamp_min_([p for p in critic.parameters() if p.requires_grad], -self.limit)
        torch._foreach_clamp_max_([p for p in critic.parameters() if p.requires_grad], self.limit)


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The Wasserstein distance."""
    return {"wasserstein": Wasserstein}


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """Weight clipping."""
    return {"weight-clipping": WeightClipping}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
