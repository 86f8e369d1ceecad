"""The conformance kit catches each mistake by the check that is meant for it, and lets correct twins pass."""

import random
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu, softplus
from torch.nn.utils import parametrizations, parametrize

from zoo import Distance, LipschitzConstraint, Setting
from zoo.testing import CHECKS, cases_of, check_distance, check_lipschitz_constraint


def failing(hook, factory):
    """The checks that a factory fails."""
    return {result.check for result in (case.result() for case in cases_of(hook, factory)) if result.bad}


def test_names_of_checks_are_unique_on_each_hook():
    names = [(hook, check.name) for check in CHECKS for hook in check.hooks]
    assert len(names) == len(set(names))
    assert all(check.verifies.endswith(".") for check in CHECKS)


class Penalty(LipschitzConstraint):
    """A gradient penalty written by hand, correctly; its subclasses have one mistake each."""

    constant = 1.0

    def share(self, batch):
        return batch.rand(len(batch.real), *[1] * (batch.real.ndim - 1)).to(batch.real.dtype)

    def place(self, batch):
        share = self.share(batch)
        return (share * batch.real + (1 - share) * batch.fake).requires_grad_()

    def norms(self, gradient):
        return gradient.flatten(1).norm(dim=1)

    def total(self, scores):
        return scores.sum()

    def penalty(self, batch):
        place = self.place(batch)
        (gradient,) = torch.autograd.grad(self.total(batch.critic(place).values), place, create_graph=True)
        return 10 * (self.norms(gradient) - self.constant).square().mean()


class NormOverOneAxis(Penalty):
    """The norm over the channels."""

    def norms(self, gradient):
        return gradient.norm(dim=1)


class NormOverTheBatch(Penalty):
    """The norm of everything."""

    def norms(self, gradient):
        return gradient.norm()


class NormOfTheMeanGradient(Penalty):
    """The gradients are averaged before the norm is taken."""

    def norms(self, gradient):
        return gradient.flatten(1).mean(0).norm()


class GradientOfTheMean(Penalty):
    """The scores are averaged, so that each gradient is too small by the size of the batch."""

    def total(self, scores):
        return scores.mean()


class FlatGradientOfTheMean(GradientOfTheMean):
    """The same, for a slope of 0, which it has none the less."""

    constant = 0.0


class SharePerPixel(Penalty):
    """Every number has its own share."""

    def share(self, batch):
        return batch.rand(*batch.real.shape).to(batch.real.dtype)


class OneShareForAll(Penalty):
    """One share for the batch."""

    def share(self, batch):
        return batch.rand(1).to(batch.real.dtype)


class RootAtZero(Penalty):
    """The square root has no derivative at 0."""

    def norms(self, gradient):
        return gradient.flatten(1).square().sum(1).sqrt()


class SumOverTheBatch(Penalty):
    """A sum over samples: 64 times as much for 64 samples."""

    def penalty(self, batch):
        return len(batch.real) * super().penalty(batch)


class NoPenalty(LipschitzConstraint):
    """The method's name is misspelt."""

    def penality(self, batch):
        return batch.slopes("real").mean()


class PenaltyFromTorch(Penalty):
    """Draws from torch's global generator."""

    def share(self, batch):
        return torch.rand(len(batch.real), *[1] * (batch.real.ndim - 1)).to(batch.real.dtype)


class Noisy(Penalty):
    """Looks around the data, not between real and fake: no mistake."""

    def place(self, batch):
        return (batch.real + 0.1 * batch.randn(*batch.real.shape).to(batch.real.dtype)).requires_grad_()


@pytest.mark.parametrize(
    ("constraint", "check"),
    [
        (NormOverOneAxis, "unit-slope"),
        (NormOverTheBatch, "unit-slope"),
        (NormOverTheBatch, "duplicated-batch"),
        (NormOfTheMeanGradient, "unit-slope"),
        (GradientOfTheMean, "unit-slope"),
        (FlatGradientOfTheMean, "duplicated-batch"),
        (SharePerPixel, "segment"),
        (OneShareForAll, "segment"),
        (RootAtZero, "penalty-is-a-scalar"),
        (SumOverTheBatch, "duplicated-batch"),
        (NoPenalty, "does-something"),
        (PenaltyFromTorch, "draws"),
    ],
)
def test_mistakes_of_penalties_are_caught(constraint, check):
    assert check in failing("lipschitz_constraint", constraint)


@pytest.mark.parametrize("constraint", [Penalty, Noisy])
def test_correct_penalties_pass(constraint):
    check_lipschitz_constraint(constraint)


