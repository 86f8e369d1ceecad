"""f-GAN's table, every row against numerical integration and maximisation, and losses in double precision."""

import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_f_divergence
from scipy import integrate, optimize, stats

from zoo import Batch, Critic

FDivergence = zoo_f_divergence.distance()["f-divergence"]
P, Q = stats.norm(0, 1), stats.norm(1, 1)

F = {
    "kl": lambda u: u * np.log(u),
    "reverse-kl": lambda u: -np.log(u),
    "pearson": lambda u: (u - 1) ** 2,
    "squared-hellinger": lambda u: (np.sqrt(u) - 1) ** 2,
    "jensen-shannon": lambda u: -(u + 1) * np.log((1 + u) / 2) + u * np.log(u),
    "total-variation": lambda u: np.abs(u - 1) / 2,
}
"""f, by which D(p | q) is the mean over q of f(p / q)."""
SLOPE = {
    "kl": lambda u: 1 + np.log(u),
    "reverse-kl": lambda u: -1 / u,
    "pearson": lambda u: 2 * (u - 1),
    "squared-hellinger": lambda u: 1 - u**-0.5,
    "jensen-shannon": lambda u: np.log(2 * u / (1 + u)),
    "total-variation": lambda u: np.sign(u - 1) / 2,
}
"""f', which is T* at u = p / q."""
SCORE = {
    "kl": lambda t: t,
    "reverse-kl": lambda t: -np.log(-t),
    "pearson": lambda t: t,
    "squared-hellinger": lambda t: -np.log(1 - t),
    "jensen-shannon": lambda t: -np.log(np.exp(np.log(2) - t) - 1),
    "total-variation": lambda t: 20 * np.sign(t),
}
"""The score whose activation is t."""
VALUE = {
    "kl": 0.5,
    "reverse-kl": 0.5,
    "pearson": math.e - 1,
    "squared-hellinger": 2 - 2 * math.exp(-1 / 8),
    "jensen-shannon": 0.111421,
    "total-variation": 2 * stats.norm.cdf(0.5) - 1,
}
"""Of N(0, 1) from N(1, 1), under its own name: half of f-GAN's for Jensen-Shannon."""
EVERY = pytest.mark.parametrize("name", list(F))


class Itself(Critic):
    """Scores `(N, 1)` are the samples."""

    def forward(self, samples, condition=None):
        return samples.squeeze(1)


def scored(real, fake):
    return Batch(critic=Itself(), real=real[:, None], fake=fake[:, None])


def activated(name, scores):
    """g_f, from the generator's loss."""
    each = torch.tensor([scores], dtype=torch.float64)
    return -FDivergence(divergence=name).generator_loss(scored(each, each)).item()


def conjugated(name, scores):
    """f*(g_f), from the generator's saturating loss."""
    each = torch.tensor([scores], dtype=torch.float64)
    return -FDivergence(divergence=name, saturating=True).generator_loss(scored(each, each)).item()


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-f-divergence").entry_points}
    assert declared == {("distance", "f-divergence")} | {("variant", name) for name in zoo_f_divergence.variant()}
    assert set(F) == set(zoo_f_divergence.DIVERGENCES)


@EVERY
@pytest.mark.parametrize("score", [-1.5, -0.3, 0.0, 0.4, 0.9])
def test_the_conjugate_is_the_supremum_of_a_line_over_f(name, score):
    """f*(t) = sup_u (u t - f(u)), looked for in log u."""
    t = activated(name, score)
    if name == "total-variation":
        assert abs(t) <= 0.5  # There the supremum is at the kink, u = 1, and is t itself.
        assert conjugated(name, score) == pytest.approx(t)
        return
    found = optimize.minimize_scalar(lambda s: F[name](np.exp(s)) - t * np.exp(s), bounds=(-12, 6), method="bounded")
    floor = -F[name](1e-300) if name in ("kl", "pearson") else -math.inf  # u = 0 is allowed.
    if name == "pearson" and t < -2:
        return
    assert conjugated(name, score) == pytest.approx(max(-found.fun, floor), abs=1e-4)


@EVERY
def test_at_the_best_critic_the_bound_is_the_divergence(name):
    """E_p T* - E_q f*(T*) = D, integrated; REFERENCES of the table are computed here anew."""

    def score(x):
        return float(SCORE[name](SLOPE[name](P.pdf(x) / Q.pdf(x))))

    cut = [0.5] if name == "total-variation" else None
    gain = integrate.quad(lambda x: P.pdf(x) * activated(name, score(x)), -7, 8, points=cut)[0]
    cost = integrate.quad(lambda x: Q.pdf(x) * conjugated(name, score(x)), -7, 8, points=cut)[0]
    direct = integrate.quad(lambda x: Q.pdf(x) * F[name](P.pdf(x) / Q.pdf(x)), -7, 8, points=cut)[0]
    assert gain - cost == pytest.approx(direct, abs=1e-4)
    assert direct * zoo_f_divergence.DIVERGENCES[name].share == pytest.approx(VALUE[name], abs=1e-3)


