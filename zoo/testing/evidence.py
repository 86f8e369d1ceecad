"""What metrics are tried on: small samples of a density and of labelled data, right and wrong ones, and a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset, Density
from zoo.draws import Draws
from zoo.metrics import Evidence, Sample
from zoo.testing.toys import Bent

CLASSES = 3
SOME = 240
"""Samples of each kind that a metric is tried on, if it does not want more."""


class Mixture(Density):
    """Gaussians around centres."""

    centres: Tensor
    sigma: float

    def __init__(self, centres: Tensor) -> None:
        self.shape = (centres.shape[1],)
        self.centres = centres
        self.sigma = 0.1

    def sample(self, n: int, draws: Draws) -> Tensor:
        """`n` samples, `(n, D)`."""
        centres = self.centres.to(draws.device)
        return centres[draws.randint(len(centres), n)] + self.sigma * draws.randn(n, *self.shape)


class Conditional(Bent):
    """A bent critic that adds to its score by the label, and wants one."""

    conditional = True

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Any:
        """As `Bent`."""
        assert condition is not None
        return super().forward(samples * (1 + condition.view(-1, *[1] * (samples.ndim - 1))))


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    Attributes:
        name: In words.
        shape: Of a sample.
        sample: `(n, seed)`: that many fresh samples.
        dataset: The data set that given real samples come from.
    """

    name: str
    shape: tuple[int, ...]
    sample: Callable[[int, int], Sample]
    dataset: Callable[[Sample], Dataset]

    def __str__(self) -> str:
        return self.name

    def evidence(self, real: Sample, fake: Sample, **changes: Any) -> Evidence:
        """Judged samples beside real ones."""
        labelled = real.labels is not None
        fields: dict[str, Any] = {
            "draw_real": lambda: real,
            "draw_fake": lambda: fake,
            "dataset": self.dataset(real),
            "conditional": labelled,
            "critic": (Conditional if labelled else Bent)(self.shape).eval(),
            "draws": Draws(5),
        }
        return Evidence(self.shape, CLASSES if labelled else None, len(fake), **{**fields, **changes})

    def far(self, n: int) -> Sample:
        """Samples far from all real ones, with labels of no meaning: images of black and white dots, or moved away."""
        sample, draws = self.sample(n, 8), Draws(9)
        values = draws.randn(*sample.values.shape).sign() if len(self.shape) == 3 else sample.values + 10
        return Sample(values, _meaningless(sample, draws))

    def collapsed(self, real: Sample) -> Sample:
        """One real sample over and over, with labels of no meaning."""
        return Sample(real.values[:1].expand_as(real.values).clone(), _meaningless(real, Draws(10)))


def _meaningless(sample: Sample, draws: Draws) -> Tensor | None:
    return None if sample.labels is None else draws.randint(CLASSES, len(sample))


def _labelled(shape: tuple[int, ...]) -> Callable[[int, int], Sample]:
    """Samples in (-1, 1), each class around a middle of its own."""

    def sample(n: int, seed: int) -> Sample:
        middles, draws = Draws(4).randn(CLASSES, *shape), Draws(seed)
        labels = draws.randperm(n) % CLASSES
        return Sample(torch.tanh(0.6 * middles[labels] + 0.4 * draws.randn(n, *shape)), labels)

    return sample


def _as_data(sample: Sample) -> Dataset:
    return ArrayDataset(sample.values, sample.labels)


def _of_data(name: str, shape: tuple[int, ...]) -> Kind:
    return Kind(name, shape, _labelled(shape), _as_data)


def _of_density(name: str, density: Density) -> Kind:
    return Kind(name, density.shape, lambda n, seed: Sample(density.sample(n, Draws(seed))), lambda _: density)


KINDS = (
    _of_density("points on a line", Mixture(torch.tensor([[-1.0], [1.0]]))),
    _of_density("points in the plane", Mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]))),
    _of_data("labelled vectors", (6,)),
    _of_data("labelled images", (1, 8, 8)),
)
"""What there is to try a metric on."""


def shuffled(sample: Sample, seed: int) -> Sample:
    """The same samples in another order."""
    order = Draws(seed).randperm(len(sample))
    return Sample(sample.values[order], None if sample.labels is None else sample.labels[order])
