"""Checks of distances: their losses by the scores, where they move a generator, and what they estimate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.batch import mean_records
from zoo.components import Distance
from zoo.testing.checks import Skipped, Subject, check, require
from zoo.testing.quantities import KNOWN, atoms, divergence
from zoo.testing.terms import shape_of, terms_of
from zoo.testing.toys import LINE, VECTOR, Linear, Readout, game, points, scored

EXTREME = 1e3
RATE, STEPS = 0.1, 15
CLOSE = 1e-4
NO_SCORES = "its losses do not use the critic's scores."


def _made(subject: Subject) -> Distance:
    distance: Distance = subject.make()
    return distance


def _by_scores(term: Callable[..., Tensor], real: Tensor, fake: Tensor, patches: bool = False) -> tuple[Tensor, ...]:
    """A loss and its gradients by the scores of the real samples and of the fakes."""
    batch = game(Readout(patches=patches), real, fake)
    scores = (batch.real_scores, batch.fake_scores)
    loss = term(batch)
    if not loss.requires_grad:
        return loss, torch.zeros_like(scores[0]), torch.zeros_like(scores[1])
    return loss, *torch.autograd.grad(loss, scores, allow_unused=True, materialize_grads=True)


def _require_sound(name: str, at: str, loss: Tensor, *gradients: Tensor) -> None:
    require(loss.ndim == 0, f"{name} has shape {tuple(loss.shape)} for {at}; it must be a scalar.")
    require(loss.isfinite(), f"{name} is {loss.item():g} for {at}.")
    require(all(g.isfinite().all() for g in gradients), f"{name} has a gradient that is NaN or infinite for {at}.")


@check("distance")
def losses_are_scalars(subject: Subject) -> None:
    """Both losses are finite scalars with finite gradients, for scores (N,) and for patches (N, H, W)."""
    distance = _made(subject)
    shape = shape_of(distance)
    for name, term in terms_of(distance).items():
        for patches in (False, True) if shape == VECTOR else (False,):
            for size in (0.0, 1.0, 5.0):
                found = _by_scores(term, *scored(size=size, patches=patches, shape=shape), patches)
                at = f"{'patches of ' if patches else ''}scores of size {size:g}"
                _require_sound(name, at, *found)


@check("distance")
def extreme_scores(subject: Subject) -> None:
    """Both losses and their gradients are finite in float32 for scores of 1000 and -1000."""
    distance = _made(subject)
    shape = shape_of(distance)
    for name, term in terms_of(distance).items():
        for real_score in (-EXTREME, EXTREME):
            for fake_score in (-EXTREME, EXTREME):
                real, fake = scored(shape=shape)
                real[:, 0], fake[:, 0] = real_score, fake_score
                at = f"real scores of {real_score:g} and fake scores of {fake_score:g}"
                _require_sound(name, at, *_by_scores(term, real, fake))


@check("distance")
def sign_of_the_critic_loss(subject: Subject) -> None:
    """Around scores of 0 the critic's loss falls as the real scores rise, and rises as the fake scores rise."""
    distance = _made(subject)
    _, by_real, by_fake = _by_scores(distance.critic_loss, *scored(size=0.1, shape=shape_of(distance)))
    if not (by_real.any() or by_fake.any()):
        raise Skipped(NO_SCORES)
    real, fake = by_real.sum().item(), by_fake.sum().item()
    expected = "scores are high for real: the first must be negative, the second positive. A sign or an order is wrong"
    require(
        real < 0 < fake, f"its derivative by all real scores is {real:.3g}, by all fake scores {fake:.3g}; {expected}."
    )


@check("distance")
def moves_a_dirac_toward_the_data(subject: Subject) -> None:
    """After some steps of a linear critic, the generator's loss moves fakes at one point toward data at another."""
    for place in (1.0, -1.0):
        distance = _made(subject)
        real, fake = torch.full((8, 1), place), torch.zeros(8, 1, requires_grad=True)
        critic = _trained(distance, real, fake.detach())
        loss = distance.generator_loss(game(critic, real, fake, track=False))
        (gradient,) = torch.autograd.grad(loss, fake, allow_unused=True, materialize_grads=True)
        step = -gradient.mean().item()
        require(
            step * place > 0,
            f"with the data at {place:g} and the fakes at 0, a step of the generator moves the fakes by {step:.3g} "
            f"times its rate, under a critic of slope {critic.weight.item():.3g} trained with critic_loss. The sign of "
            "one of the two losses is wrong, or the generator's loss does not depend on the fakes.",
        )


