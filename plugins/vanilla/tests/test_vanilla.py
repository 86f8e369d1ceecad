"""The 2014 game against what its paper proves: the values at chance and at the optimal critic, and the gradients."""

import math
from importlib.metadata import distribution

import pytest
import torch
import zoo_vanilla
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from zoo import Batch, Critic

DISTANCES = zoo_vanilla.distance()
LISTED_JS = {0.5: 0.030311, 1.0: 0.111421, 2.0: 0.336831, 4.0: 0.632720}
"""Of N(0, 1) and N(mean, 1), by mean."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    """A critic that is any function of samples `(N, 1)`, with values `(N, 1)`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, samples, condition=None):
        return self.function(samples).squeeze(1)


def scored(real_scores, fake_scores):
    """A game whose samples are their own scores."""
    return Batch(critic=Through(lambda x: x), real=real_scores, fake=fake_scores)


def normal_grid(mean, n=20_000):
    """N(mean, 1) as the middles of n slices of equal probability, `(n, 1)`: means over it are integrals."""
    return torch.from_numpy(norm.ppf((torch.arange(n).double() + 0.5) / n))[:, None] + mean


def optimal_logit(mean):
    """log p/q of N(0, 1) and N(mean, 1)."""
    return Through(lambda x: mean**2 / 2 - mean * x)


def jensen_shannon(mean):
    """Of N(0, 1) and N(mean, 1) in nats, integrated from its definition."""

    def excess(x, here, other):
        p, q = norm.pdf(x, here), norm.pdf(x, other)
        return p * math.log(2 * p / (p + q))

    parts = [quad(excess, mean / 2 - 12, mean / 2 + 12, args=pair, epsabs=1e-10)[0] for pair in [(0, mean), (mean, 0)]]
    return sum(parts) / 2


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-vanilla").entry_points}
    offered = {("distance", name) for name in DISTANCES} | {("variant", name) for name in zoo_vanilla.variant()}
    assert declared == offered


@pytest.mark.parametrize("name", DISTANCES)
def test_a_critic_that_cannot_tell_has_a_loss_of_log_4_and_sees_no_divergence(name):
    game = scored(torch.zeros(16, 1), torch.zeros(16, 1))
    assert DISTANCES[name]().critic_loss(game).item() == pytest.approx(math.log(4))
    assert DISTANCES[name]().estimate(game).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("name", "value"), [("minimax", -math.log(2)), ("non-saturating", math.log(2))])
def test_the_generators_losses_at_chance(name, value):
    assert DISTANCES[name]().generator_loss(scored(torch.zeros(8, 1), torch.zeros(8, 1))).item() == pytest.approx(value)


@pytest.mark.parametrize(("mean", "listed"), list(LISTED_JS.items()))
def test_the_integrated_jensen_shannon_divergence_is_the_listed_one(mean, listed):
    assert jensen_shannon(mean) == pytest.approx(listed, abs=1e-6)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("mean", LISTED_JS)
def test_the_optimal_critic_reaches_log_4_minus_twice_js(name, mean):
    game = Batch(critic=optimal_logit(mean), real=normal_grid(0), fake=normal_grid(mean))
    js = jensen_shannon(mean)
    assert DISTANCES[name]().critic_loss(game).item() == pytest.approx(math.log(4) - 2 * js, abs=1e-4)
    assert DISTANCES[name]().estimate(game).item() == pytest.approx(js, abs=1e-4)


def test_the_value_at_the_optimal_critic_of_unit_gaussians_is_the_listed_one():
    game = Batch(critic=optimal_logit(1.0), real=normal_grid(0), fake=normal_grid(1.0))
    assert DISTANCES["minimax"]().critic_loss(game).item() == pytest.approx(1.163451, abs=1e-4)


def test_the_minimax_generators_loss_at_the_optimal_critic_is_the_integral_of_q_log_of_q_over_p_plus_q():
    expected, _ = quad(lambda x: norm.pdf(x, 1) * math.log(norm.pdf(x, 1) / (norm.pdf(x) + norm.pdf(x, 1))), -12, 13)
    game = Batch(critic=optimal_logit(1.0), real=normal_grid(0), fake=normal_grid(1.0))
    assert DISTANCES["minimax"]().generator_loss(game).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "worse",
    [
        lambda x: 0 * x,
        lambda x: x - 0.5,
        lambda x: 2 * (0.5 - x),
        lambda x: 0.7 - x,
        lambda x: (0.5 - x).clamp(-1, 1),
        lambda x: 0.5 - x + 0.2 * torch.sin(3 * x),
    ],
)
def test_no_critic_shows_more_than_js(worse):
    game = Batch(critic=Through(worse), real=normal_grid(0), fake=normal_grid(1.0))
    assert DISTANCES["minimax"]().estimate(game).item() < jensen_shannon(1.0) - 1e-3


