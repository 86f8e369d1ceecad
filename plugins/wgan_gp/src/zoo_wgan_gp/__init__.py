"""The gradient penalty: two-sided (Gulrajani et al., 2017, arXiv 1704.00028), one-sided (Petzka et al., 1709.08894)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from torch import Tensor

from zoo import Batch, LipschitzConstraint, Setting, Variant, hookimpl, read_variants


class GradientPenalty(LipschitzConstraint):
    """Penalises the square of how far each sample's slope is from C: weight * E (|grad f| - C)^2.

    Two-sided pulls slopes to C from both sides (WGAN-GP, eq. 3); one-sided only down to it (WGAN-LP, eq. 8).
    The norm is over all dimensions of one sample, and each sample has its own random point on its own segment.

    >>> import torch
    >>> score = torch.nn.Linear(4, 1, bias=False)
    >>> _ = torch.nn.init.constant_(score.weight, 0.75)  # of slope 1.5
    >>> critic = torch.nn.Sequential(score, torch.nn.Flatten(0))
    >>> batch = Batch(critic=critic, real=torch.ones(8, 4), fake=torch.zeros(8, 4))
    >>> GradientPenalty(weight=10.0).penalty(batch).item()
    2.5
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Setting("lambda: 10 for images, 0.1 for points in the plane", ge=0)] = 10.0,
        constant: Annotated[float, Setting("C, the slope that is aimed at", ge=0)] = 1.0,
        sides: Annotated[Literal["two", "one"], Setting("whether slopes below C are penalised too")] = "two",
        sample: Annotated[
            Literal["segment", "real", "fake"],
            Setting("where slopes are taken: between real and fake, or at them"),
        ] = "segment",
    ) -> None:
        super().__init__()
        self.weight = weight
        self.constant = constant
        self.sides = sides
        self.sample = sample

    def penalty(self, batch: Batch) -> Tensor:
        """The weighted mean over samples, a scalar."""
        excess = batch.slopes(self.sample) - self.constant
        if self.sides == "one":
            excess = excess.relu()
        return self.weight * excess.square().mean()


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """The gradient penalty."""
    return {"gradient-penalty": GradientPenalty}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
