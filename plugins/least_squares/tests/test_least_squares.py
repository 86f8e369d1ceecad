"""Least squares against NumPy in double precision, the best critic in closed form, and the divergence that it shows."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_least_squares
from scipy import integrate, stats

from zoo import BadSetting, Batch, Critic

LeastSquares = zoo_least_squares.distance()["least-squares"]
CODES = [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (-3.0, 2.0, 0.5)]


class Itself(Critic):
    """Scores `(N, 1)` are the samples."""

    def forward(self, samples, condition=None):
        return samples.squeeze(1)


def scored(real, fake):
    return Batch(critic=Itself(), real=real[:, None], fake=fake[:, None])


def drawn(n, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2, size=n))


def least_squares(a, b, c):
    return LeastSquares(a=a, b=b, c=c)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-least-squares").entry_points}
    assert declared == {("distance", "least-squares"), ("variant", "lsgan")}


def test_its_texts_name_the_other_method_of_a_like_name():
    assert "loss-sensitive" in LeastSquares.__doc__
    assert "ls-gan" in zoo_least_squares.variant()["lsgan"].summary


@pytest.mark.parametrize(("a", "b", "c"), CODES)
def test_losses_and_gradients_are_the_papers(a, b, c):
    real, fake = drawn(40, 0).requires_grad_(), drawn(40, 1).requires_grad_()
    x, y = real.detach().numpy(), fake.detach().numpy()
    loss = least_squares(a, b, c).critic_loss(scored(real, fake))
    assert loss.item() == pytest.approx(((x - b) ** 2).mean() / 2 + ((y - a) ** 2).mean() / 2, rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(real.grad.numpy(), (x - b) / 40, rtol=1e-10)
    np.testing.assert_allclose(fake.grad.numpy(), (y - a) / 40, rtol=1e-10)
    fake.grad = None
    loss = least_squares(a, b, c).generator_loss(scored(real, fake))
    assert loss.item() == pytest.approx(((y - c) ** 2).mean() / 2, rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(fake.grad.numpy(), (y - c) / 40, rtol=1e-10)


@pytest.mark.parametrize(("a", "b", "c"), CODES)
def test_where_nothing_can_be_told_the_best_loss_is_a_quarter_of_the_gap_squared(a, b, c):
    """Equation 5 at p = q: every score is (a + b) / 2, and the estimate is 0."""
    middle = torch.full((8,), (a + b) / 2)
    assert least_squares(a, b, c).critic_loss(scored(middle, middle)).item() == pytest.approx((b - a) ** 2 / 4)
    assert least_squares(a, b, c).estimate(scored(middle, middle)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("a", "b", "c"), CODES)
def test_between_two_normals_the_best_critic_shows_the_integral(a, b, c):
    """The best score is (b p + a q) / (p + q) (eq. 5); quantiles stand for the densities."""
    p, q = stats.norm(0, 1), stats.norm(1, 1)
    shares = (np.arange(20_000) + 0.5) / 20_000
    points = [law.ppf(shares) for law in (p, q)]
    scores = [torch.from_numpy((b * p.pdf(x) + a * q.pdf(x)) / (p.pdf(x) + q.pdf(x))) for x in points]
    found = least_squares(a, b, c)
    product = integrate.quad(lambda x: p.pdf(x) * q.pdf(x) / (p.pdf(x) + q.pdf(x)), -12, 13)[0]
    assert found.critic_loss(scored(*scores)).item() == pytest.approx((b - a) ** 2 * product / 2, rel=1e-3)
    difference = integrate.quad(lambda x: (p.pdf(x) - q.pdf(x)) ** 2 / (p.pdf(x) + q.pdf(x)), -12, 13)[0]
    assert difference == pytest.approx(0.408109, abs=1e-5)
    assert found.estimate(scored(*scores)).item() == pytest.approx(difference, abs=1e-3)


def test_no_other_critic_shows_more_than_the_best():
    best = [torch.tensor([0.9, 0.6]), torch.tensor([0.4, 0.1])]
    shown = [LeastSquares().estimate(scored(*(each + shift for each in best))).item() for shift in (-0.2, 0.0, 0.2)]
    assert max(shown) == shown[1]


@pytest.mark.parametrize(("a", "b", "c"), [(1, 1, 2), (1, 0, 2), (0, 1, 0), (0, 1, -1)])
def test_aims_by_which_low_would_be_real_or_fakes_would_be_driven_from_the_data_are_refused(a, b, c):
    with pytest.raises(BadSetting, match="below b and c"):
        LeastSquares(a=float(a), b=float(b), c=float(c))


def test_with_the_aims_of_equation_8_the_generator_minimises_chi_squared_of_p_plus_q_from_2_q():
    """E D(x)^2 + E D(y)^2 at the best critic of (-1, 1, 0), which is tanh of half the log ratio."""
    shares = (np.arange(20_000) + 0.5) / 20_000
    scores = [torch.from_numpy(np.tanh((0.5 - stats.norm(m, 1).ppf(shares)) / 2)) for m in (0, 1)]
    game = scored(*scores)
    both = game.real_scores.square().mean() + 2 * LeastSquares(a=-1.0, b=1.0, c=0.0).generator_loss(game)
    assert both.item() == pytest.approx(0.408109, abs=1e-4)
