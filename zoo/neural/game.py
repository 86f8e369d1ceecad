"""The game that a critic is trained in: a variant's, but with two fixed samples and no generator to train."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.batch import Batch
from zoo.checks import check
from zoo.components import PROPORTIONAL, ArrayDataset, Distance, Generator, is_conditional
from zoo.compose import Composition, compose
from zoo.draws import Draws
from zoo.errors import BrokenPlugin, IncompatibleParts, UsageError, ZooError
from zoo.layering import layered
from zoo.neural.pair import Pair
from zoo.plugins import Plugins
from zoo.procedures import Phase
from zoo.recipe import Choice, Recipe, Table, named_table, normalized
from zoo.resolve import Assignments, Components
from zoo.training import Training

STEPS, BATCH, WIDTH = 1000, 256, 64
RATES = {"vector": 5e-3, "image": 1e-3}
"""The first learning rate, by the kind of data."""
OWN = ("dataset", "generator", "procedure")
"""Axes that a neural distance fills itself."""


class Still(Generator):
    """A generator without parameters: its samples are rows of a tensor, chosen by its latent.

    Args:
        samples: `(N, *shape)`.
    """

    samples: Tensor

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.latent_dim = 1
        self.register_buffer("samples", samples)

    def latent(self, n: int, draws: Draws) -> Tensor:
        """Row numbers, `(n, 1)`."""
        return draws.randint(len(self.samples), n, 1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The rows `(N, *shape)` of numbers `(N, 1)`."""
        return self.samples[z.flatten()]


@dataclass(frozen=True)
class Plan:
    """How critics are made and trained.

    Attributes:
        variant: The name of a variant, or the path of a recipe file.
        assignments: Single settings that the user changes.
        device: Where they are trained.
        plugins: Where names are looked up.
        stiffen: Whether penalties are raised until slopes keep their constant.
    """

    variant: str | Path
    assignments: Assignments
    device: torch.device
    plugins: Plugins
    stiffen: bool = True


@dataclass
class Stiffness:
    """What the penalties are multiplied by that aim at a slope."""

    factor: float = 1.0


@dataclass(frozen=True)
class Game:
    """A composition of which only the critic is trained.

    Attributes:
        composition: Its phases are those that take the distance's estimate.
        distance: What the critic estimates.
        stiffness: Multiplies the penalties in every step from when it is changed.
    """

    composition: Composition
    distance: Distance
    stiffness: Stiffness = field(default_factory=Stiffness)

    @property
    def proportional(self) -> bool:
        """Whether the estimate is in the unit of the data and grows with the critic's slope, as W1 does."""
        return self.distance.estimates.partition(",")[0] == PROPORTIONAL

    @property
    def constant(self) -> float | None:
        """The slope that the critic's constraints aim at, the smallest if there are several; None without one."""
        constants = [c.constant for c in self.composition.parts.constraints.values() if c.constant is not None]
        return min(constants, default=None)

    def estimate(self, batch: Batch) -> Tensor:
        """The distance's own estimate, a scalar without graph. Raises BrokenPlugin if there is none."""
        value = self.distance.estimate(batch)
        if value is None:
            name = type(self.distance).__name__
            raise BrokenPlugin(f"{name} says that it estimates {self.distance.estimates}, but its estimate() is None.")
        return value.detach()


def game(plan: Plan, pair: Pair, seed: int) -> Game:
    """A game between the two samples of a pair.

    Raises:
        UnknownName, BadRecipe, BadSetting: Of the variant or a setting.
        IncompatibleParts: The variant has no critic that can be trained alone, or its distance has no estimate.
    """
    dataset = ArrayDataset(pair.real)
    components = Components(plan.plugins, {"dataset": dataset, "generator": Still(pair.fake)})
    recipe = _recipe(plan, components, dataset, seed)
    composition = compose(components, recipe, dataset, plan.device)
    distance = _estimating(composition, plan)
    check(composition)
    stiffness = Stiffness()
    phases = [_stiffened(phase, composition, stiffness) for phase in _critic_phases(composition)]
    return Game(replace(composition, phases=phases, training=_only(composition.training, phases)), distance, stiffness)


