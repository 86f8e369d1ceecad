"""A data set as endless, seeded batches on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset, Density, Translations, as_floats
from zoo.devices import free_memory
from zoo.draws import Draws
from zoo.errors import BadData, BrokenPlugin
from zoo.processes import ALONE, Group

SHARE = 0.25
"""Samples that take more of the device's free memory than this stay on the host, in the file that they are mapped from
if there is one. Networks, their gradients and optimisers need the rest."""
AHEAD, AHEAD_BYTES = 8, 64 * 2**20
"""Of samples that stay on the host so many batches are gathered at once, or as many as fit in so many bytes, and the
same again ahead. Each time costs the trainer's thread a moment in which Python runs the other."""

Pair: TypeAlias = tuple[Tensor, Tensor | None]
"""Samples `(n, *shape)` as they are kept, and their condition: labels `(n,)`, sources `(n, *source)` or None."""


@dataclass(frozen=True)
class Rows:
    """Which samples make a batch.

    Attributes:
        numbers: The samples' numbers `(n,)`.
        mirrored: Which of them are mirrored `(n,)`; None for none.
        others: The numbers of their sources `(n,)` where these are drawn on their own; None where they are the same.
    """

    numbers: Tensor
    mirrored: Tensor | None = None
    others: Tensor | None = None


