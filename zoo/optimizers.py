"""The optimisers of a run, one for each phase, and their learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BadRecipe
from zoo.procedures import Layer
from zoo.training import Training, factor, load_optimizer


class Optimizers(Mapping[str, torch.optim.Optimizer]):
    """Optimisers by the names of phases, whose rates follow one schedule.

    Args:
        training: The training settings.
        layers: What each phase trains, in groups.
        capturable: Whether they need the form that can be recorded as a CUDA graph.

    Raises:
        BadRecipe: A phase has nothing to train, or `train.optimizers` names no phase.
    """

    def __init__(self, training: Training, layers: Mapping[str, Sequence[Layer]], capturable: bool = False) -> None:
        _refuse_unknown(training.optimizers, layers)
        _refuse_empty(layers)
        self._train = training.train
        self._optimizers = {name: training.build(name, each, capturable) for name, each in layers.items()}
        self._rates = {name: [float(g["lr"]) for g in each.param_groups] for name, each in self._optimizers.items()}
        self.rate_factor = 1.0
        """What all learning rates are multiplied by, beside their schedule; lower after a rollback."""

    def __getitem__(self, name: str) -> torch.optim.Optimizer:
        return self._optimizers[name]

    def __iter__(self) -> Any:
        return iter(self._optimizers)

    def __len__(self) -> int:
        return len(self._optimizers)

    def set_rates(self, iteration: int, steps: int) -> None:
        """Sets the rates to what they are at an iteration, of so many until the schedule's end."""
        train = self._train
        if train.schedule == "constant" and self.rate_factor == 1.0:
            return
        share = self.rate_factor * factor(train.schedule, iteration, steps, train.schedule_from)
        for name, optimizer in self._optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * share)
                else:
                    group["lr"] = rate * share

    def state_dict(self) -> dict[str, Any]:
        """The states of the optimisers, by phase."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        for name, optimizer in self._optimizers.items():
            load_optimizer(optimizer, state[name])


def _refuse_unknown(named: Iterable[str], phases: Mapping[str, Any]) -> None:
    for name in named:
        if name not in phases:
            raise BadRecipe(
                f"train.optimizers.{name}: no phase has that name; the phases: {', '.join(phases)}. "
                "Without it: --set 'train.optimizers={}'."
            )


def _refuse_empty(layers: Mapping[str, Sequence[Layer]]) -> None:
    for name, each in layers.items():
        if not each:
            raise BadRecipe(
                f"the {name} phase has nothing to train: all of its parameters are frozen, or there are none. Layers "
                "of a network are its attributes, or in an nn.ModuleList: those in a list or a dict it does not know."
            )
