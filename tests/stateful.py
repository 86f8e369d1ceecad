"""A plugin file for tests: parts that keep whatever a run could lose. All of it is saved, or a resumed run differs."""

import torch
from torch import nn
from torch.nn import functional

import zoo

LABELS = 3


class Labelled(zoo.Generator):
    """Conditional, with a buffer of its normalisation."""

    conditional = True

    def __init__(self, shape, *, latent_dim: int = 4):
        super().__init__()
        self.latent_dim = latent_dim
        self.label = nn.Embedding(LABELS, latent_dim)
        self.layers = nn.Sequential(nn.Linear(latent_dim, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, shape[0]))

    def forward(self, z, condition=None):
        return self.layers(z + self.label(condition))


class Forgetful(zoo.Critic):
    """Conditional, with dropout, which draws from the global random numbers."""

    conditional = True

    def __init__(self, shape):
        super().__init__()
        self.label = nn.Embedding(LABELS, shape[0])
        self.layers = nn.Sequential(nn.Linear(shape[0], 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, samples, condition=None):
        return self.layers(samples + self.label(condition)).squeeze(1)


class Middled(zoo.Distance):
    """Scores against a middle that follows those of the last steps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("middle", torch.zeros(()))

    def critic_loss(self, batch):
        batch.record(score=batch.real_scores.mean())
        real, fake = batch.real_scores - self.middle, self.middle - batch.fake_scores
        return (functional.softplus(-real) + functional.softplus(-fake)).mean()

    def generator_loss(self, batch):
        return functional.softplus(self.middle - batch.fake_scores).mean()

    def after_step(self, means):
        if "score" in means:
            self.middle.lerp_(means["score"], 0.2)


class Growing(zoo.LipschitzConstraint):
    """A penalty whose weight grows while slopes are steep."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.ones(()))

    def penalty(self, batch):
        slopes = batch.slopes("segment")
        batch.record(slope=slopes.detach().mean())
        return self.weight * slopes.square().mean()

    def after_step(self, means):
        if "slope" in means:
            self.weight.mul_(1 + 0.1 * means["slope"])


@zoo.hookimpl
def generator():
    return {"labelled": Labelled}


@zoo.hookimpl
def critic():
    return {"forgetful": Forgetful}


@zoo.hookimpl
def distance():
    return {"middled": Middled}


@zoo.hookimpl
def lipschitz_constraint():
    return {"growing": Growing}
