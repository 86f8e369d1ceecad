"""Whole optimiser steps recorded once and replayed: CUDA graphs, where a step waits for its kernels to be launched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from zoo.captured import Evaluated, Gradients, Moves, Needs, needs_of, reason
from zoo.draws import Draws
from zoo.errors import Uncapturable
from zoo.losses import Due, PhaseLoss, Real

WARM = 11
"""Steps of each kind that run as they are before one is recorded, as torch asks for double backward and optimisers."""
TOLERANCE = 0.1
"""How far a replayed step may be from the same step as it is: the difference of both updates of the trained parameters,
relative to the update. Kernels that add in any order turn the sign of gradients that are nearly 0, and Adam's steps."""
CHECKED = 2
"""Steps that are made both ways: the recorded one, and the next one, which would differ by whatever the recording has
kept from the first."""

Triple: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""A tensor before a step, after it, and after the same step replayed."""


class Recording(Protocol):
    """What records steps and replays them."""

    def apart(self, run: Callable[[], None]) -> None:
        """Runs something as it is, where recording will take place."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Records what something does, without doing it; what is returned does it."""

    def random_state(self) -> Tensor:
        """The state of the random numbers that networks draw themselves, such as those of dropout."""

    def set_random_state(self, state: Tensor) -> None:
        """Puts it back."""


class CudaRecording:
    """Records kernels on a side stream of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def apart(self, run: Callable[[], None]) -> None:
        """Runs something on the side stream, in order with what is around it."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            run()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of it. Other threads may allocate meanwhile, as the one does that gathers batches."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        capture = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
        with torch.cuda.device(self._device), capture:
            run()
        return graph.replay

    def random_state(self) -> Tensor:
        """The state of the device's generator."""
        return torch.cuda.get_rng_state(self._device)

    def set_random_state(self, state: Tensor) -> None:
        """Puts it back."""
        torch.cuda.set_rng_state(state, self._device)


class NotMade(Uncapturable):
    """A step cannot be captured, and has not been made."""


