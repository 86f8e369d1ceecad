"""Spectral normalisation against singular values and the paper's gradient, and where it bounds nothing."""

import copy
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_spectral_norm
from torch import nn

import zoo
from zoo import Batch, IncompatibleParts
from zoo.api import compose_table
from zoo.trainer import Trainer

SpectralNorm = zoo_spectral_norm.lipschitz_constraint()["spectral-norm"]
SETTLED = 200
"""Power iterations after which nothing moves any more, in these small matrices."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(*layers):
    torch.manual_seed(0)
    critic = nn.Sequential(*(make() for make in layers)).double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=3.0)
    return critic


def normalised(critic, iterations=1):
    SpectralNorm(iterations=iterations).parametrize(critic)
    return critic


def original(layer):
    return layer.parametrizations.weight.original


def vectors(layer):
    return dict(layer.named_buffers())


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-spectral-norm").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_spectral_norm, hook)()}


LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (4, 6), (5, 6)),
    "convolution": (lambda: nn.Conv2d(3, 8, 3), (8, 27), (5, 3, 6, 6)),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, groups=2), (8, 18), (5, 4, 6, 6)),
    "line": (lambda: nn.Conv1d(2, 3, 5), (3, 10), (5, 2, 9)),
    "embedding": (lambda: nn.Embedding(7, 4), (7, 4), None),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_weight_is_divided_by_the_largest_singular_value_of_its_matrix(name):
    make, matrix, shape = LAYERS[name]
    critic = normalised(seeded(make), SETTLED)
    critic(torch.arange(5) if shape is None else torch.randn(shape, dtype=torch.float64))
    weight = original(critic[0]).detach().numpy()
    largest = np.linalg.svd(weight.reshape(matrix), compute_uv=False)[0]
    np.testing.assert_allclose(critic.eval()[0].weight.detach().numpy(), weight / largest, rtol=1e-9)


def test_a_transposed_convolutions_outputs_are_its_second_axis():
    critic = normalised(seeded(lambda: nn.ConvTranspose2d(3, 8, 2)), SETTLED)
    critic(torch.randn(2, 3, 4, 4, dtype=torch.float64))
    weight = original(critic[0]).detach().numpy()
    largest = np.linalg.svd(weight.transpose(1, 0, 2, 3).reshape(8, -1), compute_uv=False)[0]
    np.testing.assert_allclose(critic.eval()[0].weight.detach().numpy(), weight / largest, rtol=1e-9)


@pytest.mark.parametrize("iterations", [1, 3])
def test_a_forward_pass_in_training_makes_that_many_power_iterations_and_one_in_evaluation_none(iterations):
    critic = normalised(seeded(lambda: nn.Linear(6, 4)), iterations)
    weight = original(critic[0]).detach().numpy()
    left, right = (vector.clone().numpy() for vector in vectors(critic[0]).values())
    critic(torch.randn(5, 6, dtype=torch.float64))
    for _ in range(iterations):
        left = weight @ right / np.linalg.norm(weight @ right)
        right = weight.T @ left / np.linalg.norm(weight.T @ left)
    expected = {name: torch.from_numpy(vector) for name, vector in zip(vectors(critic[0]), (left, right), strict=True)}
    torch.testing.assert_close(vectors(critic[0]), expected)
    critic.eval()(torch.randn(5, 6, dtype=torch.float64))
    torch.testing.assert_close(vectors(critic[0]), expected)


def test_the_gradient_is_the_papers():
    """Eq. 12: of a linear loss <G, W / s> it is (G - <G, W / s> u v') / s."""
    critic = normalised(seeded(lambda: nn.Linear(6, 4, bias=False)), SETTLED)
    critic(torch.randn(5, 6, dtype=torch.float64))
    chosen = torch.randn(4, 6, dtype=torch.float64)
    (chosen * critic.eval()[0].weight).sum().backward()
    weight, outer = original(critic[0]).detach().numpy(), chosen.numpy()
    u, s, v = np.linalg.svd(weight)
    expected = (outer - (outer * weight / s[0]).sum() * np.outer(u[:, 0], v[0])) / s[0]
    np.testing.assert_allclose(original(critic[0]).grad.numpy(), expected, rtol=1e-6, atol=1e-9)


def slopes(critic, points):
    points = points.requires_grad_()
    (gradients,) = torch.autograd.grad(critic(points).sum(), points)
    return gradients.flatten(1).norm(dim=1)


def test_a_critic_of_linear_layers_is_nowhere_steeper_than_1_when_the_iteration_has_settled():
    critic = normalised(seeded(lambda: nn.Linear(6, 16), nn.ReLU, lambda: nn.Linear(16, 1)), SETTLED)
    points = torch.randn(200, 6, dtype=torch.float64)
    critic(points)
    assert 0.1 < slopes(critic.eval(), points).max() <= 1 + 1e-9


def test_a_convolution_is_steeper_than_1_by_at_most_3_for_3_x_3_so_that_nothing_is_guaranteed():
    critic = normalised(seeded(lambda: nn.Conv2d(2, 4, 3, padding=1, bias=False)), SETTLED)
    critic(torch.randn(1, 2, 8, 8, dtype=torch.float64))
    nn.init.uniform_(original(critic[0]), 0.5, 1.0)  # Kernels of one sign add up most.
    critic(torch.randn(1, 2, 8, 8, dtype=torch.float64))
    (whole,) = torch.autograd.functional.jacobian(
        lambda x: critic.eval()(x), (torch.zeros(1, 2, 8, 8, dtype=torch.float64),)
    )
    norm = np.linalg.svd(whole.reshape(4 * 64, 2 * 64).numpy(), compute_uv=False)[0]
    assert 1.9 < norm <= 3
    assert not SpectralNorm().guaranteed
    assert SpectralNorm().constant == 1


@pytest.mark.parametrize("theta", [0.5, -2.0])
def test_two_diracs_at_theta_have_a_gap_of_theta(theta):
    critic = normalised(nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)))
    with torch.no_grad():
        original(critic[0]).fill_(-3.0 if theta > 0 else 3.0)
    game = Batch(critic=critic, real=torch.zeros(4, 1), fake=torch.full((4, 1), theta))
    assert (game.real_scores - game.fake_scores).mean().item() == pytest.approx(abs(theta))


