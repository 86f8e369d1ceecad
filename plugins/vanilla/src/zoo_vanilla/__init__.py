"""The original GAN (Goodfellow et al., 2014, arXiv 1406.2661): the critic's scores are logits of "real"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import softplus

from zoo import Batch, Distance, Variant, hookimpl, read_variants


class Minimax(Distance):
    """Goodfellow's game itself (eq. 1): the critic classifies, the generator minimises the critic's gain.

    At the optimal critic the value is 2 JS - log 4. The generator's gradient vanishes where the critic is sure.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.zeros(4, 1), fake=torch.zeros(4, 1))
    >>> round(Minimax().critic_loss(batch).item(), 4)
    1.3863
    """

    estimates = "JS"

    def critic_loss(self, batch: Batch) -> Tensor:
        """Cross entropy of telling real from fake: E softplus(-D(x)) + E softplus(D(y)); log 4 by chance."""
        return softplus(-batch.real_scores).mean() + softplus(batch.fake_scores).mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """E log(1 - sigmoid(D(y))), which is -E softplus(D(y))."""
        return -softplus(batch.fake_scores).mean()

    def estimate(self, batch: Batch) -> Tensor:
        """The Jensen-Shannon divergence in nats that this critic shows, a lower bound: (log 4 - loss) / 2."""
        return (math.log(4) - self.critic_loss(batch)) / 2


class NonSaturating(Minimax):
    """The game with the generator's loss that Goodfellow recommends (section 3): it maximises log sigmoid(D(y)).

    It has the same fixed point as minimax and a strong gradient where the critic is sure.
    """

    def generator_loss(self, batch: Batch) -> Tensor:
        """-E log sigmoid(D(y)), which is E softplus(-D(y))."""
        return softplus(-batch.fake_scores).mean()


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """Both losses of the 2014 paper."""
    return {"minimax": Minimax, "non-saturating": NonSaturating}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
