"""Checks of every network: generators, critics and backbones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils import parametrize

from zoo.devices import LowPrecision
from zoo.errors import ZooError
from zoo.testing.checks import Failed, Subject, check, require
from zoo.testing.networks import (
    NETWORKS,
    Trial,
    attempts,
    build,
    changed,
    difference,
    drawn_globally,
    other_random_numbers,
    require_finite,
    states_of,
    taken,
    tensors_in,
    trials,
    weighted_sum,
)
from zoo.testing.synchronisation import Watch

EXACT, SINGLE = 1e-6, 1e-3
"""Largest relative differences: of the same arithmetic, and between single and double precision."""


@check(*NETWORKS)
def builds(subject: Subject) -> None:
    """It builds with its default settings for some kind of data, and refuses the others with a reason."""
    results = attempts(subject)
    for about, error in results.items():
        if isinstance(error, Failed):
            raise error
        require(
            error is None or (isinstance(error, ZooError) and str(error)),
            f"for samples {about.shape} and classes {about.classes} it raises {type(error).__name__}: {error}. "
            "Raise zoo.IncompatibleParts, with what to use instead, for data that it does not take.",
        )
    require(
        any(error is None for error in results.values()),
        f"it builds for no kind of data that was tried; the last refusal: {list(results.values())[-1]}",
    )


@check(*NETWORKS)
def gradients(subject: Subject) -> None:
    """In training mode its inputs and all of its trainable parameters get finite gradients."""
    for trial in trials(subject):
        trial.network.train()
        inputs = trial.inputs(4)
        # What makes samples of sources may do without latent points.
        points = next(each for each in inputs if each.is_floating_point() and each.numel()).requires_grad_()
        named = trial.own_parameters()
        total = weighted_sum(trial.outputs(*inputs))
        require(total.requires_grad, f"on {trial} its output has no gradient: is it detached?")
        found = torch.autograd.grad(total, [points, *named.values()], allow_unused=True)
        require(found[0] is not None, f"on {trial} its output does not depend on its input differentiably.")
        unused = [name for name, gradient in zip(named, found[1:], strict=True) if gradient is None]
        require(
            not unused,
            f"on {trial} {len(unused)} parameters get no gradient, such as {_listed(unused)}: "
            "unused, or detached. Leave them out, or make them buffers or freeze them (requires_grad_(False)).",
        )
        require_finite([gradient for gradient in found if gradient is not None], f"gradients on {trial}")


@check(*NETWORKS)
def precision(subject: Subject) -> None:
    """It works in double precision, with the results of single precision."""
    for trial in trials(subject):
        inputs = trial.inputs(3)
        single = trial.evaluated(*inputs)
        trial.network.to(torch.float64)
        double = trial.evaluated(*(each.double() if each.is_floating_point() else each for each in inputs))
        kinds = {str(t.dtype) for t in double if t.is_floating_point()}
        require(
            kinds == {"torch.float64"},
            f"on {trial} in float64 it returns {_listed(kinds)}: "
            "make new tensors with the dtype of the input, and keep constants in buffers.",
        )
        gap = difference(single, double)
        require(gap < SINGLE, f"on {trial} float32 and float64 differ by {gap:.2g} of the largest value.")


@check(*NETWORKS)
def low_precision(subject: Subject) -> None:
    """With `train.precision = "bf16"` outputs and gradients are finite, and parameters stay float32."""
    for trial in trials(subject):
        wrapped = LowPrecision(trial.network.train(), torch.device("cpu"))
        outputs = tensors_in(wrapped(*trial.inputs(4)))
        require_finite(outputs, f"outputs on {trial} under bfloat16")
        parameters = list(trial.own_parameters().values())
        if parameters:
            found = torch.autograd.grad(weighted_sum(outputs), parameters, allow_unused=True)
            require_finite([g for g in found if g is not None], f"gradients on {trial} under bfloat16")
        wrong = [n for n, p in trial.network.named_parameters() if p.dtype != torch.float32]
        require(not wrong, f"on {trial} parameters are no longer float32: {_listed(wrong)}.")


@check(*NETWORKS)
def repeatable(subject: Subject) -> None:
    """The same seed gives the same weights and outputs; no random numbers but torch's are drawn."""
    for about in taken(subject):
        with other_random_numbers(1):
            one = Trial(subject, about, build(subject, about))
        with drawn_globally(2) as drawn:
            other = one.again()
        require(not drawn - {"torch"}, f"building it draws from {_listed(drawn - {'torch'})}; use torch's generator.")
        different = changed(states_of(one.network), other.network)
        inputs = one.inputs(3)
        gap = difference(one.evaluated(*inputs), other.evaluated(*inputs))
        require(
            not different and gap == 0,
            f"built for {one} twice under the same seed, it differs ({_listed(different) or 'in its outputs'}): "
            "draw initial weights from torch's global generator, which the zoo seeds, and from no other.",
        )