def _trained(distance: Distance, real: Tensor, fake: Tensor) -> Linear:
    """A linear critic from slope 0, after some steps of gradient descent."""
    critic = Linear((1,), 0.0)
    for _ in range(STEPS):
        batch = game(critic, real, fake)
        loss = distance.critic_loss(batch)
        if not loss.requires_grad:
            break
        (gradient,) = torch.autograd.grad(loss, critic.weight, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            critic.weight.sub_(RATE * gradient)
            distance.after_step(mean_records(batch.records))
    return critic


def _estimate(distance: Distance, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor | None:
    with torch.no_grad():
        return distance.estimate(game(critic, real, fake))


@check("distance")
def estimate_is_declared(subject: Subject) -> None:
    """`estimates` says what `estimate` estimates, which is a finite scalar; it is empty if there is no estimate."""
    distance = _made(subject)
    value = _estimate(distance, Readout(), *scored(shape=shape_of(distance)))
    if value is None:
        require(not distance.estimates, f"estimate() returns None, but `estimates` says '{distance.estimates}'.")
        return
    require(distance.estimates, "it has an estimate; say in the class attribute `estimates` of what, such as 'W1'.")
    _require_sound("estimate", "scores of size 1", value)


@check("distance")
def estimate_is_zero_for_equals(subject: Subject) -> None:
    """The estimate is 0 where real and fake are the same, for the constant critic that its own loss likes best."""
    distance = _made(subject)
    if not distance.estimates:
        raise Skipped("it has no estimate.")
    shape = shape_of(distance)
    real, _ = points(shape, 256)
    value = _estimate(distance, _best_constant(distance, real), real, real.clone())
    _, by_real, by_fake = _by_scores(distance.critic_loss, *scored(shape=shape))
    tolerance = CLOSE if by_real.any() or by_fake.any() else 0.02
    require(
        value is not None and value.abs() <= tolerance,
        f"for equal samples it is {'None' if value is None else f'{value.item():.4g}'}; expected 0.",
    )


def _best_constant(distance: Distance, samples: Tensor) -> Linear:
    """By ternary search: the critic's loss is convex in a constant score."""
    critic, low, high = Linear(samples.shape[1:], 0.0), -5.0, 5.0
    with torch.no_grad():
        while high - low > CLOSE:
            thirds = (low + (high - low) / 3, high - (high - low) / 3)
            first, second = (
                distance.critic_loss(game(_shifted(critic, c), samples, samples.clone())).item() for c in thirds
            )
            low, high = (low if first < second else thirds[0]), (high if second < first else thirds[1])
        return _shifted(critic, (low + high) / 2)


def _shifted(critic: Linear, constant: float) -> Linear:
    critic.bias.fill_(constant)
    return critic


@check("distance")
def estimate(subject: Subject) -> None:
    """At the best critic, the estimate is the quantity that it is called, where its closed form is known."""
    distance = _made(subject)
    quantity, _, note = distance.estimates.partition(", ")
    if quantity not in KNOWN:
        raise Skipped(f"no closed form of '{quantity}' is known here." if quantity else "it has no estimate.")
    for expected, critic, real, fake in _instances(distance, quantity):
        value = _estimate(distance, critic, real, fake)
        found = float("nan") if value is None else value.item()
        tolerance = KNOWN[quantity] * (1 + abs(expected))
        right = found <= expected + tolerance if "below" in note else abs(found - expected) <= tolerance
        require(right, f"at the best critic it is {found:.5g}; {distance.estimates} is {expected:.5g}.")


def _instances(distance: Distance, quantity: str) -> list[tuple[float, nn.Module, Tensor, Tensor]]:
    """(the true value, the best critic, real samples, fakes), for two pairs of distributions."""
    if quantity == "W1":
        return [_shifted_normals(shift) for shift in (1.0, -2.0)]
    return [_classified(distance, quantity, shares) for shares in ((0.75, 0.25), (0.5, 0.125))]


def _shifted_normals(shift: float) -> tuple[float, nn.Module, Tensor, Tensor]:
    """N(shift, 1) and N(0, 1), as quantiles; the best critic of slope 1 is linear."""
    normal = torch.special.ndtri((torch.arange(64) + 0.5) / 64)[:, None]
    critic = Linear((1,))
    with torch.no_grad():
        critic.weight.fill_(1.0 if shift > 0 else -1.0)
    return abs(shift), critic, normal + shift, normal


def _classified(
    distance: Distance, quantity: str, shares: tuple[float, float]
) -> tuple[float, nn.Module, Tensor, Tensor]:
    """Distributions on two points, with a critic that is free at each of them and trained until it is best."""
    real, fake = (atoms(share) for share in shares)
    if shape_of(distance) == LINE:
        real, fake = real[:, :1], fake[:, :1]
    critic = Linear(real.shape[1:], 0.0)
    for rate in torch.linspace(RATE, 0, 10 * STEPS):
        loss = distance.critic_loss(game(critic, real, fake))
        if not loss.requires_grad:
            break
        (gradient,) = torch.autograd.grad(loss, critic.weight)
        with torch.no_grad():
            critic.weight.sub_(rate * gradient.sign())
    return divergence(quantity, *shares), critic, real, fake