def test_what_is_frozen_stays_as_it_is():
    critic = seeded(lambda: nn.Linear(6, 6), lambda: nn.Linear(6, 1))
    critic[0].requires_grad_(False)
    before = critic[0].weight
    normalised(critic)
    assert critic[0].weight is before
    assert "parametrizations" in dict(critic[1].named_children())


@pytest.mark.parametrize("critic", [nn.Flatten(0), nn.Linear(2, 1).requires_grad_(False)])
def test_a_critic_without_a_layer_that_is_trained_is_refused(critic):
    with pytest.raises(IncompatibleParts, match="no trained linear"):
        normalised(critic)


def test_a_critic_that_is_normalised_already_is_refused():
    with pytest.raises(IncompatibleParts, match="no trained linear"):
        normalised(normalised(nn.Linear(3, 1)))


def test_weights_of_0_are_refused_by_name_since_no_factor_makes_them_1():
    critic = seeded(lambda: nn.Linear(6, 6), lambda: nn.Linear(6, 1))
    nn.init.zeros_(critic[1].weight)
    with pytest.raises(IncompatibleParts, match="layer 1 has weights of 0"):
        normalised(critic)


def test_a_copy_iterates_by_itself():
    critic = normalised(seeded(lambda: nn.Linear(6, 4)))
    before = {name: vector.clone() for name, vector in vectors(critic[0]).items()}
    other = copy.deepcopy(critic)
    other(torch.randn(5, 6, dtype=torch.float64))
    torch.testing.assert_close(vectors(critic[0]), before, rtol=0, atol=0)
    assert not torch.equal(next(iter(vectors(other[0]).values())), next(iter(before.values())))


class Noting(nn.Module):
    def forward(self, weight):
        self.lowered = torch.is_autocast_enabled("cpu")
        return weight


def test_singular_values_are_computed_in_full_precision_where_layers_compute_in_bfloat16():
    critic = normalised(nn.Sequential(nn.Linear(6, 4)))
    noting = critic[0].parametrizations.weight[0].inner = Noting()
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(torch.randn(5, 6)).dtype == torch.bfloat16
    assert not noting.lowered


def trainer(**train):
    table = {
        "variant": "sngan",
        "dataset": {"name": "ring"},
        "generator": {"width": 8, "depth": 1},
        "critic": {"width": 8, "depth": 1},
        "train": {"batch_size": 8, **train},
    }
    return Trainer(compose_table(table, device="cpu"))


def test_a_run_in_bfloat16_trains():
    run = trainer(precision="bf16", penalty_precision="32")
    before = copy.deepcopy(run.composition.networks["critic"].state_dict())
    run.iterate()
    after = run.composition.networks["critic"].state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert all(not torch.equal(before[name], after[name]) for name in before if "weight.original" in name)


def test_a_stage_that_a_recipe_freezes_keeps_its_weight_and_its_vectors():
    run = trainer(freeze=["critic:stages<1"])
    before = copy.deepcopy(run.composition.networks["critic"].state_dict())
    run.iterate()
    after = run.composition.networks["critic"].state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("layers.0.")} <= kept
    assert {name for name in before if name.endswith(("original", "_v"))} - kept == {
        f"layers.3.parametrizations.weight.{name}" for name in ("original", "0.inner._v")
    }


def test_a_resumed_run_has_the_vectors_of_the_one_that_was_stopped():
    first, second = trainer(), trainer()
    for _ in range(3):
        first.iterate()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for run in (first, second):
        run.iterate()
    one, other = (run.composition.networks["critic"].state_dict() for run in (first, second))
    assert any(name.endswith("_u") for name in one)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("iterations", [0, -1, 1.5])
def test_iterations_that_make_no_sense_are_refused(iterations):
    with pytest.raises(zoo.BadSetting, match="iterations"):
        zoo.create("lipschitz_constraint", "spectral-norm", iterations=iterations)


def test_the_variant_has_the_papers_settings():
    variant = zoo_spectral_norm.variant()["sngan"]
    assert variant.table["distance"] == "hinge"
    assert variant.table["lipschitz_constraint"] == [{"name": "spectral-norm", "iterations": 1}]
    assert variant.table["train"] == {
        "critic_steps": 5,
        "batch_size": 64,
        "optimizer": {"name": "Adam", "lr": 2e-4, "betas": [0.0, 0.9]},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1802.05957", 2018)
