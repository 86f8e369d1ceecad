"""What losses were since the last line of metrics, kept as tensors so that nothing waits for the device."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor

from zoo.errors import Diverged

Entry: TypeAlias = tuple[str, str, int, float]
"""Phase, name, iteration, value."""
NORM = "_gradient_norm"
"""How the name of a phase's gradient norm ends."""


class History:
    """Scalars by phase and name, with the iteration that each is of.

    Args:
        device: Where restored scalars are put.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._entries: dict[tuple[str, str], list[tuple[int, Tensor]]] = defaultdict(list)

    def add(self, phase: str, name: str, iteration: int, value: Tensor) -> None:
        """Keeps a scalar without graph."""
        self._entries[phase, name].append((iteration, value))

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()

    def means(self) -> dict[str, float]:
        """The mean of each scalar by name, with the phase before it where two phases have the name.

        Raises:
            Diverged: One is NaN or infinite; the message names the first iteration, the phase and the name.
        """
        values = {key: torch.stack([v.float() for _, v in entries]).tolist() for key, entries in self._entries.items()}
        self._refuse_divergence(values)
        names = [name for _, name in values]
        return {
            name if names.count(name) == 1 else f"{phase}/{name}": sum(each) / len(each)
            for (phase, name), each in values.items()
        }

    def state_dict(self) -> list[Entry]:
        """Everything, as plain numbers."""
        return [(*key, iteration, float(v)) for key, entries in self._entries.items() for iteration, v in entries]

    def load_state_dict(self, state: Iterable[Entry]) -> None:
        """Goes on where `state_dict` was taken."""
        self.clear()
        for phase, name, iteration, value in state:
            self.add(phase, name, iteration, torch.tensor(value, device=self._device))

    def _refuse_divergence(self, values: dict[tuple[str, str], list[float]]) -> None:
        bad = [
            (self._moment(key, index), *key, value)
            for key, each in values.items()
            for index, value in enumerate(each)
            if not math.isfinite(value)
        ]
        if bad:
            moment, phase, name, value = min(bad)
            raise Diverged(f"'{name}' in the {phase} phase became {value} at iteration {moment[0]}.")

    def _moment(self, key: tuple[str, str], index: int) -> tuple[int, int, bool, int]:
        """When a scalar was there: iteration, phase, whether it is a norm (these are of the last step), and step."""
        phase, name = key
        iterations = [iteration for iteration, _ in self._entries[key]]
        phases = list(dict.fromkeys(phase for phase, _ in self._entries))
        step = index - iterations.index(iterations[index])
        return iterations[index], phases.index(phase), name.endswith(NORM), step
