"""Wasserstein distances: scipy in 1-D, permutations, closed forms, POT's slices."""

import math

import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.datasets import load_digits
from zoo_metrics.transport import SlicedWasserstein, Wasserstein, directions, sliced

from zoo import Draws, Evidence, Sample


def evidence(real, fake, seed=0):
    draws = Draws(seed)
    return Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake), draws=draws)


def exact(real, fake, **settings):
    return Wasserstein(**settings).measure(evidence(real, fake))


def along_lines(real, fake, seed=0, **settings):
    return SlicedWasserstein(**settings).measure(evidence(real, fake, seed))["sliced"]


@pytest.mark.parametrize(("n", "m"), [(100, 100), (60, 85)])
def test_w1_of_one_variable_is_scipys(n, m):
    x, y = Draws(0).randn(n, 1), Draws(1).randn(m, 1) * 2 + 1
    assert exact(x, y)["w1"] == pytest.approx(wasserstein_distance(x.flatten(), y.flatten()), rel=1e-9)


def test_it_is_the_cheapest_permutation_of_digits():
    data = torch.from_numpy(load_digits().images).float()[:200, None] / 8 - 1
    one, other = data[:100], data[100:]
    costs = cdist(one.flatten(1).double(), other.flatten(1).double())
    found = exact(one, other)
    assert found["w1"] == pytest.approx(costs[linear_sum_assignment(costs)].mean(), rel=1e-9)
    squares = costs**2
    assert found["w2"] == pytest.approx(math.sqrt(squares[linear_sum_assignment(squares)].mean()), rel=1e-9)


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 4, 4), (40,)])
def test_a_translation_costs_its_length(shape):
    x, shift = Draws(0).randn(80, *shape), Draws(1).randn(*shape)
    length = shift.norm().item()
    found = exact(x, x + shift)
    assert found["w1"] == pytest.approx(length, rel=1e-6)
    assert found["w2"] == pytest.approx(length, rel=1e-6)


def test_of_gaussians_of_equal_covariance_it_nears_the_distance_of_means():
    distances = []
    for n in (50, 200, 800):
        draws = Draws(n)
        distances.append(exact(draws.randn(n, 2), draws.randn(n, 2) + torch.tensor([3.0, 4.0])))
    w2 = [found["w2"] for found in distances]
    assert abs(w2[-1] - 5) < 0.1
    assert all(found["w1"] <= found["w2"] for found in distances)


def test_of_normals_of_one_variable_it_is_the_closed_form():
    """W2^2 is (m1 - m2)^2 + (s1 - s2)^2; at evenly spaced quantiles the samples hardly deviate from the densities."""
    levels = (torch.arange(1000) + 0.5).double() / 1000
    normal = torch.special.ndtri(levels).float()[:, None]
    found = exact(normal, 3 * normal + 2)
    assert found["w2"] == pytest.approx(math.sqrt(4 + 4), rel=0.01)


def test_more_than_the_most_are_cut_down_by_the_metrics_own_seed():
    x, y = Draws(0).randn(300, 2), Draws(1).randn(300, 2)
    draws = Draws(5)
    chosen = [z[draws.randperm(300)[:40]] for z in (x, y)]
    metric = Wasserstein(samples=40)
    found = metric.measure(evidence(x, y, seed=5))
    assert found == pytest.approx(exact(*chosen))
    assert found == metric.measure(evidence(x, y, seed=5))
    assert found != metric.measure(evidence(x, y, seed=6))


def test_equal_samples_are_at_no_distance_of_any_kind():
    same = torch.full((30, 40), 7.0)
    assert exact(same, same) == {"w1": 0, "w2": 0}
    assert along_lines(same, same) == 0
    assert exact(same, same + 1)["w1"] == pytest.approx(math.sqrt(40), rel=1e-9)
    tiny = exact(1e-20 * Draws(0).randn(20, 2), 1e-20 * Draws(1).randn(20, 2))["w1"]
    assert 1e-21 < tiny < 1e-19


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(("n", "m"), [(120, 120), (120, 75)])
def test_along_the_same_lines_it_is_pots(n, m, p):
    x, y = Draws(0).randn(n, 10).double(), Draws(1).randn(m, 10).double() * 2 + 0.5
    lines = directions(10, 100, Draws(2))
    assert torch.allclose(lines.norm(dim=0), torch.ones(100, dtype=torch.float64))
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=lines.numpy(), p=p)
    assert sliced(x, y, lines, p) == pytest.approx(float(expected), rel=1e-9)
    measured = along_lines(x.float(), y.float(), seed=2, projections=100, p=p)
    assert measured == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("p", "figure"), [(1, "w1"), (2, "w2")])
def test_of_one_variable_it_is_the_wasserstein_distance(p, figure):
    x, y = Draws(0).randn(90, 1), Draws(1).randn(90, 1) + 2
    assert along_lines(x, y, p=p) == pytest.approx(exact(x, y)[figure], rel=1e-9)


def test_a_translation_costs_its_mean_square_along_lines():
    """E (u.t)^2 is |t|^2 / D for uniform directions u."""
    x, shift = Draws(0).randn(50, 4), torch.tensor([2.0, 0, 0, 0])
    assert along_lines(x, x + shift, projections=20_000, p=2) == pytest.approx(1, rel=0.02)


def test_lines_come_from_the_metrics_own_seed_and_are_not_used_up():
    x, y = Draws(0).randn(50, 5), Draws(1).randn(50, 5)
    one = evidence(x, y, seed=3)
    metric = SlicedWasserstein(projections=5)
    assert metric.measure(one) == metric.measure(one)
    assert metric.measure(one) != metric.measure(evidence(x, y, seed=4))
