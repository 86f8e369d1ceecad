"""Qi's loss-sensitive game: margins, hinges, and its general form between LS-GAN and WGAN."""

import math
from importlib.metadata import distribution

import pytest
import torch
import zoo_ls_gan
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

import zoo
from zoo import Batch, Critic, IncompatibleParts

LossSensitive = zoo_ls_gan.distance()["loss-sensitive"]
SLOPES = [-1.0, -0.5, 0.0, 0.01, 0.3, 1.0]
SHAPES = [(1,), (5,), (3, 8, 8)]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    """A critic that is any function of samples, with values `(N,)`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, samples, condition=None):
        return self.function(samples)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_scores(real_scores, fake_scores):
    """A game whose samples are their own scores."""
    return Batch(critic=Through(lambda x: x[:, 0]), real=real_scores[:, None], fake=fake_scores[:, None])


def diracs(theta, slope, size=4):
    """Real samples at 0, fakes at theta > 0, and a line that falls from the one to the other."""
    return Batch(
        critic=Through(lambda x: -slope * x[:, 0]), real=torch.zeros(size, 1), fake=torch.full((size, 1), theta)
    )


def game(critic, size=8, shape=(3, 8, 8)):
    return Batch(critic=critic, real=drawn(size, *shape, seed=1), fake=drawn(size, *shape, seed=2) + 1)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-ls-gan").entry_points}
    hooks = ("distance", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_ls_gan, hook)()}


@pytest.mark.parametrize("slope", [0.0, 0.5, 0.999, 1.0, 1.001, 3.0])
@pytest.mark.parametrize("margin_scale", [0.5, 1.0])
def test_the_hinge_is_zero_exactly_where_the_fakes_loss_exceeds_the_reals_by_the_margin(margin_scale, slope):
    theta = 2.0
    loss = LossSensitive(margin_scale=margin_scale).critic_loss(diracs(theta, slope)).item()
    assert loss == pytest.approx(max(margin_scale - slope, 0) * theta, abs=1e-6)
    assert (loss == 0) == (slope >= margin_scale)


def test_each_pair_has_a_hinge_of_its_own():
    """The costs are -3 and 1: for the mean of both there would be nothing to pay."""
    batch = of_scores(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert LossSensitive(margin_scale=0.0).critic_loss(batch).item() == pytest.approx(0.5)


def test_equal_pairs_cost_nothing():
    samples = drawn(8, 5)
    batch = Batch(critic=Through(lambda x: x.square().sum(1)), real=samples, fake=samples.clone())
    assert LossSensitive().critic_loss(batch).item() == 0
    assert LossSensitive().estimate(batch).item() == 0


def normal_grid(mean, n=2000):
    """N(mean, 1) as the middles of n slices of equal probability, `(n, 1)`: means over it are integrals."""
    return torch.from_numpy(norm.ppf((torch.arange(n).double() + 0.5) / n))[:, None] + mean


def test_the_optimal_critic_of_two_gaussians_pays_nothing_where_pairs_are_optimal_and_shows_w1():
    """W1 of N(0, 1) and N(1, 1) is 1; its critic falls with slope 1; sorted samples are its pairs."""
    batch = Batch(critic=Through(lambda x: -x[:, 0]), real=normal_grid(0), fake=normal_grid(1))
    w1, _ = quad(lambda x: abs(norm.cdf(x) - norm.cdf(x, 1)), -12, 13)
    assert w1 == pytest.approx(1.0, abs=1e-6)
    assert LossSensitive().critic_loss(batch).item() == pytest.approx(0, abs=1e-9)
    assert LossSensitive().estimate(batch).item() == pytest.approx(w1, abs=1e-6)


def test_with_independent_pairs_the_same_critic_pays_for_those_in_the_wrong_order():
    """The cost of a pair is |x - y| - (y - x), twice x - y where that is positive; x - y is N(-1, 2)."""
    expected, _ = quad(lambda d: 2 * d * norm.pdf(d, -1, math.sqrt(2)), 0, 15)
    real, fake = torch.cartesian_prod(normal_grid(0, 400)[:, 0], normal_grid(1, 400)[:, 0]).split(1, dim=1)
    batch = Batch(critic=Through(lambda x: -x[:, 0]), real=real, fake=fake)
    assert LossSensitive().critic_loss(batch).item() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("size", [1, 4, 16, 64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "order"), [("l1", 1), ("l2", 2)])
def test_the_margin_is_the_norm_of_the_difference_over_all_dimensions_of_a_sample(name, order, shape, size):
    batch = game(Through(lambda x: torch.zeros(len(x))), size, shape)
    pairs = zip(batch.real, batch.fake, strict=True)
    norms = torch.stack([torch.linalg.vector_norm((x - y).flatten(), order) for x, y in pairs])
    distance = LossSensitive(margin_scale=0.5, margin_norm=name)
    torch.testing.assert_close(distance.critic_loss(batch), 0.5 * norms.mean())


def test_with_the_authors_settings_it_is_the_authors_cost():
    """guojunq/lsgan, lsgan.lua: the mean of relu(2e-4 |x - y|_1 + L(x) - L(y)), where L is low for real."""
    weight = drawn(192)
    batch = game(Through(lambda x: x.flatten(1) @ weight), 16)
    x, y = batch.real.flatten(1), batch.fake.flatten(1)
    expected = (2e-4 * (x - y).abs().sum(1) + (-x @ weight) - (-y @ weight)).relu().mean()
    torch.testing.assert_close(LossSensitive(margin_scale=2e-4, margin_norm="l1").critic_loss(batch), expected)


@pytest.mark.parametrize("real_weight", [0.5, 2.0])
def test_the_term_of_the_real_samples_loss_is_added_with_its_weight(real_weight):
    weight = drawn(192)
    batch = game(Through(lambda x: x.flatten(1) @ weight), 16)
    added = LossSensitive(real_weight=real_weight).critic_loss(batch) - LossSensitive().critic_loss(batch)
    torch.testing.assert_close(added, real_weight * (-batch.real.flatten(1) @ weight).mean())


def paid(costs, slope):
    """What is paid for pairs of these costs, on average."""
    distance = LossSensitive(slope=slope, margin_scale=0.0)
    return distance.critic_loss(of_scores(torch.zeros_like(costs), costs))


@pytest.mark.parametrize("slope", SLOPES)
def test_the_cost_function_of_gls_gan_is_at_least_the_identity_and_is_it_above_zero(slope):
    costs = torch.linspace(-3, 3, 25)
    each = torch.stack([paid(cost[None], slope) for cost in costs])
    torch.testing.assert_close(each, torch.maximum(costs, slope * costs))
    assert (each >= costs).all()
    torch.testing.assert_close(each[costs >= 0], costs[costs >= 0])


@pytest.mark.parametrize(("slope", "cost"), [(1.0, lambda a: a), (0.0, torch.relu), (-1.0, torch.abs)])
def test_its_ends_are_wgan_ls_gan_and_the_absolute_value(slope, cost):
    costs = drawn(64)
    torch.testing.assert_close(paid(costs, slope), cost(costs).mean())


def critic_gradients(loss):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    batch = Batch(
        critic=Through(lambda x: network(x).squeeze(1)),
        real=drawn(16, 3, 8, 8).double(),
        fake=drawn(16, 3, 8, 8, seed=1).double(),
    )
    return torch.autograd.grad(loss(batch), list(network.parameters()))


def wgan(batch):
    return batch.fake_scores.mean() - batch.real_scores.mean()


def hinge(batch):
    margin = 0.01 * (batch.real - batch.fake).flatten(1).norm(dim=1)
    costs = margin + batch.fake_scores - batch.real_scores
    # Pairs of both kinds, or else the hinge would be WGAN's loss.
    assert 0 < (costs > 0).sum() < len(costs)
    return costs.relu().mean()


@pytest.mark.parametrize(("slope", "known"), [(1.0, wgan), (0.0, hinge)])
def test_the_critics_gradient_is_wgans_with_slope_1_and_the_hinges_with_slope_0(slope, known):
    distance = LossSensitive(slope=slope, margin_scale=0.01)
    for ours, theirs in zip(critic_gradients(distance.critic_loss), critic_gradients(known), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_pairs_are_made_by_the_order_of_the_batch():
    critic = Through(lambda x: torch.tanh(x.flatten(1).sum(1)))
    batch, order = game(critic), torch.randperm(8, generator=torch.Generator().manual_seed(0))
    both = Batch(critic=critic, real=batch.real[order], fake=batch.fake[order])
    fakes_only = Batch(critic=critic, real=batch.real, fake=batch.fake[order])
    distance = LossSensitive(margin_scale=0.05)
    torch.testing.assert_close(distance.critic_loss(both), distance.critic_loss(batch))
    assert (distance.critic_loss(fakes_only) - distance.critic_loss(batch)).abs() > 1e-4


def test_without_a_bound_on_its_slope_a_critic_meets_every_margin_by_scaling():
    losses = [LossSensitive(margin_scale=10.0).critic_loss(diracs(1.0, slope)).item() for slope in (1, 5, 10, 1000)]
    assert losses == pytest.approx([9, 5, 0, 0])


@pytest.mark.parametrize("slope", SLOPES)
def test_around_zero_raising_real_scores_lowers_the_critics_loss_and_raising_fake_ones_raises_it(slope):
    real, fake = torch.zeros(4, 2, requires_grad=True), torch.tensor([[0.0, 1.0]] * 4, requires_grad=True)
    batch = Batch(critic=Through(lambda x: x[:, 0]), real=real, fake=fake)
    LossSensitive(slope=slope).critic_loss(batch).backward()
    torch.testing.assert_close(real.grad, torch.tensor([[-0.25, 0.0]] * 4))
    torch.testing.assert_close(fake.grad, torch.tensor([[0.25, 0.0]] * 4))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_generator_step_moves_a_dirac_toward_the_data(side, slope):
    """The loss is low for real, so that the generator lowers it: E L(y) has the sign that is easily lost."""
    theta = nn.Parameter(torch.zeros(1))
    batch = Batch(critic=Through(lambda x: side * x[:, 0]), real=torch.full((4, 1), 2 * side), fake=theta.expand(4, 1))
    LossSensitive(slope=slope).generator_loss(batch).backward()
    torch.optim.SGD([theta], lr=0.1).step()
    assert side * theta.item() == pytest.approx(0.1)


def test_a_batch_twice_over_and_scores_of_patches_have_the_same_losses():
    weight = drawn(5)
    batch = game(Through(lambda x: x @ weight), shape=(5,))
    patches = Through(lambda x: (x @ weight)[:, None, None].expand(-1, 3, 3))
    others = [
        Batch(critic=batch.critic, real=batch.real.repeat(2, 1), fake=batch.fake.repeat(2, 1)),
        Batch(critic=patches, real=batch.real, fake=batch.fake),
    ]
    distance = LossSensitive(slope=0.1, real_weight=0.5)
    for loss in (distance.critic_loss, distance.generator_loss, distance.estimate):
        for other in others:
            torch.testing.assert_close(loss(other), loss(batch))


def test_samples_of_several_tensors_are_refused():
    pair = (torch.zeros(4, 1), torch.zeros(4, 1))
    batch = Batch(critic=Through(lambda pair: pair[0][:, 0]), real=pair, fake=pair)
    with pytest.raises(IncompatibleParts, match="one tensor"):
        LossSensitive().critic_loss(batch)


@pytest.mark.parametrize(
    ("setting", "value"), [("slope", 1.5), ("margin_scale", -1.0), ("margin_norm", "l3"), ("real_weight", -0.1)]
)
def test_settings_without_meaning_are_refused_by_name(setting, value):
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create("distance", "loss-sensitive", **{setting: value})


@pytest.mark.parametrize(("name", "slope", "rate"), [("ls-gan", 0.0, 1e-4), ("gls-gan", 0.01, 2e-4)])
def test_the_variants_have_the_authors_training_settings_a_margin_and_a_slope_bound_that_fits_it(name, slope, rate):
    variant = zoo_ls_gan.variant()[name]
    margin = {"margin_scale": 1.0, "margin_norm": "l2"}
    bound = {"name": "gradient-penalty", "weight": 10.0, "constant": 1.0, "sides": "one"}
    assert variant.table["distance"] == {"name": "loss-sensitive", "slope": slope} | margin
    assert variant.table["lipschitz_constraint"] == [bound]
    assert variant.table["train"] == {
        "critic_steps": 1,
        "batch_size": 64,
        "optimizer": {"name": "Adam", "lr": rate, "betas": [0.5, 0.999]},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1701.06264", 2017)


def test_it_cannot_be_taken_for_the_least_squares_lsgan():
    offered = {*zoo_ls_gan.distance(), *zoo_ls_gan.variant()}
    assert not offered & {"lsgan", "least-squares"}
    assert "least-squares" in zoo_ls_gan.variant()["ls-gan"].summary
    assert "least-squares" in LossSensitive.__doc__
