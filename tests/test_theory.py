"""Distances, constraints and the trainer together, against what the theory gives for the composition.

Each plugin's own tests hold what needs that plugin alone; the Dirac-GAN's trajectories are in `test_dirac.py`.
"""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from zoo import ArrayDataset, Batch, Critic, Density, Draws, Generator, IncompatibleParts, Layer, create
from zoo.api import compose_table
from zoo.plugins import installed
from zoo.recipe import normalized
from zoo.resolve import Components
from zoo.trainer import Trainer
from zoo.training import Training

DISTANCES = ["minimax", "non-saturating", "wasserstein", "loss-sensitive"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Gaussian(Density):
    """N(mean, sigma^2); one point if sigma is 0."""

    shape = (1,)

    def __init__(self, mean, sigma=0.0):
        self.mean, self.sigma = mean, sigma

    def sample(self, n, draws):
        return self.mean + self.sigma * draws.randn(n, 1)


class Shift(Generator):
    """N(mean, sigma^2) with the mean to be trained."""

    latent_dim = 1

    def __init__(self, mean, sigma=0.0):
        super().__init__()
        self.mean, self.sigma = nn.Parameter(torch.tensor([mean])), sigma

    def forward(self, z, condition=None):
        return self.mean + self.sigma * z


class Line(Critic):
    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([slope]))

    def forward(self, samples, condition=None):
        return samples @ self.slope


def penalty(**settings):
    return {"name": "gradient-penalty", **settings}


def trainer(distance, constraint, parts, optimizer, **train):
    """The generator is held still, unless `train` gives it an optimiser of its own."""
    optimizers = train.pop("optimizers", {"generator": {"name": "SGD", "lr": 0.0}})
    table = {
        "distance": distance,
        "lipschitz_constraint": constraint,
        "train": {"average": 0.0, "optimizer": optimizer, "optimizers": optimizers, **train},
    }
    return Trainer(compose_table(normalized(table), given=parts, device="cpu"))


def between_diracs(theta, distance, constraint, *, start, steps=300, h=0.02):
    """The slope k that a line finds between real samples at 0 and fakes at theta, and the gap that it shows."""
    parts = {"dataset": Gaussian(0.0), "generator": Shift(theta), "critic": Line(-start)}
    game = trainer(distance, constraint, parts, {"name": "SGD", "lr": h}, batch_size=4, critic_steps=steps)
    game.iterate(estimate=True)
    return -parts["critic"].slope.item(), game


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize(("theta", "weight"), [(0.5, 1.0), (2.0, 1.0), (2.0, 10.0)])
def test_the_slope_and_the_bias_of_wgan_gp_between_two_diracs(theta, weight, sides):
    constraint = penalty(weight=weight, sides=sides)
    k, game = between_diracs(theta, "wasserstein", constraint, start=0.5)
    assert k == pytest.approx(1 + theta / (2 * weight), abs=1e-3)
    assert game.estimate.item() == pytest.approx(theta + theta**2 / (2 * weight), abs=3e-3)
    parts = game.composition.parts
    batch = game.composition.batch(real=torch.zeros(4, 1), fake=torch.full((4, 1), theta))
    loss = parts.distance.critic_loss(batch) + parts.constraints["gradient-penalty"].penalty(batch)
    assert -loss.item() == pytest.approx(theta + theta**2 / (4 * weight), abs=3e-3)


@pytest.mark.parametrize(("sides", "found"), [("two", -0.75), ("one", 1.25)])
def test_from_the_wrong_side_only_the_one_sided_penalty_lets_a_line_through(sides, found):
    """Slopes below 1 cost nothing there; two-sided, -(1 - theta / (2 weight)) is a minimum of its own."""
    k, _ = between_diracs(0.5, "wasserstein", penalty(weight=1.0, sides=sides), start=-0.9, steps=450)
    assert k == pytest.approx(found, abs=1e-3)


