"""Trains one critic between two samples, and chooses its best state on samples that it is not trained on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from zoo.devices import seeded
from zoo.errors import Diverged
from zoo.neural.game import Game, Plan, game
from zoo.neural.judging import Judgement, judge
from zoo.neural.pair import Pair, Parts
from zoo.trainer import Trainer

LOOKS = 20
"""How often in its training a critic is looked at."""
PATIENCE = 10
"""Looks without a better estimate after which the training stops."""
STIFFEN_AT = 4
"""The look after which penalties begin to be raised."""
RAMP = 4
"""In so many looks, by equal factors: of a sudden raise, two-sided penalties do not always recover."""
OVERSHOOT = 0.05
"""How far slopes may exceed their constant, as a share of it: what penalties are raised to."""


@dataclass(frozen=True)
class Trained:
    """A critic that has been trained.

    Attributes:
        game: What it was trained in; it has the state that was best.
        judgement: Of that state, on the samples that were held out.
        step: The iteration after which it was best.
    """

    game: Game
    judgement: Judgement
    step: int


def train_critic(plan: Plan, parts: Parts, seed: int, looked: Callable[[], object]) -> Trained:
    """Trains a critic of a plan on one part, chooses its best state on the second, and judges that on the third.

    Args:
        plan: How.
        parts: The samples, at unit scale.
        seed: Of its first weights and of its batches.
        looked: Called at each of the `LOOKS`, also at those that an early stop saves.

    Raises:
        Diverged: A loss became NaN or infinite.
    """
    played = game(plan, parts.train, seed)
    critic = played.composition.networks["critic"]
    with seeded(seed, "training"):
        best = _train(played, parts.look, plan.stiffen, looked)
    critic.load_state_dict(best.state)
    return Trained(played, judge(played, parts.held_out), best.step)


@dataclass
class _Best:
    """The best state of a critic so far."""

    distance: float = -math.inf
    step: int = 0
    age: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    def hear(self, distance: float, step: int, critic: nn.Module) -> None:
        """Keeps the critic's state if it is the best one so far."""
        self.age += 1
        if distance > self.distance:
            self.distance, self.step, self.age = distance, step, 0
            self.state = copy.deepcopy(critic.state_dict())


def _train(played: Game, look: Pair, stiffen: bool, looked: Callable[[], object]) -> _Best:
    trainer, best, target = Trainer(played.composition), _Best(), 1.0
    for number in range(1, LOOKS + 1):
        if best.age < PATIENCE:
            while trainer.iteration < trainer.train.steps * number // LOOKS:
                trainer.iterate()
            _refuse_divergence(trainer)
            judgement = judge(played, look)
            best.hear(judgement.distance, trainer.iteration, played.composition.networks["critic"])
            if stiffen and number == STIFFEN_AT:
                target = _stiffness(played, judgement)
            if target > 1 and number < STIFFEN_AT + RAMP:
                played.stiffness.factor = target ** ((number - STIFFEN_AT + 1) / RAMP)
                best = _Best()  # What was best under a weaker penalty is no match for what comes.
        looked()
    return best


def _refuse_divergence(trainer: Trainer) -> None:
    try:
        trainer.flush()
        trainer.refuse_divergence()
    except Diverged as error:
        raise Diverged(f"{error} Try a lower learning rate: --set train.optimizer.lr=...") from error


def _stiffness(played: Game, judgement: Judgement) -> float:
    """What the penalty must be multiplied by so that slopes exceed their constant by `OVERSHOOT` only.

    They exceed it in inverse proportion to its weight: between two points at a distance d the best slope k, which
    maximises d k - weight (k - 1)^2, is 1 + d / (2 weight).
    """
    if not (played.proportional and played.constant):
        return 1.0
    return max(1.0, (judgement.mean_slope / played.constant - 1) / OVERSHOOT)