class Hinge(Distance):
    """The hinge loss, correctly; its subclasses have one mistake each."""

    def critic_loss(self, batch):
        return relu(1 - batch.real_scores).mean() + relu(1 + batch.fake_scores).mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


class HingeOfTheMean(Hinge):
    """The hinge of the mean instead of the mean of the hinge: another loss, and no breach of the rules."""

    def critic_loss(self, batch):
        return relu(1 - batch.real_scores.mean()) + relu(1 + batch.fake_scores.mean())


class FlippedCritic(Hinge):
    """Low for real."""

    def critic_loss(self, batch):
        return relu(1 + batch.real_scores).mean() + relu(1 - batch.fake_scores).mean()


class FlippedGenerator(Hinge):
    """The generator flees from the data."""

    def generator_loss(self, batch):
        return batch.fake_scores.mean()


class Waiting(Hinge):
    """Asks for a number."""

    def generator_loss(self, batch):
        scores = batch.fake_scores
        return -scores.mean() * (1.0 if scores.mean().item() < 1e9 else 0.5)


class Masking(Hinge):
    """Chooses by a mask."""

    def critic_loss(self, batch):
        return super().critic_loss(batch) + 0 * batch.real_scores[batch.real_scores > 0].sum()


class FromPython(Hinge):
    """Draws from random."""

    def critic_loss(self, batch):
        return super().critic_loss(batch) * (1 + 0.1 * random.random())


class FromNumpy(Hinge):
    """Draws from numpy.random."""

    def critic_loss(self, batch):
        return super().critic_loss(batch) * (1 + 0.1 * np.random.rand())


class FromTorch(Hinge):
    """Draws from torch's global generator."""

    def critic_loss(self, batch):
        return super().critic_loss(batch) * (1 + 0.1 * torch.rand(()))


class Unseeded(Hinge):
    """Draws from a generator that nobody can seed."""

    def critic_loss(self, batch):
        return super().critic_loss(batch) * (1 + 0.1 * random.SystemRandom().random())


class Averaging(Hinge):
    """Keeps a running mean in a buffer, correctly."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def critic_loss(self, batch):
        batch.record(score=batch.real_scores.mean())
        return super().critic_loss(batch) + 0.1 * (batch.fake_scores - self.mean).square().mean()

    def after_step(self, means):
        if "score" in means:
            self.mean.lerp_(means["score"], 0.1)


class PlainState(Averaging):
    """Keeps it in an attribute."""

    def __init__(self):
        Distance.__init__(self)
        self.mean = torch.zeros(())


class Replacing(Averaging):
    """Replaces the buffer."""

    def after_step(self, means):
        if "score" in means:
            self.mean = 0.9 * self.mean + 0.1 * means["score"]


class Learning(Hinge):
    """Has a parameter."""

    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.ones(()))


class Overflowing(Hinge):
    """Infinite for large scores."""

    def generator_loss(self, batch):
        return batch.fake_scores.neg().exp().add(1).log().mean()


class PerSample(Hinge):
    """No scalar."""

    def generator_loss(self, batch):
        return -batch.fake_scores


class Single(Hinge):
    """Computes in float32 whatever comes."""

    def generator_loss(self, batch):
        return -batch.fake_scores.float().mean()


class SecretlySingle(Hinge):
    """Computes in float32, and hides it."""

    def critic_loss(self, batch):
        return softplus(-batch.real_scores.float()).mean().double() + softplus(batch.fake_scores).mean()


class Clamping(Hinge):
    """Changes the samples."""

    def critic_loss(self, batch):
        batch.real.clamp_(-0.1, 0.1)
        return super().critic_loss(batch)


class Estimating(Hinge):
    """An estimate of the Wasserstein distance, correctly."""

    estimates = "W1"

    def estimate(self, batch):
        return batch.real_scores.mean() - batch.fake_scores.mean()


class HalfAnEstimate(Estimating):
    """Too small by half."""

    def estimate(self, batch):
        return super().estimate(batch) / 2


class OffsetEstimate(Estimating):
    """Not zero where it must be."""

    estimates = "something unknown"

    def estimate(self, batch):
        return super().estimate(batch) + 1


class NamelessEstimate(Estimating):
    """Does not say what it estimates."""

    estimates = ""


class TotalVariation(Hinge):
    """What the hinge loss estimates, correctly."""

    estimates = "TV"

    def estimate(self, batch):
        return 1 - self.critic_loss(batch) / 2


@pytest.mark.parametrize(
    ("distance", "check"),
    [
        (FlippedCritic, "sign-of-the-critic-loss"),
        (FlippedCritic, "moves-a-dirac-toward-the-data"),
        (FlippedGenerator, "moves-a-dirac-toward-the-data"),
        (Waiting, "no-synchronisation"),
        (Masking, "no-synchronisation"),
        (FromPython, "draws"),
        (FromNumpy, "draws"),
        (FromTorch, "draws"),
        (Unseeded, "draws"),
        (PlainState, "state"),
        (Replacing, "after-step-updates-in-place"),
        (Learning, "has-no-parameters"),
        (Overflowing, "extreme-scores"),
        (PerSample, "losses-are-scalars"),
        (Single, "precision"),
        (SecretlySingle, "precision"),
        (Clamping, "does-not-change-its-inputs"),
        (HalfAnEstimate, "estimate"),
        (OffsetEstimate, "estimate-is-zero-for-equals"),
        (NamelessEstimate, "estimate-is-declared"),
    ],
)
def test_mistakes_of_distances_are_caught(distance, check):
    assert check in failing("distance", distance)


@pytest.mark.parametrize("distance", [Hinge, HingeOfTheMean, Averaging, Estimating, TotalVariation])
def test_correct_distances_pass(distance):
    check_distance(distance)


def test_the_line_that_waits_is_named():
    with pytest.raises(AssertionError, match=r"item\(\) at .*test_kit.py:\d+ .*scores.mean\(\).item\(\)"):
        check_distance(Waiting)


class Spectral(LipschitzConstraint):
    """Spectral normalisation, which is exact for linear layers only."""

    constant = 1.0
    guaranteed = True

    def parametrize(self, critic):
        for layer in critic.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                parametrizations.spectral_norm(layer)


class Schur(nn.Module):
    """Divides a weight by a bound of its layer's norm: the root of its largest absolute row and column sums."""

    def forward(self, weight):
        sizes = weight.abs().flatten(2).sum(2) if weight.ndim > 2 else weight.abs()
        return weight / (sizes.sum(0).max() * sizes.sum(1).max()).sqrt().clamp(min=1)


