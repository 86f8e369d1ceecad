"""The MMD against scikit-learn's kernels, closed forms, and the witness's slopes by hand."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_mmd
from scipy import stats
from sklearn.metrics import pairwise

import zoo
from zoo import Batch, Critic, Draws, IncompatibleParts, Scores

Mmd = zoo_mmd.distance()["mmd"]
NORMAL = torch.from_numpy(stats.norm.ppf((np.arange(1000) + 0.5) / 1000))[:, None]
"""N(0, 1), as quantiles."""


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


def of_kernel(name, x, y):
    """By scikit-learn, or by the paper's formula of distances that scikit-learn has."""
    if name == "rbf":
        return sum(pairwise.rbf_kernel(x, y, gamma=1 / (2 * s**2)) for s in (1, 2, 4, 8, 16))
    if name == "laplace":
        return np.exp(-pairwise.euclidean_distances(x, y))
    if name == "linear":
        return pairwise.linear_kernel(x, y)
    squares = pairwise.euclidean_distances(x, y, squared=True)
    return sum((1 + squares / (2 * a)) ** -a for a in (0.2, 0.5, 1, 2, 5))


def mmd(name, x, y, unbiased):
    def within(points):
        kernel, n = of_kernel(name, points, points), len(points)
        return (kernel.sum() - np.trace(kernel)) / (n * (n - 1)) if unbiased else kernel.mean()

    return within(x) + within(y) - 2 * of_kernel(name, x, y).mean()


