"""A phase's gradients as a function of tensors alone, to be compiled or replayed: all draws come from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zoo.draws import Draws
from zoo.errors import Uncapturable
from zoo.losses import Due, PhaseLoss, Real
from zoo.tape import Drawing, Player, Recorder


@dataclass(frozen=True)
class Needs:
    """What a loss asks for each time: real samples, and random numbers in this order."""

    real: bool
    drawings: tuple[Drawing, ...]

    def given(self, draw_real: Callable[[], Real], draws: Draws) -> list[Tensor]:
        """The next inputs: the random numbers, the real samples, their labels where there are some."""
        numbers = [drawing.made_by(draws) for drawing in self.drawings]
        real = draw_real() if self.real else ()
        return [*numbers, *(tensor for tensor in real if tensor is not None)]


@dataclass(frozen=True)
class Evaluated:
    """Gradients by the trained parameters, loss terms, and what components recorded; without graph."""

    gradients: Sequence[Tensor | None]
    terms: Mapping[str, Tensor]
    records: Mapping[str, list[Tensor]]

    def scalars(self) -> list[Tensor]:
        """The terms and, behind them, what was recorded."""
        return [*self.terms.values(), *(value for values in self.records.values() for value in values)]

    def names(self) -> list[str]:
        """What each of them is called."""
        return [*self.terms, *(name for name, values in self.records.items() for _ in values)]

    def with_scalars(self, scalars: Iterator[Tensor]) -> Evaluated:
        """The same without gradients, and with other scalars in the order of `scalars()`."""
        terms = {name: next(scalars) for name in self.terms}
        return Evaluated((), terms, {name: [next(scalars) for _ in each] for name, each in self.records.items()})


@dataclass(frozen=True)
class Moves:
    """What a step is, beside its loss and gradients.

    Attributes:
        finish: Moves the parameters by what one micro-batch after the other gave, and tells components.
        trained: The parameters that are moved.
        changes: Every tensor that a step changes, the parameters and the optimiser's state included.
    """

    finish: Callable[[Sequence[Evaluated]], None]
    trained: Sequence[nn.Parameter]
    changes: Callable[[], list[Tensor]]


def needs_of(loss: PhaseLoss, due: Due, draw_real: Callable[[], Real], draws: Draws) -> Needs:
    """What a loss asks for, found by computing it once.

    Raises:
        Uncapturable: It reads the number of the iteration, or replaces a buffer instead of updating it in place.
    """
    recorder, asked = Recorder(draws), []

    def ask() -> Real:
        asked.append(True)
        return draw_real()

    buffers = dict(loss.named_buffers())
    loss(loss.game(ask, recorder, due, _no_step))
    replaced = [name for name, buffer in loss.named_buffers() if buffer is not buffers.get(name)]
    if replaced:
        raise Uncapturable(f"it replaces the buffer {replaced[0]}; a plugin's author can update it in place.")
    return Needs(bool(asked), tuple(recorder.drawings))


class Gradients:
    """What a phase's loss and its gradients are as a function of flat lists of tensors.

    Args:
        loss: The phase's loss.
        due: The lazy terms that are computed.
        needs: What the loss asks for.
        trained: The parameters that gradients are taken by.
    """

    def __init__(self, loss: PhaseLoss, due: Due, needs: Needs, trained: Sequence[nn.Parameter]) -> None:
        named = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
        self._loss, self._due, self._needs = loss, due, needs
        self._names = list(named)
        self.values = list(named.values())
        """The tensors of the networks and components; they are updated in place, never replaced."""
        places = {id(value): place for place, value in enumerate(self.values)}
        self._trained = [places[id(parameter)] for parameter in trained]
        self._terms: list[str] = []
        self._records: list[str] = []

    def flat(self, values: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[list[Tensor | None], list[Tensor]]:
        """The gradients, and the terms with the records behind them."""
        count = len(self._needs.drawings)
        numbers, (*real,) = given[:count], given[count:]
        draws = Player(self._needs.drawings, numbers, given[0].device if given else None)
        batch = self._loss.game(lambda: (real[0], real[1] if real[1:] else None), draws, self._due, _no_step)
        named = dict(zip(self._names, values, strict=True))
        total, terms, _ = functional_call(self._loss, named, (batch,))
        inputs = [values[place] for place in self._trained]
        gradients = torch.autograd.grad(total, inputs, allow_unused=True)
        self._terms = list(terms)
        self._records = [name for name, each in batch.records.items() for _ in each]
        scalars = [*terms.values(), *(value for each in batch.records.values() for value in each)]
        return list(gradients), [scalar.detach() for scalar in scalars]

    def named(self, gradients: Sequence[Tensor | None], scalars: Sequence[Tensor]) -> Evaluated:
        """What `flat` returned, by name."""
        terms = dict(zip(self._terms, scalars, strict=False))
        records: dict[str, list[Tensor]] = {}
        for name, value in zip(self._records, scalars[len(terms) :], strict=True):
            records.setdefault(name, []).append(value)
        return Evaluated(gradients, terms, records)


def set_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Adds gradients to those of parameters, as `backward` does: in the parameters' own layout.

    Fused optimisers walk through memory, and are silently wrong where a gradient lies otherwise than its parameter.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _no_step() -> NoReturn:
    raise Uncapturable("it reads the number of the iteration, which would stay what it was at first.")


def reason(error: Exception) -> str:
    """The first line of what went wrong first, to be printed: what ends a capture says less than what broke it."""
    while isinstance(error.__context__, Exception):
        error = error.__context__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:200]}" if lines else type(error).__name__
