"""The loss-sensitive GAN (Qi, 2017, arXiv 1701.06264). The least-squares LSGAN (Mao et al.) is another method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from zoo import Batch, Distance, IncompatibleParts, Setting, Variant, hookimpl, read_variants


class LossSensitive(Distance):
    """Qi's loss-sensitive objective; not Mao's `least-squares`.

    The loss function L = -f is low for real samples. A fake's loss must exceed that of the real sample it is paired
    with by a margin that grows with their distance: E C(margin_scale |x - y| + L(x) - L(y)), with
    C(a) = max(a, slope * a). Slope 0 is LS-GAN's hinge, slope 1 is WGAN's critic loss (GLS-GAN, appendix D).

    Without a bound on the slope of f the hinge is satisfied by scaling f up; with slope at most C, a margin scale
    of C in the 2-norm is the largest that can be satisfied.

    >>> score = torch.nn.Flatten(0)  # of slope 1
    >>> batch = Batch(critic=score, real=torch.full((4, 1), 3.0), fake=torch.zeros(4, 1))
    >>> [LossSensitive(margin_scale=scale).critic_loss(batch).item() for scale in (1.0, 2.0)]
    [0.0, 3.0]
    """

    estimates = "W1, from below"

    def __init__(
        self,
        *,
        margin_scale: Annotated[float, Setting("margin per unit of distance between real and fake", ge=0)] = 1.0,
        margin_norm: Annotated[Literal["l1", "l2"], Setting("norm of that distance, over all dimensions")] = "l2",
        real_weight: Annotated[float, Setting("weight of the term E L(x)", ge=0)] = 0.0,
        slope: Annotated[float, Setting("nu: 0 for LS-GAN, 1 for WGAN, between for GLS-GAN", le=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.margin_scale = margin_scale
        self.order = 1 if margin_norm == "l1" else 2
        self.real_weight = real_weight
        self.slope = slope

    def critic_loss(self, batch: Batch) -> Tensor:
        """The mean cost over pairs of one real sample and one fake, in the order of the batch."""
        cost = self._margin(batch) + batch.fake_scores - batch.real_scores
        loss = leaky_relu(cost, self.slope).mean()
        return loss - self.real_weight * batch.real_scores.mean() if self.real_weight else loss

    def generator_loss(self, batch: Batch) -> Tensor:
        """E L(y), which is -E f(y)."""
        return -batch.fake_scores.mean()

    def estimate(self, batch: Batch) -> Tensor:
        """E f(x) - E f(y): at most W1 for a critic of slope 1."""
        return batch.real_scores.mean() - batch.fake_scores.mean()

    def _margin(self, batch: Batch) -> Tensor:
        if not (isinstance(batch.real, Tensor) and isinstance(batch.fake, Tensor)):
            raise IncompatibleParts("loss-sensitive needs samples that are one tensor, to measure their distances.")
        difference = (batch.real - batch.fake).detach().flatten(1)
        return batch.like_scores(self.margin_scale * torch.linalg.vector_norm(difference, self.order, dim=1))


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The loss-sensitive distance."""
    return {"loss-sensitive": LossSensitive}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
