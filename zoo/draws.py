"""The random numbers of a run: one seeded generator, saved and restored with the run."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.processes import ALONE, Group


class Draws:
    """Seeded random tensors on one device. Nothing else draws in a loss.

    Args:
        seed: Any integer; the same seed gives the same draws on the same kind of device.
        device: Where the tensors are made.
        group: The processes that draw together: each draws what one process would for the batch of all, and takes its
            rows. The first size of a shape is then the samples' and counts this process's own; a draw without one is
            the same in all.
    """

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", group: Group = ALONE) -> None:
        self.device = torch.device(device)
        self._group = group
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(seed)

    def rand(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), of the given shape."""
        return self._own(torch.rand(self._of_all(shape), generator=self._generator, device=self.device))

    def randn(self, *shape: int) -> Tensor:
        """Standard normal, of the given shape."""
        return self._own(torch.randn(self._of_all(shape), generator=self._generator, device=self.device))

    def randint(self, high: int, *shape: int) -> Tensor:
        """Integers from 0 to `high - 1`, of the given shape."""
        return self._own(torch.randint(high, self._of_all(shape), generator=self._generator, device=self.device))

    def randperm(self, n: int) -> Tensor:
        """The integers from 0 to `n - 1` in random order, `(n,)`; the same in all processes."""
        return torch.randperm(n, generator=self._generator, device=self.device)

    def ungrouped(self) -> Draws:
        """The same stream of numbers, without taking rows: for what all processes compute on the batch of all."""
        draws = copy.copy(self)
        draws._group = ALONE
        return draws

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator, as a byte tensor on the CPU, with the kind of device that it is of."""
        return {"device": self.device.type, "state": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken.

        Another kind of device has another kind of generator. It is seeded from the state: as repeatable, but other
        numbers than would have come.
        """
        if state["device"] == self.device.type:
            self._generator.set_state(state["state"].cpu())
        else:
            self._generator.manual_seed(zlib.crc32(state["state"].cpu().numpy().tobytes()))

    def _of_all(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] * self._group.size, *shape[1:]) if shape else shape

    def _own(self, whole: Tensor) -> Tensor:
        return self._group.rows(whole) if whole.ndim else whole
