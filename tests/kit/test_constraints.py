"""The kit's checks of projections and parametrisations: each catches what it is for, and correct ones pass."""

import pytest
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from zoo import LipschitzConstraint
from zoo.testing import check_lipschitz_constraint


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
def test_mistakes_of_projections_and_parametrisations_are_caught(constraint, check, failures):
    assert set(failures("lipschitz_constraint", constraint)) == {check}


def test_a_bound_that_holds_passes():
    check_lipschitz_constraint(Bounded)
