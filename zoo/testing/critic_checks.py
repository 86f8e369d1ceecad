"""Checks of critics alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.draws import Draws
from zoo.samples import Scores
from zoo.testing.checks import Failed, Subject, check, require
from zoo.testing.networks import Trial, require_finite, trials

NEARER = (1e-7, 1e-8, 1e-9)
"""Steps of finite differences in double precision: a rectifier's kink that one meets lies outside of a smaller one."""


@check("critic")
def shapes(subject: Subject) -> None:
    """Scores are finite floats `(N,)`, or `(N, H, W)` for patches, or a tuple of such, one a head."""
    for trial in trials(subject):
        for n, training in ((1, False), (2, True), (5, True), (5, False)):
            trial.network.train(training)
            for head in _heads(trial.network(*trial.inputs(n))):
                require(
                    head.ndim in (1, 3) and len(head) == n,
                    f"the scores of {n} samples on {trial} have shape {tuple(head.shape)}; it must be ({n},), or "
                    f"({n}, height, width) for patches: (N, 1) minus (N,) would silently be (N, N). Use squeeze(1).",
                )
                require(head.dtype == torch.float32, f"on {trial} scores are {head.dtype}, and not torch.float32.")
                require_finite([head], f"the scores of {n} samples on {trial}")


def _heads(result: object) -> tuple[Tensor, ...]:
    values = result.values if isinstance(result, Scores) else result
    heads = values if isinstance(values, tuple) else (values,)
    require(len(heads) > 0, "it returns an empty tuple of scores.")
    for head in heads:
        require(isinstance(head, Tensor), f"it returns {type(head).__name__}, and not a tensor or zoo.Scores.")
    return heads


@check("critic")
def slopes(subject: Subject) -> None:
    """Slopes can be differentiated by parameters, as gradient penalties do, and are finite."""
    for trial in trials(subject):
        real, fake = (torch.tanh(Draws(seed).randn(4, *trial.about.shape)) for seed in (1, 2))
        _require_slopes(trial, real, fake, "random samples")


@check("critic")
def slopes_at_ties(subject: Subject) -> None:
    """Slopes and their derivatives are finite for equal samples, and for samples that are zero all over."""
    for trial in trials(subject):
        same = torch.tanh(Draws(1).randn(1, *trial.about.shape)).expand(4, *trial.about.shape).contiguous()
        _require_slopes(trial, same, same.clone(), "four equal samples")
        zero = torch.zeros_like(same)
        _require_slopes(trial, zero, zero.clone(), "samples of zeros")


def _require_slopes(trial: Trial, real: Tensor, fake: Tensor, what: str) -> None:
    parameters = [p for p in trial.network.train().parameters() if p.requires_grad]
    try:
        found, penalty = _penalty(trial, real, fake)
        second = torch.autograd.grad(penalty, parameters, allow_unused=True)
    except RuntimeError as error:
        raise Failed(
            f"on {trial} the slope of its score has no gradient by its parameters ({str(error).splitlines()[0]}): "
            "use differentiable operations that have a second derivative; fused kernels often have none."
        ) from error
    require(any(each is not None for each in second), f"on {trial} the slope of its score depends on no parameter.")
    require_finite(found, f"slopes at {what} on {trial}")
    require_finite([g for g in second if g is not None], f"gradients of slopes by parameters at {what} on {trial}")


def _penalty(trial: Trial, real: Tensor, fake: Tensor) -> tuple[list[Tensor], Tensor]:
    """The slopes of each head, and the sum of their mean squared distances from 1."""
    given = trial.condition(len(real), Draws(3))
    given = given.to(real.dtype) if given.is_floating_point() else given
    batch = Batch(
        critic=trial.network, real=real, fake=fake, real_condition=given, fake_condition=given, draws=Draws(4)
    )
    found = [head.slopes("segment") for head in batch.heads()]
    return found, torch.stack([(slope - 1).square().mean() for slope in found]).sum()


@check("critic")
def second_derivatives(subject: Subject) -> None:
    """The derivative of a gradient penalty by the parameters is that of finite differences, in double precision."""
    for trial in trials(subject):
        trial.network.double().eval()
        samples = [torch.tanh(Draws(seed).randn(4, *trial.about.shape).double()) for seed in (1, 2)]
        parameters = [p for p in trial.network.parameters() if p.requires_grad]
        draws = Draws(6)
        moves = [nn.functional.normalize(draws.randn(p.numel()), dim=0).view_as(p).double() for p in parameters]
        second = torch.autograd.grad(_penalty(trial, *samples)[1], parameters, allow_unused=True)
        given = sum(float((g * move).sum()) for g, move in zip(second, moves, strict=True) if g is not None)
        for step in NEARER:
            measured = _difference(trial, samples, parameters, moves, step)
            alike = abs(given - measured) < 1e-3 * (abs(given) + abs(measured)) + 1e-6
            if alike:
                break
        require(
            alike,
            f"on {trial} the derivative of a gradient penalty along a direction of parameters is {measured:.6g}, but "
            f"autograd says {given:.6g}: an operation has a wrong second derivative, or none (once_differentiable).",
        )


def _difference(
    trial: Trial, samples: Sequence[Tensor], parameters: Sequence[Tensor], moves: list[Tensor], step: float
) -> float:
    """What a penalty gains for a step of the parameters along their moves, by the step."""
    values = []
    for move in (step, -2 * step):
        torch._foreach_add_([p.data for p in parameters], moves, alpha=move)
        values.append(float(_penalty(trial, *samples)[1].detach()))
    torch._foreach_add_([p.data for p in parameters], moves, alpha=step)
    return (values[0] - values[1]) / (2 * step)


@check("critic")
def uses_samples(subject: Subject) -> None:
    """Different samples get different scores."""
    for trial in trials(subject):
        scores = trial.evaluated(*trial.inputs(4))[0]
        require(not torch.equal(scores[0], scores[1]), f"on {trial} two random samples get the same score.")
