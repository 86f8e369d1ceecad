"""The mixture latent of DeLiGAN (Gurumurthy, Sarvadevabhatla and Babu 2017, arXiv 1706.02071)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo import Draws


class MixtureLatent(nn.Module):
    """Latent points from equally likely Gaussians with learnt means and widths (eq. 4 to 6): `mean + width * noise`.

    Data that lie apart need no bridges: a connected latent space mapped onto them has points between them.
    The means start uniform on [-1, 1], as in the authors' code. Gradients reach both through the points, so a
    loss moves them as it moves the generator's weights.

    Args:
        components: The number of Gaussians.
        size: Size of the latent points.
        width: The standard deviation that each starts with, along every axis; the paper's is 0.2.
    """

    def __init__(self, components: int, size: int, width: float) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.rand(components, size) * 2 - 1)
        self.widths = nn.Parameter(torch.full((components, size), width))

    def forward(self, n: int, draws: Draws) -> Tensor:
        """`n` points, `(n, size)`, differentiable by means and widths."""
        chosen = draws.randint(len(self.means), n)
        noise = draws.randn(n, self.means.shape[1])
        return self.means[chosen] + self.widths[chosen] * noise
