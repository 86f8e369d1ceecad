"""The energy distance and the Gaussian kernel's discrepancy: scipy, scikit-learn, closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from zoo_metrics import rows
from zoo_metrics.discrepancies import Energy, Mmd, median_distance

from zoo import BadData, Draws, Evidence, Sample


def measured(metric, real, fake):
    evidence = Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake))
    (figure,) = metric.measure(evidence).values()
    return figure


def energy(real, fake):
    return measured(Energy(), real, fake)


def mmd(real, fake, **settings):
    return measured(Mmd(**settings), real, fake)


def halves():
    data = torch.from_numpy(load_digits().images).float()[:400, None] / 8 - 1
    return data[:200], data[200:] * 0.9


def unbiased(kernel, x, y):
    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


@pytest.mark.parametrize(("n", "m"), [(100, 100), (60, 85)])
def test_energy_of_one_variable_is_the_square_of_scipys(n, m):
    x, y = Draws(0).randn(n, 1), Draws(1).randn(m, 1) * 2 + 1
    assert energy(x, y) == pytest.approx(energy_distance(x.flatten(), y.flatten()) ** 2, rel=1e-9)


def test_energy_of_digits_is_the_definition():
    one, other = halves()
    x, y = (z.flatten(1).double().numpy() for z in (one, other))
    between, first, second = (euclidean_distances(a, b).mean() for a, b in ((x, y), (x, x), (y, y)))
    assert energy(one, other) == pytest.approx(2 * between - first - second, rel=1e-6)


def test_energy_of_two_normals_is_the_closed_form():
    """E|N(m, s^2)| is s sqrt(2/pi) exp(-m^2 / 2 s^2) + m (1 - 2 Phi(-m / s))."""
    folded = lambda m, s: (  # noqa: E731
        s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s**2)) + m * math.erf(m / (s * math.sqrt(2)))
    )
    expected = 2 * folded(1, math.sqrt(2)) - 2 * folded(0, math.sqrt(2))
    normal = torch.special.ndtri((torch.arange(2000) + 0.5).double() / 2000).float()[:, None]
    assert energy(normal, normal + 1) == pytest.approx(expected, rel=2e-3)


def test_energy_is_not_below_0_and_0_of_equal_samples():
    x = Draws(0).randn(50, 40)
    assert 0 <= energy(x, x.flip(0)) < 1e-6
    same = torch.full((20, 40), 3.0)
    assert energy(same, same) == 0
    assert energy(same, same + 1) == pytest.approx(2 * math.sqrt(40), rel=1e-6)


@pytest.mark.parametrize("d", [3, 64])
def test_mmd_is_a_mean_of_scikit_learns_kernels(d):
    x, y = Draws(0).randn(80, d), Draws(1).randn(60, d) * 1.1 + 0.2
    kernels = lambda a, b: np.mean([rbf_kernel(a, b, gamma=1 / (2 * (0.7 * s) ** 2)) for s in (1, 2, 4, 8, 16)], 0)  # noqa: E731
    expected = unbiased(kernels, x.double().numpy(), y.double().numpy())
    assert mmd(x, y, bandwidth=0.7) == pytest.approx(expected, rel=1e-7)


def test_mmd_of_digits_takes_the_median_of_the_real_ones():
    one, other = halves()
    x, y = (z.flatten(1).double().numpy() for z in (one, other))
    unit = np.median(euclidean_distances(x)[np.triu_indices(200, 1)])
    kernels = lambda a, b: np.mean([rbf_kernel(a, b, gamma=1 / (2 * (unit * s) ** 2)) for s in (1, 2, 4, 8, 16)], 0)  # noqa: E731
    assert median_distance(torch.from_numpy(x)) == pytest.approx(unit, rel=1e-3)
    assert mmd(one, other) == pytest.approx(unbiased(kernels, x, y), rel=1e-3)


def closed(m, s):
    """The kernel's mean over N(0, 1) x N(m, 1): a normal of variance 2 + s^2, scaled."""
    return s / math.sqrt(s**2 + 2) * math.exp(-(m**2) / (2 * (s**2 + 2)))


@pytest.mark.parametrize("widths", [(1.0,), (2.0,), (1.0, 2.0, 4.0, 8.0, 16.0)])
def test_mmd_of_two_normals_is_the_closed_form(widths):
    expected = sum(2 * closed(0, s) - 2 * closed(1, s) for s in widths) / len(widths)
    draws = Draws(0)
    values = torch.tensor(
        [mmd(draws.randn(500, 1), draws.randn(500, 1) + 1, bandwidth=1.0, multiples=widths) for _ in range(30)]
    )
    assert values.mean().item() == pytest.approx(expected, abs=4 * values.std().item() / math.sqrt(30))
    assert values.std() < 0.2 * expected


def test_mmd_of_equal_distributions_is_0_on_average():
    draws = Draws(1)
    values = torch.tensor([mmd(draws.randn(40, 3), draws.randn(40, 3)) for _ in range(200)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert values.min() < 0


def test_blocks_do_not_change_them(monkeypatch):
    x, y = Draws(0).randn(90, 40), Draws(1).randn(70, 40)
    whole = energy(x, y), mmd(x, y)
    monkeypatch.setattr(rows, "BLOCK", 500)
    assert (energy(x, y), mmd(x, y)) == pytest.approx(whole, rel=1e-9)


def test_a_median_of_many_duplicates_is_that_of_the_others():
    x = torch.zeros(20, 40, dtype=torch.float64) + 5
    x[0] += 1
    assert median_distance(x) == pytest.approx(math.sqrt(40))
    assert math.isfinite(mmd(x.float(), x.float() + 1))


def test_real_samples_that_are_all_equal_give_no_bandwidth():
    same = torch.full((20, 40), 0.1)
    with pytest.raises(BadData, match="the real samples are all equal.*bandwidth to a number"):
        mmd(same, same + 1)
    assert mmd(same, same, bandwidth=1.0) == pytest.approx(0, abs=1e-9)
    assert 0 < mmd(same, same + 1, bandwidth=1.0) <= 2
