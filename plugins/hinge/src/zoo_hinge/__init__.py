"""The hinge loss (Lim and Ye, 2017, arXiv 1705.02894; Tran et al., 2017, arXiv 1702.08896)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import relu

from zoo import Batch, Distance, Variant, hookimpl, read_variants


class Hinge(Distance):
    """The critic separates real from fake by a margin, as a support vector machine does.

    Samples that are on the right side of their margin count no more, so that a critic is not made ever more sure. Its
    best scores are the sign of p - q, at which its loss is 2 - 2 TV.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.tensor([[2.0], [0.5]]), fake=torch.tensor([[-3.0], [0.0]]))
    >>> Hinge().critic_loss(batch).item()
    0.75
    """

    estimates = "TV"

    def critic_loss(self, batch: Batch) -> Tensor:
        """E max(0, 1 - D(x)) + E max(0, 1 + D(y)); 2 where the critic cannot tell."""
        return relu(1 - batch.real_scores).mean() + relu(1 + batch.fake_scores).mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """-E D(y)."""
        return -batch.fake_scores.mean()

    def estimate(self, batch: Batch) -> Tensor:
        """The total variation that this critic shows, a lower bound: 1 - loss / 2."""
        return 1 - self.critic_loss(batch) / 2


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The hinge loss."""
    return {"hinge": Hinge}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
