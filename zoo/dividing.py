"""Whether a batch may be divided among processes and in micro-batches: measured on the losses of what was built."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.batch import Batch
from zoo.components import Distance, LipschitzConstraint, overrides
from zoo.compose import Composition
from zoo.draws import Draws
from zoo.errors import BadData, IncompatibleParts
from zoo.processes import Group
from zoo.sets import CPU, OverSet, is_mean, is_mean_of_halves, is_over_set

PROBE = 4
"""Samples that are measured with."""
HALVES = (Group(0, 2), Group(1, 2))
LOSSES = ("critic_loss", "generator_loss")
TOLERANCE, NOTHING = 1e-2, 1e-7
"""How far a loss may be from the mean of its halves': as a share of itself, and at least."""


def check_split(composition: Composition) -> None:
    """Checks that a batch may be split, among processes and in micro-batches, as asked: part of `check`.

    Raises:
        BadData: It cannot be split in equal parts.
        IncompatibleParts: A loss or a penalty is no mean over samples, so that the parts' gradients do not add up.
    """
    check_even(composition)
    check_means(composition)


def check_even(composition: Composition) -> None:
    """Raises BadData unless a batch can be split in equal parts."""
    train, group = composition.training.train, composition.group
    parts = train.micro_batches * group.size
    if train.batch_size % parts:
        among = f" in each of {group.size} processes" if group.size > 1 else ""
        raise BadData(
            f"a batch of {train.batch_size} cannot be split in {train.micro_batches} equal micro-batches{among}; "
            f"use a --batch-size that is a multiple of {parts}."
        )


def check_means(composition: Composition) -> None:
    """Raises IncompatibleParts if a batch is split and a loss is no mean over samples."""
    train, group = composition.training.train, composition.group
    if train.micro_batches > 1 and composition.parts.distance is not None:
        _check_mean(composition.parts.distance)
    if train.micro_batches * group.size > 1:
        _check_mean_penalties(composition)
        _check_mean_objectives(composition)


def _check_mean(distance: Distance) -> None:
    """Gradient accumulation needs losses that are means over samples; this measures whether they are."""
    if isinstance(distance, OverSet) or is_over_set(distance):
        named = distance.distance if isinstance(distance, OverSet) else distance
        raise IncompatibleParts(
            f"{type(named).__name__} is no mean over samples, so gradients of micro-batches do not add up "
            "to the batch's; use train.micro_batches = 1."
        )


def _check_mean_penalties(composition: Composition) -> None:
    """The same of penalties."""
    for name, constraint in composition.parts.constraints.items():
        if overrides(constraint, "penalty") and not _is_mean_penalty(composition, constraint):
            raise IncompatibleParts(
                f"the penalty of {name} is no mean over samples, so those of parts of a batch do not add up to "
                "the batch's; use one process and train.micro_batches = 1."
            )


def _is_mean_penalty(composition: Composition, constraint: LipschitzConstraint) -> bool:
    """Measured where slopes differ much from sample to sample, as a new critic's do not; if it can be asked there."""
    try:
        return is_mean_of_halves(copy.deepcopy(constraint).to(CPU).penalty, composition.dataset.shape, bend=1.0)
    except Exception:  # It wants the recipe's own critic, perhaps: its features, or several heads.
        return _is_mean_of_own(composition, constraint)


def _is_mean_of_own(composition: Composition, constraint: LipschitzConstraint) -> bool:
    """With the recipe's own critic in evaluation mode, in which samples do not meet."""
    if "critic" not in composition.networks:
        return True
    with _evaluating(composition):
        phase = composition.critic_phase
        parts = [_part(composition, group) for group in (Group(), *HALVES)]
        games = [list((part if phase is None else phase.played(part)).heads()) for part in parts]
        return all(
            is_mean(constraint.penalty, whole, halves, tolerance=TOLERANCE, least=NOTHING)
            for whole, *halves in zip(*games, strict=True)
        )


def _check_mean_objectives(composition: Composition) -> None:
    """The same of objectives, on the recipe's own networks."""
    for name, objective in composition.parts.objectives.items():
        losses = [getattr(objective, loss) for loss in LOSSES if overrides(objective, loss)]
        with _evaluating(composition):
            wrong = [loss for loss in losses if not _is_mean_loss(composition, loss)]
        if wrong:
            raise IncompatibleParts(
                f"the objective {name} is no mean over samples, so what parts of a batch give does not add up to the "
                "batch's; use one process and train.micro_batches = 1."
            )


def _is_mean_loss(composition: Composition, loss: Callable[[Batch], Tensor | None]) -> bool:
    """To a share of the loss itself, which may have a small weight."""
    found = [loss(_part(composition, group)) for group in (Group(), *HALVES)]
    whole, *halves = (0.0 if value is None else float(value.detach()) for value in found)
    mean = sum(halves) / len(halves)
    return abs(whole - mean) <= TOLERANCE * max(abs(whole), abs(mean)) + NOTHING


def _part(composition: Composition, group: Group) -> Batch:
    """The rows of one of two processes, or the whole, of one batch of random points."""
    draws, generator = Draws(5, composition.device, group), composition.networks.get("generator")
    n, shape = 2 * PROBE * composition.procedure.packed // group.size, composition.dataset.shape
    given = random_condition(composition, n, draws)
    real, fake = (composition.seen(torch.tanh(draws.randn(n, *shape))) for _ in range(2))
    return Batch(
        critic=composition.parts.networks.get("critic"),
        real=real,
        fake=fake,
        z=None if generator is None else generator.latent(n, draws),  # type: ignore[operator]
        real_condition=given,
        fake_condition=given,
        draws=draws,
    )


def random_condition(composition: Composition, n: int, draws: Draws) -> Tensor | None:
    """Random labels `(n,)` or sources `(n, *source)`; None where the data have neither."""
    dataset = composition.dataset
    if dataset.source is not None:
        return torch.tanh(draws.randn(n, *dataset.source))
    return None if dataset.classes is None else draws.randint(dataset.classes, n)


@contextlib.contextmanager
def unchanged(composition: Composition) -> Iterator[None]:
    """Buffers and random numbers are as before afterwards."""
    networks = list(composition.networks.values())
    buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


@contextlib.contextmanager
def _evaluating(composition: Composition) -> Iterator[None]:
    """Networks are in evaluation mode, and unchanged afterwards."""
    modes = [(network, network.training) for network in composition.networks.values()]
    try:
        for network, _ in modes:
            network.eval()
        with unchanged(composition):
            yield
    finally:
        for network, training in modes:
            network.train(training)
