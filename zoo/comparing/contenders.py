"""Who takes part: variants with the same networks, recipe files with their own, and runs trained before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from zoo.checks import check
from zoo.components import Dataset, is_conditional
from zoo.compose import Composition, compose
from zoo.devices import resolve_device
from zoo.errors import UsageError
from zoo.folder import Folder
from zoo.layering import layered
from zoo.measuring import backbone_of, evidence_of, real_evidence
from zoo.metrics import Evidence
from zoo.plugins import Plugins
from zoo.recipe import Choice, Recipe, Table, named_table, normalized
from zoo.resolve import Assignments, Components
from zoo.run import load

Networks: TypeAlias = Literal["same", "own"]
SHARED = ("generator", "critic")


@dataclass(frozen=True)
class Data:
    """A data set with the choice that names it, every setting written out."""

    choice: Choice
    dataset: Dataset


@dataclass(frozen=True)
class Draft:
    """A contender that has been built once and found to work, before its budget is known.

    Attributes:
        label: Its name.
        recipe: Its resolved recipe.
        updates: Optimiser steps of the critic in an iteration, on average.
        evidence: What metrics may look at: enough to find out whether they fit.
        run: The folder of a run that was trained before.
        step: How far that run is.
    """

    label: str
    recipe: Recipe
    updates: float
    evidence: Evidence
    run: Path | None = None
    step: int = 0


def data_of(named: str, contenders: Sequence[str], plugins: Plugins, assignments: Assignments) -> Data:
    """The data set that is compared on: as it is named, or else that of the first run or recipe file that has one."""
    table = normalized({"dataset": named}, "--dataset") if named else _own_data(contenders)
    table = layered([table, *_nested(assignments)])
    choice, dataset = Components(plugins).dataset(Choice.of(table["dataset"]))
    return Data(choice, dataset)


def _own_data(contenders: Sequence[str]) -> Table:
    for name in contenders:
        table = Folder(Path(name)).recipe().table() if is_run(name) else named_table(name)
        if table.get("dataset"):
            return {"dataset": table["dataset"]}
    raise UsageError("no data set: name one with --dataset, such as --dataset digits.")


def _nested(assignments: Assignments) -> list[Table]:
    return [{"dataset": {path[1]: value}} for path, value in assignments if path[0] == "dataset"]


def is_run(name: str) -> bool:
    """Whether it is a run folder."""
    return (Path(name) / "recipe.toml").is_file()


def labels(contenders: Sequence[str]) -> list[str]:
    """A name for each, which no other has and a file may have. Raises UsageError for one that is there twice."""
    found: list[str] = []
    for number, name in enumerate(contenders):
        if name in contenders[:number]:
            raise UsageError(f"{name} is named twice.")
        path = Path(name)
        base = path.resolve().name if is_run(name) else path.stem if path.suffix == ".toml" else name.replace("/", "-")
        same = sum(label == base or label.startswith(f"{base}~") for label in found)
        found.append(f"{base}~{same + 1}" if same else base)
    return found


class Drafting:
    """Resolves and checks contenders.

    Args:
        data: What they are compared on.
        plugins: Where components are looked up.
        assignments: Single settings of all of them.
        networks: `same`: variants have the generator and the critic of the first one; `own`: each has its own.
        device: Where they are built to be checked.
        samples: How many samples metrics will look at.
    """

    def __init__(
        self, data: Data, plugins: Plugins, assignments: Assignments, networks: Networks, device: str, samples: int
    ) -> None:
        self._data = data
        self._samples = samples
        self._components = Components(plugins, {"dataset": data.dataset})
        self._assignments = [each for each in assignments if each[0][0] != "dataset"]
        self._networks = networks
        self._device = resolve_device(device)
        self._shared: Mapping[str, Choice] | None = None

    def draft(self, name: str, label: str) -> Draft:
        """One contender. Raises UsageError, which names it, if it cannot be used."""
        try:
            return self._run(Path(name), label) if is_run(name) else self._trained(name, label)
        except UsageError as error:
            raise UsageError(f"{label}: {error}{self._advice(name)}") from error

    def of_table(self, table: Table, label: str) -> Draft:
        """A contender that is given as a recipe's table. Raises UsageError, which names it, if it cannot be used."""
        try:
            return self._built(self._recipe(normalized(table)), label)
        except UsageError as error:
            raise UsageError(f"{label}: {error}") from error

    def _trained(self, name: str, label: str) -> Draft:
        own = self._recipe(named_table(name))
        return self._built(own if _is_file(name) or self._networks == "own" else self._with_shared(name, own), label)

    def _built(self, recipe: Recipe, label: str) -> Draft:
        composition = compose(self._components, recipe, self._data.dataset, self._device)
        check(composition, allow_incompatible=False)
        named = recipe.with_axis("dataset", self._data.choice)
        return Draft(label, named, updates(composition), self._evidence(composition))

    def _recipe(self, table: Table) -> Recipe:
        table = {key: value for key, value in table.items() if key != "dataset"}
        return self._components.recipe(table, self._assignments)[0]

    def _with_shared(self, name: str, own: Recipe) -> Recipe:
        """A variant with the networks of the first one, in the places where it has networks itself."""
        if self._shared is None:
            self._shared = own.axes
            return own
        given = {axis: self._shared[axis].table() for axis in SHARED if axis in self._shared and axis in own.axes}
        if "critic" in given:
            given["backbone"] = self._shared["backbone"].table() if "backbone" in self._shared else {}
        return self._recipe({**named_table(name), **given})

    def _evidence(self, composition: Composition) -> Evidence:
        networks = composition.networks
        return replace(
            real_evidence(self._data.dataset, self._samples),
            conditional="generator" in networks and is_conditional(networks["generator"]),
            critic=networks.get("critic") if composition.scores_samples else None,
            constraints=composition.parts.constraints,
            generates="generator" in networks,
            backbone=backbone_of(composition),
            test=dict,  # It only says that there are tests: what is not trained is not tested, nor kept in memory.
        )

    def _run(self, path: Path, label: str) -> Draft:
        run = load(path, device=str(self._device), given={"dataset": self._data.dataset})
        recipe = run.folder.recipe()
        # As a file holds them: it has "none" for what is None here.
        if recipe.axes["dataset"].table() != self._data.choice.table():
            raise UsageError(
                f"it was trained on {_told(recipe.axes['dataset'])}, and not on {_told(self._data.choice)}."
            )
        evidence = evidence_of(run, self._samples)
        return Draft(label, recipe, updates(run.composition), evidence, path.resolve(), run.step)

    def _advice(self, name: str) -> str:
        shared = self._shared is not None and self._networks == "same" and not _is_file(name) and not is_run(name)
        return " (It was given the first variant's networks; --networks own leaves it its own.)" if shared else ""


def updates(composition: Composition) -> float:
    """The critic's optimiser steps in an iteration, on average; 0 without a critic."""
    return math.fsum(phase.steps / phase.every for phase in composition.phases if "critic" in phase.trains)


def _is_file(name: str) -> bool:
    return Path(name).suffix == ".toml"


def _told(choice: Choice) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in choice.settings.items())
    return f"{choice.name} ({settings})" if settings else choice.name
