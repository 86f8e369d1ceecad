"""Procedures: the phases that a run goes through. The trainer runs phases and knows no method's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from zoo.batch import Batch
from zoo.components import Dataset, Distance, LipschitzConstraint, Objective
from zoo.errors import IncompatibleParts


@dataclass(frozen=True)
class Want:
    """A part that a procedure needs.

    Attributes:
        hook: The hook that its component is looked for on.
        context: What its factory is given by name, beside `shape`, `classes`, `source` and `paired`. What follows from
            parts that are wanted before it is a function of these, by name.
        default: The component that is taken when the recipe names none.
        optional: Whether the procedure can do without.
    """

    hook: str
    context: Mapping[str, Any] = field(default_factory=dict)
    default: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class About:
    """What a procedure may know before parts are built.

    Attributes:
        shape: The shape of one sample.
        classes: The number of classes of the labels; None without labels.
        source: The shape of the samples that these ones are to be made from; None where they are made from nothing.
        paired: Whether each sample belongs to its source; None where they are made from nothing.
    """

    shape: tuple[int, ...]
    classes: int | None
    source: tuple[int, ...] | None = None
    paired: bool | None = None


@dataclass(frozen=True)
class Parts(Mapping[str, nn.Module]):
    """The built parts of a composition; `parts["critic"]` is a network.

    Attributes:
        networks: The networks, by name.
        distance: What they play for; None for a procedure that needs none.
        constraints: The Lipschitz constraints, by name.
        objectives: The further loss terms, by name; those with parameters are among the networks as well.
        every: A constraint's penalty is due every so many critic steps.
        critic_steps: Critic steps per iteration.
        seed: The run's seed, for random choices that a procedure makes once.
        classes: The number of classes of the data's labels; None without labels.
    """

    networks: Mapping[str, nn.Module]
    distance: Distance | None = None
    constraints: Mapping[str, LipschitzConstraint] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    every: Mapping[str, int] = field(default_factory=dict)
    critic_steps: int = 1
    seed: int = 0
    classes: int | None = None

    def __getitem__(self, name: str) -> nn.Module:
        return self.networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    @property
    def stateful(self) -> list[Distance | LipschitzConstraint | Objective]:
        """The components that may carry state: the distance, the constraints and the objectives."""
        distance = [] if self.distance is None else [self.distance]
        return [*distance, *self.constraints.values(), *self.objectives.values()]


@dataclass(frozen=True)
class Layer:
    """Parameters of a phase that are trained alike.

    Attributes:
        name: What it is called where its learning rate is told.
        parameters: Its parameters, of parts that the phase trains.
        rate: What the phase's learning rate is multiplied by.
        since: The share of the run's iterations after which it is trained, from 0; until then it is frozen.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    since: float = 0.0


@dataclass(frozen=True)
class Phase:
    """One kind of optimiser step of an iteration.

    Attributes:
        name: What the log, the messages and `train.optimizers` call it.
        trains: The names of the parts whose parameters it moves.
        loss: One micro-batch to loss terms by name; their sum is minimised. It is given what `game` makes of it.
        steps: Optimiser steps per iteration.
        every: The phase runs every so many iterations.
        lazy: A loss term of that name is computed every k-th step, times k.
        after: Called after each optimiser step.
        estimates: Whether the distance's estimate is taken in this phase.
        layers: What of the parts is trained, and how; all parameters alike if there is none.
        game: What is played in the place of a critic's game on samples, such as one on codes; made of that game with
            `Batch.versus`.
    """

    name: str
    trains: tuple[str, ...]
    loss: Callable[[Batch], Mapping[str, Tensor]]
    steps: int = 1
    every: int = 1
    lazy: Mapping[str, int] = field(default_factory=dict)
    after: Callable[[], None] | None = None
    estimates: bool = False
    layers: Sequence[Layer] = ()
    game: Callable[[Batch], Batch] | None = None

    def played(self, samples: Batch) -> Batch:
        """The game that `loss` is given, where there is this one on samples."""
        return samples if self.game is None else self.game(samples)


class Procedure(ABC):
    """The list of phases that a run goes through, and the parts that it needs."""

    packed: int = 1
    """So many samples are one to the critic, which sees them side by side, as further channels or dimensions."""
    objectives: bool = False
    """Whether it has a place for objectives."""
    distance: bool = True
    """Whether it asks for a distance; one that is named for nothing is refused."""

    @abstractmethod
    def wants(self, about: About) -> Mapping[str, Want]:
        """The parts it needs, by name."""

    @abstractmethod
    def phases(self, parts: Parts) -> list[Phase]:
        """The phases of an iteration, in order."""

    def encode(self, parts: Parts, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """The latent points `(N, D)` that the generator makes samples `(N, *shape)` from again, as near as it can.

        Raises:
            IncompatibleParts: The procedure trains no encoder.
        """
        raise IncompatibleParts("this run trained no encoder beside its generator; zoo search encoder says what does.")

    def drawn(self, parts: Parts, dataset: Dataset) -> Dataset:
        """What batches are drawn from: the data set, or what the procedure makes of it, such as a part of it."""
        return dataset

    def test(self, parts: Parts, dataset: Dataset) -> Mapping[str, float]:
        """Figures about samples that neither train nor validate, by name; none if it keeps none."""
        return {}

    def validate(self, parts: Parts, dataset: Dataset) -> Mapping[str, float]:
        """Figures about samples that are held out, by name, the first one higher for better; none if it has none."""
        return {}
