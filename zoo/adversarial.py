"""The default procedure: critic steps, then a generator step (Goodfellow et al., 2014, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from torch import Tensor

from zoo.batch import Batch
from zoo.components import Distance, overrides
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
        alone, objectives = "critic" not in parts, parts.objectives
        trained = ("generator", *_trained_with("generator", parts))

        def loss(batch: Batch) -> Mapping[str, Tensor]:
            terms = {"generator_loss": generator_loss(parts, batch)}
            for name, objective in objectives.items():
                _add(terms, name, objective.generator_loss(batch))
            return terms

        generator = Phase("generator", trained, loss, estimates=alone)
        _distance(parts)
        return [generator] if alone else [critic_phase(parts), generator]


def critic_phase(parts: Parts, name: str = "critic", game: Callable[[Batch], Batch] | None = None) -> Phase:
    """The phase of a critic, for procedures: the distance's loss, with the penalties and objectives of a recipe.

    Args:
        parts: The parts; the critic is one of them.
        name: The critic's, and the phase's. The one called critic has the objectives and gives the estimate.
        game: What it plays, made of the game on samples; that one if None.

    Raises:
        BadRecipe: There is no distance.
    """
    distance, main = _distance(parts), name == "critic"
    objectives = parts.objectives if main else {}
    penalties = {key: each for key, each in parts.constraints.items() if overrides(each, "penalty")}
    projecting = [each for each in parts.constraints.values() if overrides(each, "project")]

    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for head in batch.heads():
            _add(terms, f"{name}_loss", distance.critic_loss(head))
            for key, constraint in penalties.items():
                if batch.due(key):
                    _add(terms, key, constraint.penalty(head))
        for key, objective in objectives.items():
            _add(terms, key, objective.critic_loss(batch))
        return terms

    def project() -> None:
        for constraint in projecting:
            constraint.project(parts[name])

    return Phase(
        name,
        (name, *(_trained_with("critic", parts) if main else ())),
        loss,
        steps=parts.critic_steps,
        lazy=parts.every,
        after=project if projecting else None,
        estimates=main,
        game=game,
    )


def generator_loss(parts: Parts, game: Batch) -> Tensor:
    """What whoever makes the fakes of a game minimises, for procedures: the distance's loss, summed over heads.

    Raises:
        BadRecipe: There is no distance.
    """
    losses = [_distance(parts).generator_loss(head) for head in game.heads()]
    return sum(losses[1:], losses[0])


def _distance(parts: Parts) -> Distance:
    if parts.distance is None:
        raise BadRecipe("the recipe has no distance; name one with --distance.")
    return parts.distance


def _trained_with(phase: str, parts: Parts) -> list[str]:
    return [name for name, each in parts.objectives.items() if phase in each.trained_with and name in parts]


def _add(terms: dict[str, Tensor], name: str, value: Tensor | None) -> None:
    if value is not None:
        terms[name] = terms[name] + value if name in terms else value


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """The default procedure."""
    return {"adversarial": Adversarial}
