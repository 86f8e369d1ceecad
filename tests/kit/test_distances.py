"""The conformance kit's checks of distances: each catches what it is for, and correct ones pass."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu, softplus

from zoo import Distance, IncompatibleParts
from zoo.testing import check_distance


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


class OnTheLine(Distance):
    """The squared difference of means of one variable, without a critic."""

    def critic_loss(self, batch):
        return -self.generator_loss(batch)

    def generator_loss(self, batch):
        if batch.real[0].numel() != 1:
            raise IncompatibleParts("one variable only.")
        return (batch.real.mean() - batch.fake.mean()).square()


class WaitingOnTheLine(OnTheLine):
    """Asks for a number."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) * (1.0 if batch.fake.mean().item() < 1e9 else 0.5)


class FleeingOnTheLine(OnTheLine):
    """The generator flees from the data."""

    def generator_loss(self, batch):
        return -super().generator_loss(batch)


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
        (WaitingOnTheLine, "no-synchronisation"),
        (FleeingOnTheLine, "moves-a-dirac-toward-the-data"),
    ],
)
def test_mistakes_of_distances_are_caught(distance, check, failures):
    assert check in failures("distance", distance)


@pytest.mark.parametrize("distance", [Hinge, HingeOfTheMean, Averaging, Estimating, TotalVariation, OnTheLine])
def test_correct_distances_pass(distance):
    check_distance(distance)


def test_the_line_that_waits_is_named():
    with pytest.raises(AssertionError, match=r"item\(\) at .*test_distances.py:\d+ .*scores.mean\(\).item\(\)"):
        check_distance(Waiting)


def test_an_expected_failure_is_no_failure_and_an_unexpected_pass_is_one():
    expected = {"moves-a-dirac-toward-the-data": "the generator is the critic's friend"}
    results = check_distance(FlippedGenerator, expected)
    (result,) = [result for result in results if result.status == "expected failure"]
    assert result.detail.startswith("the generator is the critic's friend (with the data at 1")
    with pytest.raises(AssertionError, match="moves-a-dirac.*it passes now"):
        check_distance(Hinge, expected)
