"""The largest slope that a constrained critic reaches when its parameters are trained to be as steep as they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zoo.components import LipschitzConstraint
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.testing.checks import Skipped, Subject, check, require
from zoo.testing.toys import NETWORKS, values

SEEDS = (0, 1, 2)
ASCENT = 40
SETTLING = 100
"""Forward passes in which a constraint that estimates by iteration comes to rest."""
TOLERANCE = 1e-3
LARGER = 5.0


class Refused(Exception):
    """A constraint says that it does not work with a critic."""


def constrained(constraint: LipschitzConstraint, build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A critic of a seed with weights that are far too large, under a constraint. Raises Refused."""
    with seeded(seed):
        critic = build()
        _scale(critic, LARGER)
        try:
            constraint.parametrize(critic)
        except IncompatibleParts as error:
            raise Refused from error
    return critic


def _scale(critic: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(factor)


def steepest(constraint: LipschitzConstraint, build: Callable[[], nn.Module], shape: Sequence[int], seed: int) -> float:
    """The largest slope found: gradient ascent of the slope over parameters, then over places. Raises Refused."""
    critic = constrained(constraint, build, seed)
    places = Draws(seed).randn(16, *shape)
    _climb(constraint, critic, places)
    with torch.no_grad():
        for _ in range(SETTLING):
            critic(places)
        constraint.project(critic)
    critic.eval()
    far = torch.cat([scale * Draws(seed + 1).randn(64, *shape) for scale in (0.1, 1.0, 10.0)])
    return max(_slopes(critic, batch).max().item() for batch in (places, far))


def _climb(constraint: LipschitzConstraint, critic: nn.Module, places: Tensor) -> None:
    parameters = [p for p in critic.parameters() if p.requires_grad]
    for _ in range(ASCENT):
        steepness = _slopes(critic, places).mean()
        gradients = torch.autograd.grad(steepness, parameters, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                size = gradient.norm()
                parameter.add_(gradient * (0.2 * parameter.norm() / (size + 1e-12)))
            constraint.project(critic)


def _slopes(critic: nn.Module, places: Tensor) -> Tensor:
    places = places.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(values(critic, places).sum(), places, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return slopes


@check("lipschitz_constraint")
def guaranteed_constant(subject: Subject) -> None:
    """If it guarantees its constant, no critic is steeper, even when trained to be: linear or convolutional."""
    constraint: LipschitzConstraint = subject.make()
    if constraint.constant is None:
        raise Skipped("it names no constant (the attribute `constant`).")
    if not constraint.guaranteed:
        raise Skipped("it encourages its constant, and does not guarantee it.")
    bound = constraint.constant * (1 + TOLERANCE)
    refused = 0
    for what, (build, shape) in NETWORKS.items():
        try:
            found = max(steepest(subject.make(), build, shape, seed) for seed in SEEDS)
        except Refused:
            refused += 1
            continue
        require(
            found <= bound,
            f"{what} reaches the slope {found:.4g}, more than the {constraint.constant:g} that it guarantees. "
            "(The norm of a convolution's reshaped weight is no bound of the convolution's own norm.)",
        )
    if refused == len(NETWORKS):
        raise Skipped("it refuses every critic of the kit.")
