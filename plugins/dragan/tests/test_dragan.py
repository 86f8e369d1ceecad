"""DRAGAN's penalty against the published noises in NumPy, critics whose slopes are known, and copied mistakes."""

import copy
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_dragan
from torch import nn

import zoo
from zoo import Batch, Critic, Draws, IncompatibleParts

Dragan = zoo_dragan.lipschitz_constraint()["dragan"]
NOISES = ["one-sided", "segment", "centred"]
SHAPES = [(1,), (2,), (3, 8, 8)]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Through(Critic):
    """A critic that is any function of samples, and that keeps what it was asked."""

    def __init__(self, function):
        super().__init__()
        self.function, self.asked = function, []

    def forward(self, samples, condition=None):
        self.asked.append(samples.detach())
        return self.function(samples)


def bowl():
    """f(x) = |x|^2 / 2, whose slope at x is |x|: another at every point."""
    return Through(lambda x: x.flatten(1).square().sum(1) / 2)


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def game(critic, real, draws=None):
    return Batch(critic=critic, real=real, fake=real + 5, draws=draws or Draws(3))


def told(constraint, *batches):
    """What the trainer does after a step of so many micro-batches."""
    for batch in batches:
        constraint.penalty(batch)
    names = ("data_mean", "data_square")
    constraint.after_step({n: torch.stack([b.records[n][0].float() for b in batches]).mean() for n in names})


def noisy(real, noise, constraint):
    """The points of the published codes, from the same draws."""
    draws = Draws(3)
    uniform = draws.rand(*real.shape).double().numpy()
    x, s = real.numpy(), constraint.spread.double().item()
    if noise == "one-sided":
        return x + 0.5 * s * uniform
    if noise == "centred":
        return x + s * (uniform - 0.5)
    share = draws.rand(len(x)).double().numpy().reshape(-1, *[1] * (x.ndim - 1))
    return x + share * (0.5 * s * uniform)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-dragan").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_dragan, hook)()}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_penalty_is_the_formula_at_the_published_points(shape, noise):
    real, constraint = drawn(16, *shape), Dragan(weight=7.0, slope=0.5, noise=noise)
    told(constraint, game(bowl(), real))
    critic = bowl()
    value = constraint.penalty(game(critic, real))
    points = noisy(real, noise, constraint)
    norms = np.sqrt((points.reshape(16, -1) ** 2).sum(1))
    np.testing.assert_allclose(critic.asked[0].numpy(), points, rtol=1e-6, atol=1e-6)
    assert value.item() == pytest.approx(7 * ((norms - 0.5) ** 2).mean(), rel=1e-6)


def test_the_noise_has_the_standard_deviation_of_all_numbers_of_the_last_batch_and_none_at_first():
    real, constraint = 2 + 3 * drawn(16, 3, 8, 8), Dragan()
    assert constraint.spread.item() == 0
    critic = bowl()
    constraint.penalty(game(critic, real))
    torch.testing.assert_close(critic.asked[0], real)
    told(constraint, game(bowl(), real))
    assert constraint.spread.item() == pytest.approx(real.numpy().std(), rel=1e-5)


def test_the_standard_deviation_of_a_batch_in_parts_is_that_of_the_whole():
    real = torch.cat([drawn(8, 4), 5 + 2 * drawn(8, 4, seed=2)])
    parts, whole = Dragan(), Dragan()
    told(parts, game(bowl(), real[:8]), game(bowl(), real[8:]))
    told(whole, game(bowl(), real))
    assert parts.spread.item() == pytest.approx(whole.spread.item(), rel=1e-6)


def test_a_generators_step_changes_nothing():
    constraint = Dragan()
    constraint.spread.fill_(0.7)
    constraint.after_step({"fake_mean": torch.ones(())})
    assert constraint.spread.item() == pytest.approx(0.7)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_critic_has_the_penalty_of_its_norm_over_all_dimensions(shape, slope, noise):
    weight = slope * nn.functional.normalize(drawn(int(np.prod(shape)), seed=7), dim=0)
    constraint = Dragan(weight=10.0, noise=noise)
    constraint.spread.fill_(1.0)
    value = constraint.penalty(game(Through(lambda x: x.flatten(1) @ weight), drawn(16, *shape)))
    assert value.item() == pytest.approx(10 * (slope - 1) ** 2, abs=1e-9)


