"""Metrics: figures about samples beside real ones, or about the critic that they were trained against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from zoo.components import Dataset, LipschitzConstraint
from zoo.draws import Draws

Better: TypeAlias = Literal["lower", "higher", ""]
"""Which way a figure is better; empty for one that only describes."""


@dataclass(frozen=True)
class Sample:
    """Samples with their labels.

    Attributes:
        values: `(N, *shape)`, float32 on the CPU; images in [-1, 1].
        labels: Class indices `(N,)`; None without labels.
    """

    values: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Evidence:
    """What a metric may look at. It must not change any of it.

    Attributes:
        shape: The shape of one sample.
        classes: The number of classes; None without labels.
        size: How many samples there are of each kind.
        draw_real: Draws that many real samples: of a data set each at most once, of a density new ones.
        draw_fake: Makes that many samples to be judged.
        dataset: Where the real ones come from; None for a file of samples.
        conditional: Whether the judged samples were made for given labels.
        critic: The trained critic, in evaluation mode; None if there is none.
        constraints: The critic's Lipschitz constraints, by name.
        draws: Random numbers for the metric itself.
        generates: Whether there is something that makes samples to be judged.
        backbone: The name and the settings of the backbone that the critic stands on; None if it stands on none.
        test: The figures that a run's procedure has about samples that it kept for the end; None if it keeps none.
    """

    shape: tuple[int, ...]
    classes: int | None
    size: int
    draw_real: Callable[[], Sample]
    draw_fake: Callable[[], Sample]
    dataset: Dataset | None = None
    conditional: bool = False
    critic: nn.Module | None = None
    constraints: Mapping[str, LipschitzConstraint] = field(default_factory=dict)
    draws: Draws = field(default_factory=Draws)
    generates: bool = True
    backbone: Mapping[str, Any] | None = None
    test: Callable[[], Mapping[str, float]] | None = None
    _kept: dict[str, Sample] = field(default_factory=dict, repr=False, compare=False)

    @property
    def real(self) -> Sample:
        """Real samples, drawn when they are first asked for."""
        return self._once("real", self.draw_real)

    @property
    def fake(self) -> Sample:
        """The samples to be judged, made when they are first asked for."""
        return self._once("fake", self.draw_fake)

    def _once(self, name: str, draw: Callable[[], Sample]) -> Sample:
        if name not in self._kept:
            self._kept[name] = draw()
        return self._kept[name]

    def between(self, real: Sample, fake: Sample) -> Evidence:
        """The same with other samples, as a floor has them: one part of the real ones judged by another."""
        return replace(
            self, size=len(fake), draw_real=lambda: real, draw_fake=lambda: fake, critic=None, draws=Draws(0), _kept={}
        )


class Metric(ABC):
    """Something that is measured about samples, beside real ones, in one or more figures.

    A subclass sets `figures` and defines `measure`. The figures of an equal pair of samples, its floor, are measured by
    whoever asks; a metric only measures.
    """

    figures: ClassVar[Mapping[str, Better]]
    """Which way each figure is better, by name, the most telling one first."""
    least: int = 2
    """The least number of samples of each kind."""
    compares: bool = True
    """Whether it compares samples with real ones, so that real ones against real ones are its floor."""

    def refuse(self, evidence: Evidence) -> None:  # noqa: B027 - Most metrics fit everything.
        """Raises IncompatibleParts if it does not fit, by all that is known before a sample is made."""

    def size(self, evidence: Evidence) -> int:
        """How many samples the figures are of."""
        return evidence.size

    def aims(self, evidence: Evidence) -> Mapping[str, float]:
        """What figures should come to, by name, where that is known apart from any sample; such as a constraint's C."""
        return {}

    def telling(self, dataset: Dataset) -> Mapping[str, float]:
        """How much it tells where generators of these data are compared: above 0 and up to 1, by the value of its first
        setting, empty for its default. `zoo compare` measures these, the most telling one first, where no metric is
        asked for; nothing here, and it is measured only when it is asked for.
        """
        return {}

    def flatters(self, evidence: Evidence) -> bool:
        """Whether it looks at features of the network that the critic stands on, `evidence.backbone`: the samples were
        made to please these, and seem better in them than they are.
        """
        return False

    @abstractmethod
    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """Its figures by name, all finite. Raises BadData for samples that it has no finite figure for."""
