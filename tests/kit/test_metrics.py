"""The conformance kit's checks of metrics: each catches what it is for, and correct ones pass."""

import re
from typing import Annotated, Literal

import pytest
import torch

from zoo import BadData, IncompatibleParts, Metric, MissingPackage, Setting
from zoo.testing import cases_of, check_metric


class Means(Metric):
    """How far apart the means are, over the spread of the real samples."""

    figures = {"gap": "lower", "spread": ""}  # noqa: RUF012

    def measure(self, evidence):
        real, fake = evidence.real.values.flatten(1), evidence.fake.values.flatten(1)
        spread = real.std(0).norm()
        if spread == 0:
            raise BadData("the real samples are all the same.")
        return {"gap": (real.mean(0) - fake.mean(0)).norm() / spread, "spread": spread}


class Steepness(Metric):
    """The mean slope of the critic at judged samples."""

    figures = {"slope": ""}  # noqa: RUF012
    compares = False

    def refuse(self, evidence):
        if evidence.critic is None:
            raise IncompatibleParts("it needs a critic.")

    def measure(self, evidence):
        points = evidence.fake.values.clone().requires_grad_()
        labels = (evidence.fake.labels,) if evidence.critic.conditional else ()
        scores = evidence.critic(points, *labels).values
        return {"slope": torch.autograd.grad(scores.sum(), points)[0].flatten(1).norm(dim=1).mean()}


class Balance(Metric):
    """How well the shares of the labels agree; for labelled samples only."""

    figures = {"overlap": "higher"}  # noqa: RUF012

    def refuse(self, evidence):
        if evidence.classes is None or not evidence.conditional:
            raise IncompatibleParts("it needs labels.")

    def measure(self, evidence):
        shares = [torch.bincount(s.labels, minlength=9) / len(s) for s in (evidence.real, evidence.fake)]
        return {"overlap": torch.minimum(*shares).sum()}


class Sliced(Means):
    """How far apart the means are on random lines."""

    figures = {"gap": "lower"}  # noqa: RUF012

    def measure(self, evidence):
        real, fake = evidence.real.values.flatten(1), evidence.fake.values.flatten(1)
        lines = evidence.draws.randn(real.shape[1], 20)
        return {"gap": ((real.mean(0) - fake.mean(0)) @ lines).abs().mean()}


class LacksAPackage(Means):
    """A package that it needs is not there."""

    def __init__(self):
        raise MissingPackage("pip install it.")


class LacksAPackageForOneChoice(Means):
    """A package that one of its choices needs is not there."""

    def __init__(self, *, how: Annotated[Literal["plain", "fancy"], Setting("of two ways")] = "plain"):
        if how == "fancy":
            raise MissingPackage("pip install it.")


class OnALine(Means):
    """For points on a line only."""

    def refuse(self, evidence):
        if evidence.shape != (1,):
            raise IncompatibleParts("it needs points on a line.")


class Wanting(Means):
    def __init__(self, shape):
        pass


class NoMetric:
    """It only looks like one."""

    figures = {"gap": "lower"}  # noqa: RUF012


class NoFigures(Means):
    figures = {}  # noqa: RUF012


class WayOfItsOwn(Means):
    figures = {"gap": "smaller", "spread": ""}  # noqa: RUF012


class TwoWords(Means):
    figures = {"mean gap": "lower"}  # noqa: RUF012


class HalfASample(Means):
    least = 1.5


class Undeclared(Means):
    def measure(self, evidence):
        return {**super().measure(evidence), "more": 1.0}


class Unmeasured(Means):
    def measure(self, evidence):
        return {"gap": super().measure(evidence)["gap"]}


class NotANumber(Means):
    def measure(self, evidence):
        return {**super().measure(evidence), "spread": float("nan")}


class FitsNothing(Means):
    def refuse(self, evidence):
        raise IncompatibleParts("it is too good for this world.")


class ForgetsLabels(Steepness):
    def measure(self, evidence):
        return {"slope": evidence.critic(evidence.fake.values).values.mean()}


class RefusesLate(Balance):
    def refuse(self, evidence):
        pass

    def measure(self, evidence):
        super().refuse(evidence)
        return super().measure(evidence)


class Reversed(Means):
    figures = {"gap": "higher", "spread": ""}  # noqa: RUF012


class SecondReversed(Means):
    figures = {"gap": "lower", "likeness": "lower"}  # noqa: RUF012

    def measure(self, evidence):
        gap = super().measure(evidence)["gap"]
        return {"gap": gap, "likeness": -gap}


class BlindToAll(Means):
    def measure(self, evidence):
        return {**super().measure(evidence), "gap": 0.5}


class GlobalNumbers(Means):
    def measure(self, evidence):
        found = super().measure(evidence)
        return {**found, "gap": found["gap"] + 1e-6 * torch.rand(())}


class Remembers(Means):
    """It adds up over calls."""

    total = 0.0

    def measure(self, evidence):
        found = super().measure(evidence)
        self.total += float(found["spread"])
        return {**found, "spread": self.total}


class CentresInPlace(Means):
    def measure(self, evidence):
        found = super().measure(evidence)
        evidence.fake.values.sub_(evidence.fake.values.mean())
        return found


class SortsLabels(Balance):
    def measure(self, evidence):
        evidence.real.labels.copy_(evidence.real.labels.sort().values)
        return super().measure(evidence)


