"""Checks of Lipschitz constraints: penalties by known slopes, where they look, projections, parametrisations."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.components import LipschitzConstraint, overrides
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.testing.checks import Skipped, Subject, check, require
from zoo.testing.slope_checks import Refused, constrained
from zoo.testing.terms import Term, penalty_of
from zoo.testing.toys import IMAGE, NETWORKS, VECTOR, Bent, Cone, Doubled, Linear, Recording, game, points, values

HOOK = "lipschitz_constraint"
MOMENTS = ("parametrize", "penalty", "project")
CLOSE = 1e-4
SHAPES = (IMAGE, VECTOR)


def _made(subject: Subject) -> LipschitzConstraint:
    constraint: LipschitzConstraint = subject.make()
    return constraint


def _aimed(constraint: LipschitzConstraint) -> float:
    """The constant that a penalty aims at. Skipped if there is no penalty, or no constant."""
    penalty_of(constraint)
    if constraint.constant is None:
        raise Skipped("it names no constant that it aims at (the attribute `constant`).")
    return constraint.constant


def _penalty(constraint: LipschitzConstraint, critic: nn.Module, shape: Sequence[int]) -> Tensor:
    return penalty_of(constraint)(game(critic, *points(shape)))


@check(HOOK)
def does_something(subject: Subject) -> None:
    """It acts at one moment at least: parametrize, penalty or project."""
    constraint = _made(subject)
    require(
        any(overrides(constraint, moment) for moment in MOMENTS),
        f"it overrides none of {', '.join(MOMENTS)}, so it does nothing; a name may be misspelt.",
    )


@check(HOOK)
def penalty_is_a_scalar(subject: Subject) -> None:
    """The penalty is a finite scalar with finite gradients by the critic's parameters, also for a flat critic."""
    for shape in SHAPES:
        critics = {"a bent critic": Bent(shape), "a linear critic": Linear(shape), "a flat critic": Linear(shape, 0.0)}
        for what, critic in critics.items():
            value = _penalty(_made(subject), critic, shape)
            at = f"{what} of samples {tuple(shape)}"
            require(value.ndim == 0, f"it has shape {tuple(value.shape)} for {at}; it must be a scalar.")
            require(value.isfinite(), f"it is {value.item():g} for {at}.")
            _require_finite_gradients(value, critic, at)


