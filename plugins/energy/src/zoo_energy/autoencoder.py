"""A critic whose score is minus how badly it reconstructs a sample."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from zoo import Critic, Scores, Setting


class Autoencoder(Critic):
    """Samples `(N, *shape)` to `(N,)`: minus the mean error of their reconstruction, and their codes as features.

    Perceptrons on both sides of the code. The papers use convolutions for images of 64 and more pixels a side.

    Args:
        shape: The samples' shape without N.
        width: Units of each hidden layer.
        depth: Hidden layers on each side of the code.
        code: Size of the code; no larger than needed, or everything is reconstructed well.
        error: squared is EBGAN's, absolute is BEGAN's.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 256,
        depth: Annotated[int, Setting("hidden layers on each side of the code", ge=0, le=100)] = 1,
        code: Annotated[int, Setting("size of the code", ge=1)] = 32,
        error: Annotated[Literal["squared", "absolute"], Setting("of a reconstructed number")] = "squared",
    ) -> None:
        super().__init__()
        size = math.prod(shape)
        self.feature_size, self.error = code, error
        self.encoder = _perceptron([size, *[width] * depth, code])
        self.decoder = _perceptron([code, *[width] * depth, size])

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)`, never above 0, and codes `(N, code)`."""
        values = samples.flatten(1)
        codes = self.encoder(values)
        misses = self.decoder(codes) - values
        errors = misses.square() if self.error == "squared" else misses.abs()
        return Scores(-errors.mean(1), codes)


def _perceptron(sizes: list[int]) -> nn.Sequential:
    layers = nn.Sequential()
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.extend([nn.Linear(inputs, outputs), nn.ReLU()])
    return layers.append(nn.Linear(sizes[-2], sizes[-1]))
