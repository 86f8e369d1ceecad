"""The gradient penalty against critics whose slopes are known, and against each mistake that is often copied."""

import math
from importlib.metadata import distribution

import pytest
import torch
import zoo_wgan_gp
from scipy.stats import kstest
from torch import nn

import zoo
from zoo import Batch, Critic, Density, Distance, Draws, Generator, IncompatibleParts

GradientPenalty = zoo_wgan_gp.lipschitz_constraint()["gradient-penalty"]
SHAPES = [(1,), (2,), (1, 8, 8), (3, 8, 8)]
SIZES = [1, 4, 16, 64]
PLACES = ["segment", "real", "fake"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    """A critic that is any function of samples, with values `(N,)`, and that keeps what it was asked."""

    def __init__(self, function, **networks):
        super().__init__()
        self.function, self.networks, self.asked = function, nn.ModuleDict(networks), []

    def forward(self, samples, condition=None):
        self.asked.append(samples)
        return self.function(samples)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(shape, slope=1.0):
    """f(x) = <w, x> with |w| = slope over all dimensions of one sample."""
    weight = nn.Parameter(nn.functional.normalize(drawn(math.prod(shape), seed=7), dim=0) * slope)
    return Through(lambda x: x.flatten(1) @ weight)


def bowl():
    """f(x) = |x|^2 / 2, whose slope at x is |x|: another at every point."""
    return Through(lambda x: x.flatten(1).square().sum(1) / 2)


def game(critic, size=16, shape=(3, 8, 8), **fields):
    real, fake = drawn(size, *shape, seed=1), drawn(size, *shape, seed=2) + 3
    return Batch(critic=critic, **{"real": real, "fake": fake, "draws": Draws(3)} | fields)


def penalty(batch, **settings):
    return GradientPenalty(**settings).penalty(batch)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-wgan-gp").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_wgan_gp, hook)()}


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("sample", PLACES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_critic_of_norm_1_has_no_penalty(shape, size, sample, sides):
    assert penalty(game(linear(shape), size, shape), sample=sample, sides=sides).item() < 1e-10


@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_a_linear_critic_has_the_penalty_of_the_formula(size, constant, slope):
    batch = game(linear((3, 8, 8), slope), size)
    two = penalty(batch, weight=10.0, constant=constant).item()
    one = penalty(batch, weight=10.0, constant=constant, sides="one").item()
    assert two == pytest.approx(10 * (slope - constant) ** 2, abs=1e-4)
    assert one == pytest.approx(10 * max(slope - constant, 0) ** 2, abs=1e-4)


@pytest.mark.parametrize("sample", ["real", "fake"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_has_a_norm_of_its_own_over_all_its_dimensions(shape, size, sample):
    batch = game(bowl(), size, shape)
    norms = torch.stack([torch.linalg.norm(point.flatten()) for point in getattr(batch, sample)])
    expected = 10 * (norms - 1).square().mean()
    torch.testing.assert_close(penalty(batch, sample=sample), expected)


@pytest.mark.parametrize("sample", ["real", "fake"])
@pytest.mark.parametrize("gamma", [0.3, 10.0])
def test_centred_at_0_it_is_r1_at_real_points_and_r2_at_fakes_with_half_of_gamma_as_weight(gamma, sample):
    value = penalty(game(linear((2,), 1.5), shape=(2,)), weight=gamma / 2, constant=0.0, sample=sample)
    assert value.item() == pytest.approx(gamma / 2 * 1.5**2)


def shares(critic, batch):
    """How far along each sample's segment it was asked, `(N, D)`, one column a dimension; fake is 0, real 1."""
    (points,) = critic.asked
    real, fake = batch.real.flatten(1), batch.fake.flatten(1)
    return (points.detach().flatten(1) - fake) / (real - fake)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_slopes_are_taken_on_each_samples_own_segment(shape, size):
    critic = linear(shape)
    batch = Batch(critic=critic, real=torch.zeros(size, *shape), fake=1 + drawn(size, *shape).abs(), draws=Draws(3))
    penalty(batch)
    along = shares(critic, batch)
    torch.testing.assert_close(along, along[:, :1].expand_as(along), rtol=0, atol=1e-5)
    assert along.min() >= 0
    assert along.max() <= 1
    assert len(along[:, 0].unique()) == size


def test_the_place_on_the_segment_is_uniform_and_another_in_each_batch():
    critics, draws = [linear((1,)), linear((1,))], Draws(3)
    places = []
    for critic in critics:
        batch = Batch(critic=critic, real=torch.zeros(2000, 1), fake=torch.ones(2000, 1), draws=draws)
        penalty(batch)
        places.append(shares(critic, batch)[:, 0])
    assert all(kstest(place.numpy(), "uniform").pvalue > 0.01 for place in places)
    assert (places[0] - places[1]).abs().mean() == pytest.approx(1 / 3, abs=0.03)


def test_the_same_draws_give_the_same_penalty_and_others_another():
    first, same, other = (penalty(game(bowl(), draws=Draws(seed))) for seed in (1, 1, 2))
    assert first == same
    assert first != other


class TwiceOver(Draws):
    """Draws half as much, twice over."""

    def rand(self, *shape):
        return super().rand(shape[0] // 2, *shape[1:]).repeat(2, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("sample", PLACES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_twice_over_with_its_draws_has_the_same_penalty(shape, size, sample):
    once = game(bowl(), size, shape)
    times = [2] + [1] * len(shape)
    twice = Batch(critic=bowl(), real=once.real.repeat(times), fake=once.fake.repeat(times), draws=TwiceOver(3))
    torch.testing.assert_close(penalty(once, sample=sample), penalty(twice, sample=sample))


@pytest.mark.parametrize("sample", PLACES)
def test_samples_in_double_precision_have_their_penalty_in_double_precision(sample):
    weight = nn.functional.normalize(drawn(12, seed=7).double(), dim=0) * 1.5
    real, fake = drawn(8, 12, seed=1).double(), drawn(8, 12, seed=2).double()
    batch = Batch(critic=Through(lambda x: x @ weight), real=real, fake=fake, draws=Draws(0))
    assert penalty(batch, sample=sample).item() == pytest.approx(2.5, rel=1e-12)


def test_the_penalty_moves_the_critics_parameters_as_the_formula_says():
    weight = nn.Parameter(drawn(12))
    batch = game(Through(lambda x: x @ weight), 8, (12,))
    penalty(batch, weight=10.0).backward()
    norm = weight.detach().norm()
    torch.testing.assert_close(weight.grad, 20 * (norm - 1) * weight.detach() / norm)


@pytest.mark.parametrize("sides", ["two", "one"])
def test_the_penalty_of_a_network_has_the_gradient_of_its_finite_differences(sides):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    with torch.no_grad():
        network[2].weight.mul_(20)

    def value():
        return penalty(game(Through(lambda x: network(x).squeeze(1)), 8, (2,)), sides=sides)

    (gradient,) = torch.autograd.grad(value(), [network[0].weight])
    direction, step = drawn(16, 2, seed=9), 1e-3
    with torch.no_grad():
        ends = []
        for move in (step, -2 * step):
            network[0].weight.add_(move * direction)
            with torch.enable_grad():
                ends.append(value().detach())
    torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), (gradient * direction).sum(), rtol=0.01, atol=0)


def test_one_sided_leaves_slopes_below_the_constant_alone_with_no_gradient():
    weight = nn.Parameter(torch.full((4,), 0.3))
    value = penalty(game(Through(lambda x: x @ weight), 8, (4,)), sides="one")
    value.backward()
    assert value.item() == 0
    assert not weight.grad.any()


FLAT = {
    "zero weights": lambda: nn.Linear(4, 1),
    "dead units": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)),
}


@pytest.mark.parametrize("constant", [0.0, 1.0])
@pytest.mark.parametrize("flat", FLAT)
def test_where_the_critic_is_flat_the_penalty_and_its_gradients_are_finite(flat, constant):
    network = FLAT[flat]()
    with torch.no_grad():
        network[0].bias.fill_(-1e3) if flat == "dead units" else network.weight.zero_()
    value = penalty(game(Through(lambda x: network(x).squeeze(1)), 8, (4,)), constant=constant)
    gradients = torch.autograd.grad(value, list(network.parameters()), allow_unused=True)
    assert value.item() == pytest.approx(10 * constant**2)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def test_the_slope_of_patches_is_that_of_their_mean():
    weight = nn.functional.normalize(drawn(12, seed=7), dim=0)
    factors = torch.tensor([[0.5, 1.5], [2.5, -0.5]])
    critic = Through(lambda x: (x @ weight)[:, None, None] * factors)
    assert penalty(game(critic, 8, (12,))).item() < 1e-10


def test_samples_of_several_tensors_have_one_norm_and_one_place_on_their_segment():
    first, second = nn.functional.normalize(drawn(5, seed=7), dim=0).split([2, 3])
    critic = Through(lambda pair: pair[0] @ first + pair[1] @ second)
    real, fake = (tuple(torch.full((16, size), value) for size in (2, 3)) for value in (0.0, 1.0))
    value = penalty(Batch(critic=critic, real=real, fake=fake, draws=Draws(0)))
    assert value.item() < 1e-10
    left, right = critic.asked[0]
    torch.testing.assert_close(left[:, 0], right[:, 2])
    assert len(left[:, 0].unique()) == 16


@pytest.mark.parametrize("theta", [0.5, 2.0])
@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(("constant", "sides"), [(1.0, "two"), (1.0, "one"), (0.0, "two")])
def test_between_two_diracs_the_best_slope_is_that_of_the_closed_form(constant, sides, weight, theta):
    """Of gap - penalty = theta k - weight (k - C)^2, at k* = C + theta / (2 weight)."""
    slope = nn.Parameter(torch.tensor([-(constant + theta / (2 * weight))]))
    critic = Through(lambda x: x @ slope)
    batch = Batch(critic=critic, real=torch.zeros(4, 1), fake=torch.full((4, 1), theta), draws=Draws(0))
    gap = batch.real_scores.mean() - batch.fake_scores.mean()
    objective = gap - penalty(batch, weight=weight, constant=constant, sides=sides)
    objective.backward()
    assert gap.item() == pytest.approx(constant * theta + theta**2 / (2 * weight))
    assert objective.item() == pytest.approx(constant * theta + theta**2 / (4 * weight), rel=1e-5)
    assert slope.grad.item() == pytest.approx(0, abs=1e-4)


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


class Difference(Distance):
    """The difference of mean scores."""

    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def perceptron(norm):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), norm, nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return Through(lambda x: network(x).squeeze(1), network=network)