def _require_finite_gradients(value: Tensor, critic: nn.Module, at: str) -> None:
    if not value.requires_grad:
        return
    parameters = list(critic.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    require(
        all(gradient.isfinite().all() for gradient in gradients),
        f"its gradient is NaN or infinite for {at}: a square root at 0? batch.slopes is safe there.",
    )


@check(HOOK)
def penalty_is_not_negative(subject: Subject) -> None:
    """The penalty is nowhere below 0: a critic is not rewarded for what it should not do."""
    for shape in SHAPES:
        for critic in (Bent(shape), Linear(shape, 0.0), Linear(shape, 1.0), Linear(shape, 10.0), Cone(shape, 3.0)):
            value = _penalty(_made(subject), critic, shape).item()
            require(
                value >= -CLOSE,
                f"it is {value:.4g} for {type(critic).__name__.lower()} critics of samples {tuple(shape)}; it is added "
                "to the loss that the critic minimises, so that a sign may be wrong.",
            )


@check(HOOK)
def unit_slope(subject: Subject) -> None:
    """The penalty is 0 for critics whose slope is the constant everywhere, in one direction or in all."""
    constraint = _made(subject)
    constant = _aimed(constraint)
    for shape in SHAPES:
        for critic in (Linear(shape, constant), Cone(shape, constant)):
            value = _penalty(constraint, critic, shape).item()
            require(
                abs(value) <= CLOSE,
                f"it is {value:.4g} for {type(critic).__name__.lower()} critics of samples {tuple(shape)} whose slope "
                f"is {constant:g} for every sample; expected 0. The norm is taken over all dimensions of one sample, "
                "and of the gradient of the sum of the scores: not over one axis, the whole batch, or a mean.",
            )


@check(HOOK)
def grows_with_slope(subject: Subject) -> None:
    """The penalty is positive for a critic that is much too steep."""
    constraint = _made(subject)
    steep = 10 * (_aimed(constraint) + 1)
    for shape in SHAPES:
        value = _penalty(constraint, Linear(shape, steep), shape).item()
        require(value > CLOSE, f"it is {value:.4g} for a critic of slope {steep:g} everywhere; expected more than 0.")


@check(HOOK)
def duplicated_batch(subject: Subject) -> None:
    """The penalty of a batch that is doubled, with its random numbers, is the penalty of the batch."""
    n = 64
    for shape in SHAPES:
        real, fake = points(shape, n)
        critic, term = Bent(shape), penalty_of(_made(subject))
        once = term(game(critic, real, fake, draws=Doubled(0))).item()
        again = term(game(critic, real.repeat(2, *_ones(shape)), fake.repeat(2, *_ones(shape)), draws=Doubled(2 * n)))
        gap = abs(again.item() - once)
        require(
            gap <= 0.02 * abs(once) + 1e-6,
            f"it is {once:.4g} for {n} samples, and {again.item():.4g} for the same twice; "
            "it must be a mean over samples, each with its own slope.",
        )


def _ones(shape: Sequence[int]) -> tuple[int, ...]:
    return (1,) * len(shape)


@check(HOOK)
def segment(subject: Subject) -> None:
    """A penalty between real and fake looks at points on the straight segments, each sample at its own share."""
    term = penalty_of(_made(subject))
    looked = [_require_segments(term, shape) for shape in SHAPES]
    if not any(looked):
        raise Skipped("it does not look between real and fake.")


def _require_segments(term: Term, shape: Sequence[int]) -> bool:
    real, fake = points(shape)
    critic = Recording(shape)
    term(game(critic, real, fake))
    chunks = [chunk for seen in critic.points for chunk in torch.split(seen, len(real))]
    between = [chunk for chunk in chunks if _lies_between(chunk, real, fake)]
    for chunk in between:
        _require_own_shares((chunk - fake).flatten(1), (real - fake).flatten(1))
    return bool(between)


def _lies_between(seen: Tensor, real: Tensor, fake: Tensor) -> bool:
    if seen.shape != real.shape or torch.equal(seen, real) or torch.equal(seen, fake):
        return False
    low, high = torch.minimum(real, fake) - 1e-5, torch.maximum(real, fake) + 1e-5
    return bool(((seen >= low) & (seen <= high)).all())


def _require_own_shares(offset: Tensor, whole: Tensor) -> None:
    share = (offset * whole).sum(1, keepdim=True) / whole.square().sum(1, keepdim=True)
    beside = torch.linalg.vector_norm(offset - share * whole, dim=1) / torch.linalg.vector_norm(whole, dim=1)
    require(
        beside.max() < 1e-3,
        f"its points lie beside the straight segments between real and fake, by {beside.max().item():.2g} of their "
        "length: one share a sample is wanted, not one a pixel.",
    )
    require(
        (share.max() - share.min()) > 1e-4,
        f"every sample's point lies at the same share, {share[0].item():.3g}, of its segment: draw one a sample.",
    )


@check(HOOK)
def projection(subject: Subject) -> None:
    """Projecting twice is projecting once; it is in place, and leaves frozen parameters and buffers alone."""
    constraint = _made(subject)
    if not overrides(constraint, "project"):
        raise Skipped("it does not project.")
    for what, (build, _) in NETWORKS.items():
        critic = _large(build())
        frozen = next(critic.parameters()).requires_grad_(False)
        kept = torch.full((3,), 7.0)
        critic.register_buffer("kept", kept)
        held = {"a frozen parameter": frozen.clone(), "a buffer": kept.clone()}
        places = [parameter.data_ptr() for parameter in critic.parameters()]
        once, twice = (_projected(constraint, critic) for _ in range(2))
        _require_same(once, twice, f"projecting {what} twice is not projecting once")
        _require_same([held["a frozen parameter"]], [frozen], f"it changes a frozen parameter of {what}")
        _require_same([held["a buffer"]], [kept], f"it changes a buffer of {what}")
        require(
            places == [parameter.data_ptr() for parameter in critic.parameters()],
            "it replaces parameters, which the optimiser then does not see; change them in place.",
        )


def _large(critic: nn.Module) -> nn.Module:
    """Weights that are far too large."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(5.0)
    return critic


def _projected(constraint: LipschitzConstraint, critic: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        constraint.project(critic)
    return [parameter.detach().clone() for parameter in critic.parameters()]


def _require_same(one: Sequence[Tensor], other: Sequence[Tensor], message: str) -> None:
    gap = max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))
    require(gap <= 1e-5, f"{message}: a value differs by {gap:.3g}.")


@check(HOOK)
def parametrization(subject: Subject) -> None:
    """A parametrised critic works, trains, can be copied, and gives the same scores from its state_dict."""
    if not overrides(_made(subject), "parametrize"):
        raise Skipped("it does not parametrise.")
    for what, (build, shape) in NETWORKS.items():
        try:
            critic, other = (constrained(_made(subject), build, seed) for seed in (1, 2))
        except Refused:
            continue
        samples = Draws(0).randn(8, *shape)
        scores = values(critic, samples)
        require(scores.shape == (8,) and scores.isfinite().all(), f"{what} of 8 samples then gives {scores.shape}.")
        gradients = torch.autograd.grad(scores.sum(), list(critic.parameters()), allow_unused=True)
        require(any(g is not None and g.any() for g in gradients), f"{what} then has no gradient by its parameters.")
        _require_copies(critic, other, samples)


def _require_copies(critic: nn.Module, other: nn.Module, samples: Tensor) -> None:
    other.load_state_dict(critic.state_dict())
    for network in (critic, other):
        network.eval()
    with torch.no_grad():
        expected = values(critic, samples)
        _require_same([expected], [values(other, samples)], "another critic with the same state_dict scores otherwise")
        _require_same([expected], [values(copy.deepcopy(critic), samples)], "a deep copy scores otherwise")


@check(HOOK)
def parametrizing_is_repeatable(subject: Subject) -> None:
    """The same seed gives the same parametrised critic."""
    if not overrides(_made(subject), "parametrize"):
        raise Skipped("it does not parametrise.")
    for build, shape in NETWORKS.values():
        samples = Draws(0).randn(8, *shape)
        try:
            with seeded(4):
                one = values(constrained(_made(subject), build, 1), samples)
            with seeded(5):
                other = values(constrained(_made(subject), build, 1), samples)
        except Refused:
            continue
        _require_same([one.detach()], [other.detach()], "the same seed gives critics with other scores")
