"""The Frechet distance: torch-fidelity's own, closed forms, singular covariances."""

import math

import pytest
import torch
from zoo_metrics.frechet import Frechet, frechet_distance

from zoo import Draws, Evidence, Sample


def frechet(real, fake, **settings):
    evidence = Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake))
    return Frechet(**settings).measure(evidence)["frechet"]


def correlated(n, d, seed):
    draws = Draws(seed)
    return (draws.randn(n, d) @ draws.randn(d, d) / math.sqrt(d) + draws.randn(d)).double()


@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 3), (300, 300, 64), (200, 1000, 100)])
def test_it_is_torch_fidelitys_own_of_regular_covariances(n, m, d):
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    one, other = correlated(n, d, 0), correlated(m, d, 1)
    statistics = [fid.fid_features_to_statistics(x) for x in (one, other)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet(one.float(), other.float()) == pytest.approx(expected, rel=1e-5)


def test_it_is_torch_fidelitys_own_of_fewer_samples_than_features():
    """Singular covariances; torch-fidelity's roots of eigenvalues near 0 lose half of the digits."""
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    one, other = correlated(40, 100, 0), correlated(60, 100, 1)
    statistics = [fid.fid_features_to_statistics(x) for x in (one, other)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_of_one_variable_it_is_the_squared_difference_of_means_and_of_deviations():
    x = Draws(0).randn(1000, 1).double()
    y = 3 + 2 * Draws(1).randn(1000, 1).double()
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-10)


def test_a_translation_costs_its_square_and_a_scaling_its_share_of_the_variance():
    x = correlated(300, 10, 0)
    shift = Draws(1).randn(10).double()
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift @ shift), rel=1e-9)
    around = (x - x.mean(0)) * 3
    variance = (x - x.mean(0)).square().sum().item() / 299
    assert frechet_distance(x - x.mean(0), around) == pytest.approx(4 * variance, rel=1e-9)


def test_covariances_that_do_not_commute():
    """tr sqrt(S1 S2) by the symmetric formula sqrt(sqrt(S1) S2 sqrt(S1)) of scipy."""
    linalg = pytest.importorskip("scipy.linalg")
    one, other = correlated(400, 6, 3), correlated(300, 6, 4)
    first, second = torch.cov(one.T).numpy(), torch.cov(other.T).numpy()
    root = linalg.sqrtm(first).real
    cross = linalg.sqrtm(root @ second @ root).real.trace()
    difference = (one.mean(0) - other.mean(0)).numpy()
    expected = difference @ difference + first.trace() + second.trace() - 2 * cross
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-8)


def test_equal_samples_are_at_no_distance_and_none_is_below_0():
    x = correlated(30, 50, 0)
    assert 0 <= frechet_distance(x, x.flip(0)) < 1e-12


def test_constant_samples_have_a_finite_figure():
    x, same = correlated(50, 8, 0), torch.full((50, 8), 2.0, dtype=torch.float64)
    expected = (x.mean(0) - 2).square().sum() + x.var(0).sum()
    assert frechet_distance(x, same) == pytest.approx(expected.item(), rel=1e-10)
    assert frechet_distance(same, same) == 0
    assert frechet(same.float(), (same + 1).float()) == pytest.approx(8)
