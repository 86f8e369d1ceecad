"""R1 and R2 against critics whose gradients are known, and in the Dirac-GAN."""

from functools import partial
from importlib.metadata import distribution

import pytest
import torch
import zoo_zero_centred
from torch import nn
from torch.nn.functional import softplus

from zoo import Batch, Critic

PENALTIES = zoo_zero_centred.lipschitz_constraint()
PLACES = {"r1": "real", "r2": "fake"}
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, samples, condition=None):
        return self.function(samples)


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def penalty(name, function, real, fake, gamma):
    return PENALTIES[name](weight=gamma).penalty(Batch(critic=Through(function), real=real, fake=fake))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-zero-centred").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_zero_centred, hook)()}


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("gamma", [0.3, 10.0])
@pytest.mark.parametrize("shape", [(1,), (2,), (3, 8, 8)])
def test_a_linear_critic_has_half_of_gamma_times_its_squared_slope(shape, gamma, name):
    weight = drawn(*shape, seed=0).flatten()
    real, fake = drawn(6, *shape, seed=1), drawn(6, *shape, seed=2)
    value = penalty(name, lambda x: x.flatten(1) @ weight, real, fake, gamma)
    assert value.item() == pytest.approx(gamma / 2 * weight.square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_each_is_taken_at_its_own_samples_over_all_of_their_dimensions(name):
    samples = {"real": drawn(6, 3, 4, seed=1), "fake": 3 + drawn(6, 3, 4, seed=2)}
    value = penalty(name, lambda x: x.flatten(1).square().sum(1) / 2, **samples, gamma=2.0)
    expected = samples[PLACES[name]].flatten(1).square().sum(1).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_it_moves_the_critics_weights_by_gamma_times_them(name):
    weight = nn.Parameter(drawn(4, seed=0))
    penalty(name, lambda x: x @ weight, drawn(6, 4, seed=1), drawn(6, 4, seed=2), 3.0).backward()
    torch.testing.assert_close(weight.grad, 3.0 * weight.detach())


@pytest.mark.parametrize("name", PENALTIES)
def test_a_flat_critic_has_no_penalty_and_finite_gradients(name):
    weight = nn.Parameter(torch.zeros(4, dtype=DOUBLE))
    value = penalty(name, lambda x: x @ weight, drawn(6, 4, seed=1), drawn(6, 4, seed=2), 3.0)
    value.backward()
    assert value.item() == 0
    assert not weight.grad.any()


def last_radius(name, gamma, steps=500, h=0.1):
    """How far from the data the alternating minimax Dirac-GAN ends: theta against the line psi x, from (1, -1)."""
    theta = torch.ones(1, dtype=DOUBLE, requires_grad=True)
    psi = torch.full((1,), -1.0, dtype=DOUBLE, requires_grad=True)
    for _ in range(steps):
        fake = theta.detach().expand(2, 1)
        game = Batch(critic=Through(partial(torch.matmul, other=psi)), real=torch.zeros(2, 1, dtype=DOUBLE), fake=fake)
        loss = softplus(-game.real_scores).mean() + softplus(game.fake_scores).mean()
        (slope,) = torch.autograd.grad(loss + PENALTIES[name](weight=gamma).penalty(game), psi)
        psi = (psi - h * slope).detach().requires_grad_()
        (slope,) = torch.autograd.grad(-softplus(theta * psi.detach()).sum(), theta)
        theta = (theta - h * slope).detach().requires_grad_()
    return torch.cat([theta, psi]).detach().norm().item()


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize(("gamma", "last"), [(1.0, 4e-9), (0.3, 5e-4)])
def test_the_dirac_gan_converges_as_fast_as_its_eigenvalues_say(gamma, last, name):
    assert last_radius(name, gamma) == pytest.approx(last, rel=0.2)


@pytest.mark.parametrize("name", PENALTIES)
def test_without_a_weight_the_dirac_gan_circles_the_data(name):
    assert last_radius(name, 0.0) == pytest.approx(1.41, abs=0.02)


def test_the_variant_has_the_papers_settings_with_gamma_as_the_paper_counts_it():
    variant = zoo_zero_centred.variant()["gan-r1"]
    assert variant.table["distance"] == "non-saturating"
    assert variant.table["lipschitz_constraint"] == [{"name": "r1", "weight": 10.0}]
    assert variant.table["train"] == {
        "critic_steps": 1,
        "batch_size": 64,
        "average": 0.999,
        "optimizer": {"name": "RMSprop", "lr": 1e-4, "alpha": 0.99},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1801.04406", 2018)
