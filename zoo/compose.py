"""From a resolved recipe to built parts: networks on their device, constraints applied, phases listed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.batch import Batch
from zoo.components import Dataset, LipschitzConstraint, Objective
from zoo.devices import LowPrecision, full_precision, seeded
from zoo.errors import BadRecipe
from zoo.faults import drawn_of, phases_of, wants_of
from zoo.freezing import freeze
from zoo.procedures import Parts, Phase, Procedure, Want
from zoo.processes import ALONE, Group
from zoo.recipe import AXES, CONSTRAINTS, OBJECTIVES, Choice, Recipe
from zoo.resolve import EVERY, Components, about
from zoo.samples import Samples, packed
from zoo.sets import OverSet, is_over_set
from zoo.settings import context_of
from zoo.training import Training


@dataclass(frozen=True)
class Composition:
    """A recipe with everything that it names.

    Attributes:
        recipe: The resolved recipe.
        training: Its training settings.
        dataset: The real samples.
        networks: The networks as they were built.
        parts: What the procedure sees: the networks in the run's precision, the distance, the constraints.
        phases: The phases of an iteration.
        procedure: Whose phases they are.
        device: Where all of it lies.
        group: The processes that train it together.
    """

    recipe: Recipe
    training: Training
    dataset: Dataset
    networks: Mapping[str, nn.Module]
    parts: Parts
    phases: Sequence[Phase]
    procedure: Procedure
    device: torch.device
    group: Group = ALONE

    @functools.cached_property
    def drawn(self) -> Dataset:
        """What batches are drawn from: the data set, or what the procedure makes of it when it is first needed."""
        return drawn_of(self.procedure, self.parts, self.dataset)

    def batch(self, **fields: Any) -> Batch:
        """A game of this composition's critic, with its distance's witness. See `Batch` for the fields."""
        distance = self.parts.distance
        witness = None if distance is None else distance.witness
        critic = self.parts.networks.get("critic")
        if critic is not None and self.procedure.packed > 1:
            fields |= {name: self.seen(fields[name]) for name in ("real", "fake") if name in fields}
        return Batch(critic=critic, witness=witness, apart=self._apart, **fields)

    @property
    def critic_phase(self) -> Phase | None:
        """The phase that trains the critic; None without a critic."""
        return next((phase for phase in self.phases if "critic" in phase.trains), None)

    @property
    def scores_samples(self) -> bool:
        """Whether there is a critic whose scores are of single samples, and not of codes or several samples."""
        phase = self.critic_phase
        return phase is not None and phase.game is None and self.procedure.packed == 1

    def seen(self, samples: Samples | Callable[[], Samples]) -> Any:
        """Samples, or what draws them, as the critic is given them: several as one where the procedure packs them."""
        count = self.procedure.packed
        if count == 1:
            return samples
        return (lambda: packed(samples(), count)) if callable(samples) else packed(samples, count)

    @property
    def _apart(self) -> Callable[[], AbstractContextManager[None]] | None:
        """Where slopes are computed, if not in the run's precision."""
        train = self.training.train
        if train.precision == "32" or train.penalty_precision == "same":
            return None
        return lambda: full_precision(self.parts.networks.values())