class Bounded(LipschitzConstraint):
    """A bound that holds for convolutions too."""

    constant = 1.0
    guaranteed = True

    def parametrize(self, critic):
        for layer in critic.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                parametrize.register_parametrization(layer, "weight", Schur())


class Halving(LipschitzConstraint):
    """A projection that goes on when it is done again."""

    def project(self, critic):
        for parameter in critic.parameters():
            parameter.mul_(0.5)


class Thawing(LipschitzConstraint):
    """Changes what is frozen."""

    def project(self, critic):
        for parameter in critic.parameters():
            parameter.clamp_(-0.01, 0.01)


@pytest.mark.parametrize(
    ("constraint", "check"),
    [(Spectral, "guaranteed-constant"), (Halving, "projection"), (Thawing, "projection")],
)
def test_mistakes_of_projections_and_parametrisations_are_caught(constraint, check):
    assert failing("lipschitz_constraint", constraint) == {check}


def test_a_bound_that_holds_passes():
    check_lipschitz_constraint(Bounded)


class Undocumented(Hinge):
    """A setting without meaning."""

    def __init__(self, *, margin: float = 1.0):
        super().__init__()


class IllegalType(Hinge):
    """A dict is no setting."""

    def __init__(self, *, margins: dict = {}):  # noqa: B006
        super().__init__()


class OutOfRange(Hinge):
    """A default that a recipe may not have."""

    def __init__(self, *, margin: Annotated[float, Setting("of the hinge", gt=0)] = 0.0):
        super().__init__()


class Choosy(Hinge):
    """One of its choices does not work."""

    def __init__(self, *, how: Annotated[Literal["a", "b"], Setting("either")] = "a"):
        super().__init__()
        if how == "b":
            raise KeyError(how)


class Wanting(Hinge):
    """Asks for what the core does not give."""

    def __init__(self, temperature):
        super().__init__()


@pytest.mark.parametrize(
    ("distance", "check"),
    [
        (Undocumented, "documented"),
        (IllegalType, "settings"),
        (OutOfRange, "settings"),
        (Choosy, "builds"),
        (Wanting, "builds"),
    ],
)
def test_mistakes_of_settings_are_caught(distance, check):
    assert check in failing("distance", distance)


def test_a_component_without_a_docstring_is_caught():
    assert "documented" in failing("distance", type("Bare", (Hinge,), {}))


def test_an_expected_failure_is_no_failure_and_an_unexpected_pass_is_one():
    expected = {"moves-a-dirac-toward-the-data": "the generator is the critic's friend"}
    results = check_distance(FlippedGenerator, expected)
    (result,) = [result for result in results if result.status == "expected failure"]
    assert result.detail.startswith("the generator is the critic's friend (with the data at 1")
    with pytest.raises(AssertionError, match="moves-a-dirac.*it passes now"):
        check_distance(Hinge, expected)
