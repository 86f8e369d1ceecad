"""Two samples made ready for a critic: as many of each, at unit scale, in parts of which some are held out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.draws import Draws
from zoo.errors import BadData

LEAST = 64
"""The fewest samples of each kind: a critic is trained on half of them, and judged on a quarter."""


@dataclass(frozen=True)
class Pair:
    """As many samples of one kind as of the other.

    Attributes:
        real: `(N, *shape)`.
        fake: `(N, *shape)`.
    """

    real: Tensor
    fake: Tensor

    def __len__(self) -> int:
        return len(self.real)

    def rows(self, chosen: Tensor | slice) -> Pair:
        """Some of each."""
        return Pair(self.real[chosen], self.fake[chosen])

    def to(self, device: torch.device) -> Pair:
        """The same on a device."""
        return Pair(self.real.to(device), self.fake.to(device))


@dataclass(frozen=True)
class Parts:
    """A pair in three parts that share no sample.

    Attributes:
        train: Half, which the critic is trained on.
        look: A quarter, by which the training is stopped and the best critic chosen.
        held_out: A quarter, which only the last judgement sees.
    """

    train: Pair
    look: Pair
    held_out: Pair


def paired(one: Tensor, other: Tensor, draws: Draws) -> Pair:
    """As many of each, in random order.

    Args:
        one: `(N, *shape)`.
        other: `(M, *shape)`.
        draws: Decides the order.

    Raises:
        BadData: Their shapes differ, or there are fewer than `LEAST` of either.
    """
    if one.shape[1:] != other.shape[1:]:
        shapes = f"{tuple(one.shape[1:])} and {tuple(other.shape[1:])}"
        raise BadData(f"samples of the shapes {shapes} have no distance; the shapes must be equal.")
    size = min(len(one), len(other))
    if size < LEAST:
        raise BadData(f"a neural distance needs {LEAST} samples of each kind or more; there are {size}.")
    return Pair(*(samples[draws.randperm(len(samples))[:size]] for samples in (one, other)))


def standardised(pair: Pair) -> tuple[Pair, float]:
    """The pair around 0 at unit scale, and what it was divided by.

    The scale is the root of both samples' mean variance over all dimensions, about their common mean: one number, so
    that directions keep their proportions.

    Raises:
        BadData: All samples are equal.
    """
    if all_equal(pair):
        raise BadData("all samples of both kinds are equal: their distance is 0, and there is no scale to train at.")
    both = torch.cat([pair.real, pair.fake]).double()
    centre = both.mean(0)
    scale = (both - centre).square().mean().sqrt().item()
    one, other = ((samples.double() - centre).div(scale).float() for samples in (pair.real, pair.fake))
    return Pair(one, other), scale


def all_equal(pair: Pair) -> bool:
    """Whether there is but one sample, again and again."""
    first = pair.real[:1]
    return bool((pair.real == first).all() and (pair.fake == first).all())


def parts(pair: Pair, turn: int, turns: int) -> Parts:
    """The parts for one of several critics. Up to four of them hold out different samples."""
    n = len(pair)
    order = torch.arange(n).roll(-turn * n // turns)
    first, second = n // 2, n // 2 + n // 4
    return Parts(pair.rows(order[:first]), pair.rows(order[first:second]), pair.rows(order[second:]))


def halves(samples: Tensor, draws: Draws) -> Pair:
    """Random halves of one kind of samples as a pair. Raises BadData if they are too small."""
    if len(samples) < 2 * LEAST:
        raise BadData(
            f"a floor is measured between halves, for which there must be {2 * LEAST} samples and not {len(samples)}; "
            "do without with --floors 0."
        )
    order, size = draws.randperm(len(samples)), len(samples) // 2
    return Pair(samples[order[:size]], samples[order[size : 2 * size]])
