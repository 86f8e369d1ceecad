"""What is said of a composition before it is trained, and what is not."""

import pytest

from zoo.api import compose_table
from zoo.recipe import normalized
from zoo.remarks import remarks

DIGITS = {"dataset": "digits"}


def said(table):
    return " ".join(remarks(compose_table(normalized(table), device="cpu")))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {**DIGITS, "variant": "cgan", "critic": {"name": "mlp", "condition": "none"}},
            "the generator is given classes and the critic is not",
        ),
        (
            {**DIGITS, "variant": "vanilla", "critic": {"name": "mlp", "condition": "concat"}},
            "the critic is given classes and the generator is not",
        ),
        ({"variant": "wgan-gp", "dataset": "ring", "lipschitz_constraint": []}, "its estimate is no W1"),
        ({"variant": "ls-gan", "dataset": "ring", "lipschitz_constraint": []}, "its estimate is no W1"),
    ],
)
def test_what_trains_and_cannot_mean_what_it_says_is_pointed_out(table, expected):
    assert expected in said(table)


@pytest.mark.parametrize(
    "table",
    [
        *({**DIGITS, "variant": name} for name in ("cgan", "acgan", "projection-gan", "cvae", "vanilla", "wgan")),
        {**DIGITS, "variant": "aae", "generator": {"name": "mlp", "condition": "concat"}},
        {"variant": "pix2pix", "dataset": "digit-translation"},
        {"variant": "wgan-groupsort", "dataset": "ring"},
        {"variant": "vanilla", "dataset": "ring"},
    ],
    ids=str,
)
def test_what_is_as_it_should_be_is_not(table):
    assert said(table) == ""