def train(folder, critic, **settings):
    parts = {"dataset": Plane(), "generator": Affine(), "critic": critic, "distance": Difference()}
    constraint = [GradientPenalty()]
    return zoo.train(
        out=folder, device="cpu", lipschitz_constraint=constraint, steps=2, batch_size=8, **parts, **settings
    )


def test_a_critic_with_batch_normalisation_is_refused_and_told_why(tmp_path):
    with pytest.raises(IncompatibleParts, match="depends on the other samples") as caught:
        train(tmp_path, perceptron(nn.BatchNorm1d(8)))
    assert "GradientPenalty" in str(caught.value)
    assert "norm" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_batch_normalisation_is_let_through_on_request(tmp_path):
    train(tmp_path, perceptron(nn.BatchNorm1d(8)), allow_incompatible=True)


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.LayerNorm(8), lambda: nn.GroupNorm(2, 8)])
def test_a_critic_that_treats_each_sample_alone_is_accepted_and_its_penalty_is_logged(tmp_path, norm):
    rows = []
    train(tmp_path, perceptron(norm()), log_every=1, on_log=rows.append)
    assert [row["given GradientPenalty"] > 0 for row in rows] == [True, True]


def test_why_batch_normalisation_is_refused_the_slope_of_a_line_behind_it_vanishes():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    value = penalty(game(Through(lambda x: network(x).squeeze(1)), 16, (3,)), weight=10.0)
    assert value.item() == pytest.approx(10, rel=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("weight", -1.0), ("constant", -0.5), ("sides", "three"), ("sample", "between"), ("weight", "much")],
)
def test_settings_without_meaning_are_refused_by_name(setting, value):
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create("lipschitz_constraint", "gradient-penalty", **{setting: value})