@dataclass
class ReplayedStep:
    """One kind of step: a phase with the terms that are due.

    Args:
        gradients: The phase's gradients as a function of tensors.
        inputs: The first step's inputs, a list for each micro-batch; later ones are copied into their places.
        moves: What else a step does.
        recording: What records it.
    """

    gradients: Gradients
    inputs: list[list[Tensor]]
    moves: Moves
    recording: Recording
    found: list[Evaluated] = field(default_factory=list)
    _warmed: int = 0
    _replay: Callable[[], None] | None = None
    _checked: int = 0
    _recorded: list[Evaluated] = field(default_factory=list)
    _changes: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inputs = [[tensor.clone() for tensor in given] for given in self.inputs]

    def __call__(self, inputs: Sequence[Sequence[Tensor]]) -> list[Evaluated]:
        """One step on new inputs; what each micro-batch's terms and records were, as copies.

        Raises:
            NotMade: The step does otherwise than the first one.
            Uncapturable: A replayed step is not the step itself. The step has been made as it is then.
        """
        for places, given in zip(self.inputs, inputs, strict=True):
            _put(places, given)
        if self._warmed < WARM:
            self._warm()
        elif self._checked < CHECKED:
            self._check()
        elif self._replay is not None:
            self._replay()
        return [_copied(each) for each in self.found]

    def _warm(self) -> None:
        try:
            self.recording.apart(self._run)
        except Uncapturable as error:
            raise NotMade(str(error)) from error
        self._warmed += 1

    def _run(self) -> None:
        values = self.gradients.values
        self.found = [self.gradients.named(*self.gradients.flat(values, given)) for given in self.inputs]
        self.moves.finish(self.found)

    def _check(self) -> None:
        """Makes the step both ways from the same start, recorded if it is not yet, and refuses if they differ."""
        self._changes = self.moves.changes()
        random = self.recording.random_state()
        before = _copies(self._changes)
        self.recording.apart(self._run)
        after, found = _copies(self._changes), self.found
        _put(self._changes, before)
        try:
            replay = self._replay or self._record(before)
            self.recording.set_random_state(random)
            self.found = self._recorded
            replay()
            self._refuse_difference(before, after)
        except Exception as error:  # What a device says of a kernel that cannot be recorded is of many kinds.
            _put(self._changes, after)
            self.found = found
            raise error if isinstance(error, Uncapturable) else Uncapturable(reason(error)) from error
        self._replay = replay
        self._checked += 1

    def _record(self, before: Sequence[Tensor]) -> Callable[[], None]:
        replay = self.recording.record(self._run)
        self._recorded = self.found
        if any(not torch.equal(now, was) for now, was in zip(self._changes, before, strict=True)):
            raise Uncapturable("it ran while it was being recorded.")
        return replay

    def _refuse_difference(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """Compares the trained parameters as one vector, and whatever else changes one tensor at a time."""
        trained = {id(parameter) for parameter in self.moves.trained}
        moved: list[Triple] = [
            each for each in zip(before, after, self._changes, strict=True) if each[2].is_floating_point()
        ]
        _refuse([each for each in moved if id(each[2]) in trained])
        for each in moved:
            if id(each[2]) not in trained:
                _refuse([each])


class Replayer:
    """Replayed steps by phase and due terms; what cannot be recorded is said once, and left to ordinary steps.

    Args:
        draw_real, draws, undisturbed, say: See `Compiler`.
        recording: What records steps.
    """

    def __init__(
        self,
        draw_real: Callable[[], Real],
        draws: Draws,
        undisturbed: Callable[[], AbstractContextManager[None]],
        say: Callable[[str], None],
        recording: Recording,
    ) -> None:
        self._draw_real, self._draws = draw_real, draws
        self._undisturbed, self._say, self._recording = undisturbed, say, recording
        self._needs: dict[tuple[str, Due], Needs | None] = {}
        self._steps: dict[tuple[str, Due], ReplayedStep] = {}

    def step(self, loss: PhaseLoss, due: Due, micro_batches: int, make: Callable[[], Moves]) -> list[Evaluated] | None:
        """A whole optimiser step; None if it is to be made in the ordinary way.

        Args:
            loss: The phase's loss.
            due: Its terms that are due.
            micro_batches: How many a step has.
            make: Says what else a step of this kind does, when there is none yet.
        """
        key = (loss.phase.name, due)
        if key not in self._needs:
            self._needs[key] = self._try(loss, due)
        needs = self._needs[key]
        if needs is None:
            return None
        inputs = [needs.given(self._draw_real, self._draws) for _ in range(micro_batches)]
        if key not in self._steps:
            moves = make()
            gradients = Gradients(loss, due, needs, moves.trained)
            self._steps[key] = ReplayedStep(gradients, inputs, moves, self._recording)
        step = self._steps[key]
        try:
            return step(inputs)
        except Uncapturable as error:
            self._give_up(loss, due, error)
            return None if isinstance(error, NotMade) else step.found

    def forget(self) -> None:
        """Drops every recording: the optimiser's state is kept in other tensors from now on."""
        self._steps.clear()

    def _try(self, loss: PhaseLoss, due: Due) -> Needs | None:
        try:
            with self._undisturbed():
                return needs_of(loss, due, self._draw_real, self._draws)
        except Uncapturable as error:
            self._give_up(loss, due, error)
            return None

    def _give_up(self, loss: PhaseLoss, due: Due, error: Exception) -> None:
        key = (loss.phase.name, due)
        self._needs[key] = None
        self._steps.pop(key, None)
        self._say(
            f"the {loss.phase.name} phase is not recorded as a CUDA graph, and runs step by step: {reason(error)}"
        )


def _copied(found: Evaluated) -> Evaluated:
    """The same with copies of its scalars: one operation for all of them."""
    scalars = found.scalars()
    return found.with_scalars(iter(torch.stack([scalar.float() for scalar in scalars]).unbind() if scalars else ()))


def _put(tensors: Sequence[Tensor], contents: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for tensor, content in zip(tensors, contents, strict=True):
            tensor.copy_(content)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _refuse(moved: Sequence[Triple]) -> None:
    """Raises Uncapturable if what was found is too far from what was expected, relative to how far that went."""
    off, went = (
        math.sqrt(sum(float((each[one].double() - each[1].double()).square().sum()) for each in moved))
        for one in (2, 0)
    )
    share = off / went if went else float(off > 0)
    if not share <= TOLERANCE:
        raise Uncapturable(f"replayed it differs from the step itself by {share:.2g} of it; {TOLERANCE:g} is allowed.")
