"""Codes among latent points: where they stand, how they are distributed, and what is refused."""

import copy

import pytest
import torch
import zoo_networks
from scipy import stats

from zoo import BadSetting, Draws
from zoo.processes import Group

GENERATORS = {name: each for name, each in zoo_networks.generator().items() if name != "r3gan"}
SHAPES = {"mlp": (2,), "dcgan": (1, 8, 8), "resnet": (1, 8, 8)}


def built(name, **settings):
    return GENERATORS[name](SHAPES[name], None, **{"width": 4, "latent_dim": 9, **settings})


@pytest.mark.parametrize("name", SHAPES)
def test_the_category_stands_first_then_the_numbers_and_the_rest_is_normal(name):
    generator = built(name, categories=4, continuous=2)
    assert (generator.latent_dim, generator.categories, generator.continuous) == (9, 4, 2)
    z = generator.latent(4000, Draws(0))
    assert z.shape == (4000, 9)
    category, numbers, rest = z[:, :4], z[:, 4:6], z[:, 6:]
    assert torch.equal(category.sort(dim=1).values, torch.tensor([0.0, 0, 0, 1]).expand(4000, 4))
    assert stats.chisquare(category.sum(0).numpy()).pvalue > 0.001
    for column in numbers.T:
        assert stats.kstest(column.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.001
    for column in rest.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 0.001
    assert generator(z[:3]).shape == (3, *SHAPES[name])


@pytest.mark.parametrize(("categories", "continuous"), [(9, 0), (0, 9), (7, 2), (0, 1)])
def test_there_may_be_codes_of_one_kind_or_nothing_else(categories, continuous):
    z = built("mlp", categories=categories, continuous=continuous).latent(50, Draws(0))
    assert z.shape == (50, 9)
    assert (z[:, :categories].sum(1) == bool(categories)).all()
    assert (z[:, categories : categories + continuous].abs() <= 1).all()


@pytest.mark.parametrize("name", SHAPES)
def test_without_codes_nothing_is_changed(name):
    generator = built(name)
    assert torch.equal(generator.latent(5, Draws(3)), Draws(3).randn(5, 9))
    coded = built(name, categories=4)
    assert generator.state_dict().keys() == coded.state_dict().keys()


def test_processes_draw_the_rows_of_the_whole_batch():
    generator = built("mlp", categories=4, continuous=2)
    whole = generator.latent(8, Draws(0))
    halves = [generator.latent(4, Draws(0, "cpu", Group(rank, 2))) for rank in range(2)]
    expected = [Group(rank, 2).rows(whole) for rank in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(halves, expected, strict=True))


def test_a_copy_draws_the_same():
    generator = built("mlp", categories=4, continuous=2)
    assert torch.equal(copy.deepcopy(generator).latent(5, Draws(0)), generator.latent(5, Draws(0)))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"categories": 8, "continuous": 2}, "8 categories and 2 continuous codes are more than the latent_dim = 9"),
        ({"categories": 1}, "categories = 1 is one that is always there"),
        ({"categories": 2, "components": 3}, "a mixture's or begin with codes, not both"),
    ],
)
def test_what_cannot_be_is_refused(settings, why):
    with pytest.raises(BadSetting, match=why):
        built("mlp", **settings)
