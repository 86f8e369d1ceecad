"""The conformance kit's checks of variants: each catches what it is for, and correct ones pass."""

import re

import pytest

from zoo import (
    Variant,
)
from zoo.testing import cases_of, check_component

TABLE = {
    "distance": "wasserstein",
    "generator": {"name": "mlp", "width": 8},
    "critic": {"name": "mlp", "width": 8},
    "train": {"optimizer": {"name": "Adam", "lr": 1e-3}},
}


def variant(summary="A small one.", **changes):
    return Variant(summary=summary, table={**TABLE, **changes})


GOOD_VARIANTS = [
    variant(),
    variant(**{"for": {"vector": {"generator": "dcgan"}}}),
    variant(dataset="ring"),
    variant(train={"critic_steps": 5, "average": 0, "schedule": "linear", "micro_batches": 3}),
]

VARIANTS = [
    (variant(summary=" "), "summary"),
    (variant(summary="x" * 161), "summary"),
    (variant(summary="One line.\nAnother."), "summary"),
    (variant(critic={"name": "mlp", "wdith": 8}), "settings"),
    (variant(generator={"name": "mlp", "width": -8}), "settings"),
    (variant(train={"leraning_rate": 1}), "settings"),
    (variant(**{"for": {"image": {"critic": {"name": "mlp", "norm": "spectral"}}}}), "settings"),
    (variant(critik="mlp"), "recipe"),
    (variant(critic="not-there"), "recipe"),
    (variant(lipschitz_constraint=["not-there"]), "recipe"),
    (variant(generator={"name": "mlp", "width": None}), "round-trip"),
    (variant(train={"optimizer": {"name": "SGD", "lr": 1e30}}), "trains-and-resumes"),
    (variant(train={"optimizers": {"kritic": {"lr": 1e-3}}}), "trains-and-resumes"),
    (variant(**{"for": {"vector": {"generator": "dcgan"}, "image": {"distance": "none"}}}), "trains-and-resumes"),
]


@pytest.mark.parametrize("component", GOOD_VARIANTS)
def test_a_correct_one_passes(component):
    check_component("variant", component)


@pytest.mark.parametrize(("component", "check"), VARIANTS)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("variant", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (VARIANTS[8][0], "critic 'not-there'"),
    ],
)
def test_the_message_says_what_is_wrong(component, text, failures):
    assert any(re.search(text, detail) for detail in failures("variant", component).values())


def test_a_state_that_is_not_saved_is_found_in_a_resumed_variant(install, failures):
    """A distance that counts its calls in an attribute; the same with a buffer is correct."""
    code = """
import torch
from zoo import Distance, hookimpl


class Counts(Distance):
    def __init__(self):
        super().__init__()
        self.count = torch.ones(())

    def critic_loss(self, batch):
        return (batch.fake_scores - batch.real_scores).mean() * self.count

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

    def after_step(self, means):
        self.count.mul_(1.1)


class Saves(Counts):
    def __init__(self):
        super().__init__()
        del self.count
        self.register_buffer("count", torch.ones(()))


@hookimpl
def distance():
    return {"counts": Counts, "saves": Saves}
"""
    install("tallying", "[zoo.v1.distance]\ncounts = tallying\nsaves = tallying\n", code)
    from zoo.plugins import installed

    installed.cache_clear()
    try:
        broken = failures("variant", variant(distance="counts"))
        assert set(broken) == {"trains-and-resumes"}
        assert "some state is not saved" in broken["trains-and-resumes"]
        assert failures("variant", variant(distance="saves")) == {}
    finally:
        installed.cache_clear()
