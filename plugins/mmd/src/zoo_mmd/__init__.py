"""The maximum mean discrepancy (Li et al., 2017, arXiv 1705.08584; Binkowski et al., 2018, arXiv 1801.01401)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor

from zoo import BadSetting, Batch, Distance, Setting, Variant, hookimpl, read_variants

Kernel: TypeAlias = Literal["rational-quadratic", "rbf", "laplace", "linear"]


class Mmd(Distance):
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y): of a critic's features, or with `critic = "none"` of samples.

    A kernel is a sum over scales; d is the distance of two points. `rbf` is exp(-d^2 / 2s^2), by default with
    s = 1, 2, 4, 8, 16 (Li et al.); `rational-quadratic` is (1 + d^2 / 2a)^-a with a = 0.2, 0.5, 1, 2, 5 (Binkowski et
    al.), whose slope falls less with distance; `laplace` is exp(-d / s); `linear` is the product, which compares means
    alone. It is no mean over samples: micro-batches are refused, and larger batches are better.

    >>> import torch
    >>> batch = Batch(real=torch.zeros(4, 1), fake=torch.ones(4, 1))
    >>> round(Mmd(kernel="rbf", scales=[1.0]).generator_loss(batch).item(), 4)  # 2 - 2 exp(-1/2)
    0.7869
    """

    estimates = "MMD squared"

    def __init__(
        self,
        *,
        kernel: Annotated[Kernel, Setting("what two points have in common")] = "rational-quadratic",
        scales: Annotated[
            list[float] | None, Setting("bandwidths, or alphas of rational-quadratic; none for the papers'")
        ] = None,
        estimator: Annotated[
            Literal["unbiased", "biased"],
            Setting("whether a sample is compared with the others of its set only, or with itself too"),
        ] = "unbiased",
    ) -> None:
        super().__init__()
        if scales is not None and not (scales and min(scales) > 0):
            raise BadSetting(f"mmd.scales has positive numbers, at least one, and not {scales}; none for the papers'.")
        self.kernel = kernel
        self.scales = scales or SCALES[kernel]
        self.unbiased = estimator == "unbiased"

    def critic_loss(self, batch: Batch) -> Tensor:
        """Minus the squared MMD: the critic looks for features by which samples differ."""
        return -self._squared(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The squared MMD. Raises IncompatibleParts for a critic without features."""
        return self._squared(batch)

    def estimate(self, batch: Batch) -> Tensor:
        """The squared MMD; below 0 by chance if it is unbiased."""
        return self._squared(batch)

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """E k(h, h(X)) - E k(h, h(Y)), `(N,)`, whose slope Binkowski et al. penalise (section 3.1)."""
        points = features.flatten(1)
        return self._common(points, batch.real_vectors).mean(1) - self._common(points, batch.fake_vectors).mean(1)

    def _squared(self, batch: Batch) -> Tensor:
        real, fake = batch.real_vectors, batch.fake_vectors
        return self._within(real) + self._within(fake) - 2 * self._common(real, fake).mean()

    def _within(self, points: Tensor) -> Tensor:
        found, n = self._common(points, points), len(points)
        if not self.unbiased:
            return found.mean()
        return (found.sum() - found.diagonal().sum()) / max(n * (n - 1), 1)

    def _common(self, one: Tensor, other: Tensor) -> Tensor:
        return one @ other.T if self.kernel == "linear" else KERNELS[self.kernel](squares(one, other), self.scales)


def rbf(square: Tensor, scales: Sequence[float]) -> Tensor:
    """The sum of Gaussians of these bandwidths, of squared distances."""
    return torch.stack([torch.exp(square * (-0.5 / scale**2)) for scale in scales]).sum(0)


def rational_quadratic(square: Tensor, scales: Sequence[float]) -> Tensor:
    """The sum of (1 + d^2 / 2a)^-a."""
    return torch.stack([torch.exp(-scale * torch.log1p(square / (2 * scale))) for scale in scales]).sum(0)


def laplace(square: Tensor, scales: Sequence[float]) -> Tensor:
    """The sum of exp(-d / s). The root's slope at 0 is infinite: squares begin at 1e-12."""
    root = square.clamp(min=1e-12).sqrt()
    return torch.stack([torch.exp(-root / scale) for scale in scales]).sum(0)


KERNELS: dict[str, Callable[[Tensor, Sequence[float]], Tensor]] = {
    "rbf": rbf,
    "rational-quadratic": rational_quadratic,
    "laplace": laplace,
}
SCALES: dict[str, list[float]] = {
    "rbf": [1.0, 2.0, 4.0, 8.0, 16.0],
    "rational-quadratic": [0.2, 0.5, 1.0, 2.0, 5.0],
    "laplace": [1.0],
    "linear": [1.0],
}


def squares(one: Tensor, other: Tensor) -> Tensor:
    """|a - b|^2 of every pair, `(N, M)`. Both sets are moved to their middle, so that little cancels."""
    middle = torch.cat([one, other]).detach().mean(0)
    one, other = one - middle, other - middle
    return (one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T).clamp(min=0)


@hookimpl
def distance() -> Mapping[str, Callable[..., Distance]]:
    """The maximum mean discrepancy."""
    return {"mmd": Mmd}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
