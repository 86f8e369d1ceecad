"""The relativistic GANs (Jolicoeur-Martineau, 2018, arXiv 1807.00734): pairing, and average.

The pairing one with two penalties is R3GAN (Huang et al., 2025, arXiv 2501.05441).
"""

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


class RelativisticAverage(Distance):
    """The critic tells how much more real a sample is than the other kind is on average (RaGAN, eq. 8 and 9).

    Each sample is judged against the mean score of the others, so that the noise of pairs falls away. The loss is one
    over the set: that of a batch is no mean of its parts' losses.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.zeros(4, 1), fake=torch.zeros(4, 1))
    >>> round(RelativisticAverage().critic_loss(batch).item(), 4)
    1.3863
    """

    def critic_loss(self, batch: Batch) -> Tensor:
        """E softplus(-(D(x) - E D(y))) + E softplus(D(y) - E D(x)); log 4 where the critic cannot tell."""
        return _over_the_other(batch.real_scores, batch.fake_scores)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The same game with real and fake exchanged."""
        return _over_the_other(batch.fake_scores, batch.real_scores)


def _over_the_other(above: Tensor, below: Tensor) -> Tensor:
    return softplus(below.mean() - above).mean() + softplus(below - above.mean()).mean()


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The relativistic losses, paired and average."""
    return {"relativistic": Relativistic, "relativistic-average": RelativisticAverage}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
