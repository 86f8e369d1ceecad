"""Losses that are no means over samples: measured, and computed on the batch of all processes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
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
DRAWS = 8
"""So many pairs of halves of each size are drawn."""
SIZES = (0.1, 1.0, 10.0)
CPU = torch.device("cpu")


def is_over_set(distance: Distance) -> bool:
    """Whether a distance's loss of a batch differs from the mean of its halves' losses, on synthetic scores.

    A distance that fails on them, because it wants features perhaps, counts as one that does: on the whole batch every
    distance is right.
    """
    try:
        own = copy.deepcopy(distance).to(CPU)
        return not all(is_mean_of_halves(loss, (1,)) for loss in (own.critic_loss, own.generator_loss))
    except Exception:
        return True


def is_mean_of_halves(loss: Callable[[Batch], Tensor | None], shape: Sequence[int], bend: float = 0.0) -> bool:
    """Whether a loss of a batch is the mean of its halves' losses, with its gradients, on halves that differ strongly.

    A loss of a batch's mean may be linear near one batch, and only there. Where it is no finite number nothing is seen.

    Args:
        loss: Of a game on the CPU, in double precision.
        shape: Of the samples.
        bend: How much the slopes of scores differ from sample to sample.
    """
    critic, draws = Readout(bend), Draws(3)
    groups = [Group(), *(Group(rank, 2) for rank in range(2))]
    for size in SIZES * DRAWS:
        real, fake = (size * _uneven(draws, shape) for _ in range(2))
        whole, *halves = (
            Batch(critic=critic, real=group.rows(real), fake=group.rows(fake), draws=Draws(4, CPU, group))
            for group in groups
        )
        if not is_mean(loss, whole, halves, list(critic.parameters())):
            return False
    return True


def is_mean(
    loss: Callable[[Batch], Tensor | None],
    whole: Batch,
    halves: list[Batch],
    parameters: Sequence[Tensor] = (),
    tolerance: float = 1e-5,
    least: float = 1e-5,
) -> bool:
    """Whether a loss of a batch, with its gradients by these parameters, is the mean of those of its halves.

    Args:
        loss: Of a game.
        whole: The game on the batch.
        halves: Those on its halves.
        parameters: What gradients are taken by.
        tolerance: How far it may be from the mean, as a share of it.
        least: And how far at least, however small it is.
    """
    one, *two = (_with_gradients(loss(game), parameters) for game in (whole, *halves))
    mean = torch.stack(two).mean(0)
    seen = one.isfinite() & mean.isfinite()
    return torch.allclose(one[seen], mean[seen], rtol=tolerance, atol=least)


def _with_gradients(loss: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
    if loss is None:
        return torch.zeros(1 + len(parameters))
    found = [loss.detach().new_zeros(()) for _ in parameters]
    if parameters and loss.requires_grad:
        found = list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
    return torch.stack([loss.detach(), *found])


def _uneven(draws: Draws, shape: Sequence[int]) -> Tensor:
    """Samples of which the second half has another mean and another spread than the first."""
    means = 3 * draws.randn(2, *[1] * len(shape)).double().repeat_interleave(SAMPLES, 0)
    spreads = draws.rand(2, *[1] * len(shape)).double().repeat_interleave(SAMPLES, 0)
    return means + 2 * spreads * draws.randn(2 * SAMPLES, *shape)


class Readout(nn.Module):
    """Scores that are a sample's first number, and bent as much as is asked for, in double precision."""

    conditional = False

    def __init__(self, bend: float) -> None:
        super().__init__()
        slope, offset, bent = torch.tensor([1.0, 0.0, bend], dtype=torch.float64)
        self.slope, self.offset, self.bend = nn.Parameter(slope), nn.Parameter(offset), nn.Parameter(bent)

    def forward(self, samples: Tensor) -> Tensor:
        """`(N,)`."""
        flat = samples.flatten(1)
        return self.slope * flat[:, 0] + self.offset + self.bend * flat.square().mean(1)


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

    def witness(self, scores: Tensor, batch: Batch, features: Any = None) -> Tensor:
        """The distance's, of this process's scores among those of all."""
        return self.distance.witness(scores, Gathered(batch, self._group), features)

    def after_step(self, means: Mapping[str, Tensor]) -> None:
        """The distance's."""
        self.distance.after_step(means)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The distance's own, so that one process can go on with it."""
        return self.distance.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The distance's own."""
        return self.distance.load_state_dict(*args, **kwargs)
