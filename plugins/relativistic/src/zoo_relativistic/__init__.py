"""The relativistic pairing GAN (Jolicoeur-Martineau, 2018, arXiv 1807.00734), as R3GAN has it (2025, 2501.05441)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import softplus

from zoo import Batch, Distance, Variant, hookimpl, read_variants


class Relativistic(Distance):
    """The critic tells how much more real one sample of a pair is than the other (RpGAN).

    The n-th real sample is paired with the n-th fake. Only differences of scores count, so a constant that is added
    to the critic changes nothing, and a fake that falls behind the others is not forgotten: every fake is judged
    against real samples, and not against a fixed threshold.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.zeros(4, 1), fake=torch.zeros(4, 1))
    >>> round(Relativistic().critic_loss(batch).item(), 4)
    0.6931
    """

    def critic_loss(self, batch: Batch) -> Tensor:
        """E softplus(-(D(x) - D(y))); log 2 where the critic cannot tell."""
        return softplus(batch.fake_scores - batch.real_scores).mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """E softplus(-(D(y) - D(x))): the same game with real and fake exchanged."""
        return softplus(batch.real_scores - batch.fake_scores).mean()


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The paired relativistic loss."""
    return {"relativistic": Relativistic}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
