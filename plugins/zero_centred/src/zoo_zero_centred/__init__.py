"""Zero-centred gradient penalties (Mescheder, Geiger and Nowozin, 2018, arXiv 1801.04406, eq. 9 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from torch import Tensor

from zoo import Batch, LipschitzConstraint, Setting, Variant, hookimpl, read_variants

_GAMMA = Setting("gamma, which the paper halves: the penalty is gamma / 2 E |grad D|^2", ge=0)


class ZeroCentred(LipschitzConstraint):
    """gamma / 2 times the mean over `place` of |grad D|^2, over all dimensions of a sample.

    Args:
        weight: gamma.
    """

    place: Literal["real", "fake"]

    def __init__(self, *, weight: Annotated[float, _GAMMA] = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def penalty(self, batch: Batch) -> Tensor:
        """The weighted mean over samples, a scalar."""
        return self.weight / 2 * batch.gradients(self.place).square().sum(1).mean()


class R1(ZeroCentred):
    """The penalty at real samples (eq. 9): it makes the game converge locally, and the right critic has none.

    >>> import torch
    >>> score = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(score.weight, 3.0)
    >>> critic = torch.nn.Sequential(score, torch.nn.Flatten(0))
    >>> batch = Batch(critic=critic, real=torch.ones(8, 1), fake=torch.zeros(8, 1))
    >>> R1(weight=2.0).penalty(batch).item()
    9.0
    """

    place = "real"


class R2(ZeroCentred):
    """The penalty at fakes (eq. 10)."""

    place = "fake"


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """Both penalties."""
    return {"r1": R1, "r2": R2}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
