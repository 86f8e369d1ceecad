"""The hooks: what a plugin may offer. Each implementation takes no argument and returns names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from torch import nn

    from zoo.backbones import Backbone
    from zoo.components import Critic, Dataset, Distance, Generator, LipschitzConstraint, Objective
    from zoo.metrics import Metric
    from zoo.procedures import Procedure
    from zoo.variants import Variant

PROJECT = "zoo"
API = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def generator() -> Mapping[str, Callable[..., Generator]]:  # type: ignore[empty-body]
    """Generators: networks that turn latent points into samples."""


@hookspec
def critic() -> Mapping[str, Callable[..., Critic]]:  # type: ignore[empty-body]
    """Critics: networks that score samples, high for real."""


@hookspec
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:  # type: ignore[empty-body]
    """Lipschitz constraints: what bounds or regularises the critic's slope."""


@hookspec
def distance() -> Mapping[str, Callable[..., Distance]]:  # type: ignore[empty-body]
    """Distances: what critic and generator play for."""


@hookspec
def objective() -> Mapping[str, Callable[..., Objective]]:  # type: ignore[empty-body]
    """Objectives: further loss terms of critic and generator, with networks of their own."""


@hookspec
def backbone() -> Mapping[str, Callable[..., Backbone]]:  # type: ignore[empty-body]
    """Backbones: networks that turn images into feature maps, for critics to stand on."""


@hookspec
def network() -> Mapping[str, Callable[..., nn.Module]]:  # type: ignore[empty-body]
    """Networks: any other part that a procedure wants, such as a classifier."""


@hookspec
def dataset() -> Mapping[str, Callable[..., Dataset]]:  # type: ignore[empty-body]
    """Data sets: where real samples come from."""


@hookspec
def metric() -> Mapping[str, Callable[..., Metric]]:  # type: ignore[empty-body]
    """Metrics: figures about samples beside real ones, or about the critic."""


@hookspec
def procedure() -> Mapping[str, Callable[..., Procedure]]:  # type: ignore[empty-body]
    """Procedures: the phases that a run goes through."""


@hookspec
def variant() -> Mapping[str, Variant]:  # type: ignore[empty-body]
    """Variants: named compositions of parts, pure data."""


HOOKS = tuple(sorted(name for name, value in list(globals().items()) if hasattr(value, "zoo_spec")))
"""The names of all hooks, in alphabetical order."""
