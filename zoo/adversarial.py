"""The default procedure: critic steps, then a generator step (Goodfellow et al., 2014, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from zoo.batch import Batch
from zoo.components import Distance, LipschitzConstraint, overrides
from zoo.errors import BadRecipe
from zoo.hookspecs import hookimpl
from zoo.procedures import About, Parts, Phase, Procedure, Want


class Adversarial(Procedure):
    """A critic and a generator play against each other for a distance.

    Without a critic (`critic = "none"`), the generator alone minimises a distance that needs none.
    """

    def wants(self, about: About) -> Mapping[str, Want]:
        """A generator, and a critic for distances that need one."""
        return {"generator": Want("generator"), "critic": Want("critic", optional=True)}

    def phases(self, parts: Parts) -> list[Phase]:
        """`critic_steps` steps of the critic, one of the generator."""
        if parts.distance is None:
            raise BadRecipe("the recipe has no distance; name one with --distance.")
        alone = "critic" not in parts
        generator = Phase("generator", ("generator",), _generator_loss(parts.distance), estimates=alone)
        return [generator] if alone else [_critic_phase(parts, parts.distance), generator]


def _critic_phase(parts: Parts, distance: Distance) -> Phase:
    def project() -> None:
        for constraint in projecting:
            constraint.project(parts["critic"])

    projecting = [c for c in parts.constraints.values() if overrides(c, "project")]
    return Phase(
        "critic",
        ("critic",),
        _critic_loss(distance, parts.constraints),
        steps=parts.critic_steps,
        lazy=parts.every,
        after=project if projecting else None,
        estimates=True,
    )


def _critic_loss(
    distance: Distance, constraints: Mapping[str, LipschitzConstraint]
) -> Callable[[Batch], Mapping[str, Tensor]]:
    penalties = {name: c for name, c in constraints.items() if overrides(c, "penalty")}

    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for head in batch.heads():
            _add(terms, "critic_loss", distance.critic_loss(head))
            for name, constraint in penalties.items():
                if batch.due(name):
                    _add(terms, name, constraint.penalty(head))
        return terms

    return loss


def _generator_loss(distance: Distance) -> Callable[[Batch], Mapping[str, Tensor]]:
    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for head in batch.heads():
            _add(terms, "generator_loss", distance.generator_loss(head))
        return terms

    return loss


def _add(terms: dict[str, Tensor], name: str, value: Tensor | None) -> None:
    if value is not None:
        terms[name] = terms[name] + value if name in terms else value


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """The default procedure."""
    return {"adversarial": Adversarial}
