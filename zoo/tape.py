"""What a loss draws, written down once and handed to it from then on: a computation that is captured draws nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo.draws import Draws
from zoo.errors import Uncapturable


@dataclass(frozen=True)
class Drawing:
    """One call of a method of `Draws`, such as `rand` with `(64,)`."""

    kind: str
    sizes: tuple[int, ...]

    def made_by(self, draws: Draws) -> Tensor:
        """The random numbers themselves."""
        numbers: Tensor = getattr(draws, self.kind)(*self.sizes)
        return numbers


class _Listed(Draws, ABC):
    """Draws whose every method goes through `_take`."""

    def rand(self, *shape: int) -> Tensor:
        return self._take(Drawing("rand", shape))

    def randn(self, *shape: int) -> Tensor:
        return self._take(Drawing("randn", shape))

    def randint(self, high: int, *shape: int) -> Tensor:
        return self._take(Drawing("randint", (high, *shape)))

    def randperm(self, n: int) -> Tensor:
        return self._take(Drawing("randperm", (n,)))

    @abstractmethod
    def _take(self, drawing: Drawing) -> Tensor:
        """What is drawn."""


class Recorder(_Listed):
    """Draws from another one, and keeps in `drawings` what was asked for, in order."""

    def __init__(self, draws: Draws) -> None:
        self.device = draws.device
        self.drawings: list[Drawing] = []
        self._draws = draws

    def _take(self, drawing: Drawing) -> Tensor:
        self.drawings.append(drawing)
        return drawing.made_by(self._draws)


class Player(_Listed):
    """Hands out what was drawn before, in the same order.

    Raises:
        Uncapturable: Something else is asked for than was recorded.
    """

    def __init__(self, drawings: Sequence[Drawing], numbers: Iterable[Tensor], device: Any) -> None:
        self.device = device
        self._left = list(zip(drawings, numbers, strict=True))

    def _take(self, drawing: Drawing) -> Tensor:
        if not self._left or self._left[0][0] != drawing:
            raise Uncapturable(f"it draws {drawing.kind}{drawing.sizes} now, and did not do so the first time.")
        return self._left.pop(0)[1]
