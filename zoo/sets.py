"""Losses that are no means over samples: measured, and computed on the batch of all processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch, Where
from zoo.components import Distance
from zoo.draws import Draws
from zoo.processes import Group
from zoo.samples import Samples, Scores

SAMPLES = 4
"""What is measured is measured on two such halves."""


def is_over_set(distance: Distance, device: torch.device) -> bool:
    """Whether a distance's loss of a batch differs from the mean of its halves' losses, on synthetic scores.

    A distance that fails on them, because it wants features perhaps, counts as one that does: on the whole batch every
    distance is right.
    """
    draws, halves = Draws(3, device), [slice(0, SAMPLES), slice(SAMPLES, None)]
    real, fake = draws.randn(2 * SAMPLES, 1), draws.randn(2 * SAMPLES, 1) + 0.5

    def game(part: slice, group: Group) -> Batch:
        return Batch(critic=_Readout(), real=real[part], fake=fake[part], draws=Draws(4, device, group))

    try:
        return not all(
            is_mean(loss, game(slice(None), Group()), [game(part, Group(rank, 2)) for rank, part in enumerate(halves)])
            for loss in (distance.critic_loss, distance.generator_loss)
        )
    except Exception:
        return True


def is_mean(
    loss: Callable[[Batch], Tensor], whole: Batch, halves: list[Batch], rtol: float = 1e-4, atol: float = 1e-6
) -> bool:
    """Whether a loss of a batch is the mean of the losses of its halves."""
    return torch.allclose(loss(whole), torch.stack([loss(half) for half in halves]).mean(), rtol=rtol, atol=atol)


class _Readout(nn.Module):
    conditional = False

    def forward(self, samples: Tensor) -> Tensor:
        return samples.flatten(1)[:, 0]


class Gathered(Batch):
    """The game of all processes, as each of them sees it: what one process has computed of it, gathered when asked for.

    Args:
        part: This process's game.
        group: The processes.
    """

    def __init__(self, part: Batch, group: Group) -> None:
        vars(self).update(vars(part))
        self._part, self._group = part, group
        self._draws = part._drawer().ungrouped()
        self._gradients = {}
        self._whole: dict[Hashable, Any] = {}
        self._mine: dict[int, tuple[Samples, Samples]] = {}

    def _get(self, name: str) -> Any:
        if name not in self._whole:
            self._whole[name] = self._all(self._part._get(name))
        return self._whole[name]

    def _score(self, where: Where, apart: bool = False) -> Scores:
        key = ("scores", self._key(where), apart)
        if key not in self._whole:
            scores = self._part._score(self._local(where), apart)
            self._whole[key] = Scores(self._all(scores.values), self._all(scores.features))
        scored: Scores = self._whole[key]
        return scored

    def _differentiate(self, where: Where) -> Tensor:
        return self._group.gather(self._part.gradients(self._local(where)))

    def _local(self, where: Where) -> Where:
        """This process's rows of points; the same tensor each time, by which a game knows what it has computed."""
        if isinstance(where, str):
            return where
        if id(where) not in self._mine:
            rows = tuple(self._group.rows(t) for t in where) if isinstance(where, tuple) else self._group.rows(where)
            self._mine[id(where)] = (where, rows)
        return self._mine[id(where)][1]

    def _all(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._group.gather(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._all(each) for each in value)
        return {key: self._all(each) for key, each in value.items()} if isinstance(value, dict) else value


class OverSet(Distance):
    """A distance on the batch of all processes.

    Args:
        distance: The distance itself, whose state this is.
        group: The processes.
    """

    def __init__(self, distance: Distance, group: Group) -> None:
        super().__init__()
        self.distance = distance
        self.estimates = distance.estimates
        self._group = group

    def critic_loss(self, batch: Batch) -> Tensor:
        """The distance's, of the whole batch."""
        return self.distance.critic_loss(Gathered(batch, self._group))

    def generator_loss(self, batch: Batch) -> Tensor:
        """The distance's, of the whole batch."""
        return self.distance.generator_loss(Gathered(batch, self._group))

    def estimate(self, batch: Batch) -> Tensor | None:
        """The distance's; the trainer gathers the batch for every distance."""
        return self.distance.estimate(batch)

    def witness(self, scores: Tensor, batch: Batch) -> Tensor:
        """The distance's, of this process's scores among those of all."""
        return self.distance.witness(scores, Gathered(batch, self._group))

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """The distance's."""
        self.distance.after_step(means)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The distance's own, so that one process can go on with it."""
        return self.distance.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The distance's own."""
        return self.distance.load_state_dict(*args, **kwargs)
