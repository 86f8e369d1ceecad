"""A plugin file for tests: an objective with a network and state of its own, that acts in both phases."""

import math

import torch
from torch import nn

import zoo


class Telling(zoo.Objective):
    """Tells latent points from fakes, by an error that is compared with its own running mean; keeps scores small."""

    trained_with = ("critic", "generator")

    def __init__(self, shape, generator, *, weight: float = 0.1):
        super().__init__()
        self.weight = weight
        self.layer = nn.Linear(math.prod(shape), generator.latent_dim)
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(()))

    def critic_loss(self, batch):
        return self.weight * (self._error(batch) + batch.real_scores.square().mean())

    def generator_loss(self, batch):
        return self.weight * self._error(batch)

    def after_step(self, means):
        self.level.lerp_(means["telling_error"], 0.1)
        self.steps.add_(1)

    def _error(self, batch):
        error = (self.layer(batch.fake.flatten(1)) - batch.z).square().mean(1)
        batch.record(telling_error=error.mean())
        return (error - self.level).square().mean()


@zoo.hookimpl
def objective():
    return {"telling": Telling}