@pytest.mark.parametrize("name", DISTANCES)
def test_the_critics_gradients_are_those_of_cross_entropy(name):
    real, fake = torch.linspace(-4, 4, 9)[:, None], torch.linspace(-3, 5, 9)[:, None]
    real, fake = real.requires_grad_(), fake.requires_grad_()
    DISTANCES[name]().critic_loss(scored(real, fake)).backward()
    torch.testing.assert_close(9 * real.grad, torch.sigmoid(real) - 1)
    torch.testing.assert_close(9 * fake.grad, torch.sigmoid(fake))


@pytest.mark.parametrize("name", DISTANCES)
def test_around_zero_raising_real_scores_lowers_the_critics_loss_and_raising_fake_ones_raises_it(name):
    real, fake = torch.zeros(4, 1, requires_grad=True), torch.zeros(4, 1, requires_grad=True)
    DISTANCES[name]().critic_loss(scored(real, fake)).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


def generator_slope(name, score):
    """How the generator's loss changes with the score of one fake."""
    fake = torch.tensor([[score]], dtype=torch.float64, requires_grad=True)
    DISTANCES[name]().generator_loss(scored(torch.zeros(1, 1), fake)).backward()
    return fake.grad.item()


@pytest.mark.parametrize("score", [-10.0, -1.0, 0.0, 3.0])
def test_the_generators_slopes_are_those_of_both_games(score):
    sure = 1 / (1 + math.exp(-score))
    assert generator_slope("minimax", score) == pytest.approx(-sure)
    assert generator_slope("non-saturating", score) == pytest.approx(-(1 - sure))


def test_where_the_critic_is_sure_minimax_stalls_and_the_non_saturating_loss_does_not():
    assert generator_slope("minimax", -10.0) == pytest.approx(-4.5e-5, rel=0.01)
    assert generator_slope("non-saturating", -10.0) == pytest.approx(-0.99995, abs=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_generator_step_moves_a_dirac_toward_the_data(name, side):
    theta = nn.Parameter(torch.zeros(1))
    game = Batch(critic=Through(lambda x: side * x), real=torch.full((4, 1), 2 * side), fake=theta.expand(4, 1))
    DISTANCES[name]().generator_loss(game).backward()
    torch.optim.SGD([theta], lr=0.1).step()
    assert 0 < side * theta.item() < 2


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_any_size_give_finite_losses_and_gradients(name, size):
    real, fake = torch.full((2, 1), size, requires_grad=True), torch.full((2, 1), -size, requires_grad=True)
    game = scored(real, fake)
    loss = DISTANCES[name]().critic_loss(game) + DISTANCES[name]().generator_loss(game)
    loss.backward()
    assert loss.isfinite()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()


@pytest.mark.parametrize("name", DISTANCES)
def test_a_batch_twice_over_has_the_same_losses(name):
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    once, twice = scored(real, fake), scored(real.repeat(2, 1), fake.repeat(2, 1))
    for loss in (DISTANCES[name]().critic_loss, DISTANCES[name]().generator_loss, DISTANCES[name]().estimate):
        torch.testing.assert_close(loss(once), loss(twice))


@pytest.mark.parametrize("name", DISTANCES)
def test_scores_of_patches_count_alike(name):
    patches = Through(lambda x: x[..., None, None].expand(-1, -1, 3, 3))
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    whole, parts = scored(real, fake), Batch(critic=patches, real=real, fake=fake)
    for loss in (DISTANCES[name]().critic_loss, DISTANCES[name]().generator_loss):
        torch.testing.assert_close(loss(parts), loss(whole))


def trained_critic(steps):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    critic = Through(network)
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        game = Batch(critic=critic, real=torch.randn(512, 1), fake=torch.randn(512, 1) + 1, track=False)
        optimizer.zero_grad()
        DISTANCES["minimax"]().critic_loss(game).backward()
        optimizer.step()
        schedule.step()
    return critic


def test_a_trained_critic_recovers_the_log_ratio_of_the_densities_and_js():
    critic = trained_critic(400)
    points = torch.linspace(-2, 3, 101)[:, None]
    logits, expected = critic(points).detach(), (0.5 - points).squeeze(1)
    r_squared = 1 - (logits - expected).square().sum() / (expected - expected.mean()).square().sum()
    assert r_squared > 0.97
    with torch.no_grad():
        game = Batch(critic=critic, real=normal_grid(0).float(), fake=normal_grid(1.0).float(), track=False)
        js = DISTANCES["minimax"]().estimate(game).item()
    assert jensen_shannon(1.0) - 0.005 < js <= jensen_shannon(1.0) + 1e-4


@pytest.mark.parametrize(("name", "distance"), [("vanilla", "non-saturating"), ("vanilla-minimax", "minimax")])
def test_the_variants_are_the_papers_game_with_the_settings_of_dcgan(name, distance):
    variant = zoo_vanilla.variant()[name]
    assert variant.table["distance"] == distance
    assert "lipschitz_constraint" not in variant.table
    assert variant.table["train"] == {
        "critic_steps": 1,
        "batch_size": 64,
        "optimizer": {"name": "Adam", "lr": 2e-4, "betas": [0.5, 0.999]},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1406.2661", 2014)
