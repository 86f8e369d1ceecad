"""The relativistic pairing loss against NumPy in double precision, its equilibrium, and the Dirac-GAN."""

import cmath
import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_relativistic
from torch import nn

from zoo import ArrayDataset, Batch, Critic, Generator
from zoo.api import compose_table
from zoo.sets import is_over_set

Relativistic = zoo_relativistic.distance()["relativistic"]
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Itself(Critic):
    """Scores `(N, 1)` are the samples."""

    def forward(self, samples, condition=None):
        return samples.squeeze(1)


def scored(real, fake):
    return Batch(critic=Itself(), real=real[:, None], fake=fake[:, None])


def drawn(n, seed, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=scale, size=n))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-relativistic").entry_points}
    offered = {("distance", name) for name in zoo_relativistic.distance()} | {
        ("variant", name) for name in zoo_relativistic.variant()
    }
    assert declared == offered


@pytest.mark.parametrize("level", [0.0, -7.0, 40.0])
def test_where_the_critic_cannot_tell_both_losses_are_log_2_whatever_its_level(level):
    game = scored(torch.full((16,), level), torch.full((16,), level))
    for loss in (Relativistic().critic_loss, Relativistic().generator_loss):
        assert loss(game).item() == pytest.approx(math.log(2))


def test_losses_are_the_mean_cross_entropies_of_pairs():
    real, fake = drawn(12, 0), drawn(12, 1)
    margins = real.numpy() - fake.numpy()
    assert Relativistic().critic_loss(scored(real, fake)).item() == pytest.approx(np.logaddexp(0, -margins).mean())
    assert Relativistic().generator_loss(scored(real, fake)).item() == pytest.approx(np.logaddexp(0, margins).mean())


@pytest.mark.parametrize(("side", "sign"), [("critic_loss", 1), ("generator_loss", -1)])
def test_gradients_are_those_of_the_logistic_function_of_the_margin(side, sign):
    real, fake = drawn(9, 0).requires_grad_(), drawn(9, 1).requires_grad_()
    getattr(Relativistic(), side)(scored(real, fake)).backward()
    margins = (real - fake).detach().numpy()
    slopes = sign / (1 + np.exp(sign * margins)) / 9
    np.testing.assert_allclose(real.grad.numpy(), -slopes, rtol=1e-12)
    np.testing.assert_allclose(fake.grad.numpy(), slopes, rtol=1e-12)


def test_a_constant_added_to_the_critic_changes_nothing():
    real, fake = drawn(8, 0), drawn(8, 1)
    here, there = scored(real, fake), scored(real + 5, fake + 5)
    assert Relativistic().critic_loss(here).item() == pytest.approx(Relativistic().critic_loss(there).item())
    assert Relativistic().generator_loss(here).item() == pytest.approx(Relativistic().generator_loss(there).item())


def test_the_generators_loss_is_the_critics_with_real_and_fake_exchanged():
    real, fake = drawn(8, 0), drawn(8, 1)
    exchanged = Relativistic().critic_loss(scored(fake, real))
    assert torch.equal(Relativistic().generator_loss(scored(real, fake)), exchanged)


def test_samples_are_paired_in_order():
    real, fake = torch.tensor([-10.0, 10.0]), torch.tensor([10.0, -10.0])
    assert Relativistic().critic_loss(scored(real, fake)).item() == pytest.approx(np.logaddexp(0, [20.0, -20.0]).mean())
    assert Relativistic().critic_loss(scored(real, fake.flip(0))).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_any_size_give_finite_losses_and_gradients(size):
    real, fake = torch.full((2,), size, requires_grad=True), torch.full((2,), -size, requires_grad=True)
    loss = Relativistic().critic_loss(scored(real, fake)) + Relativistic().generator_loss(scored(real, fake))
    loss.backward()
    assert loss.isfinite()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()


class Dirac(Generator):
    """One number; the data is 0."""

    latent_dim = 1

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=DOUBLE))

    def forward(self, z, condition=None):
        return self.theta.expand(len(z), 1)


class Line(Critic):
    def __init__(self, psi):
        super().__init__()
        self.psi = nn.Parameter(torch.tensor([psi], dtype=DOUBLE))

    def forward(self, samples, condition=None):
        return samples @ self.psi


