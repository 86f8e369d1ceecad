"""Orthonormal weights and GroupSort: singular values, slopes of exactly 1, and W1 that is never overestimated."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_orthogonal
from scipy.stats import norm, wasserstein_distance
from torch import nn

import zoo
from zoo import Batch, IncompatibleParts, Scores

Orthogonal = zoo_orthogonal.lipschitz_constraint()["orthogonal"]
GroupSortCritic = zoo_orthogonal.critic()["groupsort"]
GroupSort = zoo_orthogonal.GroupSort
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def constrained(critic, iterations=10):
    Orthogonal(iterations=iterations).parametrize(critic)
    return critic


def sorting(shape=(8,), iterations=10, **settings):
    torch.manual_seed(0)
    return constrained(GroupSortCritic(shape, **settings).double(), iterations)


def moved(critic, size=0.3):
    """The critic with weights as an optimiser might leave them."""
    with torch.no_grad():
        for index, parameter in enumerate(critic.parameters()):
            parameter.add_(size * drawn(*parameter.shape, seed=index).to(parameter.dtype))
    return critic


def slopes(critic, points):
    points = points.clone().requires_grad_()
    found = critic(points)
    scores = found.values if isinstance(found, Scores) else found
    (gradients,) = torch.autograd.grad(scores.sum(), points)
    return gradients.flatten(1).norm(dim=1)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-orthogonal").entry_points}
    hooks = ("lipschitz_constraint", "critic", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_orthogonal, hook)()}


@pytest.mark.parametrize("shape", [(8, 8), (4, 9), (9, 4), (1, 6)])
def test_a_weight_becomes_the_nearest_orthonormal_matrix(shape):
    layer = constrained(nn.Sequential(nn.Linear(*shape[::-1]).double()), 60)[0]
    weight = drawn(*shape)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(5 * weight)
    left, _, right = np.linalg.svd(weight.numpy(), full_matrices=False)
    np.testing.assert_allclose(layer.weight.detach().numpy(), left @ right, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_few_iterations_are_those_of_the_formula_and_leave_no_singular_value_above_1(iterations, scale):
    layer = constrained(nn.Sequential(nn.Linear(9, 6).double()), iterations)[0]
    weight = scale * drawn(6, 9)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(weight)
    values = np.linalg.svd(weight.numpy(), compute_uv=False)
    values = values / (values**16).sum() ** (1 / 16)
    for _ in range(iterations):
        values = 1.5 * values - 0.5 * values**3
    found = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
    np.testing.assert_allclose(found, np.sort(values)[::-1], rtol=1e-9)
    assert found.max() <= 1


def test_weights_of_0_stay_0_without_nan():
    layer = constrained(nn.Sequential(nn.Linear(4, 4)))[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    layer.weight.sum().backward()
    assert not layer.weight.any()


def test_the_gradient_through_the_iteration_is_that_of_finite_differences():
    layer, chosen = constrained(nn.Sequential(nn.Linear(5, 4, bias=False).double()), 30)[0], drawn(4, 5, seed=1)
    weight = layer.parametrizations.weight.original
    with torch.no_grad():
        weight.add_(0.2 * drawn(4, 5, seed=2))
    (layer.weight * chosen).sum().backward()
    move, step, ends = drawn(4, 5, seed=3), 1e-5, []
    with torch.no_grad():
        for shift in (step, -2 * step):
            weight.add_(shift * move)
            ends.append((layer.weight * chosen).sum())
    torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), (weight.grad * move).sum(), rtol=1e-4, atol=1e-6)


def test_a_critic_starts_with_the_nearest_orthonormal_weights_to_its_own():
    critic = nn.Sequential(nn.Linear(6, 6).double())
    before = critic[0].weight.detach().numpy().copy()
    left, _, right = np.linalg.svd(before)
    constrained(critic)
    np.testing.assert_allclose(critic[0].parametrizations.weight.original.detach().numpy(), left @ right, atol=1e-9)


@pytest.mark.parametrize("group", [2, 4, 8])
@pytest.mark.parametrize("shape", [(8,), (2, 2, 2)])
def test_with_groupsort_the_slope_is_1_everywhere_also_after_weights_have_moved(shape, group):
    points = 3 * drawn(300, *shape)
    for critic, tolerance in (
        (sorting(shape, width=8, depth=4, group=group), 1e-6),
        (moved(sorting(shape, width=8, depth=4, group=group), 0.05), 1e-6),
        (moved(sorting(shape, iterations=40, width=8, depth=4, group=group)), 1e-6),
    ):
        np.testing.assert_allclose(slopes(critic, points).numpy(), 1.0, atol=tolerance)


def test_with_rectifiers_the_slope_falls_far_below_1():
    torch.manual_seed(0)
    layers = [each for _ in range(3) for each in (nn.Linear(64, 64).double(), nn.ReLU())]
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight)
    critic = constrained(nn.Sequential(*layers, nn.Linear(64, 1).double()))
    found = slopes(critic, drawn(300, 64))
    assert found.min() > 0.2
    assert found.max() < 0.7


def test_layers_that_widen_make_slopes_of_at_most_1():
    found = slopes(moved(sorting((2,), width=32)), drawn(300, 2))
    assert found.max() <= 1 + 1e-9
    assert found.min() < 0.9


def test_groupsort_sorts_neighbours_and_of_two_it_is_maxmin():
    values = torch.tensor([[3.0, 1.0, 2.0, 5.0], [0.0, 0.0, -1.0, -2.0]])
    assert GroupSort(2)(values).tolist() == [[1, 3, 2, 5], [0, 0, -2, -1]]
    assert GroupSort(4)(values).tolist() == [[1, 2, 3, 5], [-2, -1, 0, 0]]
    pairs = drawn(50, 2)
    expected = torch.stack([pairs.amin(1), pairs.amax(1)], dim=1)
    torch.testing.assert_close(GroupSort(2)(pairs), expected)


def test_it_keeps_the_norm_of_gradients_also_where_units_are_equal():
    values, chosen = torch.zeros(3, 4, requires_grad=True), torch.tensor([1.0, 2.0, 3.0, 4.0])
    (GroupSort(2)(values) * chosen).sum().backward()
    torch.testing.assert_close(values.grad.norm(dim=1), chosen.norm().expand(3))


def test_without_hidden_layers_it_is_a_linear_critic_of_norm_1():
    critic = moved(sorting((3, 2, 2), depth=0))
    np.testing.assert_allclose(slopes(critic, drawn(20, 3, 2, 2)).numpy(), 1.0, rtol=1e-6)


def test_its_weights_start_orthogonal_also_without_the_constraint():
    critic = GroupSortCritic((4, 2), width=8)
    for layer in critic.layers[1::2]:
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(len(layer.weight)), rtol=0, atol=1e-5)
        assert not layer.bias.any()


def test_a_width_that_cannot_be_split_in_groups_is_refused():
    with pytest.raises(IncompatibleParts, match="groups of 2"):
        GroupSortCritic((2,), width=9)


def grid(mean, sigma, n=100):
    """N(mean, sigma^2) as the middles of n slices of equal probability."""
    return torch.from_numpy(norm.ppf((np.arange(n) + 0.5) / n, mean, sigma))[:, None]


@pytest.mark.parametrize("pair", [((0, 1), (3, 1)), ((0, 1), (0, 2)), ((-1, 0.5), (2, 3))])
def test_a_trained_critic_shows_w1_from_below_never_more(pair):
    real, fake = (grid(*law) for law in pair)
    w1 = wasserstein_distance(real[:, 0].numpy(), fake[:, 0].numpy())
    critic, estimates = sorting((1,), width=8, depth=2), []
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        game = Batch(critic=critic, real=real, fake=fake)
        loss = game.fake_scores.mean() - game.real_scores.mean()
        loss.backward()
        optimizer.step()
        estimates.append(-loss.item())
    assert max(estimates) <= w1 + 1e-9
    assert estimates[-1] > 0.97 * w1


@pytest.mark.parametrize("theta", [0.5, -2.0])
def test_two_diracs_at_theta_have_a_gap_of_theta(theta):
    critic = sorting((1,), depth=0)
    optimizer = torch.optim.SGD(critic.parameters(), lr=1.0)
    real, fake = torch.zeros(4, 1, dtype=DOUBLE), torch.full((4, 1), theta, dtype=DOUBLE)
    with torch.no_grad():
        critic.layers[-1].parametrizations.weight.original.fill_(-1.0 if theta > 0 else 1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (critic(fake).mean() - critic(real).mean()).backward()
        optimizer.step()
    assert (critic(real) - critic(fake)).mean().item() == pytest.approx(abs(theta))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))


REFUSED = {
    "a convolution": lambda: nn.Conv2d(1, 4, 3),
    "batch normalisation": lambda: nn.BatchNorm1d(4),
    "normalisation without weights": lambda: nn.LayerNorm(4, elementwise_affine=False),
    "dropout": lambda: nn.Dropout(0.5),
    "SiLU": nn.SiLU,
    "a steep leak": lambda: nn.LeakyReLU(2.0),
    "a parameter of its own": Scaled,
    "an embedding": lambda: nn.Embedding(3, 4),
    "a frozen layer": lambda: nn.Linear(4, 4).requires_grad_(False),
    "a layer that is orthonormal already": lambda: constrained(nn.Sequential(nn.Linear(4, 4)))[0],
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_critic_whose_slope_may_exceed_1_is_refused_and_left_as_it_was(what):
    critic = nn.Sequential(nn.Linear(4, 4), REFUSED[what]())
    before = critic[0].weight.detach().clone()
    with pytest.raises(IncompatibleParts, match=r"\b1 \(.*groupsort"):
        constrained(critic)
    torch.testing.assert_close(critic[0].weight.detach(), before, rtol=0, atol=0)
    assert type(critic[0]) is nn.Linear


def test_a_critic_without_layers_is_refused():
    with pytest.raises(IncompatibleParts, match="none: use groupsort"):
        constrained(nn.Flatten(0))


def test_a_recipe_with_convolutions_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(IncompatibleParts, match="--critic groupsort"):
        zoo.train("wgan-groupsort", dataset="digits", critic="dcgan", out=tmp_path, device="cpu")


def test_dropout_that_leaves_nothing_out_is_no_hindrance():
    constrained(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.Linear(4, 1)))


def test_perceptrons_of_other_activations_are_taken():
    for activation in ("relu", "leaky_relu", "tanh", "elu", "maxout"):
        critic = constrained(zoo.create("critic", "mlp", shape=(4,), width=8, activation=activation)).double()
        assert slopes(moved(critic), drawn(100, 4)).max() <= 1 + 1e-6


def test_weights_are_orthonormal_in_full_precision_where_layers_compute_in_bfloat16():
    critic = constrained(nn.Sequential(nn.Linear(16, 16)))
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(torch.randn(2, 16)).dtype == torch.bfloat16
        weight = critic[0].weight.detach()
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight @ weight.T, torch.eye(16), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "setting"), [("orthogonal", "iterations"), ("groupsort", "group")])
def test_settings_without_meaning_are_refused_by_name(name, setting):
    hook, context = ("critic", {"shape": (2,)}) if name == "groupsort" else ("lipschitz_constraint", {})
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create(hook, name, **context, **{setting: 0})


def test_it_guarantees_a_slope_of_1():
    assert (Orthogonal.constant, Orthogonal.guaranteed) == (1.0, True)


def test_the_variant_has_no_penalty():
    variant = zoo_orthogonal.variant()["wgan-groupsort"]
    assert (variant.table["distance"], variant.table["critic"]) == ("wasserstein", "groupsort")
    assert variant.table["lipschitz_constraint"] == [{"name": "orthogonal"}]
    assert variant.table["train"]["critic_steps"] == 5
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1811.05381", 2019)
