"""Where the gradients of a step come from: an eager backward, a compiled function, or a recording of the whole step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.captured import Evaluated, Moves, set_gradients
from zoo.compose import Composition
from zoo.data import Batches
from zoo.devices import full_precision
from zoo.draws import Draws
from zoo.errors import BadRecipe
from zoo.losses import Due, PhaseLoss, Real
from zoo.precision import agreement
from zoo.procedures import Phase

if TYPE_CHECKING:
    from zoo.compiled import Compiler
    from zoo.replayed import Replayer


class GradientSource:
    """Computes the losses of phases and their gradients, on the next samples and random numbers.

    Args:
        composition: What is trained.
        draws: Where random numbers come from.
        batches: Where real samples come from.
        say: Is told what cannot be compiled or recorded.

    Raises:
        BadRecipe: Steps are to be recorded, and cannot be.
    """

    def __init__(self, composition: Composition, draws: Draws, batches: Batches, say: Callable[[str], None]) -> None:
        train, size = composition.training.train, composition.group.size
        self.draws, self.batches = draws, batches
        self.records_steps = _records_steps(composition, say)
        """Whether steps are recorded as CUDA graphs, for which optimisers need a form of their own."""
        self._composition, self._say = composition, say
        self._micro_batches = train.micro_batches
        self._n = train.batch_size // (train.micro_batches * size)
        self._losses = {
            phase.name: PhaseLoss(composition, phase, self._n, train.micro_batches) for phase in composition.phases
        }
        self.compiler = self._start_compiler() if train.compile else None
        self.replayer = self._start_replayer() if self.records_steps else None

    def evaluate(
        self, phase: Phase, due: Due, inputs: Sequence[nn.Parameter], iteration: int, eager: bool
    ) -> tuple[list[Evaluated], Batch | None]:
        """Adds the gradients of all micro-batches to those of `inputs`.

        Args:
            phase: Whose loss it is.
            due: Its terms that are due.
            inputs: What the phase trains.
            iteration: Which one it is.
            eager: Whether it is to be had eagerly, because the game is wanted.

        Returns:
            The terms and records of each micro-batch, and the game of the last one that was played eagerly.
        """
        found, batch = [], None
        for _ in range(self._micro_batches):
            evaluated = None if eager or self.compiler is None else self._compiled(self.compiler, phase, due, inputs)
            if evaluated is None:
                batch, terms = self._backward(phase, due, inputs, iteration)
                evaluated = Evaluated((), {name: term.detach() for name, term in terms.items()}, batch.records)
            found.append(evaluated)
        return found, batch

    def replay(self, phase: Phase, due: Due, moves: Callable[[], Moves]) -> list[Evaluated] | None:
        """A whole step from its recording; None if it has to be made in the ordinary way."""
        if self.replayer is None:
            return None
        return self.replayer.step(self._losses[phase.name], due, self._micro_batches, moves)

    def forget(self) -> None:
        """Drops what was recorded of steps, when the tensors that they change are others from now on."""
        if self.replayer is not None:
            self.replayer.forget()

    def tensors(self, phase: Phase) -> list[Tensor]:
        """The parameters and buffers of all that a phase's loss may ask."""
        loss = self._losses[phase.name]
        return [*loss.parameters(), *loss.buffers()]

    def agreement(
        self, phase: Phase, due: Due, inputs: Sequence[nn.Parameter], iteration: int
    ) -> tuple[Tensor, Tensor]:
        """How near the gradient of the next step is to the same one in full precision: cosine and relative error."""
        with self.undisturbed():
            low = self._gradient(phase, due, inputs, iteration)
        with self.undisturbed(), full_precision(self._composition.parts.networks.values()):
            full = self._gradient(phase, due, inputs, iteration)
        if self._composition.group.size > 1:
            self._composition.group.average([low, full], [])
        return agreement(low, full)

    def fade_noise(self, iteration: int, steps: int) -> None:
        """Sets instance noise to what it is at an iteration, when it ends after so many."""
        for loss in self._losses.values():
            if loss.noise is not None:
                loss.noise.fade(iteration, steps)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Whatever is computed inside leaves no trace in random numbers, batches and buffers."""
        sources: list[Draws | Batches] = [self.draws, self.batches]
        states = [source.state_dict() for source in sources]
        buffers = [
            (module, name, buffer, buffer.clone())
            for loss in self._losses.values()
            for module in loss.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                yield
        finally:
            for source, state in zip(sources, states, strict=True):
                source.load_state_dict(state)
            with torch.no_grad():
                for module, name, buffer, before in buffers:
                    module._buffers[name] = buffer.copy_(before)

    def _backward(
        self, phase: Phase, due: Due, inputs: Sequence[nn.Parameter], iteration: int
    ) -> tuple[Batch, Mapping[str, Tensor]]:
        loss = self._losses[phase.name]
        total, terms, game = loss(loss.game(self._draw_real, self.draws, due, iteration))
        total.backward(inputs=inputs)
        return game, terms

    def _compiled(self, compiler: Compiler, phase: Phase, due: Due, inputs: Sequence[nn.Parameter]) -> Evaluated | None:
        found = compiler.evaluate(self._losses[phase.name], due, inputs)
        if found is not None:
            set_gradients(inputs, found.gradients)
        return found

    def _gradient(self, phase: Phase, due: Due, inputs: Sequence[nn.Parameter], iteration: int) -> Tensor:
        """The gradient of a micro-batch's total, as one vector."""
        loss = self._losses[phase.name]
        total, _, _ = loss(loss.game(self._draw_real, self.draws, due, iteration))
        found = torch.autograd.grad(total, list(inputs), allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.float().flatten() for gradient in found])

    def _draw_real(self) -> Real:
        return self.batches.draw(self._n)

    def _start_compiler(self) -> Compiler | None:
        if self._composition.group.size > 1:
            self._say("losses are not compiled, since several processes train together.")
            return None
        # It takes seconds to import, and most runs do without.
        from zoo.compiled import Compiler

        return Compiler(self._draw_real, self.draws, self.undisturbed, self._say)

    def _start_replayer(self) -> Replayer:
        from zoo.replayed import CudaRecording, Replayer

        recording = CudaRecording(self._composition.device)
        return Replayer(self._draw_real, self.draws, self.undisturbed, self._say, recording)


def _records_steps(composition: Composition, say: Callable[[str], None]) -> bool:
    """Whether steps can be recorded, where that is wanted; says why not where it might be expected."""
    wanted, device = composition.training.train.cuda_graphs, composition.device
    compiled = composition.training.train.compile
    if wanted == "off" or (wanted == "auto" and (device.type != "cuda" or compiled)):
        return False
    names = [phase.name for phase in composition.phases]
    why = f"the device is {device}" if device.type != "cuda" else composition.training.not_capturable(names)
    why = "several processes train together" if composition.group.size > 1 else why
    if why and wanted == "on":
        raise BadRecipe(f"train.cuda_graphs is on, but {why}; say auto, which records steps where that works.")
    if compiled and not why:
        say("steps are recorded as CUDA graphs as they are: what is compiled is used only where that fails.")
    if why:
        say(f"steps are not recorded as CUDA graphs, since {why}.")
    return not why
