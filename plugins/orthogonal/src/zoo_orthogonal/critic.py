"""The GroupSort activation, and a perceptron of it (Anil et al., 2019, arXiv 1811.05381)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from zoo import Critic, IncompatibleParts, Setting


class GroupSort(nn.Module):
    """Sorts each group of `size` neighbouring units: `(N, units)` to `(N, units)`. Of size 2 it is MaxMin.

    It permutes, so that it keeps the norm of whatever gradient passes it, which rectifiers do not.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        """The sorted values."""
        groups = values.view(len(values), -1, self.size)
        return groups.sort(dim=2).values.flatten(1)


class GroupSortCritic(Critic):
    """Linear layers with GroupSort between them, from flattened samples `(N, *shape)` to scores `(N,)`.

    Its slope is at most 1 under the constraint `orthogonal`, and without it is bounded by nothing. With it the slope is
    exactly 1 almost everywhere where no layer is wider than the samples have numbers. Weights start orthogonal.

    Args:
        shape: The samples' shape without N; images are flattened.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        group: Units that are sorted together; 2 is MaxMin, `width` sorts all.

    Raises:
        IncompatibleParts: `width` is no multiple of `group`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 128,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        group: Annotated[int, Setting("units that are sorted together", ge=1)] = 2,
    ) -> None:
        super().__init__()
        if width % group:
            raise IncompatibleParts(f"groupsort cannot sort {width} units in groups of {group}; change one of them.")
        self.layers = nn.Sequential(nn.Flatten())
        for inputs, outputs in pairwise([math.prod(shape), *[width] * depth]):
            self.layers.extend([_orthogonal(inputs, outputs), GroupSort(group)])
        self.layers.append(_orthogonal(width if depth else math.prod(shape), 1))

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores `(N,)` of samples `(N, *shape)`."""
        scores: Tensor = self.layers(samples)
        return scores.squeeze(1)


def _orthogonal(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
