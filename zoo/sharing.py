"""What a step gave, averaged over the processes in one message, which all of them must make of the same things."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.errors import ProcessesDiffer
from zoo.processes import Group

SLOTS = 64
"""Numbers that a message has room for beside the gradients, for each micro-batch; more of them take as much again."""
DIGITS = 8
"""Of a layout's checksum, in base 16."""
SPREAD = 1e-3
"""The variance of a digit over processes that is more than rounding, and less than that of one other among 900."""


class Sharing:
    """Means over the processes. Each message says what it is made of, in numbers that are averaged with the others.

    A plugin may record something, or reach a parameter, in one process only. Messages are nevertheless as long as each
    other, and `refuse_uneven` says later what was in some of them only: to ask in each step would wait for the device.

    Args:
        group: The processes.
        micro_batches: How many there are in a step.
    """

    def __init__(self, group: Group, micro_batches: int) -> None:
        self._group = group
        self._slots = SLOTS * micro_batches
        self._ends: dict[tuple[str, ...], Tensor] = {}
        self._made: Counter[str] = Counter()
        self._uneven: Tensor | None = None

    def means(
        self, phase: str, parameters: Sequence[nn.Parameter], names: Sequence[str], scalars: Sequence[Tensor]
    ) -> list[Tensor]:
        """Makes the gradients of parameters their means, in place, and returns those of named scalars."""
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        missing = [f"no gradient by parameter {i}" for i, each in enumerate(parameters) if each.grad is None]
        layout = tuple(f"{name} in the {phase} phase" for name in (*names, *missing))
        self._made.update(layout)
        numbers = torch.cat([torch.stack(list(scalars)), self._end(layout, len(scalars), scalars[0])])
        self._group.average([*gradients, numbers], [])
        digits, squares = numbers[-2 * DIGITS :].view(2, DIGITS)
        spread = (squares - digits.square()).amax()
        self._uneven = spread if self._uneven is None else torch.maximum(self._uneven, spread)
        return list(numbers[: len(scalars)].unbind())

    def refuse_uneven(self) -> None:
        """Waits for the device. Raises ProcessesDiffer, in all processes, if some averaged what others did not."""
        uneven = self._uneven is not None and float(self._uneven) > SPREAD
        made, self._made, self._uneven = self._made, Counter(), None
        if not uneven:
            return
        first, *others = self._group.told(dict(made))
        for rank, its in enumerate(others, 1):
            names = [name for name in {**first, **its} if first.get(name) != its.get(name)]
            if names:
                raise ProcessesDiffer(
                    f"process 0 and process {rank} have averaged different things: {names[0]} "
                    f"{first.get(names[0], 0)} times and {its.get(names[0], 0)} times. What a component records, and "
                    "what its loss depends on, must not depend on the samples. What was saved before is intact."
                )

    def _end(self, layout: tuple[str, ...], count: int, like: Tensor) -> Tensor:
        """What follows the scalars: free room, and the digits of the layout's checksum with their squares."""
        if layout not in self._ends:
            checksum = zlib.crc32("\n".join(layout).encode())
            digits = [checksum >> 4 * i & 15 for i in range(DIGITS)]
            room = [0] * (-count % self._slots)
            self._ends[layout] = like.new_tensor([*room, *digits, *(digit**2 for digit in digits)])
        return self._ends[layout]
