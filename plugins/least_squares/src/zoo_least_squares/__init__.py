"""LSGAN (Mao et al., 2017, arXiv 1611.04076): least squares. The loss-sensitive ls-gan (Qi) is another method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from torch import Tensor

from zoo import BadSetting, Batch, Distance, Setting, Variant, hookimpl, read_variants

expected_failures = {
    "least-squares:sign-of-the-critic-loss": "scores are drawn to a and b from both sides: no sign is fixed.",
}


class LeastSquares(Distance):
    """Mao's least squares (eq. 2): scores of real samples aim at b, those of fakes at a, and the generator's at c.

    Not Qi's `loss-sensitive`. Fakes that the critic takes for real by far are drawn back to it, where a sigmoid would
    be flat. With b - c = 1 and b - a = 2, as in (-1, 1, 0), the generator minimises Pearson's chi-squared divergence of
    p + q from 2 q (eq. 8); (0, 1, 1) is the paper's other choice, and the usual one.

    Raises:
        BadSetting: Not a < b, so that scores would be low for real; or not a < c, so that fakes would be driven away.

    >>> import torch
    >>> score = torch.nn.Flatten(0)
    >>> batch = Batch(critic=score, real=torch.ones(4, 1), fake=torch.ones(4, 1))
    >>> LeastSquares().critic_loss(batch).item()
    0.5
    """

    estimates = "triangular discrimination"

    def __init__(
        self,
        *,
        a: Annotated[float, Setting("what the critic's scores of fakes aim at")] = 0.0,
        b: Annotated[float, Setting("what its scores of real samples aim at")] = 1.0,
        c: Annotated[float, Setting("what the generator has the scores of fakes aim at")] = 1.0,
    ) -> None:
        super().__init__()
        if not a < min(b, c):
            raise BadSetting(f"distance.a must be below b and c, so that high is real: not a={a:g}, b={b:g}, c={c:g}.")
        self.a, self.b, self.c = a, b, c
        self.neutral_score = (a + b) / 2

    def critic_loss(self, batch: Batch) -> Tensor:
        """E (D(x) - b)^2 / 2 + E (D(y) - a)^2 / 2; (b - a)^2 / 4 where the critic cannot tell."""
        return ((batch.real_scores - self.b).square().mean() + (batch.fake_scores - self.a).square().mean()) / 2

    def generator_loss(self, batch: Batch) -> Tensor:
        """E (D(y) - c)^2 / 2."""
        return (batch.fake_scores - self.c).square().mean() / 2

    def estimate(self, batch: Batch) -> Tensor:
        """The integral of (p - q)^2 / (p + q) that this critic shows: 2 - 8 loss / (b - a)^2."""
        return 2 - 8 * self.critic_loss(batch) / (self.b - self.a) ** 2


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The least-squares distance."""
    return {"least-squares": LeastSquares}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