def test_a_penalty_centred_at_0_on_the_segment_has_no_slope_to_aim_at():
    theta, weight = 2.0, 1.0
    k, game = between_diracs(theta, "wasserstein", penalty(weight=weight, constant=0.0), start=0.5)
    assert k == pytest.approx(theta / (2 * weight), abs=1e-3)
    assert game.estimate.item() == pytest.approx(theta**2 / (2 * weight), abs=3e-3)


def test_clipping_shows_the_limit_times_the_distance():
    k, game = between_diracs(2.0, "wasserstein", {"name": "weight-clipping", "limit": 0.3}, start=0.0, steps=50)
    assert k == pytest.approx(0.3)
    assert game.estimate.item() == pytest.approx(0.6)


@pytest.mark.parametrize("start", [0.2, 3.0])
def test_ls_gan_with_a_one_sided_penalty_finds_the_slope_of_its_margin_and_no_bias(start):
    k, game = between_diracs(2.0, "loss-sensitive", penalty(weight=1.0, sides="one"), start=start, steps=600, h=0.01)
    assert k == pytest.approx(1.0, abs=0.05)
    assert game.estimate.item() == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("constraint", ["none", penalty(), penalty(sides="one"), {"name": "weight-clipping"}])
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_after_some_critic_steps_the_generator_moves_a_dirac_toward_the_data(distance, side, constraint):
    parts = {"dataset": Gaussian(2 * side), "generator": Shift(0.0), "critic": Line(0.0)}
    sgd = {"name": "SGD", "lr": 0.01}
    trainer(distance, constraint, parts, sgd, optimizers={}, batch_size=4, critic_steps=5).iterate()
    assert side * parts["critic"].slope.item() > 0
    assert 0 < side * parts["generator"].mean.item() < 2


def test_gls_gans_critic_gradient_goes_from_ls_gans_to_wgans_as_its_slope_goes_from_0_to_1():
    def gradient(name, **settings):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
        draws = Draws(0)
        batch = Batch(critic=network, real=draws.randn(32, 4).double(), fake=draws.randn(32, 4).double())
        loss = create("distance", name, **settings).critic_loss(batch)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])

    # The margin leaves some pairs with a positive cost and some without, so that the hinge has its say.
    wgan, hinge = gradient("wasserstein"), gradient("loss-sensitive", slope=0.0, margin_scale=0.01)
    assert (hinge - wgan).norm() > 0.01 * wgan.norm()
    linear = gradient("loss-sensitive", slope=1.0, margin_scale=0.01)
    torch.testing.assert_close(linear, wgan, rtol=1e-12, atol=1e-14)
    middle = gradient("loss-sensitive", slope=0.25, margin_scale=0.01)
    torch.testing.assert_close(middle, 0.25 * wgan + 0.75 * hinge, rtol=1e-12, atol=1e-14)


def test_at_a_score_of_minus_10_the_generators_gradients_differ_by_four_orders():
    slopes = {}
    for name in DISTANCES:
        fake = torch.full((1, 1), -10.0, dtype=torch.float64, requires_grad=True)
        batch = Batch(critic=nn.Flatten(0), real=torch.zeros(1, 1), fake=fake)
        create("distance", name).generator_loss(batch).backward()
        slopes[name] = fake.grad.item()
    sure = 1 / (1 + math.exp(10))
    assert slopes == pytest.approx(
        {"minimax": -sure, "non-saturating": sure - 1, "wasserstein": -1, "loss-sensitive": -1}
    )


@pytest.mark.parametrize("name", DISTANCES)
def test_losses_are_means_over_samples(name):
    real, fake = Draws(0).randn(8, 2), Draws(1).randn(8, 2)
    distance, critic = create("distance", name), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    once = Batch(critic=critic, real=real, fake=fake)
    twice = Batch(critic=critic, real=real.repeat(2, 1), fake=fake.repeat(2, 1))
    for loss in (distance.critic_loss, distance.generator_loss, distance.estimate):
        torch.testing.assert_close(loss(once), loss(twice))


KINDS = {"vector": Gaussian(0.0, 1.0), "image": ArrayDataset(torch.zeros(64, 1, 32, 32))}


