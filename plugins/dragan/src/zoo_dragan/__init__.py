"""DRAGAN (Kodali, Abernethy, Hays and Kira, 2017, arXiv 1705.07215)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor

from zoo import Batch, IncompatibleParts, LipschitzConstraint, Setting, Variant, hookimpl, read_variants

Noise: TypeAlias = Literal["one-sided", "segment", "centred"]
_NOISE = Setting("one-sided: x + s/2 u; segment: x + a s/2 u (the authors' code); centred: x + s (u - 1/2)")


class Dragan(LipschitzConstraint):
    """weight * E (|grad D(x + noise)| - slope)^2: slopes near the real samples, and nowhere else.

    The noise is made of u, uniform on [0, 1) for every number of a sample, and s, the standard deviation of all
    numbers in a batch: of the batch of the step before, so that it is the same for all parts of a batch. In the first
    step it is 0, and slopes are those at the samples. a is a share on [0, 1), one a sample.

    Args:
        weight: lambda in the paper.
        slope: k in the paper, which is aimed at near the data; elsewhere slopes are free, so `constant` is None.
        noise: Which noise; codes differ, and the paper only says that it is small.
    """

    spread: Tensor

    def __init__(
        self,
        *,
        weight: Annotated[float, Setting("lambda", ge=0)] = 10.0,
        slope: Annotated[float, Setting("k, the slope that is aimed at near real samples", ge=0)] = 1.0,
        noise: Annotated[Noise, _NOISE] = "one-sided",
    ) -> None:
        super().__init__()
        self.weight, self.slope, self.noise = weight, slope, noise
        self.register_buffer("spread", torch.zeros(()))

    def penalty(self, batch: Batch) -> Tensor:
        """The weighted mean over samples, a scalar. Raises IncompatibleParts for samples of several tensors."""
        if not isinstance(batch.real, Tensor):
            raise IncompatibleParts("dragan needs samples that are one tensor; use r1 or gradient-penalty.")
        batch.record(data_mean=batch.real.mean(), data_square=batch.real.square().mean())
        return self.weight * (batch.slopes(self._near(batch.real, batch)) - self.slope).square().mean()

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Takes the standard deviation of the step's batch."""
        if "data_square" in means:
            self.spread.copy_((means["data_square"] - means["data_mean"].square()).clamp_min(0).sqrt())

    def _near(self, real: Tensor, batch: Batch) -> Tensor:
        noise = self.spread * batch.rand(*real.shape).to(real.dtype)
        if self.noise == "centred":
            return real + noise - self.spread / 2
        if self.noise == "segment":
            noise = noise * batch.rand(len(real), *[1] * (real.ndim - 1)).to(real.dtype)
        return real + noise / 2


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """The penalty."""
    return {"dragan": Dragan}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
