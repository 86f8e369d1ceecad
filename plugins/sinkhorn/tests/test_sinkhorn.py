"""The Sinkhorn divergence against POT, exact transport, its limits, and its gradients by differences."""

from importlib.metadata import distribution

import numpy as np
import ot
import pytest
import torch
import zoo_sinkhorn
from scipy import stats

import zoo
from zoo import Batch, Critic, Draws, IncompatibleParts, Scores

Sinkhorn = zoo_sinkhorn.distance()["sinkhorn"]
COSTS = ["squared", "euclidean"]
METRIC = {"squared": "sqeuclidean", "euclidean": "euclidean"}


class Itself(Critic):
    """Features are the samples."""

    def forward(self, samples, condition=None):
        return Scores(samples.flatten(1).sum(1), samples)


class Scaled(Critic):
    """Features are tanh of a linear map of the samples."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(Draws(5).randn(3, 3).double())

    def forward(self, samples, condition=None):
        features = torch.tanh(samples @ self.weight)
        return Scores(features.sum(1), features)


def drawn(n, seed, size=3, mean=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, size=(n, size)))


def divergence(real, fake, **settings):
    return Sinkhorn(**{"iterations": 200, **settings}).generator_loss(Batch(real=real, fake=fake))


def by_pot(x, y, epsilon, cost):
    """Three problems of one epsilon; the value has the plan's relative entropy to the product of the marginals."""

    def transport(one, other):
        costs = ot.dist(one, other, METRIC[cost])
        p, q = (np.full(len(points), 1 / len(points)) for points in (one, other))
        plan = ot.sinkhorn(p, q, costs, epsilon, method="sinkhorn_log", numItermax=2000, stopThr=1e-10, warn=False)
        entropy = (plan * np.log(np.maximum(plan, 1e-300) * costs.size)).sum()
        return (plan * costs).sum() + epsilon * entropy

    return transport(x, y) - transport(x, x) / 2 - transport(y, y) / 2


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-sinkhorn").entry_points}
    assert declared == {(hook, name) for hook in ("distance", "variant") for name in getattr(zoo_sinkhorn, hook)()}


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("cost", COSTS)
def test_it_is_pots(cost, epsilon):
    real, fake = drawn(12, 0), drawn(15, 1, mean=1)
    expected = by_pot(real.numpy(), fake.numpy(), epsilon, cost)
    assert divergence(real, fake, epsilon=epsilon, cost=cost).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_for_small_epsilons_it_is_the_cost_of_exact_transport(cost):
    real, fake = drawn(20, 0), drawn(20, 1, mean=1)
    costs = ot.dist(real.numpy(), fake.numpy(), METRIC[cost])
    exact = ot.emd2(np.full(20, 0.05), np.full(20, 0.05), costs)
    value = divergence(real, fake, epsilon=1e-3, cost=cost, iterations=2000).item()
    assert value == pytest.approx(exact, rel=1e-3)


def test_on_the_line_it_is_scipys_w1():
    real, fake = drawn(30, 0, 1), drawn(30, 1, 1, mean=2)
    exact = stats.wasserstein_distance(real[:, 0].numpy(), fake[:, 0].numpy())
    errors = [
        abs(divergence(real, fake, epsilon=epsilon, cost="euclidean", iterations=500).item() - exact)
        for epsilon in (0.1, 0.01, 0.001)
    ]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 2e-3 * exact


def test_for_large_epsilons_it_is_half_the_energy_distance_or_the_squared_distance_of_the_means():
    real, fake = drawn(20, 0, 1), drawn(25, 1, 1, mean=1)
    energy = stats.energy_distance(real[:, 0].numpy(), fake[:, 0].numpy()) ** 2
    assert divergence(real, fake, epsilon=1e5, cost="euclidean").item() == pytest.approx(energy / 2, rel=1e-3)
    means = (real.mean() - fake.mean()).square().item()
    assert divergence(real, fake, epsilon=1e5, cost="squared").item() == pytest.approx(means, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("cost", COSTS)
def test_equal_sets_have_none_and_others_have_some(cost, epsilon):
    real = drawn(20, 0)
    assert divergence(real, real.flip(0), epsilon=epsilon, cost=cost).item() == pytest.approx(0, abs=1e-5)
    assert divergence(real, 1.5 * real, epsilon=epsilon, cost=cost).item() > 1e-4


@pytest.mark.parametrize("cost", COSTS)
def test_gradients_by_fakes_are_differences_of_pots_values(cost):
    real, fake = drawn(3, 0), drawn(4, 1, mean=1).requires_grad_()
    divergence(real, fake, epsilon=1.0, cost=cost).backward()
    for place in np.ndindex(*fake.shape):
        ends = []
        for step in (1e-4, -1e-4):
            moved = fake.detach().numpy().copy()
            moved[place] += step
            ends.append(by_pot(real.numpy(), moved, 1.0, cost))
        assert fake.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-5)