def composed(data, critic, constraint, **more):
    """Small networks of the kind, with one constraint."""
    network = {"vector": {"name": "mlp", "width": 8}, "image": {"name": "dcgan", "width": 4}}[data]
    table = {
        "generator": network,
        "critic": network | critic,
        "distance": "wasserstein",
        "lipschitz_constraint": constraint,
    }
    return compose_table(normalized(table), given={"dataset": KINDS[data]}, device="cpu", **more)


@pytest.mark.parametrize("sample", ["segment", "real", "fake"])
@pytest.mark.parametrize("kind", KINDS)
def test_batch_normalisation_and_a_penalty_by_sample_are_refused(kind, sample):
    with pytest.raises(IncompatibleParts, match=r"depends on the other samples.*gradient-penalty.*critic\.norm"):
        composed(kind, {"norm": "batch"}, penalty(sample=sample))


@pytest.mark.parametrize("kind", KINDS)
def test_batch_normalisation_is_let_through_on_request_and_with_clipping(kind):
    composed(kind, {"norm": "batch"}, penalty(), allow_incompatible=True)
    composed(kind, {"norm": "batch"}, "weight-clipping")


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_normalisation_and_layer_normalisation_are_accepted_with_a_penalty(kind, norm):
    composition = composed(kind, {"norm": norm}, penalty())
    draws, shape = Draws(0), KINDS[kind].shape
    real, fake = draws.randn(8, *shape).requires_grad_(), draws.randn(8, *shape)
    value = composition.parts.constraints["gradient-penalty"].penalty(composition.batch(real=real, fake=fake))
    (by_each,) = torch.autograd.grad(composition.parts["critic"](real).values[0], real)
    assert value > 0
    assert by_each[0].any()
    assert not by_each[1:].any()


def w1_between(real, fake, weight):
    """What the best critic of WGAN-GP shows in one dimension, the penalty's bias included; and W1 itself.

    The best slope at x is 1 + |D| / (2 weight rho) away from the side where mass is to go, where D is the
    difference of the distribution functions and rho the density of the points that slopes are taken at: a random
    point between independent samples of both. Between two Diracs it is the known 1 + theta / (2 weight).
    """

    def difference(x):
        return abs(norm.cdf(x, *real) - norm.cdf(x, *fake))

    def rho(x):
        def at(share):
            mean = share * real[0] + (1 - share) * fake[0]
            return norm.pdf(x, mean, math.hypot(share * real[1], (1 - share) * fake[1]))

        return quad(at, 0, 1)[0]

    w1, _ = quad(difference, -12, 14, limit=200)
    bias, _ = quad(lambda x: difference(x) ** 2 / (2 * weight * rho(x)), -6, 8, limit=200)
    return w1 + bias, w1


def normal_grid(mean, sigma, n=4000):
    """N(mean, sigma^2) as the middles of n slices of equal probability, `(n, 1)`: means over it are integrals."""
    middles = (torch.arange(n).double() + 0.5) / n
    return torch.from_numpy(norm.ppf(middles, mean, sigma)).float()[:, None]


@pytest.mark.parametrize("weight", [1.0, 10.0])
def test_a_wgan_gp_critic_between_two_gaussians_shows_w1_and_the_bias_of_the_theory(weight):
    real, fake = (0.0, 1.0), (2.0, 1.0)
    biased, w1 = w1_between(real, fake, weight)
    torch.manual_seed(0)
    critic = create("critic", "mlp", shape=(1,), width=32, depth=2, activation="tanh")
    # On the line a two-sided penalty keeps a slope of the wrong sign (see the Dirac-GAN), so it begins flat.
    nn.init.zeros_(critic.layers[-1].weight)
    parts = {"dataset": Gaussian(*real), "generator": Shift(*fake), "critic": critic}
    adam = {"name": "Adam", "lr": 5e-3, "betas": [0.0, 0.9]}
    settings = {"batch_size": 256, "schedule": "linear", "steps": 300}
    game = trainer("wasserstein", penalty(weight=weight), parts, adam, **settings)
    for _ in range(settings["steps"]):
        game.iterate()
    with torch.no_grad():
        batch = Batch(critic=critic, real=normal_grid(*real), fake=normal_grid(*fake), track=False)
        estimate = create("distance", "wasserstein").estimate(batch).item()
    assert w1 == pytest.approx(2.0, abs=1e-6)
    assert estimate > (w1 + biased) / 2
    assert estimate == pytest.approx(biased, rel=0.04)


