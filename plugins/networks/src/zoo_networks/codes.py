"""Latent points that begin with codes, as InfoGAN's do (Chen et al. 2016, arXiv 1606.03657)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo import BadSetting, Draws, Generator, Setting

CATEGORIES = Setting("first entries of latent points, of which one is 1 at random and the others 0; 0 for none", ge=0)
CONTINUOUS = Setting("entries after these that are uniform on [-1, 1)", ge=0)


class Codes(nn.Module):
    """Draws a category as a one-hot row, numbers on [-1, 1), and normal ones for the rest: `(n, latent_dim)`.

    Args:
        latent_dim: The size of the points in all.
        categories: The number of categories; 0 for no category.
        continuous: How many numbers are uniform.

    Raises:
        BadSetting: There are more codes than entries, or one category, which says nothing.
    """

    rows: Tensor

    def __init__(self, latent_dim: int, categories: int, continuous: int) -> None:
        super().__init__()
        if categories == 1:
            raise BadSetting("categories = 1 is one that is always there; say 0 for none, or 2 or more.")
        if categories + continuous > latent_dim:
            raise BadSetting(
                f"{categories} categories and {continuous} continuous codes are more than the latent_dim = "
                f"{latent_dim} that counts them all; use a larger one."
            )
        self.categories, self.continuous = categories, continuous
        self.normal = latent_dim - categories - continuous
        self.register_buffer("rows", torch.eye(categories), persistent=False)

    def forward(self, n: int, draws: Draws) -> Tensor:
        """`n` latent points: first the category, then the uniform entries, then the normal ones."""
        parts = []
        if self.categories:
            parts.append(self.rows[draws.randint(self.categories, n)])
        if self.continuous:
            parts.append(2 * draws.rand(n, self.continuous) - 1)
        if self.normal:
            parts.append(draws.randn(n, self.normal))
        return torch.cat(parts, dim=1)


class CodedGenerator(Generator):
    """A generator whose latent points may begin with codes; all normal if there are none."""

    codes: Codes | None

    def set_latent(self, latent_dim: int, categories: int, continuous: int) -> None:
        """Says what latent points are made of. Raises BadSetting, see `Codes`."""
        self.latent_dim, self.categories, self.continuous = latent_dim, categories, continuous
        self.codes = Codes(latent_dim, categories, continuous) if categories + continuous else None

    def latent(self, n: int, draws: Draws) -> Tensor:
        """`n` latent points, `(n, latent_dim)`: the codes first, and then normal entries."""
        if self.codes is None:
            return super().latent(n, draws)
        points: Tensor = self.codes(n, draws)
        return points