def orbit(steps, penalised=(), gamma=1.0, h=0.1):
    """Where the alternating Dirac-GAN is after each step, from (1, -1); R1 and R2 of a line are gamma / 2 psi^2."""
    generator, critic, distance = Dirac(1.0), Line(-1.0), Relativistic()
    places = []
    for _ in range(steps):
        for network, loss in ((critic, distance.critic_loss), (generator, distance.generator_loss)):
            game = Batch(critic=critic, real=torch.zeros(2, 1, dtype=DOUBLE), fake=generator(torch.zeros(2, 1)))
            value = loss(game)
            if network is critic:
                value = value + sum(gamma / 2 * game.slopes(place).square().mean() for place in penalised)
            gradients = torch.autograd.grad(value, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= h * gradient
        places.append((generator.theta.item(), critic.psi.item()))
    return torch.tensor(places, dtype=DOUBLE)


def slowest_rate(gamma, h=0.1):
    """The larger eigenvalue of one alternating step near the data, where the logistic function's slope is 1/2."""
    determinant = 1 - h * gamma
    half_trace = (1 + determinant - (h / 2) ** 2) / 2
    root = cmath.sqrt(half_trace**2 - determinant)
    return max(abs(half_trace + root), abs(half_trace - root))


def test_alone_it_neither_approaches_the_data_at_any_rate_nor_leaves_them():
    radius = orbit(500).norm(dim=1)
    assert slowest_rate(0.0) == pytest.approx(1.0)
    assert 0.3 < radius[-1] < radius[0]


PENALISED = {"r1": (("real",), 1.0), "r2": (("fake",), 1.0), "both": (("real", "fake"), 0.5)}


@pytest.mark.parametrize("name", PENALISED)
def test_with_r1_or_r2_it_converges_at_the_rate_of_the_theory(name):
    """On a line both penalties are the same, so half of each is the whole of one."""
    radius = orbit(500, *PENALISED[name]).norm(dim=1)
    assert radius[-1] < 1e-8
    assert (radius[-1] / radius[-101]).item() == pytest.approx(slowest_rate(1.0) ** 100, rel=0.01)


def test_r3gan_is_the_pairing_loss_with_both_penalties_of_one_weight():
    table = zoo_relativistic.variant()["r3gan"].table
    assert table["distance"] == zoo_relativistic.variant()["rpgan"].table["distance"] == "relativistic"
    for constraints in (table["lipschitz_constraint"], table["for"]["vector"]["lipschitz_constraint"]):
        weights = {constraint["name"]: constraint["weight"] for constraint in constraints}
        assert set(weights) == {"r1", "r2"}
        assert weights["r1"] == weights["r2"]


@pytest.mark.parametrize(("sides", "name"), [((16, 16), "mlp"), ((8, 17), "r3gan"), ((32, 32), "r3gan")])
def test_r3gan_has_its_papers_networks_for_images_above_16_pixels_and_perceptrons_for_smaller_ones(sides, name):
    images = ArrayDataset(torch.zeros(64, 1, *sides))
    composed = compose_table({"variant": "r3gan"}, device="cpu", given={"dataset": images})
    for part in ("generator", "critic"):
        assert type(composed.networks[part]).__module__ == f"zoo_networks.{name}"
    assert composed.networks["generator"].latent_dim == 64
    sizes = {layer.out_channels for layer in composed.networks["critic"].modules() if isinstance(layer, nn.Conv2d)}
    assert min(sizes, default=32) == 32


def average():
    return zoo_relativistic.distance()["relativistic-average"]()


def test_the_average_loss_is_the_papers_cross_entropies():
    real, fake = drawn(11, 0).requires_grad_(), drawn(11, 1).requires_grad_()
    x, y = real.detach().numpy(), fake.detach().numpy()
    expected = np.logaddexp(0, -(x - y.mean())).mean() + np.logaddexp(0, y - x.mean()).mean()
    assert average().critic_loss(scored(real, fake)).item() == pytest.approx(expected, rel=1e-12)
    exchanged = np.logaddexp(0, -(y - x.mean())).mean() + np.logaddexp(0, x - y.mean()).mean()
    loss = average().generator_loss(scored(real, fake))
    assert loss.item() == pytest.approx(exchanged, rel=1e-12)
    loss.backward()
    # A fake counts by itself, and in the mean that real samples are judged against.
    own, others = 1 / (1 + np.exp(y - x.mean())), 1 / (1 + np.exp(y.mean() - x))
    np.testing.assert_allclose(fake.grad.numpy(), -own / 11 - others.mean() / 11, rtol=1e-10)


def test_where_the_critic_cannot_tell_the_average_loss_is_log_4_at_any_level():
    for level in (0.0, -7.0, 40.0):
        game = scored(torch.full((16,), level), torch.full((16,), level))
        assert average().critic_loss(game).item() == pytest.approx(math.log(4))


def test_the_average_loss_is_one_over_the_set_and_the_paired_one_is_not():
    assert is_over_set(average())
    assert not is_over_set(Relativistic())
