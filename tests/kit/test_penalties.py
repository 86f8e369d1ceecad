"""The conformance kit's checks of penalties: each catches what it is for, and correct ones pass."""

import pytest
import torch

from zoo import LipschitzConstraint
from zoo.testing import check_lipschitz_constraint


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


class Rewarding(LipschitzConstraint):
    """The sign is turned round, and no constant is named."""

    def penalty(self, batch):
        return -(batch.slopes("segment") - 1).square().mean()


class NoTensor(LipschitzConstraint):
    """A sum over nothing is a number."""

    def penalty(self, batch):
        return 0.1 * sum(p.square().sum() for p in batch.critic.parameters() if p.ndim > 1)


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
        (Rewarding, "penalty-is-not-negative"),
        (NoTensor, "penalty-is-a-scalar"),
        (PenaltyFromTorch, "draws"),
    ],
)
def test_mistakes_of_penalties_are_caught(constraint, check, failures):
    assert check in failures("lipschitz_constraint", constraint)


@pytest.mark.parametrize("constraint", [Penalty, Noisy])
def test_correct_penalties_pass(constraint):
    check_lipschitz_constraint(constraint)