def test_a_fake_that_is_all_of_the_data_has_no_slope_which_without_the_fakes_own_term_it_would_have():
    fake = drawn(10, 0).requires_grad_()
    divergence(fake.detach().clone(), fake, epsilon=1.0).backward()
    assert fake.grad.abs().max() < 1e-6


def test_the_critic_plays_for_the_opposite_on_its_features():
    critic, real, fake = Scaled(), drawn(6, 0), drawn(6, 1, mean=1)
    distance = Sinkhorn(iterations=200)
    value = distance.critic_loss(Batch(critic=critic, real=real, fake=fake))
    features = [critic(points).features.detach() for points in (real, fake)]
    assert value.item() == pytest.approx(-by_pot(*(f.numpy() for f in features), 0.1, "squared"), rel=1e-5)
    value.backward()
    before = value.item()
    with torch.no_grad():
        critic.weight.sub_(1e-3 * critic.weight.grad)
    assert distance.critic_loss(Batch(critic=critic, real=real, fake=fake)).item() < before


@pytest.mark.parametrize("cost", COSTS)
def test_the_witness_is_the_change_of_the_divergence_when_mass_is_put_at_a_point(cost):
    """Its slope at a real sample is the gradient of the divergence by that sample, times their number."""
    distance = Sinkhorn(iterations=500, epsilon=1.0, cost=cost)
    real, fake = drawn(6, 0).requires_grad_(), drawn(7, 1, mean=1)
    (gradient,) = torch.autograd.grad(distance.estimate(Batch(real=real, fake=fake)), real)
    game = Batch(critic=Itself(), real=real.detach(), fake=fake, witness=distance.witness)
    points = real.detach().clone()
    torch.testing.assert_close(game.gradients(points), 6 * gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("cost", COSTS)
def test_samples_that_coincide_have_finite_slopes_and_derivatives(cost):
    critic, distance = Scaled().float(), Sinkhorn(cost=cost)
    same = torch.zeros(4, 3)
    batch = Batch(critic=critic, real=same, fake=same.clone(), witness=distance.witness)
    loss = distance.critic_loss(batch) + batch.slopes("segment").square().mean()
    (gradient,) = torch.autograd.grad(loss, critic.weight)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("epsilon", [1e-6, 1e6])
def test_in_single_precision_any_epsilon_gives_finite_values(epsilon):
    real, fake = drawn(10, 0).float(), (100 * drawn(10, 1)).float().requires_grad_()
    value = divergence(real, fake, epsilon=epsilon, iterations=20)
    value.backward()
    assert value.isfinite()
    assert fake.grad.isfinite().all()


def test_a_critic_without_features_is_refused_and_so_are_micro_batches(tmp_path):
    class Bare(Critic):
        def forward(self, samples, condition=None):
            return samples.flatten(1).sum(1)

    parts = {"dataset": "ring", "out": tmp_path, "device": "cpu", "steps": 2, "batch_size": 8}
    with pytest.raises(IncompatibleParts, match="returns none"):
        zoo.train("sinkhorn-gan", critic=Bare(), **parts)
    with pytest.raises(IncompatibleParts, match="no mean over samples"):
        zoo.train("sinkhorn-gan", micro_batches=2, **parts)
    assert list(tmp_path.iterdir()) == []
    zoo.train("sinkhorn-gan", critic="mlp", **parts)


def test_the_variant_compares_samples_by_squared_costs():
    table = zoo_sinkhorn.variant()["sinkhorn-gan"].table
    assert table["critic"] == "none"
    assert table["distance"]["cost"] == "squared"
