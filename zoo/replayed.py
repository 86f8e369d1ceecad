"""Whole optimiser steps recorded once and replayed: CUDA graphs, where a step waits for its kernels to be launched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

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


class Recording(Protocol):
    """What records steps and replays them."""

    def apart(self, run: Callable[[], None]) -> None:
        """Runs something as it is, where recording will take place."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Records what something does, without doing it; what is returned does it."""


class CudaRecording:
    """Records kernels on a side stream of the current CUDA device."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def apart(self, run: Callable[[], None]) -> None:
        """Runs something on the side stream, in order with what is around it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            run()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of it."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=self._stream):
            run()
        return graph.replay


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

    def __post_init__(self) -> None:
        self.inputs = [[tensor.clone() for tensor in given] for given in self.inputs]

    def __call__(self, inputs: Sequence[Sequence[Tensor]]) -> list[Evaluated]:
        """One step on new inputs; what each micro-batch's terms and records were, as copies.

        Raises:
            Uncapturable: A replayed step is not the step itself. The step has been made as it is then.
        """
        for places, given in zip(self.inputs, inputs, strict=True):
            _put(places, given)
        if self._replay is not None:
            self._replay()
        elif self._warmed < WARM:
            self.recording.apart(self._run)
            self._warmed += 1
        else:
            self._record()
        return [_copied(each) for each in self.found]

    def _run(self) -> None:
        values = self.gradients.values
        self.found = [self.gradients.named(*self.gradients.flat(values, given)) for given in self.inputs]
        self.moves.finish(self.found)

    def _record(self) -> None:
        """Records the step, makes it both ways from the same start, and keeps the recording if they agree."""
        changes = self.moves.changes()
        before = [tensor.clone() for tensor in changes]
        start = [tensor.clone() for tensor in self.moves.trained]
        self.recording.apart(self._run)
        after = [tensor.clone() for tensor in changes]
        expected, found = [tensor.clone() for tensor in self.moves.trained], self.found
        _put(changes, before)
        try:
            replay = self.recording.record(self._run)
            replay()
            _refuse_difference(start, expected, self.moves.trained)
        except Exception as error:  # What a device says of a kernel that cannot be recorded is of many kinds.
            _put(changes, after)
            self.found = found
            raise error if isinstance(error, Uncapturable) else Uncapturable(reason(error)) from error
        self._replay = replay


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
            return step.found

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


def _refuse_difference(start: Sequence[Tensor], expected: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    def length(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
        squares = [(a.double() - b.double()).square().sum() for a, b in zip(one, other, strict=True)]
        return math.sqrt(float(torch.stack(squares).sum()))

    with torch.no_grad():
        share = length(found, expected) / max(length(expected, start), 1e-30)
    if not share <= TOLERANCE:
        raise Uncapturable(f"replayed it differs from the step itself by {share:.2g} of it; {TOLERANCE:g} is allowed.")