class Batches:
    """Draws batches of real samples: shuffled epochs of an array, or fresh points of a density.

    An array that fits lies on the device as a whole, so that the training loop never waits for it. Of a larger one a
    thread gathers batches before they are asked for. On the CPU both give the same batches in the same order.

    Args:
        dataset: An `ArrayDataset` or a `Density`.
        device: Where the batches are made.
        seed: The same seed gives the same batches.
        flip: Whether half of the images, at random, are mirrored left to right.
        group: The processes that share each batch: all draw the batch of all, and take their rows.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, seed: int, flip: bool = False, group: Group = ALONE
    ) -> None:
        self.dataset = dataset
        self._group = group
        self.flip = flip
        self._ahead: _Ahead | None = None
        self._held: _Held | None = None
        home = device
        if isinstance(dataset, ArrayDataset):
            if _fits(dataset, device, group):
                self._held = _Held.on(dataset, device)
            else:
                self._ahead, home = _Ahead(_Held.where_it_lies(dataset), device), torch.device("cpu")
        elif not isinstance(dataset, Density):
            raise BrokenPlugin(f"the data set {type(dataset).__name__} is neither an ArrayDataset nor a Density.")
        self._draws = Draws(seed, home)
        self._order = torch.empty(0, dtype=torch.long, device=home)
        self._place = 0

    @property
    def late(self) -> int:
        """How many batches were asked for before they had been gathered; 0 where nothing is gathered ahead."""
        return 0 if self._ahead is None else self._ahead.late

    def draw(self, n: int) -> Pair:
        """`n` samples `(n, *shape)`, and their labels or sources or None. Raises BadData if there are fewer than n."""
        if isinstance(self.dataset, Density):
            return self._group.rows(self.dataset.sample(n * self._group.size, self._draws)), None
        samples, condition = self._gathered(n) if self._held is None else self._held.gather(self._next(n))
        return as_floats(samples), None if condition is None else as_floats(condition)

    def state_dict(self) -> dict[str, Any]:
        """The place in the stream of what has been drawn, whatever is gathered ahead: plain tensors and numbers."""
        state = self._now() if self._ahead is None else self._ahead.first_state() or self._now()
        return {**state, "order": state["order"].cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        if self._ahead is not None:
            self._ahead.forget()
        self._draws.load_state_dict(state["draws"])
        self._order = state["order"].to(self._draws.device)
        self._place = state["place"]

    def _now(self) -> dict[str, Any]:
        return {"draws": self._draws.state_dict(), "order": self._order, "place": self._place}

    def _gathered(self, n: int) -> Pair:
        ahead = self._ahead
        assert ahead is not None
        if ahead.size not in (None, n):
            # Batches of another size would follow: they are drawn anew, from where the next one would have begun.
            self.load_state_dict(self.state_dict())
        while ahead.wants_more(n):
            ahead.gather([(self._now(), self._next(n)) for _ in range(ahead.at_once(n))])
        return ahead.next()

    def _next(self, n: int) -> Rows:
        """The rows of the next batch: the one place where the order of samples is decided."""
        assert self.dataset.size is not None
        group, of_all = self._group, n * self._group.size
        numbers = group.rows(self._numbers(of_all, self.dataset.size))
        mirrored = group.rows(self._draws.rand(of_all) < 0.5) if self.flip else None
        return Rows(numbers, mirrored, self._others(of_all))

    def _others(self, n: int) -> Tensor | None:
        if not isinstance(self.dataset, Translations) or self.dataset.paired:
            return None
        return self._group.rows(self._draws.randint(len(self.dataset.sources), n))

    def _numbers(self, n: int, size: int) -> Tensor:
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


def _fits(dataset: ArrayDataset, device: torch.device, group: Group) -> bool:
    """Whether all samples are to lie on the device; an array that is in memory is on the CPU already.

    Processes of one machine share its memory. All decide alike: their random numbers are those of the place.
    """
    if device.type == "cpu" and not dataset.mapped:
        return True
    copies = group.neighbours if device.type == "cpu" else 1
    sources = dataset.sources.nbytes if isinstance(dataset, Translations) else 0
    fits = copies * (dataset.samples.nbytes + sources) <= SHARE * free_memory(device)
    return not any(group.largest(not fits)) if group.size > 1 else fits


@dataclass(frozen=True)
class _Held:
    """All samples and their conditions, labels or sources, in one place."""

    samples: Tensor
    conditions: Tensor | None

    @classmethod
    def where_it_lies(cls, dataset: ArrayDataset) -> _Held:
        """A data set as it is."""
        return cls(dataset.samples, dataset.sources if isinstance(dataset, Translations) else dataset.labels)

    @classmethod
    def on(cls, dataset: ArrayDataset, device: torch.device) -> _Held:
        """A data set on a device, read from its file if it is mapped."""
        held = cls.where_it_lies(dataset)
        samples = held.samples.to(device, copy=dataset.mapped)
        return cls(samples, None if held.conditions is None else held.conditions.to(device, copy=dataset.mapped))

    def gather(self, rows: Rows) -> Pair:
        samples = _mirrored(self.samples[rows.numbers], rows.mirrored)
        if self.conditions is None:
            return samples, None
        conditions = self.conditions[rows.numbers if rows.others is None else rows.others]
        return samples, _mirrored(conditions, rows.mirrored) if conditions.ndim == 4 else conditions


def _mirrored(images: Tensor, which: Tensor | None) -> Tensor:
    return images if which is None else torch.where(which.view(-1, 1, 1, 1), images.flip(-1), images)


@dataclass(frozen=True)
class _Pending:
    """A batch that is being gathered: the place in the stream before it was drawn, and which of several it is."""

    state: dict[str, Any]
    size: int
    gathered: Future[list[Pair]]
    index: int


class _Ahead:
    """Gathers batches on the host in a thread, and brings them to the device without waiting for it."""

    def __init__(self, held: _Held, device: torch.device) -> None:
        self.late = 0
        self._held, self._device = held, device
        self._thread = ThreadPoolExecutor(1, "batches")
        self._pending: deque[_Pending] = deque()

    @property
    def size(self) -> int | None:
        """The size of the batches that are being gathered; None if there are none."""
        return self._pending[0].size if self._pending else None

    def at_once(self, n: int) -> int:
        """How many batches of a size are gathered at once."""
        return max(1, min(AHEAD, AHEAD_BYTES // max(1, n * self._held.samples[0].nbytes)))

    def wants_more(self, n: int) -> bool:
        """Whether batches are to be gathered before the next one is taken away."""
        return len(self._pending) <= self.at_once(n)

    def first_state(self) -> dict[str, Any] | None:
        """The place in the stream before the batch that comes next; None if none is being gathered."""
        return self._pending[0].state if self._pending else None

    def forget(self) -> None:
        """Drops what has been gathered."""
        self._pending.clear()

    def gather(self, planned: list[tuple[dict[str, Any], Rows]]) -> None:
        """Has the thread gather batches: the place in the stream before each, and its rows."""
        gathered = self._thread.submit(self._gather, [rows for _, rows in planned])
        for index, (state, rows) in enumerate(planned):
            self._pending.append(_Pending(state, len(rows.numbers), gathered, index))

    def next(self) -> Pair:
        """The next batch on the device. What went wrong in the thread is raised here."""
        first = self._pending[0]
        self.late += not first.gathered.done()
        samples, labels = first.gathered.result()[first.index]
        self._pending.popleft()
        return self._sent(samples), None if labels is None else self._sent(labels)

    def _gather(self, batches: list[Rows]) -> list[Pair]:
        """All of them as one, so that this thread runs little Python while the trainer's wants to."""
        sizes = [len(rows.numbers) for rows in batches]
        samples, labels = self._held.gather(_joined(batches))
        if self._device.type == "cuda":
            samples, labels = samples.pin_memory(), None if labels is None else labels.pin_memory()
        parts = [None] * len(sizes) if labels is None else torch.split(labels, sizes)
        return list(zip(torch.split(samples, sizes), parts, strict=True))

    def _sent(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)


def _joined(batches: list[Rows]) -> Rows:
    mirrored = [rows.mirrored for rows in batches if rows.mirrored is not None]
    others = [rows.others for rows in batches if rows.others is not None]
    return Rows(
        torch.cat([rows.numbers for rows in batches]),
        torch.cat(mirrored) if mirrored else None,
        torch.cat(others) if others else None,
    )
