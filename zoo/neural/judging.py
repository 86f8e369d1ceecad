"""What a critic says of samples that it was not trained on, and how steep it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.batch import Batch
from zoo.draws import Draws
from zoo.neural.game import Game
from zoo.neural.pair import Pair

NEARLY_ALL = 0.99
"""The share of points whose slope is at most what counts as the critic's."""
AT_ONCE = 2**20
"""Values of samples that are judged at once."""


@dataclass(frozen=True)
class Judgement:
    """What one critic says.

    Attributes:
        estimate: The distance's own estimate.
        slope: The slope that 99 % of the points do not exceed: the samples, and a point between each real one and
            its fake.
        steepest: The greatest slope at any of them, the measured Lipschitz constant.
        mean_slope: The mean slope at the points between.
        distance: The estimate; where that is proportional to the slope, divided by it.
    """

    estimate: float
    slope: float
    steepest: float
    mean_slope: float
    distance: float


def judge(game: Game, pair: Pair) -> Judgement:
    """Judges a pair by the game's critic, in evaluation mode."""
    critic = game.composition.networks["critic"]
    training = critic.training
    critic.eval()
    estimates, between, slopes = zip(*(_measured(game, batch) for batch in _batches(game, pair)), strict=True)
    critic.train(training)
    estimate = torch.cat(estimates).mean().item()
    everywhere = torch.cat([*between, *slopes])
    slope = torch.quantile(everywhere, NEARLY_ALL, interpolation="higher").item()
    return Judgement(
        estimate,
        slope,
        everywhere.max().item(),
        torch.cat(between).mean().item(),
        _corrected(estimate, slope) if game.proportional else estimate,
    )


def _corrected(estimate: float, slope: float) -> float:
    """E f(x) - E f(y) <= slope * W1. A critic without slope shows no distance."""
    return estimate / slope if slope > 0 else 0.0


def _batches(game: Game, pair: Pair) -> Iterator[Batch]:
    draws = Draws(0, game.composition.device)
    size = max(1, AT_ONCE // pair.real[0].numel())
    for start in range(0, len(pair), size):
        some = pair.rows(slice(start, start + size)).to(draws.device)
        yield game.composition.batch(real=some.real, fake=some.fake, draws=draws)


def _measured(game: Game, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The estimate, once a pair `(N,)`; the slopes between real and fake, `(N,)`, and at both, `(2 N,)`.

    Of several heads the mean estimate and the greatest slope count.
    """
    heads = list(batch.heads())
    estimate = torch.stack([game.estimate(head) for head in heads]).mean()
    between, real, fake = (
        torch.stack([head.slopes(where).detach() for head in heads]).amax(0) for where in ("segment", "real", "fake")
    )
    return estimate.expand(len(between)), between, torch.cat([real, fake])
