import math

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad
from sklearn.datasets import make_swiss_roll
from zoo_datasets.densities import Gaussian1D, Grid, Mixture1D, Ring, SwissRoll

from zoo import Draws

ALL = [Ring, Grid, Gaussian1D, Mixture1D, SwissRoll]
MIXTURES = [
    Ring(),
    Ring(modes=5, radius=2.0, sigma=0.3),
    Grid(),
    Grid(side=4, spacing=1.0, sigma=0.2, scale=0.5),
    Gaussian1D(),
    Gaussian1D(mean=-1.0, sigma=0.25),
    Mixture1D(),
    Mixture1D(modes=5, spacing=2.0, sigma=0.05),
]


def mass(density, reach, step):
    """The integral of the density over [-reach, reach] squared."""
    ticks = torch.arange(-reach, reach, step, dtype=torch.float64)
    return density.log_density(torch.cartesian_prod(ticks, ticks)).exp().sum().item() * step**2


def test_the_ring_has_eight_centres_and_not_seven():
    ring = Ring()
    assert len(np.unique(ring.centres.numpy().round(4), axis=0)) == 8
    assert torch.allclose(ring.centres.norm(dim=1), torch.ones(8))
    spacing = torch.pdist(ring.centres).sort().values[:8]
    assert torch.allclose(spacing, torch.full((8,), 2 * math.sin(math.pi / 8)))
    assert ring.sigma == 0.01


def test_the_grid_has_the_centres_of_the_papers():
    grid = Grid()
    expected = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(centre) for centre in grid.centres.tolist()} == expected
    assert grid.sigma == 0.05


def test_scale_multiplies_centres_and_sigma_of_the_grid():
    grid = Grid(scale=1 / 2.828)
    assert torch.allclose(grid.centres, Grid().centres / 2.828)
    assert grid.sigma == pytest.approx(0.05 / 2.828)


def test_gaussian_1d_is_one_mode_on_the_line():
    assert Gaussian1D().shape == (1,)
    assert Gaussian1D(mean=-2.0, sigma=0.5).centres.tolist() == [[-2.0]]


def test_mixture_1d_has_its_modes_around_0():
    assert Mixture1D().shape == (1,)
    assert Mixture1D().centres.tolist() == [[-2.0], [2.0]]
    assert Mixture1D(modes=3, spacing=1.5, sigma=0.1).centres.tolist() == [[-1.5], [0.0], [1.5]]


@pytest.mark.parametrize("density", MIXTURES)
def test_log_density_of_a_mixture_is_scipys(density):
    points = 3 * torch.randn(200, *density.shape, generator=torch.Generator().manual_seed(1)).double()
    points = torch.cat([points, density.sample(50, Draws(2)).double()])
    logs = [
        scipy.stats.multivariate_normal(centre, density.sigma**2).logpdf(points.numpy())
        for centre in density.centres.double().numpy()
    ]
    expected = scipy.special.logsumexp(np.stack(logs), axis=0) - math.log(len(density.centres))
    assert density.log_density(points).shape == (250,)
    np.testing.assert_allclose(density.log_density(points).numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("density", MIXTURES)
def test_samples_of_a_mixture_have_its_modes_and_its_noise(density):
    samples = density.sample(20_000, Draws(3))
    assert samples.shape == (20_000, *density.shape)
    assert samples.dtype == torch.float32
    nearest = torch.cdist(samples, density.centres).argmin(1)
    if density.sigma < 0.1:  # the modes are apart
        assert scipy.stats.chisquare(torch.bincount(nearest)).pvalue > 1e-3
        noise = (samples - density.centres[nearest]) / density.sigma
        assert scipy.stats.kstest(noise.flatten(), "norm").pvalue > 1e-3
    weight = 1 / len(density.centres)
    covariance = density.centres.T @ density.centres * weight - torch.outer(*[density.centres.mean(0)] * 2)
    covariance += density.sigma**2 * torch.eye(len(covariance))
    spread = covariance.max().item()
    assert torch.allclose(samples.mean(0), density.centres.mean(0), atol=5 * math.sqrt(spread / 20_000))
    assert torch.allclose(samples.T.cov().view_as(covariance), covariance, atol=0.06 * spread)


def test_98_9_percent_of_the_ring_lie_within_three_sigma():
    ring = Ring()
    distance = torch.cdist(ring.sample(20_000, Draws(4)), ring.centres).amin(1)
    share = (distance < 3 * ring.sigma).float().mean().item()
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.003)


