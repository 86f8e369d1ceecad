"""Checks of distances and Lipschitz constraints alike: random numbers, waiting for the device, state, precision."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.components import Distance
from zoo.testing.checks import Subject, check, require
from zoo.testing.synchronisation import Watch
from zoo.testing.terms import evaluate, refuse_global_draws, same, shape_of, subject_terms, terms_of, toy, train
from zoo.testing.toys import Bent, Readout, game, points, scored

BOTH = ("distance", "lipschitz_constraint")
STEP = 1e-6
"""Relative change of the scores under which float64 shows no roughness, and float32 nothing else."""
ROUGHNESS = 1e-10
BFLOAT16_TOLERANCE = 0.05


@check(*BOTH)
def draws(subject: Subject) -> None:
    """Random numbers come from batch.rand and batch.randn alone, and the same seed gives the same result."""
    component = subject_terms(subject)
    refuse_global_draws(lambda: evaluate(component))


@check(*BOTH)
def no_synchronisation(subject: Subject) -> None:
    """No term waits for the device: no .item(), float(), `if tensor`, boolean mask or copy to the host."""
    component = subject_terms(subject)
    shape = shape_of(component)
    if isinstance(component, Distance):
        with torch.no_grad():
            _watch("estimate", lambda batch: component.estimate(batch), shape)
    for name, term in terms_of(component).items():
        _watch(name, term, shape)
    batch = toy(shape=shape)
    for term in terms_of(component).values():
        term(batch)
    means = {name: torch.stack(values).mean() for name, values in batch.records.items()}
    with torch.no_grad(), Watch() as watch:
        component.after_step(means)
    _require_silence("after_step", watch)


def _watch(name: str, term: Any, shape: Sequence[int]) -> None:
    batch = toy(shape=shape)
    with Watch() as watch:
        value = term(batch)
        if isinstance(value, Tensor) and value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
    _require_silence(name, watch)


def _require_silence(name: str, watch: Watch) -> None:
    seen = list(dict.fromkeys(watch.seen))
    require(not seen, f"{name} waits for the device, which stops the training loop: {'; '.join(seen[:3])}.")


@check(*BOTH)
def state(subject: Subject) -> None:
    """After some steps, its state_dict in a new instance gives the same values, now and later; so do its copies."""
    trained = subject.make()
    train(trained)
    restored = subject.make()
    restored.load_state_dict(trained.state_dict())
    copies = {"loaded from its state_dict": restored, "copied with deepcopy": copy.deepcopy(trained)}
    if "<locals>" not in type(trained).__qualname__:
        copies["pickled"] = pickle.loads(pickle.dumps(trained))
    for how, other in copies.items():
        why = f"an instance that is {how} goes on otherwise; state belongs in buffers (register_buffer)."
        same(evaluate(trained, 50), evaluate(other, 50), why)
    train(trained, 1)
    for how, other in copies.items():
        train(other, 1)
        why = f"an instance that is {how} goes on otherwise after a step; state belongs in buffers (register_buffer)."
        same(evaluate(trained, 50), evaluate(other, 50), why)


@check(*BOTH)
def after_step_updates_in_place(subject: Subject) -> None:
    """after_step changes the values of buffers, and neither replaces them nor adds new ones."""
    component = subject.make()
    before = {name: buffer.data_ptr() for name, buffer in component.named_buffers()}
    train(component, 2)
    after = {name: buffer.data_ptr() for name, buffer in component.named_buffers()}
    require(
        set(before) == set(after),
        f"buffers change with steps: {sorted(set(before) ^ set(after))}; register all of them in __init__.",
    )
    moved = [name for name in before if before[name] != after[name]]
    require(not moved, f"the buffers {moved} are replaced by new tensors; write into them, as with copy_ or lerp_.")


@check(*BOTH)
def has_no_parameters(subject: Subject) -> None:
    """It has no trained parameters: no optimiser would ever see them."""
    names = [name for name, _ in subject.make().named_parameters()]
    require(not names, f"it has the parameters {names}, which nothing trains; use buffers, or put them in a network.")


@check(*BOTH)
def does_not_change_its_inputs(subject: Subject) -> None:
    """Samples and the critic are as they were after each term."""
    component = subject_terms(subject)
    shape = shape_of(component)
    for name in terms_of(component):
        real, fake = points(shape)
        critic = Bent(shape)
        held = {"the real samples": real, "the fakes": fake, **{f"the critic's {k}": v for k, v in _state(critic)}}
        before = {what: tensor.detach().clone() for what, tensor in held.items()}
        terms_of(component)[name](game(critic, real, fake))
        changed = [what for what, tensor in held.items() if not torch.equal(tensor, before[what])]
        require(not changed, f"{name} changes {', '.join(changed)}; do not use operations in place on them.")
        require(critic.training, f"{name} leaves the critic in evaluation mode.")


def _state(critic: nn.Module) -> list[tuple[str, Tensor]]:
    return list(critic.state_dict(keep_vars=True).items())


@check(*BOTH)
def precision(subject: Subject) -> None:
    """float64 in gives float64 out, exact to its last digits; bfloat16 scores give what float32 does, within 5%."""
    component = subject_terms(subject)
    shape = shape_of(component)
    for name, term in terms_of(component).items():
        _require_double(name, term, shape)
        full, low = (_in_precision(term, dtype, shape) for dtype in (torch.float32, torch.bfloat16))
        require(low.isfinite(), f"{name} is {low.item():g} for bfloat16 scores; compute in float32 (zoo.samples.full).")
        gap = (full - low.float()).abs().item()
        require(
            gap <= BFLOAT16_TOLERANCE * (1 + full.abs().item()),
            f"{name} is {low.item():g} for bfloat16 scores and {full.item():g} for float32; compute in float32.",
        )


def _require_double(name: str, term: Any, shape: Sequence[int]) -> None:
    """Halfway between two close scales of the scores, a smooth term is the mean of what it is at them."""
    low, middle, high = (_scaled(term, 1 + step, shape) for step in (-STEP, 0.0, STEP))
    require(
        middle.dtype == torch.float64,
        f"{name} is {middle.dtype} for float64 samples and scores; do not convert to a fixed type.",
    )
    roughness = (low + high - 2 * middle).abs().item()
    require(
        roughness <= ROUGHNESS * (1 + middle.abs().item()),
        f"{name} is float64 in name, but rough at the size of {roughness:.1g}: something computes in float32.",
    )


def _scaled(term: Any, scale: float, shape: Sequence[int]) -> Tensor:
    real, fake = (samples.double() for samples in points(shape))
    critic = Bent(shape).double()
    with torch.no_grad():
        critic.score.weight.mul_(scale)
    value: Tensor = term(game(critic, real, fake)).detach()
    return value


def _in_precision(term: Any, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    real, fake = scored(shape=shape)
    value: Tensor = term(_low(real, fake, dtype)).detach()
    return value


def _low(real: Tensor, fake: Tensor, dtype: torch.dtype) -> Batch:
    return game(Readout(dtype), real, fake)
