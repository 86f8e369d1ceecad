"""Validation in the course of a training: the best so far, and when no better one is to be expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from zoo.trainer import Trainer

PREFIX = "validation_"
"""How the names of its figures begin in a line of metrics."""


class Validation:
    """Judges what is trained by what its procedure says of samples that are held out.

    Args:
        trainer: What is trained.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._train = trainer, trainer.train
        self.best: float | None = None
        """The highest first figure so far."""
        self.best_step: int | None = None
        self._without = 0
        """How many validations since were not better."""

    @property
    def ended(self) -> bool:
        """Whether the run is to end, since it has not become better for as long as the recipe allows."""
        return 0 < self._train.patience <= self._without

    def due(self, step: int) -> bool:
        """Whether there is to be one after so many iterations."""
        every = self._train.validate_every
        return every > 0 and (step % every == 0 or step == self._train.steps)

    def measure(self) -> dict[str, float]:
        """The figures, by the names that they have in a line of metrics; of all processes the same."""
        composition, group = self._trainer.composition, self._trainer.group
        figures = composition.procedure.validate(composition.parts, composition.dataset)
        values = [torch.tensor(value, device=composition.device) for value in figures.values()]
        agreed = group.average([], values) if group.size > 1 and values else values
        found = {f"{PREFIX}{name}": float(value) for name, value in zip(figures, agreed, strict=True)}
        if found:
            self._judge(next(iter(found.values())))
        return found

    @property
    def improved(self) -> bool:
        """Whether the last validation was the best."""
        return self.best_step == self._trainer.iteration

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know, as plain numbers."""
        return {"best": self.best, "best_step": self.best_step, "without": self._without, "ended": self.ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.best, self.best_step, self._without = state["best"], state["best_step"], state["without"]

    def _judge(self, value: float) -> None:
        if self.best is None or value > self.best:
            self.best, self.best_step, self._without = value, self._trainer.iteration, 0
        else:
            self._without += 1
