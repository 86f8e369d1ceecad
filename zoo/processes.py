"""Several processes that train one run together, each on its rows of every batch. One process alone runs none of it."""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.errors import ProcessesDiffer, ProcessLost, ZooError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others: longer than one of them takes to write a checkpoint."""
LOOKS = 1.0
"""Seconds between two questions to all processes whether one of them was asked to stop."""


@dataclass(frozen=True)
class Group:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: Which one this is, from 0; the first one writes.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def neighbours(self) -> int:
        """How many of the processes share this machine, this one included; torchrun says so."""
        return 1 if self.size == 1 else int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    def rows(self, whole: Tensor) -> Tensor:
        """This process's rows of what is one tensor for all of them."""
        count = len(whole) // self.size
        return whole if self.size == 1 else whole[self.rank * count : (self.rank + 1) * count]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in their order; differentiable, twice and more.

        The gradient that comes back to a process's rows is summed over what every process made of them.
        """
        gathered: Tensor = _Gather.apply(rows, self) if rows.is_floating_point() else _gathered(rows, self)
        return gathered

    def average(self, gradients: Sequence[Tensor], scalars: Sequence[Tensor]) -> list[Tensor]:
        """Makes gradients their means over the processes, in place, and returns those of scalars: in one message."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in (*gradients, *scalars)])
        with _heard():
            dist.all_reduce(flat)
        flat /= self.size
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients] + [len(scalars)])
        if gradients:
            torch._foreach_copy_(list(gradients), [p.view_as(g) for p, g in zip(pieces, gradients, strict=False)])
        # Copied, so that what is kept for the log does not keep all gradients.
        return list(pieces[-1].clone().unbind())

    def largest(self, *numbers: float) -> list[float]:
        """The largest of each number over the processes; all have come here when it returns."""
        values = torch.tensor(numbers or (0.0,), dtype=torch.float64)
        with _heard():
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values.tolist()

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.size > 1:
            self.largest()

    def alike(self, make: Callable[[], Any]) -> Any:
        """What the first process makes; if it fails, all fail alike. The others get None.

        Raises:
            ZooError: What `make` has raised.
        """
        result, error = None, None
        if self.first:
            try:
                result = make()
            except ZooError as its:
                error = its
        if self.size > 1:
            told = [error]
            with _heard():
                dist.broadcast_object_list(told, device=torch.device("cpu"))
            error = told[0]
        if error is not None:
            raise error
        return result

    def told(self, thing: Any) -> list[Any]:
        """What each process has here, a plain value, in the order of the processes."""
        found = [None] * self.size
        with _heard():
            dist.all_gather_object(found, thing)
        return found

    def refuse_difference(self, things: Mapping[str, Tensor | str]) -> None:
        """Raises ProcessesDiffer, in all processes, if one of these is not the same bits in all of them."""
        mine = torch.tensor([_fingerprint(each) for each in things.values()], dtype=torch.long)
        for name, prints in zip(things, _gathered(mine[None], self).T.tolist(), strict=True):
            others = [rank for rank, each in enumerate(prints) if each != prints[0]]
            if others:
                listed = ", ".join(map(str, others))
                raise ProcessesDiffer(
                    f"{name} differs between process 0 and process {listed}. All processes need the same recipe, "
                    "data, versions and kind of machine. What was saved before is intact."
                )


ALONE = Group()


class Agreement:
    """Has all processes stop at the same iteration, once one of them was asked to.

    They ask each other about once a second, and not in every iteration, where each would wait for the slowest.

    Args:
        group: The processes.
        iteration: The first iteration.
    """

    def __init__(self, group: Group, iteration: int) -> None:
        self._group = group
        self._agreed = False
        self.begin(iteration)

    def begin(self, iteration: int) -> None:
        """Counts from this iteration, as after a rollback. What was agreed stays so."""
        self._next, self._every = iteration + 1, 1
        self._since = time.monotonic()

    def agreed(self, asked: bool, iteration: int) -> bool:
        """Whether to stop before this iteration. Every process calls it before every iteration."""
        if self._group.size == 1:
            return asked
        if self._agreed or iteration < self._next:
            return self._agreed
        anyone, seconds = self._group.largest(float(asked), time.monotonic() - self._since)
        self._every = max(1, min(2 * self._every, int(self._every * LOOKS / seconds)))
        self._next, self._since = iteration + self._every, time.monotonic()
        self._agreed = bool(anyone)
        return self._agreed


def launched() -> bool:
    """Whether this process is one of several that torchrun, or the caller, has started."""
    return dist.is_initialized() or (int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ)


def join(device: torch.device) -> Group:
    """Meets the other processes that torchrun has started: gloo for what lies on the CPU, NCCL for CUDA.

    Raises:
        ProcessLost: Not all of them came.
    """
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _heard():
            dist.init_process_group(backend, timeout=TIMEOUT)
        atexit.register(_leave)
    return Group(dist.get_rank(), dist.get_world_size())


def is_first() -> bool:
    """Whether this process is alone, or the first of those that it has joined."""
    return not dist.is_initialized() or dist.get_rank() == 0


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """What torch says of a process that is not there, as an error that says so."""
    try:
        yield
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ProcessLost(
            f"another process of this run has gone, or was silent for {TIMEOUT.seconds // 60} minutes. "
            f"What was saved before is intact. ({cause})"
        ) from error


def _gathered(rows: Tensor, group: Group) -> Tensor:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(group.size)]
    with _heard():
        dist.all_gather(parts, rows)
    return torch.cat(parts)


def _fingerprint(thing: Tensor | str) -> int:
    if isinstance(thing, str):
        return zlib.crc32(thing.encode())
    content = thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(content.numpy().data, len(content))


class _Gather(torch.autograd.Function):
    """All rows; `torch.distributed.nn` has one whose second derivative depends on the backend."""

    @staticmethod
    def forward(rows: Tensor, group: Group) -> Tensor:
        return _gathered(rows, group)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Group], output: Tensor) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Scatter.apply(gradient, ctx.group), None


class _Scatter(torch.autograd.Function):
    """This process's rows of the sum over the processes: what `_Gather` does, backwards."""

    @staticmethod
    def forward(whole: Tensor, group: Group) -> Tensor:
        total = whole.detach().clone(memory_format=torch.contiguous_format)
        with _heard():
            dist.all_reduce(total)
        return group.rows(total).clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Group], output: Tensor) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.group), None
