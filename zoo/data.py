"""A data set as endless, seeded batches on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset, Density, as_floats
from zoo.draws import Draws
from zoo.errors import BadData, BrokenPlugin
from zoo.processes import ALONE, Group


class Batches:
    """Draws batches of real samples: shuffled epochs of an array, or fresh points of a density.

    The whole of an array lies on the device, so that the training loop never waits for it.

    Args:
        dataset: An `ArrayDataset` or a `Density`.
        device: Where the batches are made.
        seed: The same seed gives the same batches.
        group: The processes that share each batch: all draw the batch of all, and take their rows.
    """

    def __init__(self, dataset: Dataset, device: torch.device, seed: int, group: Group = ALONE) -> None:
        self.dataset = dataset
        self._group = group
        self._draws = Draws(seed, device)
        self._samples: Tensor | None = None
        self._labels: Tensor | None = None
        if isinstance(dataset, ArrayDataset):
            self._samples = dataset.samples.to(device)
            self._labels = None if dataset.labels is None else dataset.labels.to(device)
        elif not isinstance(dataset, Density):
            raise BrokenPlugin(f"the data set {type(dataset).__name__} is neither an ArrayDataset nor a Density.")
        self._order = torch.empty(0, dtype=torch.long, device=device)
        self._place = 0

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """`n` samples `(n, *shape)`, and their labels `(n,)` or None. Raises BadData if there are fewer than n."""
        if isinstance(self.dataset, Density):
            return self._group.rows(self.dataset.sample(n * self._group.size, self._draws)), None
        assert self._samples is not None
        chosen = self._group.rows(self._next(n * self._group.size, len(self._samples)))
        labels = None if self._labels is None else self._labels[chosen]
        return as_floats(self._samples[chosen]), labels

    def state_dict(self) -> dict[str, Any]:
        """The place in the stream: plain tensors and numbers."""
        return {"draws": self._draws.state_dict(), "order": self._order.cpu(), "place": self._place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self._draws.load_state_dict(state["draws"])
        self._order = state["order"].to(self._draws.device)
        self._place = state["place"]

    def _next(self, n: int, size: int) -> Tensor:
        if n > size:
            raise BadData(f"a batch of {n} is larger than the data set, which has {size} samples.")
        rest = self._order[self._place : self._place + n]
        self._place += n
        if len(rest) == n:
            return rest
        # The end of an epoch: the batch is filled up from the next one.
        self._order = self._draws.randperm(size)
        self._place = n - len(rest)
        return torch.cat([rest, self._order[: self._place]])
