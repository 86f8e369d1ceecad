"""The Wasserstein distance against optimal transport in one dimension, and weight clipping."""

import math
from importlib.metadata import distribution

import pytest
import torch
import zoo_wgan
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

import zoo
from zoo import Batch, Critic, Density, Generator

Wasserstein = zoo_wgan.distance()["wasserstein"]
WeightClipping = zoo_wgan.lipschitz_constraint()["weight-clipping"]
LISTED_W1 = {
    ((0, 1), (3, 1)): 3.0,
    ((0, 1), (0, 2)): 0.797885,
    ((0, 1), (1, 2)): 1.166631,
    ((-1, 0.5), (2, 3)): 3.280512,
    ((2, 3), (-1, 0.5)): 3.280512,
}
"""Of two Gaussians, each a mean and a standard deviation."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    """A critic that is any function of samples `(N, D)`, with values `(N,)`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, samples, condition=None):
        return self.function(samples)


def of_scores(real_scores, fake_scores):
    """A game whose samples are their own scores."""
    return Batch(critic=Through(lambda x: x.squeeze(1)), real=real_scores, fake=fake_scores)


def normal_grid(mean, sigma, n=20_000):
    """N(mean, sigma^2) as the middles of n slices of equal probability, `(n, 1)`: means over it are integrals."""
    return torch.from_numpy(norm.ppf((torch.arange(n).double() + 0.5) / n, mean, sigma))[:, None]


def game_of_gaussians(function, real, fake):
    return Batch(critic=Through(lambda x: function(x.squeeze(1))), real=normal_grid(*real), fake=normal_grid(*fake))


def w1(real, fake):
    """The area between the distribution functions."""
    crossing = [] if real[1] == fake[1] else [(real[0] * fake[1] - fake[0] * real[1]) / (fake[1] - real[1])]

    def gap(x):
        return abs(norm.cdf(x, *real) - norm.cdf(x, *fake))

    return quad(gap, -40, 40, points=[real[0], fake[0], *crossing], epsabs=1e-9, limit=200)[0]


def optimal_critic(real, fake):
    """Slope 1 or -1, by which distribution function is the larger: a line, or a roof where their graphs cross."""
    if real[1] == fake[1]:
        return lambda x: math.copysign(1, real[0] - fake[0]) * x
    crossing = (real[0] * fake[1] - fake[0] * real[1]) / (fake[1] - real[1])
    return lambda x: math.copysign(1, real[1] - fake[1]) * (x - crossing).abs()


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-wgan").entry_points}
    offered = {
        (hook, name) for hook in ("distance", "lipschitz_constraint", "variant") for name in getattr(zoo_wgan, hook)()
    }
    assert declared == offered


@pytest.mark.parametrize("function", [lambda x: 7 * x, torch.sin, lambda x: 0 * x])
def test_equal_distributions_are_at_distance_0_for_every_critic(function):
    game = game_of_gaussians(function, (1, 2), (1, 2))
    assert Wasserstein().critic_loss(game).item() == 0
    assert Wasserstein().estimate(game).item() == 0


@pytest.mark.parametrize("pair", LISTED_W1)
def test_the_integrated_distance_is_the_listed_one(pair):
    assert w1(*pair) == pytest.approx(LISTED_W1[pair], abs=1e-6)


@pytest.mark.parametrize("pair", LISTED_W1)
def test_the_optimal_critic_shows_w1(pair):
    game = game_of_gaussians(optimal_critic(*pair), *pair)
    assert Wasserstein().estimate(game).item() == pytest.approx(w1(*pair), abs=1e-3)
    assert Wasserstein().critic_loss(game).item() == pytest.approx(-w1(*pair), abs=1e-3)


@pytest.mark.parametrize(
    "function",
    [torch.sin, torch.tanh, lambda x: x, lambda x: -x, lambda x: x.clamp(-1, 1), lambda x: -torch.log1p(x.abs())],
)
@pytest.mark.parametrize("pair", LISTED_W1)
def test_no_critic_of_slope_1_shows_more_than_w1(pair, function):
    assert Wasserstein().estimate(game_of_gaussians(function, *pair)).item() < w1(*pair) + 1e-3


@pytest.mark.parametrize("slope", [0.5, 4.0])
def test_a_critic_of_slope_c_shows_c_times_w1(slope):
    pair = ((0, 1), (1, 2))
    best = optimal_critic(*pair)
    estimate = Wasserstein().estimate(game_of_gaussians(lambda x: slope * best(x), *pair))
    assert estimate.item() == pytest.approx(slope * w1(*pair), abs=slope * 1e-3)


@pytest.mark.parametrize("theta", [-1.0, -0.25, 0.0, 0.25, 1.0])
def test_parallel_lines_are_as_far_apart_as_they_are_and_the_generator_is_always_told_so(theta):
    """Example 1 of the paper: JS is log 2 for every theta but 0, and has no gradient; W1 is |theta|."""
    heights = torch.linspace(0, 1, 16)
    shift = torch.tensor(theta, requires_grad=True)
    real, fake = (torch.stack([x, heights], dim=1) for x in (torch.zeros(16), shift.expand(16)))
    side = math.copysign(1, -theta)
    game = Batch(critic=Through(lambda x: side * x[:, 0]), real=real, fake=fake)
    assert Wasserstein().estimate(game).item() == pytest.approx(abs(theta))
    Wasserstein().generator_loss(game).backward()
    assert shift.grad.item() == pytest.approx(-side)