@check(*NETWORKS)
def deterministic(subject: Subject) -> None:
    """In evaluation mode the same inputs give the same outputs, and no random numbers are drawn."""
    for trial in trials(subject):
        inputs = trial.inputs(3)
        first = trial.evaluated(*inputs)
        with drawn_globally() as drawn:
            second = trial.evaluated(*inputs)
        gap = difference(first, second)
        require(gap == 0, f"on {trial} in evaluation mode two calls differ by {gap:.2g} of the largest value.")
        require(not drawn, f"on {trial} in evaluation mode it draws from {_listed(drawn)}.")


@check(*NETWORKS)
def state(subject: Subject) -> None:
    """All that decides its output is in its state_dict, which evaluation does not change."""
    for trial in trials(subject):
        inputs = trial.inputs(4)
        trial.network.train()
        with torch.no_grad():
            trial.outputs(*inputs)
        before = states_of(trial.network)
        expected = trial.evaluated(*inputs)
        moved = changed(before, trial.network)
        require(not moved, f"on {trial} evaluation mode changes its state: {_listed(moved)}.")
        fresh = trial.again(seed=7)
        fresh.network.load_state_dict(trial.network.state_dict())
        gap = difference(fresh.evaluated(*inputs), expected)
        require(
            gap < EXACT,
            f"on {trial} a new network with its state_dict differs by {gap:.2g} of the largest value: "
            "something that changes its output is no parameter or buffer; use register_buffer.",
        )
        trial.network.train()
        gap = difference(trial.evaluated(*inputs), expected)
        require(gap < EXACT, f"on {trial} its output differs by {gap:.2g} after train() and eval() again.")


@check(*NETWORKS)
def copies(subject: Subject) -> None:
    """copy.deepcopy and pickle give a network with the same outputs."""
    for about in taken(subject):
        trial = Trial(subject, about, build(subject, about))
        inputs = trial.inputs(3)
        expected = trial.evaluated(*inputs)
        copied = Trial(trial.subject, trial.about, copy.deepcopy(trial.network))
        require(difference(copied.evaluated(*inputs), expected) < EXACT, f"on {trial} a deep copy differs.")
        if not any(parametrize.is_parametrized(module) for module in trial.network.modules()):
            pickled = Trial(trial.subject, trial.about, _pickled(trial.network))
            require(difference(pickled.evaluated(*inputs), expected) < EXACT, f"on {trial} a pickled copy differs.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])


def _pickled(network: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(network))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Failed(f"it cannot be pickled ({error}): keep no lambda, local class or open file in it.") from error


@check(*NETWORKS)
def does_not_change_its_inputs(subject: Subject) -> None:
    """Its inputs are as they were after a forward pass."""
    for trial in trials(subject):
        inputs = trial.inputs(4)
        before = [each.clone() for each in inputs]
        for mode in (True, False):
            trial.network.train(mode)
            with torch.no_grad():
                trial.outputs(*inputs)
        same = all(torch.equal(mine, its) for mine, its in zip(inputs, before, strict=True))
        require(same, f"on {trial} forward changes its input: an operation in place (`x += ...`, `x.mul_()`).")


@check(*NETWORKS)
def no_synchronisation(subject: Subject) -> None:
    """Forward and backward never wait for the device, as `.item()`, `if tensor` and masks do."""
    for trial in trials(subject):
        trial.network.train()
        inputs = trial.inputs(4)
        inputs[0].requires_grad_()
        with Watch() as watch:
            total = weighted_sum(trial.outputs(*inputs))
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
        require(not watch.seen, f"on {trial} it waits for the device: {'; '.join(watch.seen[:3])}.")
