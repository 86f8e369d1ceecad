"""The maximum mean discrepancy against scikit-learn's kernels, its closed form, and its witness."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_mmd
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from zoo import Batch, Critic, IncompatibleParts, Scores

MMD = zoo_mmd.distance()["mmd"]


class Lifted(Critic):
    """Features `(N, 2)` of one variable: x and its square."""

    def forward(self, samples, condition=None):
        return Scores(samples[:, 0], torch.cat([samples, samples**2], dim=1))


class Plain(Critic):
    """Scores, and no features."""

    def forward(self, samples, condition=None):
        return samples[:, 0]


def drawn(n, seed, mean=0.0, dims=3):
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, size=(n, dims)))


def by_pairs(kernel, x, y, unbiased):
    """The estimator, a pair at a time."""

    def within(points):
        values = kernel(points, points)
        n = len(points)
        return (values.sum() - np.trace(values)) / (n * (n - 1)) if unbiased else values.mean()

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def rbf(x, y):
    return sum(rbf_kernel(x, y, gamma=1 / (2 * width**2)) for width in (1, 2, 4, 8, 16))


def rational_quadratic(x, y):
    return sum((1 + euclidean_distances(x, y, squared=True) / (2 * a)) ** -a for a in (0.2, 0.5, 1, 2, 5))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-mmd").entry_points}
    assert declared == {("distance", "mmd"), ("variant", "mmd-gan")}


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("name", "kernel"), [("rbf", rbf), ("rational-quadratic", rational_quadratic)])
def test_it_is_the_estimator_of_the_kernels(name, kernel, unbiased):
    x, y = drawn(20, 0), drawn(15, 1, mean=1)
    game = Batch(real=x, fake=y)
    expected = by_pairs(kernel, x.numpy(), y.numpy(), unbiased)
    distance = MMD(kernel=name, unbiased=unbiased)
    assert distance.generator_loss(game).item() == pytest.approx(expected, rel=1e-9)
    assert distance.critic_loss(game).item() == pytest.approx(-expected, rel=1e-9)


@pytest.mark.parametrize(("width", "expected"), [(1.0, 0.177268), (2.0, 0.130567)])
def test_between_two_normals_it_is_the_closed_form(width, expected):
    """E k(x, y) of normals is a normal density in the difference of means; figures integrated on their own."""
    x, y = (drawn(3000, seed, mean, dims=1) for seed, mean in ((0, 0.0), (1, 1.0)))
    spread = width**2 + 2
    closed = 2 * width / np.sqrt(spread) * (1 - np.exp(-1 / (2 * spread)))
    assert closed == pytest.approx(expected, abs=1e-5)
    assert MMD(scales=[width]).estimate(Batch(real=x, fake=y)).item() == pytest.approx(closed, abs=0.02)


def test_without_a_difference_the_unbiased_one_is_0_on_average_and_the_biased_one_is_not():
    games = [Batch(real=drawn(12, 2 * seed), fake=drawn(12, 2 * seed + 1)) for seed in range(200)]
    unbiased, biased = (
        np.array([MMD(scales=[1.0], unbiased=each).estimate(game).item() for game in games]) for each in (True, False)
    )
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(200)
    assert biased.mean() > 10 * biased.std() / np.sqrt(200)


def test_features_are_compared_where_there_is_a_critic():
    x, y = drawn(9, 0, dims=1), drawn(9, 1, mean=1, dims=1)
    lifted = [np.hstack([each, each**2]) for each in (x.numpy(), y.numpy())]
    found = MMD(on="features").estimate(Batch(critic=Lifted(), real=x, fake=y))
    assert found.item() == pytest.approx(by_pairs(rbf, *lifted, unbiased=True), rel=1e-9)


def test_slopes_are_those_of_the_witness():
    """E k(x, .) - E k(y, .), differentiated by hand for one width."""
    x, y = drawn(6, 0, dims=1), drawn(6, 1, mean=1, dims=1)

    class Itself(Critic):
        def forward(self, samples, condition=None):
            return Scores(samples[:, 0], samples)

    distance = MMD(on="features", scales=[1.0])
    points = torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None]
    game = Batch(critic=Itself(), real=x, fake=y, witness=distance.witness)

    def slope(p, others):
        d = p - others.numpy()[:, 0]
        return (-d * np.exp(-(d**2) / 2)).mean()

    expected = [abs(slope(p, x) - slope(p, y)) for p in points[:, 0].numpy()]
    np.testing.assert_allclose(game.slopes(points).detach().numpy(), expected, rtol=1e-9)


def test_a_critic_without_features_is_refused():
    game = Batch(critic=Plain(), real=drawn(4, 0), fake=drawn(4, 1))
    with pytest.raises(IncompatibleParts, match="returns none"):
        MMD(on="features").critic_loss(game)


def test_gradients_are_those_of_differences():
    x, y = drawn(4, 0, dims=2).requires_grad_(), drawn(4, 1, dims=2).requires_grad_()
    for name in ("rbf", "rational-quadratic"):
        assert torch.autograd.gradcheck(
            lambda a, b, name=name: MMD(kernel=name).estimate(Batch(real=a, fake=b)), (x, y)
        )