def test_the_losses_are_means_of_scores_and_around_any_scores_the_gradients_have_their_signs():
    real, fake = torch.randn(8, 1, requires_grad=True), torch.randn(8, 1, requires_grad=True)
    Wasserstein().critic_loss(of_scores(real, fake)).backward()
    torch.testing.assert_close(real.grad, torch.full((8, 1), -1 / 8))
    torch.testing.assert_close(fake.grad, torch.full((8, 1), 1 / 8))


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_generator_step_moves_a_dirac_toward_the_data(side):
    theta = nn.Parameter(torch.zeros(1))
    game = Batch(critic=Through(lambda x: side * x[:, 0]), real=torch.full((4, 1), 2 * side), fake=theta.expand(4, 1))
    Wasserstein().generator_loss(game).backward()
    torch.optim.SGD([theta], lr=0.1).step()
    assert side * theta.item() == pytest.approx(0.1)


def test_a_batch_twice_over_and_scores_of_patches_have_the_same_losses():
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    patches = Through(lambda x: x[..., None].expand(-1, 3, 3))
    others = [of_scores(real.repeat(2, 1), fake.repeat(2, 1)), Batch(critic=patches, real=real, fake=fake)]
    for loss in (Wasserstein().critic_loss, Wasserstein().generator_loss, Wasserstein().estimate):
        for other in others:
            torch.testing.assert_close(loss(other), loss(of_scores(real, fake)))


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))


@pytest.mark.parametrize("limit", [0.01, 0.3])
def test_clipping_clamps_every_trained_parameter_where_it_lies_and_leaves_small_ones_alone(limit):
    critic = perceptron()
    before = {name: parameter.detach().clone() for name, parameter in critic.named_parameters()}
    places = [parameter.data_ptr() for parameter in critic.parameters()]
    with torch.no_grad():
        WeightClipping(limit=limit).project(critic)
    for name, parameter in critic.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name].clamp(-limit, limit), rtol=0, atol=0)
    assert [parameter.data_ptr() for parameter in critic.parameters()] == places
    assert max(parameter.abs().max() for parameter in critic.parameters()).item() == pytest.approx(limit)


def test_clipping_leaves_frozen_parameters_and_buffers_alone():
    critic = nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.BatchNorm1d(3))
    frozen = critic[0].weight.fill_(5.0).clone()
    with torch.no_grad():
        WeightClipping(limit=0.01).project(critic)
    torch.testing.assert_close(critic[0].weight, frozen)
    torch.testing.assert_close(critic[1].running_var, torch.ones(3))
    torch.testing.assert_close(critic[1].weight.detach(), torch.full((3,), 0.01))


@pytest.mark.parametrize("limit", [0.0, -1.0, "small"])
def test_a_limit_that_clips_everything_or_nothing_is_refused(limit):
    with pytest.raises(zoo.BadSetting, match="limit"):
        zoo.create("lipschitz_constraint", "weight-clipping", limit=limit)


def test_clipping_bounds_the_slope_for_certain_but_by_no_known_constant():
    assert WeightClipping().guaranteed
    assert WeightClipping().constant is None


@pytest.mark.parametrize("theta", [0.5, 2.0])
@pytest.mark.parametrize("limit", [0.01, 1.0])
def test_two_diracs_at_theta_and_a_clipped_line_have_a_gap_of_limit_times_theta(theta, limit):
    line = nn.Linear(1, 1, bias=False)
    critic, optimizer = Through(lambda x: line(x).squeeze(1)), torch.optim.SGD(line.parameters(), lr=1.0)
    for _ in range(10):
        game = Batch(critic=critic, real=torch.zeros(4, 1), fake=torch.full((4, 1), theta))
        optimizer.zero_grad()
        Wasserstein().critic_loss(game).backward()
        optimizer.step()
        with torch.no_grad():
            WeightClipping(limit=limit).project(line)
    game = Batch(critic=critic, real=torch.zeros(4, 1), fake=torch.full((4, 1), theta))
    assert Wasserstein().estimate(game).item() == pytest.approx(limit * theta)


class Plane(Density):
    shape = (3,)

    def sample(self, n, draws):
        return draws.randn(n, 3) + 1


class Affine(Generator):
    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, z, condition=None):
        return self.layer(z)


def test_in_training_the_critic_is_clipped_after_each_of_its_steps_and_the_generator_is_not(tmp_path):
    network, generator = perceptron(), Affine()
    critic = Through(lambda x: network(x).squeeze(1))
    critic.network = network
    before, after = [], []

    def largest():
        return max(p.abs().max().item() for p in network.parameters())

    class Watched(WeightClipping):
        def project(self, critic):
            before.append(largest())
            super().project(critic)
            after.append(largest())

    zoo.train(
        out=tmp_path,
        device="cpu",
        dataset=Plane(),
        generator=generator,
        critic=critic,
        distance=Wasserstein(),
        lipschitz_constraint=[Watched(limit=0.05)],
        steps=2,
        critic_steps=3,
        batch_size=8,
        optimizer={"name": "SGD", "lr": 0.1},
    )
    assert len(before) == 6
    assert min(before) > 0.05
    assert after == pytest.approx([0.05] * 6)
    assert generator.layer.weight.abs().max() > 0.05


def test_the_variant_has_the_settings_of_algorithm_1():
    variant = zoo_wgan.variant()["wgan"]
    assert variant.table["distance"] == "wasserstein"
    assert variant.table["lipschitz_constraint"] == [{"name": "weight-clipping", "limit": 0.01}]
    assert variant.table["train"] == {
        "critic_steps": 5,
        "batch_size": 64,
        "optimizer": {"name": "RMSprop", "lr": 5e-5},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1701.07875", 2017)


def test_the_default_limit_is_the_papers():
    assert zoo.create("lipschitz_constraint", "weight-clipping").limit == 0.01
