"""The energy distance against SciPy and loops in NumPy, the Cramér GAN against its algorithm 1, and the witness."""

from importlib.metadata import distribution
from itertools import permutations

import numpy as np
import pytest
import torch
import zoo_cramer
from scipy import stats

import zoo
from zoo import Batch, Critic, Draws, IncompatibleParts, Scores

Energy, Cramer = (zoo_cramer.distance()[name] for name in ("energy", "cramer"))
BOTH = [Energy, Cramer]


class Itself(Critic):
    """Features are the samples."""

    def forward(self, samples, condition=None):
        return Scores(samples.flatten(1).sum(1), samples)


class Scaled(Critic):
    """Features are tanh of a linear map of the samples."""

    def __init__(self, size=3):
        super().__init__()
        self.weight = torch.nn.Parameter(Draws(5).randn(size, size).double())

    def forward(self, samples, condition=None):
        features = torch.tanh(samples @ self.weight)
        return Scores(features.sum(1), features)


def drawn(n, seed, size=3, mean=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, size=(n, size)))


def norm(vector):
    return float(np.sqrt((vector**2).sum()))


def energy(x, y, among=permutations):
    """By loops, over pairs of different samples."""
    within = [np.mean([norm(a - b) for a, b in among(points, 2)]) for points in (x, y)]
    return 2 * np.mean([norm(a - b) for a in x for b in y]) - sum(within)


def algorithm_1(x, y):
    """The paper's loss of the critic without its penalty: the mean over every x_g and x'_g that differ."""
    return -np.mean(
        [
            np.mean([norm(a - other) - norm(a) for a in x]) - (norm(one - other) - norm(one))
            for one, other in permutations(y, 2)
        ]
    )


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-cramer").entry_points}
    assert declared == {(hook, name) for hook in ("distance", "variant") for name in getattr(zoo_cramer, hook)()}


@pytest.mark.parametrize("sizes", [(40, 40), (30, 55)])
def test_on_the_line_it_is_scipys_squared(sizes):
    real, fake = drawn(sizes[0], 0, 1), 0.5 * drawn(sizes[1], 1, 1) + 1
    expected = stats.energy_distance(real[:, 0].numpy(), fake[:, 0].numpy()) ** 2
    value = Energy(estimator="biased").generator_loss(Batch(real=real, fake=fake))
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_between_two_normals_it_has_its_closed_form():
    normal = torch.from_numpy(stats.norm.ppf((np.arange(1500) + 0.5) / 1500))[:, None]
    value = Energy(estimator="biased").estimate(Batch(real=normal, fake=normal + 1)).item()
    assert value == pytest.approx(0.541807, abs=2e-3)