KERNELS = ["rbf", "rational-quadratic", "laplace", "linear"]


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-mmd").entry_points}
    assert declared == {(hook, name) for hook in ("distance", "variant") for name in getattr(zoo_mmd, hook)()}


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_it_is_that_of_scikit_learns_kernels(kernel, estimator):
    real, fake = drawn(20, 0), drawn(15, 1, mean=1)
    distance = Mmd(kernel=kernel, estimator=estimator)
    expected = mmd(kernel, real.numpy(), fake.numpy(), estimator == "unbiased")
    batch = Batch(critic=Itself(), real=real, fake=fake)
    assert distance.generator_loss(batch).item() == pytest.approx(expected, rel=1e-6)
    assert distance.critic_loss(batch).item() == pytest.approx(-expected, rel=1e-6)
    assert distance.estimate(Batch(real=real, fake=fake)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_by_fakes_are_differences_of_the_formula(kernel):
    real, fake = drawn(4, 0), drawn(5, 1, mean=1).requires_grad_()
    Mmd(kernel=kernel).generator_loss(Batch(real=real, fake=fake)).backward()
    for place in np.ndindex(*fake.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = fake.detach().numpy().copy()
            moved[place] += step
            ends.append(mmd(kernel, real.numpy(), moved, True))
        assert fake.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


@pytest.mark.parametrize(("bandwidth", "expected"), [(1.0, 0.177268), (2.0, 0.130567)])
def test_between_two_normals_it_has_its_closed_form(bandwidth, expected):
    distance = Mmd(kernel="rbf", scales=[bandwidth], estimator="biased")
    assert distance.estimate(Batch(real=NORMAL, fake=NORMAL + 1)).item() == pytest.approx(expected, abs=1e-3)


def test_a_wide_laplace_kernel_has_the_energy_distance():
    """exp(-d / s) is 1 - d / s for large s."""
    real, fake = drawn(40, 0, 1), drawn(30, 1, 1, mean=1)
    value = Mmd(kernel="laplace", scales=[1e5], estimator="biased").generator_loss(Batch(real=real, fake=fake)).item()
    expected = stats.energy_distance(real[:, 0].numpy(), fake[:, 0].numpy()) ** 2
    assert 1e5 * value == pytest.approx(expected, rel=1e-3)


def test_a_linear_kernel_sees_means_alone():
    real = torch.tensor([[-1.0], [1.0], [-3.0], [3.0]])
    batch = Batch(real=real, fake=0.1 * real + 2)
    assert Mmd(kernel="linear", estimator="biased").estimate(batch).item() == pytest.approx(4)
    assert Mmd(kernel="rbf", estimator="biased").estimate(Batch(real=real, fake=0.1 * real)).item() > 0.1


@pytest.mark.parametrize("kernel", KERNELS)
def test_unbiased_it_is_0_in_the_mean_for_equal_distributions_and_biased_it_is_not(kernel):
    found = {
        name: [
            Mmd(kernel=kernel, estimator=name)
            .generator_loss(Batch(real=drawn(8, 2 * k, 2), fake=drawn(8, 2 * k + 1, 2)))
            .item()
            for k in range(300)
        ]
        for name in ("unbiased", "biased")
    }
    error = np.std(found["unbiased"]) / np.sqrt(300)
    assert abs(np.mean(found["unbiased"])) < 3.5 * error
    assert np.mean(found["biased"]) > 5 * error
    assert min(found["biased"]) > -1e-12


@pytest.mark.parametrize("kernel", KERNELS)
def test_slopes_are_those_of_the_witness(kernel):
    real, fake, points = drawn(6, 0), drawn(6, 1, mean=1), drawn(5, 2)

    def function(a):
        return of_kernel(kernel, a, real.numpy()).mean(1) - of_kernel(kernel, a, fake.numpy()).mean(1)

    found = Batch(critic=Itself(), real=real, fake=fake, witness=Mmd(kernel=kernel).witness).gradients(points)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-6
        expected = (function(points.numpy() + step) - function(points.numpy() - step)) / 2e-6
        np.testing.assert_allclose(found[:, axis].detach().numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_penalty_of_slopes_moves_the_critic_as_finite_differences_say(kernel):
    critic, real, fake = Scaled(), drawn(6, 0), drawn(6, 1, mean=1)

    def penalty():
        batch = Batch(critic=critic, real=real, fake=fake, draws=Draws(0), witness=Mmd(kernel=kernel).witness)
        return (batch.slopes("segment") - 1).square().mean()

    (gradient,) = torch.autograd.grad(penalty(), critic.weight)
    direction, ends = drawn(3, 7), []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            critic.weight.add_(step * direction)
        ends.append(penalty().item())
    assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_samples_that_coincide_have_finite_slopes_and_derivatives(kernel):
    critic, distance = Scaled().float(), Mmd(kernel=kernel)
    same = torch.zeros(4, 3)
    batch = Batch(critic=critic, real=same, fake=same.clone(), witness=distance.witness)
    loss = distance.critic_loss(batch) + batch.slopes("segment").square().mean()
    (gradient,) = torch.autograd.grad(loss, critic.weight)
    assert gradient.isfinite().all()


def test_far_from_the_origin_single_precision_still_counts():
    real, fake = drawn(20, 0), drawn(20, 1, mean=1)
    value = Mmd().generator_loss(Batch(real=real.float() + 1000, fake=fake.float() + 1000)).item()
    assert value == pytest.approx(mmd("rational-quadratic", real.numpy(), fake.numpy(), True), rel=1e-2)


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, -2.0]])
def test_scales_that_are_none_are_refused(scales):
    with pytest.raises(zoo.BadSetting, match="positive"):
        Mmd(scales=scales)


def test_a_critic_without_features_is_refused_and_without_a_critic_samples_are_compared(tmp_path):
    class Bare(Critic):
        def forward(self, samples, condition=None):
            return samples.flatten(1).sum(1)

    parts = {"dataset": "ring", "out": tmp_path, "device": "cpu", "steps": 2, "batch_size": 8}
    with pytest.raises(IncompatibleParts, match="returns none"):
        zoo.train("mmd-gan", critic=Bare(), **parts)
    with pytest.raises(IncompatibleParts, match="no mean over samples"):
        zoo.train("mmd-gan", micro_batches=2, **parts)
    assert list(tmp_path.iterdir()) == []
    zoo.train("mmd-gan", critic="none", lipschitz_constraint=[], **parts)


def test_the_variant_has_binkowskis_kernel_and_penalty():
    table = zoo_mmd.variant()["mmd-gan"].table
    assert table["distance"] == {"name": "mmd", "kernel": "rational-quadratic"}
    assert [each["name"] for each in table["lipschitz_constraint"]] == ["gradient-penalty"]
    assert Mmd().scales == [0.2, 0.5, 1.0, 2.0, 5.0]
    assert Mmd(kernel="rbf").scales == [1.0, 2.0, 4.0, 8.0, 16.0]
