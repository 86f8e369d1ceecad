"""Feature matching against NumPy, what it moves, its floor, and where it is refused."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_feature_matching

from zoo import Batch, Critic, IncompatibleParts, Scores
from zoo.api import compose_table
from zoo.recipe import normalized

FeatureMatching = zoo_feature_matching.objective()["feature-matching"]


class Squares(Critic):
    """Features of x are x and x^2."""

    feature_size = 4

    def forward(self, samples, condition=None):
        return Scores(samples.sum(1), torch.cat([samples, samples.square()], dim=1))


def drawn(n, seed, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(loc=shift, size=(n, 2)))


def loss(real, fake, weight=1.0):
    return FeatureMatching(4, weight=weight).generator_loss(Batch(critic=Squares(), real=real, fake=fake))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-feature-matching").entry_points}
    assert declared == {("objective", name) for name in zoo_feature_matching.objective()}


def test_it_is_the_squared_distance_of_the_mean_features_and_not_the_mean_of_squared_distances():
    real, fake = drawn(20, 0), drawn(30, 1, shift=0.5)
    x, y = (np.concatenate([each, each**2], axis=1) for each in (real.numpy(), fake.numpy()))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert loss(real, fake, 3.0).item() == pytest.approx(3 * expected, rel=1e-12)


def test_the_gradient_of_each_fake_is_the_closed_form_and_real_samples_get_none():
    real, fake = drawn(20, 0).requires_grad_(), drawn(10, 1, shift=0.5).requires_grad_()
    loss(real, fake).backward()
    gap = (torch.cat([fake, fake**2], 1).mean(0) - torch.cat([real, real**2], 1).mean(0)).detach()
    expected = 2 / len(fake) * (gap[:2] + gap[2:] * 2 * fake.detach())
    torch.testing.assert_close(fake.grad, expected)
    assert real.grad is None


def test_equal_sets_cost_nothing_in_any_order():
    real = drawn(16, 0)
    assert loss(real, real.flip(0)).item() == pytest.approx(0, abs=1e-20)


def test_of_equal_distributions_it_is_the_variances_over_the_batch():
    values = [loss(drawn(25, 2 * k), drawn(25, 2 * k + 1)).item() for k in range(400)]
    # Var x = 1 and var x^2 = 2, for two coordinates, twice: real and fake.
    assert np.mean(values) == pytest.approx(2 * (2 * 1 + 2 * 2) / 25, rel=0.1)


def test_a_critic_without_features_is_refused_in_words():
    with pytest.raises(IncompatibleParts, match="this critic returns none; take another one"):
        FeatureMatching(None)


BASE = {
    "variant": "vanilla",
    "dataset": "ring",
    "generator": {"width": 8},
    "critic": {"width": 8},
    "objective": ["feature-matching"],
}


@pytest.mark.parametrize("weight", [1.0, 1e-3])
def test_micro_batches_would_be_wrong_and_are_refused(weight):
    table = {**BASE, "objective": [{"name": "feature-matching", "weight": weight}], "train": {"micro_batches": 2}}
    with pytest.raises(IncompatibleParts, match="objective feature-matching is no mean over samples"):
        compose_table(normalized(table), device="cpu")
    assert "feature-matching" in compose_table(normalized(BASE), device="cpu").parts.objectives
