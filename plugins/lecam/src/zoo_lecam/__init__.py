"""LeCam regularisation (Tseng, Jiang, Liu, Yang and Yang, 2021, arXiv 2104.03310)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from zoo import Batch, LipschitzConstraint, Setting, Variant, hookimpl, read_variants


class LeCam(LipschitzConstraint):
    """Holds the scores of each side near a moving average of the other side's, so that a critic is never too sure.

    With a_R and a_F the averages of the real and the fake scores, the paper has
    weight * (E (D(x) - a_F)^2 + E (D(y) - a_R)^2); the authors' code, and so their figures, penalise only real
    scores above a_F and fake ones below a_R. Under the paper's form and fixed a_R = -a_F = a the Wasserstein
    loss's best critic shows (1 / (2 weight) - a) times the LeCam divergence, the integral of (p - q)^2 / (p + q).

    Args:
        weight: lambda in the paper.
        form: The paper's or the code's.
        decay: What the averages keep in each of the critic's steps.
        start: Critic steps without penalty, until which the averages are the last means themselves. One at least, in
            which there is none yet.
    """

    real_average: Tensor
    fake_average: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        weight: Annotated[float, Setting("lambda", ge=0)] = 0.3,
        form: Annotated[Literal["code", "paper"], Setting("code: one-sided squares, paper: two-sided")] = "code",
        decay: Annotated[float, Setting("what the averages keep in a step", ge=0, le=1)] = 0.99,
        start: Annotated[int, Setting("critic steps before the first penalty", ge=0)] = 1000,
    ) -> None:
        super().__init__()
        self.weight, self.form, self.decay, self.start = weight, form, decay, max(start, 1)
        self.register_buffer("real_average", torch.zeros(()))
        self.register_buffer("fake_average", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def penalty(self, batch: Batch) -> Tensor:
        """The weighted means over samples, a scalar; 0 in the critic's first `start` steps."""
        real, fake = batch.real_scores, batch.fake_scores
        batch.record(real_score=real.mean(), fake_score=fake.mean())
        above, below = real - self.fake_average, self.real_average - fake
        if self.form == "code":
            above, below = above.relu(), below.relu()
        return self.weight * (self.steps >= self.start) * (above.square().mean() + below.square().mean())

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """Moves the averages after each of the critic's steps."""
        if "real_score" in means:
            move = 1 - self.decay * (self.steps >= self.start)
            self.real_average.lerp_(means["real_score"].to(self.real_average), move)
            self.fake_average.lerp_(means["fake_score"].to(self.fake_average), move)
            self.steps += 1


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """The regularisation."""
    return {"lecam": LeCam}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