def compose(
    components: Components, recipe: Recipe, dataset: Dataset, device: torch.device, group: Group = ALONE
) -> Composition:
    """Builds every part of a resolved recipe. The same seed gives the same networks.

    Raises:
        BadRecipe: A part is missing, or named and not wanted.
        IncompatibleParts: A network cannot be built for this data.
        BadSetting, UnknownName: What is to be frozen is not there.
        BrokenPlugin: A component is not what its hook asks for.
    """
    training = Training.of(recipe.train)
    procedure = _procedure(components, recipe)
    wants = wants_of(procedure, about(dataset))
    _refuse_missing(components, recipe, wants)
    _refuse_unwanted(components, recipe, wants)
    _refuse_unused(recipe, procedure, wants)
    networks = _networks(components, recipe, dataset, wants, training.train.seed)
    networks = {name: network.to(device) for name, network in networks.items()}
    if training.train.channels_last:
        networks = {name: network.to(memory_format=torch.channels_last) for name, network in networks.items()}
    with seeded(training.train.seed, CONSTRAINTS):
        constraints = _constraints(components, recipe, _critics(wants, networks), device)
    objectives = _objectives(components, recipe, dataset, procedure, networks, training.train.seed)
    objectives = {name: objective.to(device) for name, objective in objectives.items()}
    networks |= {name: each for name, each in objectives.items() if any(True for _ in each.parameters())}
    freeze(networks, training.train.freeze, dataset.shape)
    parts = Parts(
        networks=_in_precision(networks, training.train.precision, device),
        distance=_distance(components, recipe, device, group),
        constraints=constraints,
        objectives=objectives,
        every={choice.name: choice.settings[EVERY] for choice in recipe.constraints},
        critic_steps=training.train.critic_steps,
        seed=training.train.seed,
        classes=dataset.classes,
    )
    return Composition(
        recipe,
        training,
        dataset,
        networks,
        parts,
        phases_of(procedure, parts),
        procedure,
        device,
        group,
    )


def _procedure(components: Components, recipe: Recipe) -> Procedure:
    procedure: Procedure = components.given.get("procedure") or components.make("procedure", recipe.axes["procedure"])
    return procedure


def _chosen(name: str, want: Want, recipe: Recipe) -> Choice | None:
    default = Choice(want.default) if want.default else None
    return recipe.axes.get(name) or recipe.parts.get(name) or default


def _networks(
    components: Components, recipe: Recipe, dataset: Dataset, wants: Mapping[str, Want], seed: int
) -> dict[str, nn.Module]:
    networks = {}
    for name, want in wants.items():
        choice = _chosen(name, want, recipe)
        if name in components.given:
            networks[name] = components.given[name]
        elif choice:
            context = {key: each(networks) if callable(each) else each for key, each in want.context.items()}
            with seeded(seed, name):
                networks[name] = _network(components, want.hook, choice, recipe, dataset, context)
    return networks


def _network(
    components: Components,
    hook: str,
    choice: Choice,
    recipe: Recipe,
    dataset: Dataset,
    own: Mapping[str, Any],
) -> nn.Module:
    context = {**vars(about(dataset)), **own}
    if "backbone" in context_of(components.plugins.component(hook, choice.name)):
        context["backbone"] = _backbone(components, recipe, choice, dataset)
    network: nn.Module = components.make(hook, choice, **context)
    return network


def _backbone(components: Components, recipe: Recipe, user: Choice, dataset: Dataset) -> nn.Module:
    if "backbone" not in recipe.axes:
        raise BadRecipe(f"'{user.name}' stands on a backbone; name one with --backbone, such as timm:resnet18.")
    backbone: nn.Module = components.given.get("backbone") or components.make(
        "backbone", recipe.axes["backbone"], shape=dataset.shape
    )
    return backbone


def _critics(wants: Mapping[str, Want], networks: Mapping[str, nn.Module]) -> list[nn.Module]:
    return [networks[name] for name, want in wants.items() if want.hook == "critic" and name in networks]


def _constraints(
    components: Components, recipe: Recipe, critics: Sequence[nn.Module], device: torch.device
) -> dict[str, LipschitzConstraint]:
    built = {}
    for choice in recipe.constraints:
        settings = {key: value for key, value in choice.settings.items() if key != EVERY}
        given = components.given_of(CONSTRAINTS).get(choice.name)
        constraint: LipschitzConstraint = given or components.make(CONSTRAINTS, Choice(choice.name, settings))
        built[choice.name] = constraint.to(device)
        if not critics:
            raise BadRecipe(
                f"the constraint {choice.name} needs a critic; name one with --critic. To train without: "
                "--critic none --lipschitz-constraint none, and a distance of samples themselves (zoo list distance)."
            )
        for critic in critics:
            _parametrize(constraint, choice.name, critic)
    return built


