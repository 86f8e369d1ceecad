"""The Jensen-Shannon divergence of soft histograms: what trains a generator of one variable, and of one only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from torch import Tensor

from zoo import Batch, Distance, IncompatibleParts, Samples, Setting, Variant, hookimpl, read_variants

MARGIN = 3
"""Bins beyond the samples. Without them the outermost samples are less blurred than others, which pulls outwards."""


class HistogramJs(Distance):
    """The Jensen-Shannon divergence of two soft histograms of one variable, in nats: 0 to log 2. Needs no critic.

    The middles of equally wide bins reach from the smallest to the largest of both samples, and three bins beyond. A
    sample counts in every bin, with weights that sum to 1 and fall as (1 + d^2)^(-2 / softness) with its distance d
    from the bin's middle, in bin widths. As softness goes to 0 that is counting. No bin is ever empty, so that samples
    far from the data still have a slope towards them; counting has none. Textbook material, without a paper.

    It is no mean over samples, and not 0 for two samples of the same distribution: counts that are not soft have
    about (bins - 1) / 4N.

    >>> import torch
    >>> real, fake = torch.zeros(8, 1), torch.ones(8, 1)
    >>> round(HistogramJs().generator_loss(Batch(real=real, fake=fake)).item(), 3)  # disjoint: log 2
    0.693
    """

    estimates = "JS"

    def __init__(
        self,
        *,
        bins: Annotated[int, Setting("equally wide bins, three on either side beyond the samples", ge=8)] = 50,
        softness: Annotated[float, Setting("how far samples are blurred; 0 would be counting", gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.softness = softness

    def critic_loss(self, batch: Batch) -> Tensor:
        """What a critic would maximise, if there were anything for it to choose: minus the divergence."""
        return -self._divergence(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The divergence. Raises IncompatibleParts for samples of more than one variable."""
        return self._divergence(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The divergence."""
        return self._divergence(batch)

    def _divergence(self, batch: Batch) -> Tensor:
        real, fake = (_line(samples, self.bins) for samples in (batch.real, batch.fake))
        together = torch.cat([real, fake]).detach()
        low, high = together.aminmax()
        width = ((high - low) / (self.bins - 1 - 2 * MARGIN)).clamp(min=torch.finfo(low.dtype).tiny ** 0.5)
        return jensen_shannon(*(self._shares((values - low) / width + MARGIN) for values in (real, fake)))

    def _shares(self, places: Tensor) -> Tensor:
        """The soft share of each bin, `(bins,)`, of places `(N,)` from 0 to `bins - 1`."""
        middles = torch.arange(self.bins, dtype=places.dtype, device=places.device)
        fall = torch.log1p((places[:, None] - middles).square())
        return torch.softmax(fall * (-2 / self.softness), dim=1).mean(0)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """`(KL(p, m) + KL(q, m)) / 2` with `m = (p + q) / 2`, in nats, of shares `(K,)`."""
    p, q = (shares.clamp(min=torch.finfo(shares.dtype).tiny) for shares in (p, q))
    middle = (p + q) / 2
    return (p * (p / middle).log() + q * (q / middle).log()).sum() / 2


def _line(samples: Samples, bins: int) -> Tensor:
    """Samples of one variable as `(N,)`, at least float32."""
    parts = samples if isinstance(samples, tuple) else (samples,)
    variables = sum(math.prod(part.shape[1:]) for part in parts)
    if variables != 1:
        raise IncompatibleParts(
            f"histogram-js compares samples of one variable, and these have {variables}: their histogram would have "
            f"{_power(bins, variables)} bins, and with only two a variable {_power(2, variables)}; nearly all stay "
            "empty, and any two samples look disjoint. Use a distance that a critic estimates, such as wasserstein: "
            "zoo train wgan-gp."
        )
    values = parts[0].flatten()
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _power(base: int, exponent: int) -> str:
    digits = exponent * math.log10(base)
    return f"{base}^{exponent} = {base**exponent}" if digits < 6 else f"{base}^{exponent} ≈ 10^{digits:.0f}"


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The divergence of soft histograms."""
    return {"histogram-js": HistogramJs}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