def test_each_number_of_each_sample_has_a_noise_of_its_own_and_the_segment_one_share_a_sample():
    real = torch.zeros(16, 3, 4, 4, dtype=torch.float64)
    for noise in NOISES:
        constraint, critic = Dragan(noise=noise), bowl()
        constraint.spread.fill_(1.0)
        constraint.penalty(game(critic, real))
        (points,) = critic.asked
        assert len(points.unique()) == points.numel()
        low, high = (-0.5, 0.5) if noise == "centred" else (0.0, 0.5)
        assert low <= points.min()
        assert points.max() < high
    constraint = Dragan(noise="segment")
    constraint.spread.fill_(1.0)
    critics = [bowl(), bowl()]
    for critic, form in zip(critics, ("segment", "one-sided"), strict=True):
        constraint.noise = form
        constraint.penalty(game(critic, real))
    shares = (critics[0].asked[0] / critics[1].asked[0]).flatten(1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares), rtol=1e-6, atol=0)
    assert len(shares[:, 0].unique()) == 16


def test_fakes_play_no_part():
    real, constraint = drawn(8, 4), Dragan()
    values = [
        constraint.penalty(Batch(critic=bowl(), real=real, fake=fake, draws=Draws(3))) for fake in (real, real + 100)
    ]
    assert values[0] == values[1]


class TwiceOver(Draws):
    """Draws half as much, twice over."""

    def rand(self, *shape):
        return super().rand(shape[0] // 2, *shape[1:]).repeat(2, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("noise", NOISES)
def test_a_batch_twice_over_with_its_draws_has_the_same_penalty_and_spread(noise):
    real, once, twice = drawn(8, 4), Dragan(noise=noise), Dragan(noise=noise)
    for _ in range(2):
        games = game(bowl(), real), game(bowl(), real.repeat(2, 1), TwiceOver(3))
        torch.testing.assert_close(once.penalty(games[0]), twice.penalty(games[1]))
        told(once, game(bowl(), real))
        told(twice, game(bowl(), real.repeat(2, 1), TwiceOver(3)))


def test_the_penalty_moves_a_linear_critic_as_the_formula_says_and_a_flat_one_without_nan():
    weight = nn.Parameter(drawn(12))
    Dragan(weight=10.0).penalty(game(Through(lambda x: x @ weight), drawn(8, 12))).backward()
    norm = weight.detach().norm()
    torch.testing.assert_close(weight.grad, 20 * (norm - 1) * weight.detach() / norm)
    flat = nn.Parameter(torch.zeros(12, dtype=torch.float64))
    Dragan().penalty(game(Through(lambda x: x @ flat), drawn(8, 12))).backward()
    assert flat.grad.isfinite().all()


def test_the_spread_goes_with_the_run():
    constraint = Dragan()
    told(constraint, game(bowl(), drawn(16, 4)))
    other = Dragan()
    other.load_state_dict(copy.deepcopy(constraint.state_dict()))
    torch.testing.assert_close(other.spread, constraint.spread, rtol=0, atol=0)


def test_samples_of_several_tensors_are_refused():
    pair = (drawn(4, 2), drawn(4, 3))
    with pytest.raises(IncompatibleParts, match="one tensor"):
        Dragan().penalty(Batch(critic=Through(lambda x: x[0].sum(1)), real=pair, fake=pair))


@pytest.mark.parametrize(("setting", "value"), [("weight", -1.0), ("slope", -1.0), ("noise", "normal")])
def test_settings_without_meaning_are_refused_by_name(setting, value):
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create("lipschitz_constraint", "dragan", **{setting: value})


def test_it_only_regularises():
    assert Dragan().constant is None
    assert not Dragan().guaranteed


def test_the_variant_has_the_settings_of_the_authors_code():
    variant = zoo_dragan.variant()["dragan"]
    assert variant.table["distance"] == "non-saturating"
    expected = {"name": "dragan", "weight": 10.0, "slope": 1.0, "noise": "segment"}
    assert variant.table["lipschitz_constraint"] == [expected]
    assert variant.table["train"] == {
        "critic_steps": 1,
        "batch_size": 64,
        "optimizer": {"name": "Adam", "lr": 1e-4, "betas": [0.5, 0.9]},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1705.07215", 2017)
