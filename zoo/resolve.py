"""From a table of names to a resolved recipe: every name looked up, every setting validated and written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import nn

from zoo import __version__
from zoo.backbones import Backbone
from zoo.components import Dataset, LipschitzConstraint, Objective
from zoo.errors import BadData, BadRecipe, BadSetting
from zoo.faults import refuse_faulty, refuse_foreign_context, refuse_unmade, wants_of
from zoo.layering import assign, for_kinds, layered
from zoo.metrics import Metric
from zoo.mistakes import built
from zoo.plugins import Plugins
from zoo.procedures import About, Procedure, Want
from zoo.recipe import (
    ARGUMENT,
    AXES,
    CONSTRAINTS,
    DOWNLOAD,
    KEYS,
    LIST_AXES,
    OBJECTIVES,
    Choice,
    Recipe,
    Table,
    normalized,
)
from zoo.settings import SettingSpec, context_of, resolve, settings_of
from zoo.toml import fits, value_of
from zoo.training import Training

EVERY = "every"
"""A setting of every constraint, which belongs to the trainer: its penalty is due every so many critic steps."""

DEFAULT_PROCEDURE = "adversarial"

GIVEN = "given "
"""How the name of a part begins that the caller made; it cannot be built from its recipe alone."""

Assignments: TypeAlias = Sequence[tuple[Sequence[str], Any]]


@dataclass
class Components:
    """Finds and makes components by name.

    Attributes:
        plugins: Where names are looked up.
        given: Parts that the caller made, by axis or part name, used as they are; those of a list are a dict by name.
    """

    plugins: Plugins
    given: Mapping[str, Any] = field(default_factory=dict)

    def make(self, hook: str, choice: Choice, **context: Any) -> Any:
        """Builds a component, its context filled by name.

        Raises:
            BrokenPlugin: It wants context that there is not, or is not what its hook asks for.
            BadSetting, OutOfMemory: It cannot be built with these settings.
        """
        factory = self._factory(hook, choice.name)
        wanted = context_of(factory)
        refuse_foreign_context(hook, factory, wanted, list(context))
        with built(f"{hook} '{choice.name}'"):
            part = factory(*(context[name] for name in wanted), **choice.settings)
        refuse_faulty(hook, part)
        return part

    def _factory(self, hook: str, name: str) -> Any:
        factory = self.plugins.component(hook, name)
        refuse_unmade(hook, factory)
        return factory

    def given_of(self, axis: str) -> Mapping[str, Any]:
        """What the caller made of an axis that holds a list, by name."""
        made: Mapping[str, Any] = self.given.get(axis, {})
        return made

    def recipe(self, table: Table, assignments: Assignments = ()) -> tuple[Recipe, Dataset]:
        """The recipe that a table stands for, upon its variant, with single settings changed; and its data set.

        The data set is loaded, because a variant's defaults may depend on its kind. No network is built.

        Raises:
            BadRecipe, BadSetting, UnknownName: With what is wrong and where.
        """
        layers = self._layers(table)
        dataset_choice, dataset = self._dataset(layered(layers), assignments)
        merged = layered(layer for each in layers for layer in for_kinds(each, dataset.kinds))
        merged["procedure"] = merged.get("procedure") or {"name": DEFAULT_PROCEDURE}
        for path, value in assignments:
            merged = assign(merged, path, value) if path[0] != "dataset" else merged
        recipe = self._resolved(Recipe.of(merged | {"dataset": dataset_choice.table()}), dataset)
        return replace(recipe, versions=self._versions(recipe)), dataset

    def _layers(self, table: Table) -> list[Table]:
        name = table.get("variant", "")
        if not name or "versions" in table:
            return [table]
        found = self.plugins.component("variant", name)
        return [normalized(found.table, f"the variant {name}"), table]

    def _dataset(self, table: Table, assignments: Assignments) -> tuple[Choice, Dataset]:
        if "dataset" in self.given:
            return given_choice(self.given["dataset"]), self.given["dataset"]
        if not table.get("dataset"):
            raise BadRecipe("no data set: name one with --dataset, such as --dataset digits.")
        for path, value in assignments:
            table = assign(table, path, value) if path[0] == "dataset" else table
        return self.dataset(Choice.of(table["dataset"], "dataset"))

    def metric(self, choice: Choice) -> tuple[Choice, Metric]:
        """A metric, and its choice with every setting."""
        choice = self._choice("metric", choice)
        return choice, self.make("metric", choice)

    def backbone(self, choice: Choice, shape: tuple[int, ...]) -> Backbone:
        """A backbone for images of a shape, its settings resolved."""
        backbone: Backbone = self.make("backbone", self._choice("backbone", choice), shape=shape)
        return backbone

    def dataset(self, choice: Choice) -> tuple[Choice, Dataset]:
        """A data set, loaded, and its choice with every setting, none of which lets it download. Raises BadData."""
        choice = self._choice("dataset", choice)
        try:
            dataset = self.make("dataset", choice)
        except BadData as error:
            raise BadData(f"data set '{choice.name}': {error}") from error
        if DOWNLOAD in choice.settings:
            choice = Choice(choice.name, {**choice.settings, DOWNLOAD: False})
        return choice, dataset

    def _resolved(self, recipe: Recipe, dataset: Dataset) -> Recipe:
        axes = {axis: self._axis(axis, recipe) for axis in AXES if axis in recipe.axes or axis in self.given}
        procedure: Procedure = self.given.get("procedure") or self.make("procedure", axes["procedure"])
        wants = wants_of(procedure, about(dataset))
        return replace(
            recipe,
            axes=axes,
            lists={axis: self._listed(axis, recipe) for axis in LIST_AXES},
            parts=self._parts(recipe, wants),
            train=Training.of(recipe.train).table(),
        )

    def _parts(self, recipe: Recipe, wants: Mapping[str, Want]) -> dict[str, Choice]:
        """The parts that are named, and those that the procedure takes where none is named."""
        defaults = {n: Choice(want.default) for n, want in wants.items() if want.default and n not in self.given}
        chosen = {n: choice for n, choice in defaults.items() if n not in recipe.axes} | dict(recipe.parts)
        return {n: self._choice(wants[n].hook, each) if n in wants else each for n, each in chosen.items()}

    def _axis(self, axis: str, recipe: Recipe) -> Choice:
        if axis in self.given:
            return given_choice(self.given[axis])
        return self._choice(axis, recipe.axes[axis])

    def _choice(self, hook: str, choice: Choice) -> Choice:
        factory = self._factory(hook, choice.name)
        settings: dict[str, Any] = {}
        for key, value in choice.settings.items():
            if key == ARGUMENT:
                specs = list(settings_of(factory).values())
                if not specs:
                    raise BadRecipe(f"'{choice.name}:{value}': the {hook} '{choice.name}' has no settings.")
                settings[specs[0].name] = _argument(specs[0], value)
            else:
                settings[key] = value
        return Choice(choice.name, resolve(factory, settings, f"{hook} '{choice.name}'"))

    def _listed(self, axis: str, recipe: Recipe) -> tuple[Choice, ...]:
        if axis == OBJECTIVES:
            named = tuple(self._choice(axis, choice) for choice in recipe.objectives)
            return named + tuple(Choice(name) for name in self.given_of(axis))
        named = tuple(self._constraint(choice) for choice in recipe.constraints)
        return named + tuple(Choice(name, {EVERY: 1}) for name in self.given_of(axis))

    def _constraint(self, choice: Choice) -> Choice:
        settings = dict(choice.settings)
        every = settings.pop(EVERY, 1)
        if type(every) is not int or every < 1 or not fits(every):
            raise BadSetting(f"{CONSTRAINTS}.{choice.name}.every must be a whole number from 1, not {every!r}.")
        resolved = self._choice(CONSTRAINTS, Choice(choice.name, settings))
        return Choice(choice.name, {**resolved.settings, EVERY: every})

    def _versions(self, recipe: Recipe) -> dict[str, str]:
        versions = {"zoo": __version__, "torch": torch.__version__}
        named = [(axis, choice.name) for axis, choice in recipe.axes.items() if axis not in self.given]
        for axis, choices in recipe.lists.items():
            named += [(axis, choice.name) for choice in choices if choice.name not in self.given_of(axis)]
        for hook, name in named:
            entry = self.plugins.index.find(hook, name)
            versions[entry.dist] = entry.version
        return versions


def _named_apart(parts: Sequence[Any]) -> dict[str, Any]:
    """Parts by the name of their class, the second one of a class with a number."""
    named: dict[str, Any] = {}
    for part in parts:
        name = given_choice(part).name
        same = sum(type(other) is type(part) for other in named.values())
        named[f"{name} {same + 1}" if same else name] = part
    return named


def given_choice(part: Any) -> Choice:
    """What a recipe says of a part that the caller made."""
    return Choice(f"{GIVEN}{type(part).__name__}")


def about(dataset: Dataset) -> About:
    """What a procedure may know of the data."""
    return About(dataset.shape, dataset.classes, dataset.source, dataset.paired)


def split_given(parts: Mapping[str, Any]) -> tuple[Table, dict[str, Any]]:
    """What is named, as a recipe's table; and what the caller made, by axis, those of a list by a name each."""
    table: Table = {}
    given: dict[str, Any] = {}
    for key, value in parts.items():
        if key in LIST_AXES:
            values = value if isinstance(value, list) else [value]
            made = [v for v in values if isinstance(v, (LipschitzConstraint, Objective))]
            given[key] = _named_apart(made)
            table[key] = [v for v in values if not isinstance(v, (LipschitzConstraint, Objective))]
        elif isinstance(value, (nn.Module, Dataset, Procedure)):
            given[key] = value
        elif key == "dataset" and hasattr(value, "shape"):
            raise BadRecipe("samples of your own are given as a data set: dataset=zoo.ArrayDataset(samples, labels).")
        elif key in KEYS:
            table[key] = value
        else:
            table["train"] = {**table.get("train", {}), key: value}
    return table, given


def _argument(spec: SettingSpec, text: str) -> Any:
    """The value behind a name's colon: text for a text setting, else as TOML reads it."""
    if spec.type is str:
        return text
    return value_of(text)
