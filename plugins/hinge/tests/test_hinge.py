"""The hinge loss against NumPy in double precision, its best critic in closed form, and its gradients."""

import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_hinge
from scipy import integrate, stats

from zoo import Batch, Critic

Hinge = zoo_hinge.distance()["hinge"]


class Itself(Critic):
    """Scores `(N, 1)` are the samples."""

    def forward(self, samples, condition=None):
        return samples.squeeze(1)


class Table(Critic):
    """A score of its own for each of the points 0, 1, 2, ..."""

    def __init__(self, scores):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.tensor(scores, dtype=torch.float64))

    def forward(self, samples, condition=None):
        return self.scores[samples.squeeze(1).long()]


def scored(real, fake):
    return Batch(critic=Itself(), real=real[:, None], fake=fake[:, None])


def drawn(n, seed, scale=2.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=scale, size=n))


def samples(shares, n=40):
    return torch.cat([torch.full((round(n * share), 1), float(k)) for k, share in enumerate(shares)])


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-hinge").entry_points}
    assert declared == {("distance", "hinge")} | {("variant", name) for name in zoo_hinge.variant()}


def test_losses_are_the_means_of_the_papers_formulas():
    real, fake = drawn(50, 0), drawn(50, 1)
    x, y = real.numpy(), fake.numpy()
    expected = np.maximum(0, 1 - x).mean() + np.maximum(0, 1 + y).mean()
    assert Hinge().critic_loss(scored(real, fake)).item() == pytest.approx(expected, rel=1e-12)
    assert Hinge().generator_loss(scored(real, fake)).item() == pytest.approx(-y.mean(), rel=1e-12)


def test_only_samples_within_their_margin_move_the_critic_and_all_fakes_move_the_generator():
    real = torch.tensor([-3.0, 0.0, 0.9, 1.1, 5.0]).requires_grad_()
    fake = torch.tensor([-4.0, -1.1, -0.9, 0.0, 2.0]).requires_grad_()
    Hinge().critic_loss(scored(real, fake)).backward()
    assert real.grad.tolist() == pytest.approx([-0.2, -0.2, -0.2, 0, 0])
    assert fake.grad.tolist() == pytest.approx([0, 0, 0.2, 0.2, 0.2])
    fake.grad = None
    Hinge().generator_loss(scored(real, fake)).backward()
    assert fake.grad.tolist() == pytest.approx([-0.2] * 5)


def test_at_equal_scores_within_the_margin_the_loss_is_2_and_the_estimate_0():
    for level in (-1.0, -0.3, 0.0, 1.0):
        scores = torch.full((8,), level)
        assert Hinge().critic_loss(scored(scores, scores)).item() == pytest.approx(2)
        assert Hinge().estimate(scored(scores, scores)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("p", "q"), [((0.5, 0.3, 0.2), (0.1, 0.3, 0.6)), ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7))])
def test_the_best_critic_is_the_sign_of_p_minus_q_and_its_loss_is_2_less_twice_the_total_variation(p, q):
    real, fake = samples(p), samples(q)
    variation = 0.5 * sum(abs(a - b) for a, b in zip(p, q, strict=True))
    critic = Table([0.3, 0.2, -0.1])
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        Hinge().critic_loss(Batch(critic=critic, real=real, fake=fake)).backward()
        optimizer.step()
    game = Batch(critic=critic, real=real, fake=fake)
    assert critic.scores.tolist() == pytest.approx([1, 0.2, -1], abs=0.05)  # Where p = q, any score will do.
    assert Hinge().critic_loss(game).item() == pytest.approx(2 - 2 * variation, abs=0.05)
    assert Hinge().estimate(game).item() == pytest.approx(variation, abs=0.03)


def test_between_two_normals_the_best_loss_is_the_integral_of_twice_the_smaller_density():
    p, q = stats.norm(0, 1), stats.norm(1, 1)
    # Quantiles stand for the densities; the best critic is 1 where p > q, that is left of 1/2, and -1 elsewhere.
    shares = (np.arange(20_000) + 0.5) / 20_000
    scores = [torch.from_numpy(np.where(law.ppf(shares) < 0.5, 1.0, -1.0)) for law in (p, q)]
    smaller = integrate.quad(lambda x: 2 * min(p.pdf(x), q.pdf(x)), -10, 11, points=[0.5])[0]
    assert smaller == pytest.approx(1.234150, abs=1e-6)
    assert Hinge().critic_loss(scored(*scores)).item() == pytest.approx(smaller, abs=1e-3)
    variation = 2 * stats.norm.cdf(0.5) - 1
    assert Hinge().estimate(scored(*scores)).item() == pytest.approx(variation, abs=1e-3)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_any_size_give_finite_losses(size):
    real, fake = torch.full((2,), size), torch.full((2,), -size)
    assert math.isfinite(Hinge().critic_loss(scored(real, fake)).item())
    assert Hinge().critic_loss(scored(real, fake)).item() == max(0, 2 - 2 * size)