def test_losses_are_the_papers_by_loops():
    real, fake = drawn(7, 0), drawn(9, 1, mean=1)
    x, y = real.numpy(), fake.numpy()
    batch = Batch(critic=Itself(), real=real, fake=fake)
    assert Energy().generator_loss(batch).item() == pytest.approx(energy(x, y), rel=1e-12)
    assert Energy().critic_loss(batch).item() == pytest.approx(-energy(x, y), rel=1e-12)
    assert Cramer().generator_loss(batch).item() == pytest.approx(energy(x, y), rel=1e-12)
    assert Cramer().critic_loss(batch).item() == pytest.approx(algorithm_1(x, y), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "formula"), [("critic_loss", algorithm_1), ("generator_loss", energy)], ids=["critic", "generator"]
)
def test_gradients_by_samples_are_differences_of_the_papers_formula(loss, formula):
    real, fake = drawn(4, 0), drawn(5, 1, mean=1).requires_grad_()
    getattr(Cramer(), loss)(Batch(critic=Itself(), real=real, fake=fake, track=False)).backward()
    x, y = real.numpy(), fake.detach().numpy()
    for place in np.ndindex(y.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = y.copy()
            moved[place] += step
            ends.append(formula(x, moved))
        assert fake.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("kind", BOTH)
def test_unbiased_it_is_0_in_the_mean_for_equal_distributions_and_biased_it_is_not(kind):
    found = {
        name: [
            kind(estimator=name).generator_loss(Batch(real=drawn(8, 2 * k, 2), fake=drawn(8, 2 * k + 1, 2))).item()
            for k in range(400)
        ]
        for name in ("unbiased", "biased")
    }
    error = np.std(found["unbiased"]) / 20
    assert abs(np.mean(found["unbiased"])) < 3 * error
    assert np.mean(found["biased"]) > 10 * error
    assert min(found["biased"]) > 0


def test_it_needs_all_that_makes_distributions_differ_not_their_means_alone():
    real = torch.tensor([[-1.0], [1.0]]).repeat(50, 1)
    assert Energy().generator_loss(Batch(real=real, fake=0 * real)).item() == pytest.approx(2 - 100 / 99, abs=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_slopes_are_those_of_the_function_that_the_critic_plays_with(kind):
    real, fake, points = drawn(6, 0), drawn(6, 1, mean=1), drawn(5, 2)
    x, y = real.numpy(), fake.numpy()

    def unit(vector):
        return vector / norm(vector)

    def gradient(a):
        origin = unit(a) if kind is Cramer else np.mean([unit(a - b) for b in x], 0)
        return np.mean([unit(a - b) for b in y], 0) - origin

    batch = Batch(critic=Itself(), real=real, fake=fake, witness=kind().witness)
    expected = np.array([gradient(a) for a in points.numpy()])
    np.testing.assert_allclose(batch.gradients(points).detach().numpy(), expected, rtol=1e-10)


def test_the_penalty_of_slopes_has_second_derivatives_also_through_the_fakes_it_compares_with():
    critic = Scaled()
    real, fake = drawn(6, 0), drawn(6, 1, mean=1)

    def penalty():
        batch = Batch(critic=critic, real=real, fake=fake, draws=Draws(0), witness=Cramer().witness)
        return (batch.slopes("segment") - 1).square().mean()

    (gradient,) = torch.autograd.grad(penalty(), critic.weight)
    direction, ends = drawn(3, 7), []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            critic.weight.add_(step * direction)
        ends.append(penalty().item())
    assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_samples_that_coincide_have_finite_slopes_and_derivatives(kind):
    same = torch.zeros(4, 3)
    critic = Scaled().float()
    batch = Batch(critic=critic, real=same, fake=same.clone(), witness=kind().witness)
    loss = kind().critic_loss(batch) + batch.slopes("segment").square().mean()
    (gradient,) = torch.autograd.grad(loss, critic.weight)
    assert gradient.isfinite().all()


def test_far_from_the_origin_single_precision_still_counts():
    real, fake = drawn(20, 0), drawn(20, 1, mean=1)
    value = Energy().generator_loss(Batch(real=real.float() + 1000, fake=fake.float() + 1000)).item()
    assert value == pytest.approx(energy(real.numpy(), fake.numpy()), rel=1e-3)


def test_a_critic_without_features_is_refused_and_without_a_critic_samples_are_compared(tmp_path):
    class Bare(Critic):
        def forward(self, samples, condition=None):
            return samples.flatten(1).sum(1)

    parts = {"dataset": "ring", "out": tmp_path, "device": "cpu", "steps": 2, "batch_size": 8}
    with pytest.raises(IncompatibleParts, match="returns none"):
        zoo.train("cramer-gan", critic=Bare(), **parts)
    with pytest.raises(IncompatibleParts, match="no mean over samples"):
        zoo.train("cramer-gan", micro_batches=2, **parts)
    assert list(tmp_path.iterdir()) == []
    zoo.train("cramer-gan", distance="energy", critic="none", lipschitz_constraint=[], **parts)


def test_without_a_critic_it_brings_a_generator_to_the_data():
    place = torch.nn.Parameter(torch.tensor([-2.0, 3.0]))
    noise, real = drawn(64, 0, 2).float(), drawn(64, 1, 2).float() + 1
    optimizer = torch.optim.SGD([place], lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        Energy().generator_loss(Batch(real=real, fake=noise + place)).backward()
        optimizer.step()
    assert place.tolist() == pytest.approx((real.mean(0) - noise.mean(0)).tolist(), abs=0.2)


def test_the_variant_has_the_papers_game():
    table = zoo_cramer.variant()["cramer-gan"].table
    assert table["distance"] == "cramer"
    assert table["lipschitz_constraint"] == [{"name": "gradient-penalty", "weight": 10.0, "constant": 1.0}]
