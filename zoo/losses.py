"""A phase's loss on one micro-batch: the game that it is played in, and what its terms come to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from zoo.augment import Augment, InstanceNoise, augmentation
from zoo.batch import Batch
from zoo.components import is_conditional
from zoo.compose import Composition
from zoo.draws import Draws
from zoo.errors import BadRecipe
from zoo.procedures import Phase
from zoo.samples import Samples, channels_last

Real: TypeAlias = tuple[Tensor, Tensor | None]
"""Real samples `(N, *shape)` and their labels `(N,)`."""
Due: TypeAlias = frozenset[str] | None
"""The lazy terms that are computed in a step; None for all."""


class PhaseLoss(nn.Module):
    """The loss of one phase, as a module that holds every network and component that it may ask.

    Args:
        composition: What is trained.
        phase: Whose loss it is.
        n: Samples of a micro-batch.
        micro_batches: How many there are in a step; the total is divided by it.
    """

    def __init__(self, composition: Composition, phase: Phase, n: int, micro_batches: int) -> None:
        super().__init__()
        self.phase = phase
        self._composition, self._n, self._micro_batches = composition, n, micro_batches
        train = composition.training.train
        self.noise = InstanceNoise(train.noise, composition.device) if train.noise else None
        self._augment = _in_turn([augmentation(train.augment), self.noise])
        self._networks = nn.ModuleDict(composition.parts.networks)
        self._components = nn.ModuleList(composition.parts.stateful)

    def game(self, real: Callable[[], Real], draws: Draws, due: Due, step: int | Callable[[], int]) -> Batch:
        """A game on samples, which are drawn when a term first asks for them."""
        real = functools.cache(real)
        generator: Any = self._composition.parts.networks.get("generator")
        trained = "generator" in self.phase.trains

        def fake() -> Samples:
            condition = (batch.fake_condition,) if is_conditional(generator) else ()
            with torch.set_grad_enabled(trained):
                samples: Tensor = generator(batch.z, *condition)
            return self._laid_out(samples)

        batch = self._composition.batch(
            real=lambda: self._laid_out(real()[0]),
            fake=fake,
            z=lambda: generator.latent(self._n, draws),
            real_condition=lambda: real()[1],
            fake_condition=lambda: real()[1],
            draws=draws,
            augment=self._augment,
            track=not trained,
            step=step,
            due=due,
        )
        return batch

    def forward(self, samples: Batch) -> tuple[Tensor, Mapping[str, Tensor], Batch]:
        """The total that is minimised, the terms by name without their lazy factors, and the game that was played.

        Args:
            samples: The game on samples, as `game` makes it.

        Raises:
            BadRecipe: There is no term.
        """
        game = self.phase.played(samples)
        terms = self.phase.loss(game)
        total: Tensor | None = None
        for name, term in terms.items():
            if self.phase.lazy.get(name, 1) > 1:
                term = term * self.phase.lazy[name]
            total = term if total is None else total + term
        if total is None:
            raise BadRecipe(f"the {self.phase.name} phase has no loss.")
        return total / self._micro_batches if self._micro_batches > 1 else total, terms, game

    def _laid_out(self, samples: Samples) -> Samples:
        return channels_last(samples) if self._composition.training.train.channels_last else samples


def _in_turn(steps: Sequence[Augment | None]) -> Augment | None:
    wanted = [step for step in steps if step is not None]
    if len(wanted) < 2:
        return wanted[0] if wanted else None

    def augment(samples: Samples, draws: Draws) -> Samples:
        for step in wanted:
            samples = step(samples, draws)
        return samples

    return augment
