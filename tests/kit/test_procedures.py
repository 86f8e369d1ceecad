"""The conformance kit's checks of procedures: each catches what it is for, and correct ones pass."""

import re

import pytest

from zoo import (
    Phase,
    Procedure,
    Want,
)
from zoo.testing import cases_of, check_component


class Play(Procedure):
    """A critic and a generator."""

    def wants(self, about):
        return {"generator": Want("generator"), "critic": Want("critic")}

    def phases(self, parts):
        return [
            Phase("critic", ("critic",), lambda batch: {"critic_loss": parts.distance.critic_loss(batch)}),
            Phase("generator", ("generator",), lambda batch: {"generator_loss": parts.distance.generator_loss(batch)}),
        ]


class IdlePart(Play):
    def phases(self, parts):
        return super().phases(parts)[1:]


class UnknownPart(Play):
    def phases(self, parts):
        first, second = super().phases(parts)
        return [first, Phase("generator", ("generator", "mapper"), second.loss)]


class SameNames(Play):
    def phases(self, parts):
        return [Phase("step", phase.trains, phase.loss) for phase in super().phases(parts)]


class UnknownHook(Play):
    def wants(self, about):
        return {**super().wants(about), "mapper": Want("mapper")}


class NoGradient(Play):
    def phases(self, parts):
        first, second = super().phases(parts)
        return [
            first,
            Phase("generator", ("generator",), lambda batch: {"loss": second.loss(batch)["generator_loss"].detach()}),
        ]


class PerSample(Play):
    def phases(self, parts):
        return [Phase("both", ("critic", "generator"), lambda batch: {"loss": batch.real_scores - batch.fake_scores})]


class Remembers(Play):
    """Counts its calls where no checkpoint sees it."""

    def phases(self, parts):
        calls = []

        def loss(batch):
            calls.append(0)
            return {"critic_loss": parts.distance.critic_loss(batch) * len(calls)}

        return [Phase("critic", ("critic",), loss), super().phases(parts)[1]]


PROCEDURES = [
    (IdlePart, "trains-every-part"),
    (UnknownPart, "phases"),
    (SameNames, "phases"),
    (UnknownHook, "wants"),
    (NoGradient, "losses"),
    (PerSample, "losses"),
    (Remembers, "trains-and-resumes"),
]


@pytest.mark.parametrize("component", [Play])
def test_a_correct_one_passes(component):
    check_component("procedure", component)


@pytest.mark.parametrize(("component", "check"), PROCEDURES)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("procedure", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (IdlePart, "no phase trains critic"),
    ],
)
def test_the_message_says_what_is_wrong(component, text, failures):
    assert any(re.search(text, detail) for detail in failures("procedure", component).values())
