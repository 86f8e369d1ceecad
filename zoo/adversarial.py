"""The default procedure: critic steps, then a generator step (Goodfellow et al., 2014, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from torch import Tensor

from zoo.batch import Batch
from zoo.components import Distance, LipschitzConstraint, Objective, overrides
from zoo.errors import BadRecipe
from zoo.hookspecs import hookimpl
from zoo.procedures import About, Parts, Phase, Procedure, Want
from zoo.settings import Setting


class Adversarial(Procedure):
    """A critic and a generator play against each other for a distance.

    Without a critic (`critic = "none"`), the generator alone minimises a distance that needs none.

    Args:
        packed: So many samples are one to the critic (Lin et al., 2018, arXiv 1712.04086): it sees them side by side,
            and so sees too little variety among fakes. The batch size is a multiple of it.
    """

    objectives = True

    def __init__(
        self, *, packed: Annotated[int, Setting("samples that are one to the critic", ge=1, le=64)] = 1
    ) -> None:
        self.packed = packed

    def wants(self, about: About) -> Mapping[str, Want]:
        """A generator, and a critic for distances that need one."""
        channels, *rest = about.shape
        critic = Want("critic", {"shape": (self.packed * channels, *rest)}, optional=True)
        return {"generator": Want("generator"), "critic": critic}

    def phases(self, parts: Parts) -> list[Phase]:
        """`critic_steps` steps of the critic, one of the generator."""
        if parts.distance is None:
            raise BadRecipe("the recipe has no distance; name one with --distance.")
        alone = "critic" not in parts
        trained = ("generator", *_trained_with("generator", parts))
        generator = Phase("generator", trained, _generator_loss(parts.distance, parts.objectives), estimates=alone)
        return [generator] if alone else [_critic_phase(parts, parts.distance), generator]


def _critic_phase(parts: Parts, distance: Distance) -> Phase:
    def project() -> None:
        for constraint in projecting:
            constraint.project(parts["critic"])

    projecting = [c for c in parts.constraints.values() if overrides(c, "project")]
    return Phase(
        "critic",
        ("critic", *_trained_with("critic", parts)),
        _critic_loss(distance, parts.constraints, parts.objectives),
        steps=parts.critic_steps,
        lazy=parts.every,
        after=project if projecting else None,
        estimates=True,
    )


def _trained_with(phase: str, parts: Parts) -> list[str]:
    return [name for name, each in parts.objectives.items() if phase in each.trained_with and name in parts]


def _critic_loss(
    distance: Distance, constraints: Mapping[str, LipschitzConstraint], objectives: Mapping[str, Objective]
) -> Callable[[Batch], Mapping[str, Tensor]]:
    penalties = {name: c for name, c in constraints.items() if overrides(c, "penalty")}

    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for head in batch.heads():
            _add(terms, "critic_loss", distance.critic_loss(head))
            for name, constraint in penalties.items():
                if batch.due(name):
                    _add(terms, name, constraint.penalty(head))
        for name, objective in objectives.items():
            _add(terms, name, objective.critic_loss(batch))
        return terms

    return loss


def _generator_loss(distance: Distance, objectives: Mapping[str, Objective]) -> Callable[[Batch], Mapping[str, Tensor]]:
    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for head in batch.heads():
            _add(terms, "generator_loss", distance.generator_loss(head))
        for name, objective in objectives.items():
            _add(terms, name, objective.generator_loss(batch))
        return terms

    return loss


def _add(terms: dict[str, Tensor], name: str, value: Tensor | None) -> None:
    if value is not None:
        terms[name] = terms[name] + value if name in terms else value


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """The default procedure."""
    return {"adversarial": Adversarial}