class LeavesGradients(Steepness):
    def measure(self, evidence):
        points = evidence.fake.values.clone().requires_grad_()
        labels = (evidence.fake.labels,) if evidence.critic.conditional else ()
        evidence.critic(points, *labels).values.sum().backward()
        return {"slope": points.grad.flatten(1).norm(dim=1).mean()}


class TrainsOn(Steepness):
    def measure(self, evidence):
        evidence.critic.train()
        return super().measure(evidence)


class Freezes(Steepness):
    def measure(self, evidence):
        evidence.critic.requires_grad_(False)
        return super().measure(evidence)


class InPairs(Means):
    def measure(self, evidence):
        pairs = evidence.real.values - evidence.fake.values
        return {**super().measure(evidence), "spread": pairs.flatten(1).norm(dim=1).mean()}


class FirstHalf(Means):
    def measure(self, evidence):
        values = evidence.fake.values
        return {**super().measure(evidence), "spread": values[: len(values) // 2].mean()}


class DividesByNothing(Means):
    def measure(self, evidence):
        real, fake = evidence.real.values.flatten(1), evidence.fake.values.flatten(1)
        return {"gap": (real.mean(0) - fake.mean(0)).norm() / fake.std(0).norm(), "spread": 1.0}


class NeedsMore(Means):
    """The fifth neighbour, of samples that may be two."""

    def measure(self, evidence):
        values = evidence.fake.values.flatten(1)
        return {**super().measure(evidence), "spread": torch.cdist(values, values).kthvalue(6, dim=1).values.mean()}


class NoReason(Means):
    def measure(self, evidence):
        if len(evidence.real.values.unique(dim=0)) == 1:
            raise BadData("")
        return super().measure(evidence)


class LooksFirst(Means):
    def refuse(self, evidence):
        if len(evidence.real) < 2:
            raise IncompatibleParts("it needs two samples.")


class RefusesWithoutReason(Balance):
    def refuse(self, evidence):
        if evidence.classes is None:
            raise IncompatibleParts("")


CORRECT = [Means, Steepness, Balance, Sliced, OnALine, LacksAPackageForOneChoice]
BROKEN = [
    (Wanting, "builds"),
    (NoMetric, "figures"),
    (NoFigures, "figures"),
    (WayOfItsOwn, "figures"),
    (TwoWords, "figures"),
    (HalfASample, "figures"),
    (Undeclared, "finite"),
    (Unmeasured, "finite"),
    (NotANumber, "finite"),
    (FitsNothing, "finite"),
    (ForgetsLabels, "finite"),
    (RefusesLate, "finite"),
    (Reversed, "better-for-real"),
    (SecondReversed, "better-for-real"),
    (BlindToAll, "better-for-real"),
    (GlobalNumbers, "repeatable"),
    (Remembers, "repeatable"),
    (CentresInPlace, "does-not-change-evidence"),
    (SortsLabels, "does-not-change-evidence"),
    (LeavesGradients, "does-not-change-evidence"),
    (TrainsOn, "does-not-change-evidence"),
    (Freezes, "does-not-change-evidence"),
    (InPairs, "order"),
    (FirstHalf, "order"),
    (DividesByNothing, "degenerate"),
    (NeedsMore, "degenerate"),
    (NoReason, "degenerate"),
    (LooksFirst, "refuses-first"),
    (RefusesWithoutReason, "refuses-first"),
]


@pytest.mark.parametrize("metric", CORRECT)
def test_a_correct_one_passes(metric):
    check_metric(metric)


@pytest.mark.parametrize(("metric", "check"), BROKEN)
def test_a_broken_one_is_caught_by_the_check_for_it(metric, check):
    results = [case.result() for case in cases_of("metric", metric) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(("metric", "check"), BROKEN)
def test_the_other_checks_do_not_mind_what_is_not_theirs(metric, check, failures):
    # Over one that cannot be measured at all every check stumbles; for one that remembers an order is another call.
    if check not in ("builds", "figures", "finite") and metric is not Remembers:
        assert failures("metric", metric).keys() <= {check, "documented"}


def test_each_check_of_metrics_has_a_broken_one():
    own = {case.what.name for case in cases_of("metric", Means)} - {"documented", "settings"}
    assert own == {check for _, check in BROKEN}


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Undeclared, r"it measures \['gap', 'more', 'spread'\], and declares \['gap', 'spread'\]"),
        (NotANumber, r"of points on a line \['spread'\] is nan; raise BadData"),
        (FitsNothing, "too good for this world"),
        (Reversed, r"gap of points on a line is better higher, but 0\.\d+ for real samples, and \d"),
        (GlobalNumbers, "global generators of torch; use evidence.draws"),
        (LooksFirst, "look at what is known"),
        (DividesByNothing, r"judged samples that are all the same \(.*\) \['gap'\] is inf"),
    ],
)
def test_the_message_says_what_is_wrong(metric, text, failures):
    assert any(re.search(text, detail) for detail in failures("metric", metric).values())


def test_one_that_draws_is_not_held_to_an_order_nor_one_about_the_critic_to_real_samples():
    def statuses(metric):
        return {case.what.name: case.result().status for case in cases_of("metric", metric)}

    drawing, steep = statuses(Sliced), statuses(Steepness)
    assert (drawing["order"], drawing["better-for-real"]) == ("skipped", "passed")
    assert (steep["order"], steep["better-for-real"]) == ("passed", "skipped")


def test_one_in_need_of_a_package_is_skipped():
    results = {case.what.name: case.result().status for case in cases_of("metric", LacksAPackage)}
    assert "failed" not in results.values()
    assert results["finite"] == "skipped"
