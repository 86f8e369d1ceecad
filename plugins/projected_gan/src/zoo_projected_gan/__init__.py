"""Projected GAN (Sauer, Chitta, Mueller and Geiger, 2021, arXiv 2111.01007)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Critic, Variant, hookimpl, read_variants
from zoo_projected_gan.critic import Projected

__all__ = ["Projected", "critic", "variant"]


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """Small critics on a frozen backbone's features."""
    return {"projected": Projected}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
