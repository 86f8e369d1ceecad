"""A plugin file for tests of an author's mistakes: a small component of each hook, and all of it right as it is."""

from typing import ClassVar

import torch
from torch import nn

import zoo


class Squares(zoo.Distance):
    """Least squares."""

    def __init__(self, *, target: float = 1.0):
        super().__init__()
        self.target = target

    def critic_loss(self, batch):
        return (batch.real_scores - self.target).square().mean() + batch.fake_scores.square().mean()

    def generator_loss(self, batch):
        return (batch.fake_scores - self.target).square().mean()

    def estimate(self, batch):
        return batch.real_scores.mean()

    def after_step(self, means):
        assert means is not None


class Maker(zoo.Generator):
    """A layer."""

    def __init__(self, shape):
        super().__init__()
        self.latent_dim = 4
        self.layer = nn.Linear(4, shape[0])

    def latent(self, n, draws):
        return draws.randn(n, self.latent_dim)

    def forward(self, z, condition=None):
        return self.layer(z)


class Judge(zoo.Critic):
    """A layer."""

    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(shape[0], 1)

    def forward(self, samples, condition=None):
        return self.layer(samples).squeeze(1)


class Flat(zoo.LipschitzConstraint):
    """Slopes are small."""

    def parametrize(self, critic):
        assert critic.layer is not None

    def penalty(self, batch):
        return batch.slopes("real").square().mean()

    def project(self, critic):
        critic.layer.weight.data.clamp_(-1, 1)


class Small(zoo.Objective):
    """Fakes are small."""

    def generator_loss(self, batch):
        batch.record(largest=batch.fake.abs().max())
        return batch.fake.square().mean()


class Dots(zoo.Density):
    """N(0, 1) in the plane."""

    def __init__(self):
        self.shape = (2,)

    def sample(self, n, draws):
        return draws.randn(n, 2)


class Rows(zoo.ArrayDataset):
    """Some points of the plane."""

    def __init__(self):
        super().__init__(torch.linspace(-1, 1, 200).view(100, 2))


class Gap(zoo.Metric):
    """How far the means are apart."""

    figures: ClassVar = {"gap": "lower"}

    def measure(self, evidence):
        return {"gap": float((evidence.real.values.mean(0) - evidence.fake.values.mean(0)).norm())}


class Plain(zoo.Adversarial):
    """As usual."""

    def wants(self, about):
        return super().wants(about)

    def phases(self, parts):
        return super().phases(parts)

    def drawn(self, parts, dataset):
        return dataset


@zoo.hookimpl
def distance():
    return {"squares": Squares}


@zoo.hookimpl
def generator():
    return {"maker": Maker}


@zoo.hookimpl
def critic():
    return {"judge": Judge}


@zoo.hookimpl
def lipschitz_constraint():
    return {"flat": Flat}


@zoo.hookimpl
def objective():
    return {"small": Small}


@zoo.hookimpl
def dataset():
    return {"dots": Dots, "rows": Rows}


@zoo.hookimpl
def metric():
    return {"gap": Gap}


@zoo.hookimpl
def procedure():
    return {"plain": Plain}


@zoo.hookimpl
def variant():
    table = {"distance": "squares", "generator": "maker", "critic": "judge", "procedure": "plain", "dataset": "dots"}
    table["lipschitz_constraint"], table["objective"] = ["flat"], ["small"]
    table["train"] = {"optimizer": {"name": "Adam", "lr": 1e-3}}
    return {"whole": zoo.Variant("All of it.", table)}
