"""Mode coverage against what theory says of perfect samples, and of known faults."""

import math

import pytest
import torch
from scipy import stats
from zoo_metrics.modes import ModeCoverage, reverse_kl

from zoo import ArrayDataset, Density, Draws, Evidence, IncompatibleParts, Sample

MANY = 20_000


class Mixture(Density):
    """Gaussians of equal weight at given centres."""

    def __init__(self, centres, sigma):
        self.centres, self.sigma, self.shape = centres.float(), sigma, (centres.shape[1],)

    def sample(self, n, draws):
        modes = draws.randint(len(self.centres), n)
        return self.centres[modes] + self.sigma * draws.randn(n, self.shape[0])


def ring(modes=8, sigma=0.01):
    angles = torch.arange(modes) * (2 * math.pi / modes)
    return Mixture(torch.stack([angles.cos(), angles.sin()], dim=1), sigma)


def grid():
    ticks = torch.arange(-4.0, 5.0, 2.0)
    return Mixture(torch.cartesian_prod(ticks, ticks), 0.05)


def cube(dimensions):
    return Mixture(torch.eye(dimensions)[:4], 0.02)


def measured(density, values, **settings):
    sample = Sample(values)
    evidence = Evidence(density.shape, None, len(sample), lambda: sample, lambda: sample, density)
    metric = ModeCoverage(**settings)
    metric.refuse(evidence)
    return metric.measure(evidence)


@pytest.mark.parametrize("density", [ring(), grid(), cube(5), Mixture(torch.tensor([[-1.0], [1.0]]), 0.1)])
@pytest.mark.parametrize("near", [2.0, 3.0])
def test_perfect_samples_have_the_figures_of_theory(density, near):
    found = measured(density, density.sample(MANY, Draws(1)), near=near)
    modes = len(density.centres)
    share = stats.chi2.cdf(near**2, density.shape[0])
    assert found["modes"] == modes
    assert abs(found["high-quality"] - share) < 5 * math.sqrt(share * (1 - share) / MANY)
    good = found["high-quality"] * MANY
    # 2 N KL is nearly chi-squared with K - 1 degrees of freedom.
    assert stats.chi2.ppf(1e-4, modes - 1) < 2 * good * found["reverse-kl"] < stats.chi2.ppf(0.9999, modes - 1)
    # The relative standard error of a standard deviation of n numbers is at most sqrt(1 / 2n).
    error = 5 / math.sqrt(2 * density.shape[0] * MANY / modes)
    assert 1 - error < found["narrowest"] <= found["widest"] < 1 + error


def test_in_the_plane_98_889_percent_are_of_high_quality():
    found = measured(ring(), ring().sample(500_000, Draws(2)))
    share = 1 - math.exp(-4.5)
    assert found["high-quality"] == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 500_000))


def test_the_floor_of_the_reverse_kl_is_k_minus_1_over_2n():
    floors = [measured(grid(), grid().sample(2500, Draws(seed)))["reverse-kl"] for seed in range(20)]
    mean = 24 / (2 * 2500)
    assert sum(floors) / 20 == pytest.approx(mean, abs=5 * mean * math.sqrt(2 / 24 / 20))


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0])
def test_shrunken_modes_are_seen_in_their_width_and_not_in_their_quality(factor):
    density = grid()
    values = Mixture(density.centres, factor * density.sigma).sample(MANY, Draws(3))
    found = measured(density, values)
    assert found["high-quality"] > 0.98
    cut = math.sqrt(stats.chi2.cdf(9, 4) / stats.chi2.cdf(9, 2))
    expected = factor if factor == 1 else factor / cut  # Hardly a sample of narrow ones lies beyond 3 sigma.
    assert found["narrowest"] == pytest.approx(expected, rel=0.12)
    assert found["widest"] == pytest.approx(expected, rel=0.12)


def test_one_wide_and_one_narrow_mode_are_told_apart():
    density = ring(modes=4)
    values = density.sample(MANY, Draws(4))
    nearest = torch.cdist(values, density.centres).argmin(1)
    values[nearest == 2] = density.centres[2] + 0.25 * (values[nearest == 2] - density.centres[2])
    found = measured(density, values)
    assert found["narrowest"] == pytest.approx(0.25, rel=0.1)
    assert found["widest"] == pytest.approx(1, rel=0.1)


def test_the_width_of_two_samples_is_by_the_unbiased_variance():
    density = Mixture(torch.tensor([[0.0, 0.0], [9.0, 9.0]]), 1.0)
    found = measured(density, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [9.0, 9.0]]), near=6.0)
    # The variances of the axes are 2 and 0; of the other mode there is one sample.
    assert (found["narrowest"], found["widest"]) == pytest.approx((1, 1), rel=1e-5)


def test_dropped_modes_are_counted_and_an_imbalance_has_its_divergence():
    density = ring()
    counts = [100, 200, 300, 400, 0, 0, 0, 1000]
    values = density.centres.repeat_interleave(torch.tensor(counts), dim=0)
    found = measured(density, values)
    shares = [count / 2000 for count in counts if count]
    assert found["modes"] == 5
    assert found["reverse-kl"] == pytest.approx(sum(p * math.log(8 * p) for p in shares))
    assert (found["high-quality"], found["narrowest"], found["widest"]) == (1, 0, 0)


def test_a_mode_needs_as_many_samples_as_are_asked_for():
    values = ring().centres.repeat_interleave(torch.tensor([1, 2, 3, 4, 5, 6, 7, 8]), dim=0)
    assert [measured(ring(), values, at_least=n)["modes"] for n in (1, 3, 8, 9)] == [8, 6, 1, 0]


def test_samples_between_modes_are_no_modes():
    centres = ring().centres
    between = (centres + centres.roll(1, 0)) / 2
    found = measured(ring(), torch.cat([between, centres[:1]]))
    assert found["modes"] == 1
    assert found["high-quality"] == pytest.approx(1 / 9)
    assert found["reverse-kl"] == pytest.approx(math.log(8))


def test_nothing_of_quality_is_the_worst_and_finite():
    found = measured(ring(), torch.full((10, 2), 1e6))
    assert found == {"modes": 0, "reverse-kl": math.log(8), "high-quality": 0, "narrowest": 0, "widest": 0}
    assert reverse_kl(torch.tensor([7])) == 0


def test_angles_that_give_a_mode_twice_are_refused():
    angles = torch.linspace(0, 2 * math.pi, 8)
    density = Mixture(torch.stack([angles.cos(), angles.sin()], dim=1), 0.01)
    with pytest.raises(IncompatibleParts, match="the same"):
        measured(density, density.centres)


def test_data_whose_modes_are_not_known_are_refused():
    data = ArrayDataset(torch.zeros(3, 2))
    evidence = Evidence((2,), None, 3, pytest.fail, pytest.fail, data)
    with pytest.raises(IncompatibleParts, match="modes are known"):
        ModeCoverage().refuse(evidence)