def _recipe(plan: Plan, components: Components, dataset: ArrayDataset, seed: int) -> Recipe:
    for path, _ in plan.assignments:
        if path[0] in OWN:
            raise UsageError(f"--set {'.'.join(path)}: a neural distance trains a critic only, between your samples.")
    recipe = components.recipe(_table(plan, dataset, seed), plan.assignments)[0]
    critic, told = recipe.axes.get("critic"), [list(path) for path, _ in plan.assignments]
    if critic is None or dataset.kind != "vector" or ["critic", "width"] in told:
        return recipe
    narrowed = {k: min(v, WIDTH) if k == "width" and type(v) is int else v for k, v in critic.settings.items()}
    return recipe.with_axis("critic", Choice(critic.name, narrowed))


def _table(plan: Plan, dataset: ArrayDataset, seed: int) -> Table:
    """The variant with the training settings of an estimate, which `--set` may change again."""
    train = {
        "steps": STEPS,
        "critic_steps": 1,
        "batch_size": min(BATCH, len(dataset.samples)),
        "optimizer": {"name": "Adam", "lr": RATES[dataset.kind], "betas": [0.0, 0.9]},
        "schedule": "linear",
        "schedule_from": 0.0,
        "average": 0.0,
        "augment": [],
        "flip": False,
        "noise": 0.0,
        "seed": seed,
    }
    return layered([named_table(plan.variant), normalized({"train": train})])


def _critic_phases(composition: Composition) -> list[Phase]:
    return [phase for phase in composition.phases if phase.estimates and phase.trains == ("critic",)]


def _estimating(composition: Composition, plan: Plan) -> Distance:
    """The distance of a composition, of which all is refused that is not a critic's estimate alone."""
    if reason := _not_alone(composition):
        raise IncompatibleParts(f"{plan.variant} {reason}; a neural distance needs a critic that judges samples alone.")
    distance = composition.parts.distance
    if distance is None or not distance.estimates:
        name = composition.recipe.axes["distance"].name if distance is not None else "none"
        known = ", ".join(estimating_variants(plan.plugins))
        raise IncompatibleParts(
            f"the distance {name} of {plan.variant} gives no estimate of how far samples are apart; those of these "
            f"variants do: {known}."
        )
    return distance


def _not_alone(composition: Composition) -> str:
    further = [name for name in composition.networks if name not in ("generator", "critic")]
    if further:
        return f"trains {', '.join(further)} beside its critic"
    if not _critic_phases(composition):
        return "has no critic that is trained"
    if not composition.scores_samples:
        return "has a critic of other things than single samples"
    return "judges samples by their labels" if is_conditional(composition.networks["critic"]) else ""


def estimating_variants(plugins: Plugins) -> list[str]:
    """The installed variants for any data whose distance has an estimate; what is broken is left out."""
    names = []
    for entry in plugins.index.select("variant"):
        with contextlib.suppress(ZooError):
            variant = plugins.load(entry)
            distance = normalized(variant.table).get("distance")
            if variant.data or not distance:
                continue
            if getattr(plugins.component("distance", distance["name"]), "estimates", ""):
                names.append(entry.name)
    return names


def _only(training: Training, phases: Sequence[Phase]) -> Training:
    """Without the optimisers of phases that are not run."""
    names = {phase.name for phase in phases}
    return replace(training, optimizers={name: each for name, each in training.optimizers.items() if name in names})


def _stiffened(phase: Phase, composition: Composition, stiffness: Stiffness) -> Phase:
    """The phase with the penalties that aim at a slope multiplied."""
    aiming = {name for name, constraint in composition.parts.constraints.items() if constraint.constant is not None}

    def loss(batch: Batch) -> Mapping[str, Tensor]:
        terms = phase.loss(batch)
        return {name: term * stiffness.factor if name in aiming else term for name, term in terms.items()}

    return replace(phase, loss=loss)