def _objectives(
    components: Components,
    recipe: Recipe,
    dataset: Dataset,
    procedure: Procedure,
    networks: Mapping[str, nn.Module],
    seed: int,
) -> dict[str, Objective]:
    if recipe.objectives and not (procedure.objectives and procedure.packed == 1):
        why = "packs its samples" if procedure.objectives else "has no place for one"
        raise BadRecipe(f"the recipe has objectives, and its procedure {why}; leave them out: --objective none.")
    context = {
        **vars(about(dataset)),
        "generator": networks.get("generator"),
        "features": getattr(networks.get("critic"), "feature_size", None),
    }
    built: dict[str, Objective] = {}
    for choice in recipe.objectives:
        _refuse_second(choice.name, networks)
        with seeded(seed, choice.name):
            given = components.given_of(OBJECTIVES).get(choice.name)
            built[choice.name] = given or components.make(OBJECTIVES, choice, **context)
    return built


def _refuse_second(name: str, networks: Mapping[str, nn.Module]) -> None:
    if name in networks:
        raise BadRecipe(f"an objective and a part are both called {name}.")


def _parametrize(constraint: LipschitzConstraint, name: str, critic: nn.Module) -> None:
    """Applies a constraint to a critic once; a critic that the caller made may be composed a second time."""
    done: set[str] = critic.__dict__.setdefault("_zoo_parametrized", set())
    if name not in done:
        constraint.parametrize(critic)
        done.add(name)


def _distance(components: Components, recipe: Recipe, device: torch.device, group: Group) -> Any:
    if "distance" not in recipe.axes:
        return None
    distance = components.given.get("distance") or components.make("distance", recipe.axes["distance"])
    distance = distance.to(device)
    return OverSet(distance, group) if group.size > 1 and is_over_set(distance) else distance


def _refuse_missing(components: Components, recipe: Recipe, wants: Mapping[str, Want]) -> None:
    for name, want in wants.items():
        if not (want.optional or name in components.given or _chosen(name, want, recipe)):
            way = f"--{name} NAME" if name in AXES else f"[parts.{name}] in the recipe"
            raise BadRecipe(f"the recipe has no {name}; name one with {way} (zoo list {want.hook}).")


def _refuse_unwanted(components: Components, recipe: Recipe, wants: Mapping[str, Want]) -> None:
    given = (*recipe.parts, *sorted({"generator", "critic"} & set(recipe.axes)))
    unwanted = [name for name in given if name not in wants]
    if unwanted:
        ways = [f"--{name} none" if name in AXES else f"without [parts.{name}]" for name in unwanted]
        raise BadRecipe(
            f"the procedure wants {', '.join(wants)}, and no {' and no '.join(unwanted)}; leave out what it does not "
            f"want: {' '.join(ways)}."
        )
    chosen = {n: _chosen(n, want, recipe) for n, want in wants.items() if n not in components.given}
    named = {n: choice.name for n, choice in chosen.items() if choice}
    factories = [components.plugins.component(wants[n].hook, name) for n, name in named.items()]
    if "backbone" in recipe.axes and not any("backbone" in context_of(factory) for factory in factories):
        names = " nor ".join(f"{n} '{name}'" for n, name in named.items())
        raise BadRecipe(f"a backbone is named, but {names} stands on one; say --critic backbone-heads.")


def _refuse_unused(recipe: Recipe, procedure: Procedure, wants: Mapping[str, Want]) -> None:
    """What a procedure looks at in no phase would be named for nothing."""
    name = recipe.axes["procedure"].name if "procedure" in recipe.axes else type(procedure).__name__
    if "distance" in recipe.axes and not procedure.distance:
        raise BadRecipe(f"the recipe has a distance, and {name} asks for none; leave it out: --distance none.")
    if recipe.constraints and not any(want.hook == "critic" for want in wants.values()):
        raise BadRecipe(
            f"the constraint {recipe.constraints[0].name} is for a critic, and {name} wants none; leave it out: "
            "--lipschitz-constraint none."
        )


def _in_precision(networks: Mapping[str, nn.Module], precision: str, device: torch.device) -> Mapping[str, nn.Module]:
    if precision == "32":
        return networks
    return {name: LowPrecision(network, device) for name, network in networks.items()}