@pytest.mark.parametrize(
    ("density", "reach", "step"),
    [(Ring(sigma=0.1), 1.8, 0.05), (Grid(sigma=0.3), 6.0, 0.15), (SwissRoll(noise=0.5), 2.4, 0.06)],
)
def test_densities_integrate_to_one(density, reach, step):
    assert mass(density, reach, step) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("noise", [0.05, 0.25, 2.0])
def test_swiss_roll_log_density_is_the_integral_over_the_spiral(noise):
    ends = (0.001, 0.01, 0.1)
    points = torch.cat([SwissRoll(noise=noise).sample(6, Draws(5)), torch.tensor([[0.0, 0.0], [0.3, -1.9]])])

    def integrand(t, x, y):
        squares = (x - t * math.cos(t)) ** 2 + (y - t * math.sin(t)) ** 2
        return math.exp((closest - squares) / (2 * noise**2))

    for point, got in zip(points.double(), SwissRoll(noise=noise).log_density(points.double()), strict=True):
        x, y = (7.5 * point).tolist()
        t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 20_001)
        distances = (x - t * np.cos(t)) ** 2 + (y - t * np.sin(t)) ** 2
        closest, peaks = distances.min(), t[scipy.signal.argrelmin(distances)]
        breaks = [*peaks, *(t[0] + width for width in ends), *(t[-1] - width for width in ends)]
        integral, _ = quad(integrand, t[0], t[-1], args=(x, y), points=breaks, limit=500)
        constant = 7.5**2 / (3 * math.pi * 2 * math.pi * noise**2)
        expected = math.log(integral * constant) - closest / (2 * noise**2)
        assert got.item() == pytest.approx(expected, abs=1e-6)


def test_swiss_roll_is_distributed_like_sklearns():
    ours = SwissRoll().sample(8000, Draws(6)).numpy()
    theirs = make_swiss_roll(8000, noise=0.25, random_state=7)[0][:, [0, 2]] / 7.5
    for angle in np.linspace(0, np.pi, 8, endpoint=False):
        direction = np.array([np.cos(angle), np.sin(angle)])
        assert scipy.stats.ks_2samp(ours @ direction, theirs @ direction).pvalue > 1e-3
    radii = (np.linalg.norm(points, axis=1) for points in (ours, theirs))
    assert scipy.stats.ks_2samp(*radii).pvalue > 1e-3
    logs = (SwissRoll().log_density(torch.as_tensor(points[:1000])).numpy() for points in (ours, theirs))
    assert scipy.stats.ks_2samp(*logs).pvalue > 1e-3


@pytest.mark.parametrize("factory", ALL)
def test_the_same_seed_gives_the_same_samples_and_another_seed_others(factory):
    first, again, other = (factory().sample(64, Draws(seed)) for seed in (8, 8, 9))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("factory", ALL)
def test_densities_are_endless_vectors_without_labels(factory):
    density = factory()
    assert density.kind == "vector"
    assert density.size is None
    assert density.classes is None
    assert density.sample(0, Draws(0)).shape == (0, *density.shape)


@pytest.mark.parametrize("factory", ALL)
def test_log_density_does_not_depend_on_its_neighbours_and_has_a_gradient(factory):
    density = factory()
    points = density.sample(2500, Draws(10)).requires_grad_()
    together = density.log_density(points)
    together.sum().backward()
    assert torch.allclose(together[2400:], density.log_density(points[2400:]), atol=1e-4)
    step = 1e-6 * torch.ones_like(points, dtype=torch.float64)
    doubled = points.detach().double()
    slope = (density.log_density(doubled + step) - density.log_density(doubled - step)) / 2e-6
    assert torch.allclose(points.grad.sum(1).double(), slope, rtol=1e-2, atol=0.05)