PAPERS = {
    "vanilla": ("non-saturating", [], 1, {"name": "Adam", "lr": 2e-4, "betas": [0.5, 0.999]}),
    "vanilla-minimax": ("minimax", [], 1, {"name": "Adam", "lr": 2e-4, "betas": [0.5, 0.999]}),
    "wgan": (
        "wasserstein",
        [{"name": "weight-clipping", "limit": 0.01, "every": 1}],
        5,
        {"name": "RMSprop", "lr": 5e-5},
    ),
    "wgan-gp": (
        "wasserstein",
        [penalty(weight=10.0, constant=1.0, sides="two", sample="segment", every=1)],
        5,
        {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]},
    ),
    "wgan-lp": (
        "wasserstein",
        [penalty(weight=10.0, constant=1.0, sides="one", sample="segment", every=1)],
        5,
        {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]},
    ),
    "ls-gan": (
        "loss-sensitive",
        [penalty(weight=10.0, constant=1.0, sides="one", sample="segment", every=1)],
        1,
        {"name": "Adam", "lr": 1e-4, "betas": [0.5, 0.999]},
    ),
    "gls-gan": (
        "loss-sensitive",
        [penalty(weight=10.0, constant=1.0, sides="one", sample="segment", every=1)],
        1,
        {"name": "Adam", "lr": 2e-4, "betas": [0.5, 0.999]},
    ),
}
"""Distance, constraints, critic steps and optimiser of each variant on images, every setting written out."""
TOY_WEIGHT = {"wgan-gp": 0.1, "wgan-lp": 0.1}
"""lambda of the toy experiments, for the variants that change it for vectors."""


def resolved(name, dataset):
    recipe, _ = Components(installed(), {"dataset": dataset}).recipe(normalized({"variant": name}))
    return recipe


@pytest.mark.parametrize("kind", ["vector", "image"])
@pytest.mark.parametrize("name", PAPERS)
def test_a_variant_resolves_to_the_settings_of_its_paper(name, kind):
    distance, constraints, critic_steps, optimizer = PAPERS[name]
    recipe = resolved(name, KINDS[kind])
    if kind == "vector" and name in TOY_WEIGHT:
        constraints = [{**constraint, "weight": TOY_WEIGHT[name]} for constraint in constraints]
    assert recipe.axes["distance"].name == distance
    assert [constraint.table() for constraint in recipe.constraints] == constraints
    assert (recipe.train["critic_steps"], recipe.train["batch_size"]) == (critic_steps, 64)
    assert recipe.train["optimizer"] == optimizer
    assert recipe.train["schedule"] == "constant"
    assert not recipe.train["optimizers"]


@pytest.mark.parametrize("name", ["wgan-gp", "wgan-lp", "ls-gan", "gls-gan"])
def test_a_variant_with_a_penalty_by_sample_has_no_batch_normalisation_in_its_critic(name):
    recipe = resolved(name, KINDS["image"])
    assert recipe.axes["critic"].settings["norm"] != "batch"


def test_wgans_critic_on_images_keeps_the_batch_normalisation_of_its_dcgan():
    recipe = resolved("wgan", KINDS["image"])
    assert recipe.axes["critic"].settings["norm"] == "batch"


@pytest.mark.parametrize("name", PAPERS)
def test_the_optimisers_that_train_have_the_numbers_of_the_recipe(name):
    training = Training.of(resolved(name, KINDS["vector"]).train)
    *_, optimizer = PAPERS[name]
    for phase in ("critic", "generator"):
        built = training.build(phase, [Layer(phase, [nn.Parameter(torch.zeros(1))])])
        (group,) = built.param_groups
        assert type(built).__name__ == optimizer["name"]
        assert group["lr"] == optimizer["lr"]
        assert list(group.get("betas", [])) == optimizer.get("betas", [])
        assert group["weight_decay"] == 0
