"""Small critics with known scores and slopes, batches, and random numbers that come twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.components import Critic
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.samples import Scores

VECTOR = (6,)
LINE = (1,)
IMAGE = (3, 8, 8)
CLASSES = 3


def direction(shape: Sequence[int]) -> Tensor:
    """A unit vector in sample space, `(1, *shape)`, always the same."""
    return nn.functional.normalize(Draws(7).randn(1, *shape).flatten(1)).view(1, *shape)


class Linear(Critic):
    """`slope * <w, x> + offset` with |w| = 1: every sample's gradient is the same vector, of norm `slope`."""

    def __init__(self, shape: Sequence[int], slope: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(slope * direction(shape).flatten())
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """`(N,)`, with the samples as features."""
        flat = samples.flatten(1)
        return Scores(flat @ self.weight + self.bias, flat)


class Cone(Critic):
    """`slope * |x - apex|`: every sample's gradient has norm `slope`, each in another direction."""

    def __init__(self, shape: Sequence[int], slope: float = 1.0) -> None:
        super().__init__()
        self.apex = nn.Parameter(0.3 * direction(shape).flatten())
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """`(N,)`, with the samples as features."""
        flat = samples.flatten(1)
        return Scores(self.slope * torch.linalg.vector_norm(flat - self.apex, dim=1), flat)


class Readout(Critic):
    """Scores are the samples' first entries, or their first channel for patches; the others do not matter.

    Args:
        dtype: Of the scores; that of the samples if None.
        patches: Whether there is a score for each place.
    """

    def __init__(self, dtype: torch.dtype | None = None, patches: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))
        self.dtype, self.patches = dtype, patches

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """`(N,)` or `(N, H, W)`, with the samples as features."""
        values = samples[:, 0] if self.patches else samples.flatten(1)[:, 0]
        values = values * self.scale + self.offset
        return Scores(values.to(self.dtype or samples.dtype), samples.flatten(1))


class Bent(Critic):
    """A smooth network of one hidden layer, whose slope differs from place to place."""

    def __init__(self, shape: Sequence[int], width: int = 16) -> None:
        super().__init__()
        with seeded(11):
            self.hidden = nn.Linear(direction(shape).numel(), width)
            self.score = nn.Linear(width, 1)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """`(N,)`, with the hidden layer as features."""
        hidden = torch.tanh(self.hidden(samples.flatten(1)))
        return Scores(self.score(hidden).squeeze(1), hidden)


class Recording(Bent):
    """A bent critic that keeps the points at which it was evaluated."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.points: list[Tensor] = []

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """As `Bent`."""
        self.points.append(samples.detach().clone())
        return super().forward(samples, condition)


class Layered(nn.Sequential):
    """Linear layers, or convolutions and a linear layer, with leaky rectifiers between them."""

    conditional = False


def perceptron() -> Layered:
    """For samples of shape `VECTOR`."""
    return Layered(
        nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0)
    )


def convolutional() -> Layered:
    """For samples of shape `IMAGE`."""
    return Layered(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 8, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(128, 1),
        nn.Flatten(0),
    )


NETWORKS: dict[str, tuple[Callable[[], Layered], tuple[int, ...]]] = {
    "a perceptron": (perceptron, VECTOR),
    "a convolutional critic": (convolutional, IMAGE),
}
"""Critics made of ordinary layers, with the shape of their samples."""


def values(critic: nn.Module, samples: Tensor) -> Tensor:
    """The scores of a critic, `(N,)`."""
    result = critic(samples)
    return result.values if isinstance(result, Scores) else result  # type: ignore[return-value]


def points(shape: Sequence[int], n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Real samples and fakes in (-1, 1), `n` of each, apart from each other along `direction`."""
    draws, apart = Draws(seed), direction(shape)
    real = torch.tanh(0.5 * draws.randn(n, *shape) + apart)
    return real, torch.tanh(0.5 * draws.randn(n, *shape) - apart)


def game(critic: nn.Module | None, real: Tensor, fake: Tensor, **fields: Any) -> Batch:
    """A batch with everything that a component may ask for: labels, latent points, random numbers."""
    labels = torch.arange(len(real)) % CLASSES
    z = Draws(3).randn(len(fake), 2)
    given = {"real_condition": labels, "fake_condition": labels, "z": z, "draws": Draws(0), **fields}
    return Batch(critic=critic, real=real, fake=fake, **given)


def scored(
    seed: int = 0, size: float = 1.0, patches: bool = False, n: int = 16, shape: Sequence[int] = VECTOR
) -> tuple[Tensor, Tensor]:
    """Samples for a `Readout` whose scores are normal with standard deviation `size`; `shape` is for no patches."""
    real, fake = points((5, 2, 3) if patches else shape, n, seed)
    for samples in (real, fake):
        samples[:, 0] = size * Draws(seed + 100).randn(*samples[:, 0].shape)
        seed += 1
    return real, fake


class Doubled(Draws):
    """Draws half of `rows` rows and gives them twice, so that a batch that is doubled is treated as it was before."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        super().__init__(seed)
        self._rows = rows

    def rand(self, *shape: int) -> Tensor:
        """As `Draws.rand`."""
        return self._twice(super().rand, shape)

    def randn(self, *shape: int) -> Tensor:
        """As `Draws.randn`."""
        return self._twice(super().randn, shape)

    def randint(self, high: int, *shape: int) -> Tensor:
        """As `Draws.randint`."""
        return self._twice(lambda *half: super(Doubled, self).randint(high, *half), shape)

    def randperm(self, n: int) -> Tensor:
        """As `Draws.randperm`, each half in its own rows."""
        if n != self._rows:
            return super().randperm(n)
        half = super().randperm(n // 2)
        return torch.cat([half, half + n // 2])

    def _twice(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        if shape[:1] != (self._rows,):
            return draw(*shape)
        half = draw(self._rows // 2, *shape[1:])
        return torch.cat([half, half])
