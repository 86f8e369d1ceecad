"""Orthonormal weights and GroupSort (Anil, Lucas and Grosse, 2019, arXiv 1811.05381)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Critic, LipschitzConstraint, Variant, hookimpl, read_variants
from zoo_orthogonal.constraint import Orthogonal
from zoo_orthogonal.critic import GroupSort, GroupSortCritic

__all__ = ["GroupSort", "GroupSortCritic", "Orthogonal"]


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The perceptron of GroupSort."""
    return {"groupsort": GroupSortCritic}


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """Orthonormal weights."""
    return {"orthogonal": Orthogonal}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
