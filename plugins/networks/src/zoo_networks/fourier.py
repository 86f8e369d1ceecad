"""Random Fourier features (Rahimi and Recht 2007; for fine detail of coordinates, Tancik et al. 2020, 2006.10739)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Points and their waves: `(N, inputs)` to `(N, inputs + 2 * waves)`, the points, sines and cosines.

    A perceptron of coordinates learns coarse structure first, and structure much finer than the data's extent hardly
    ever. Waves have random directions and log-uniform wave numbers between `lowest` and `highest`. Their amplitudes
    start as `(k / lowest) ** -decay` of the wave number k, so that coarse structure still comes first, and are trained:
    an optimiser moves their logarithms, so that fine waves grow from nothing over thousands of steps.

    Args:
        inputs: Coordinates of a point.
        waves: The number of waves.
        lowest: The smallest wave number, in radians per unit of length.
        highest: The largest.
        decay: How fast the first amplitudes fall with the wave number.
    """

    directions: Tensor

    def __init__(
        self, inputs: int, waves: int, *, lowest: float = 0.5, highest: float = 100.0, decay: float = 3.0
    ) -> None:
        super().__init__()
        numbers = lowest * (highest / lowest) ** torch.rand(waves)
        directions = nn.functional.normalize(torch.randn(inputs, waves), dim=0)
        self.register_buffer("directions", directions * numbers)
        self.log_amplitudes = nn.Parameter(-decay * (numbers / lowest).log())

    def forward(self, points: Tensor) -> Tensor:
        """The points, the sines and the cosines."""
        angles, amplitudes = points @ self.directions, self.log_amplitudes.exp()
        return torch.cat([points, amplitudes * angles.sin(), amplitudes * angles.cos()], dim=1)
