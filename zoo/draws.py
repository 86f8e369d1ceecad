"""The random numbers of a run: one seeded generator, saved and restored with the run."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Seeded random tensors on one device. Nothing else draws in a loss.

    Args:
        seed: Any integer; the same seed gives the same draws on the same kind of device.
        device: Where the tensors are made.
    """

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(seed)

    def rand(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), of the given shape."""
        return torch.rand(shape, generator=self._generator, device=self.device)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal, of the given shape."""
        return torch.randn(shape, generator=self._generator, device=self.device)

    def randint(self, high: int, *shape: int) -> Tensor:
        """Integers from 0 to `high - 1`, of the given shape."""
        return torch.randint(high, shape, generator=self._generator, device=self.device)

    def randperm(self, n: int) -> Tensor:
        """The integers from 0 to `n - 1` in random order, `(n,)`."""
        return torch.randperm(n, generator=self._generator, device=self.device)

    def get_state(self) -> Tensor:
        """The state of the generator, as a byte tensor on the CPU."""
        return self._generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Goes on where `get_state` was taken."""
        self._generator.set_state(state.cpu())