@EVERY
def test_the_estimate_of_the_best_critic_on_samples_is_the_divergence(name):
    shares = (np.arange(20_000) + 0.5) / 20_000
    points = [law.ppf(shares) for law in (P, Q)]
    scores = [torch.from_numpy(np.asarray(SCORE[name](SLOPE[name](P.pdf(x) / Q.pdf(x))))) for x in points]
    found = FDivergence(divergence=name).estimate(scored(*scores)).item()
    # The tail of the chi-squared integrand is heavy, and quantiles end before it.
    assert found == pytest.approx(VALUE[name], rel=0.03 if name == "pearson" else 5e-3)


@EVERY
def test_where_p_is_q_no_critic_shows_more_than_nothing(name):
    level = float(SCORE[name](SLOPE[name](np.float64(1)))) if name != "total-variation" else 0.0
    same = torch.full((16,), level, dtype=torch.float64)
    assert FDivergence(divergence=name).estimate(scored(same, same)).item() == pytest.approx(0, abs=1e-12)
    other = torch.linspace(-1, 1, 16, dtype=torch.float64)
    assert FDivergence(divergence=name).estimate(scored(other, other)).item() <= 1e-12


@EVERY
@pytest.mark.parametrize("saturating", [False, True])
def test_gradients_by_the_scores_are_those_of_differences(name, saturating):
    distance = FDivergence(divergence=name, saturating=saturating)
    real, fake = (torch.linspace(-1.2, 1.1, 7, dtype=torch.float64) + s for s in (0.0, 0.3))
    for loss in (distance.critic_loss, distance.generator_loss):
        assert torch.autograd.gradcheck(
            lambda a, b, loss=loss: loss(scored(a, b)), (real.clone().requires_grad_(), fake.clone().requires_grad_())
        )


def test_the_kl_critics_loss_is_written_out():
    real, fake = (torch.from_numpy(np.random.default_rng(s).normal(size=30)) for s in (0, 1))
    expected = np.exp(fake.numpy() - 1).mean() - real.numpy().mean()
    assert FDivergence(divergence="kl").critic_loss(scored(real, fake)).item() == pytest.approx(expected, rel=1e-12)


@EVERY
@pytest.mark.parametrize("size", [300.0, 1e4, 1e20])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_large_scores_give_finite_losses_and_gradients_in_single_precision(name, size, signs):
    size = min(size, 1e15) if name == "pearson" else size  # Its loss is a square.
    real, fake = (torch.full((2,), sign * size, requires_grad=True) for sign in signs)
    for saturating in (False, True):
        distance = FDivergence(divergence=name, saturating=saturating)
        for loss in (distance.critic_loss(scored(real, fake)), distance.generator_loss(scored(real, fake))):
            found = torch.autograd.grad(loss, (real, fake), allow_unused=True, materialize_grads=True)
            assert all(each.isfinite().all() for each in (loss, *found))


@pytest.mark.parametrize("name", ["kl", "reverse-kl", "squared-hellinger"])
def test_scores_are_tamed_beyond_20_only_and_stay_increasing_there(name):
    scores = torch.tensor([-500.0, -21.0, -19.9, 0.0, 19.9, 21.0, 500.0], dtype=torch.float64, requires_grad=True)
    distance = FDivergence(divergence=name, saturating=True)
    for part in (distance._of.activation, distance._of.conjugate):
        (slopes,) = torch.autograd.grad(part(scores).sum(), scores)
        assert (slopes > 0).all()
    conjugate = {"kl": lambda t: np.exp(t - 1), "reverse-kl": lambda t: -1 - np.log(-t)}.get(
        name, lambda t: t / (1 - t)
    )
    for score in scores.tolist():
        assert conjugated(name, score) == pytest.approx(conjugate(activated(name, score)), rel=1e-3)
    within = [-19.9, 0.0, 19.9]
    activations = np.array([activated(name, score) for score in within])
    np.testing.assert_allclose(SCORE[name](activations), within, rtol=1e-6, atol=1e-12)


@EVERY
@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
def test_no_critic_shows_more_than_the_divergence_however_large_its_scores(name, size):
    """On three points, with shares of 40 samples."""
    p, q = np.array([20, 15, 5]), np.array([5, 5, 30])
    distance, random = FDivergence(divergence=name), np.random.default_rng(0)
    divergence = distance._of.share * (q / 40 * F[name](p / q)).sum()
    critics = [random.normal(scale=size, size=3) for _ in range(50)] + [size * np.array([1, 1, -1])]
    shown = [distance.estimate(scored(*(torch.from_numpy(np.repeat(v, n)) for n in (p, q)))).item() for v in critics]
    assert max(shown) <= divergence + 1e-9
