"""The conformance kit's checks of objectives: each catches what it is for, and correct ones pass."""

import random

import pytest
import torch
from torch import nn

from zoo import IncompatibleParts, Objective
from zoo.testing import check_objective


class Guess(Objective):
    """Tells latent points from features, with a running mean of its error, correctly; its subclasses err once each."""

    trained_with = ("critic",)

    def __init__(self, generator, features):
        super().__init__()
        if features is None:
            raise IncompatibleParts("this critic returns no features; take another.")
        self.layer = nn.Linear(features, generator.latent_dim)
        self.register_buffer("level", torch.zeros(()))

    def critic_loss(self, batch):
        error = (self.layer(batch.fake_features) - batch.z).square().mean(1)
        batch.record(error=error.mean())
        return (error - self.level).square().mean()

    def generator_loss(self, batch):
        return (self.layer(batch.fake_features) - batch.z).square().mean()

    def after_step(self, means):
        if "error" in means:
            self.level.lerp_(means["error"], 0.1)


class Picky(Guess):
    """Takes samples with labels only."""

    def __init__(self, generator, features, classes):
        super().__init__(generator, features)
        if classes is None:
            raise IncompatibleParts("these data have no labels.")


class Raising(Guess):
    """Fails without features in the way of Python."""

    def __init__(self, generator, features):
        super().__init__(generator, features + 0)


class Misspelt(Guess):
    """Defines nothing."""

    critic_loss = Objective.critic_loss
    generator_loss = Objective.generator_loss
    generators_loss = Guess.generator_loss


class Vector(Guess):
    """A number a sample."""

    def generator_loss(self, batch):
        return (self.layer(batch.fake_features) - batch.z).square().mean(1)


class Detached(Guess):
    """Moves nothing."""

    def generator_loss(self, batch):
        return super().generator_loss(batch).detach()


class Infinite(Guess):
    """No number."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) / 0


class Unhinged(Guess):
    """A gradient that is no number."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) + (0 * batch.fake.sum()).sqrt()


class Untrained(Guess):
    """Names no phase for its network."""

    trained_with = ()


class Elsewhere(Guess):
    """Names a phase that is none."""

    trained_with = ("judge",)


class Holding(Guess):
    """Keeps the generator as its own."""

    def __init__(self, generator, features):
        super().__init__(generator, features)
        self.generator = generator


class OfTheSet(Guess):
    """No mean."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) + batch.fake.mean(0).square().sum()


class Drawing(Guess):
    """Draws from elsewhere."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) * (1 + 0.1 * torch.rand(()))


class FromPython(Guess):
    """Draws from random."""

    def generator_loss(self, batch):
        return super().generator_loss(batch) * (1 + 0.1 * random.random())


class Waiting(Guess):
    """Asks for a number."""

    def generator_loss(self, batch):
        loss = super().generator_loss(batch)
        return loss * (1.0 if loss.item() < 1e9 else 0.5)


class WaitingAfter(Guess):
    """Asks for one after the step."""

    def after_step(self, means):
        if "error" in means and means["error"].item() > 0:
            super().after_step(means)


class PlainState(Guess):
    """Keeps its state in an attribute."""

    def __init__(self, generator, features):
        super().__init__(generator, features)
        del self.level
        self.level = torch.zeros(())


class Replacing(Guess):
    """Replaces its buffer."""

    def after_step(self, means):
        if "error" in means:
            self.level = 0.9 * self.level + 0.1 * means["error"]


class Changing(Guess):
    """Changes the samples."""

    def critic_loss(self, batch):
        loss = super().critic_loss(batch)
        batch.real.data.mul_(0.5)
        return loss


class Single(Guess):
    """Computes in single precision."""

    def generator_loss(self, batch):
        return super().generator_loss(batch).float()


@pytest.mark.parametrize("objective", [Guess, Picky])
def test_correct_ones_pass(objective):
    results = check_objective(objective)
    assert [result for result in results if result.status == "failed"] == []
    assert sum(result.status == "passed" for result in results) >= 14


WRONG = {
    Raising: ("builds-or-refuses", "it raises TypeError"),
    Misspelt: ("acts", "defines neither critic_loss nor generator_loss"),
    Vector: ("losses", r"generator_loss has shape \(16,\)"),
    Detached: ("losses", "generator_loss has no gradient"),
    Infinite: ("losses", "generator_loss is inf"),
    Unhinged: ("losses", "gradients of generator_loss"),
    Untrained: ("trains-its-parameters", "nothing trains layer.bias, layer.weight"),
    Elsewhere: ("trains-its-parameters", r"trained_with is \('judge',\)"),
    Holding: ("leaves-networks-alone", "is the generator's"),
    OfTheSet: ("mean-over-samples", "the mean of those of its halves"),
    Drawing: ("random-numbers", "draws from torch's global generator"),
    FromPython: ("random-numbers", "draws from Python's random"),
    Waiting: ("waits-for-nothing", "waits for the device"),
    WaitingAfter: ("waits-for-nothing", "waits for the device"),
    PlainState: ("keeps-its-state", "state belongs in buffers"),
    Replacing: ("state-in-place", "are replaced by new tensors"),
    Changing: ("changes-nothing-else", "changes the real samples"),
    Single: ("double-precision", "generator_loss is torch.float32"),
}


@pytest.mark.parametrize("objective", WRONG, ids=lambda objective: objective.__name__)
def test_each_mistake_is_caught_by_the_check_that_is_for_it(objective):
    name, message = WRONG[objective]
    with pytest.raises(AssertionError, match=f"(?s){name}: [^\\n]*{message}"):
        check_objective(objective)


def test_a_loss_of_a_set_is_excused_where_its_author_says_so():
    results = check_objective(OfTheSet, {"mean-over-samples": "A loss of the set."})
    assert [result.check for result in results if result.status == "expected failure"] == ["mean-over-samples"]