def test_the_defaults_are_the_papers():
    constraint = zoo.create("lipschitz_constraint", "gradient-penalty")
    assert (constraint.weight, constraint.constant) == (10.0, 1.0)
    assert (constraint.sides, constraint.sample) == ("two", "segment")
    assert not constraint.guaranteed


@pytest.mark.parametrize(
    ("name", "sides", "paper"),
    [
        ("wgan-gp", {}, "https://arxiv.org/abs/1704.00028"),
        ("wgan-lp", {"sides": "one"}, "https://arxiv.org/abs/1709.08894"),
    ],
)
def test_the_variants_have_the_settings_of_algorithm_1_and_the_weight_of_the_toy_experiments(name, sides, paper):
    variant = zoo_wgan_gp.variant()[name]
    expected = {"name": "gradient-penalty", "weight": 10.0, "constant": 1.0} | sides
    assert variant.table["distance"] == "wasserstein"
    assert variant.table["lipschitz_constraint"] == [expected]
    assert variant.table["for"]["vector"]["lipschitz_constraint"] == [expected | {"weight": 0.1}]
    assert "lipschitz_constraint" not in variant.table["for"]["image"]
    assert variant.table["train"] == {
        "critic_steps": 5,
        "batch_size": 64,
        "optimizer": {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]},
    }
    assert variant.paper == paper
