"""Recipes: which component on each axis, with which settings. Names and values only; no component is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from zoo.errors import BadRecipe, UnknownName
from zoo.toml import loads

Table: TypeAlias = dict[str, Any]

AXES = ("dataset", "backbone", "generator", "critic", "distance", "procedure")
"""The axes that hold one component."""
CONSTRAINTS, OBJECTIVES = "lipschitz_constraint", "objective"
LIST_AXES = (CONSTRAINTS, OBJECTIVES)
"""The axes that hold a list of components."""
KEYS = ("variant", *AXES, *LIST_AXES, "parts", "train", "for", "versions")
KINDS = ("vector", "image", "tiny-image")
"""The kinds of data that a `for` table may be for."""
DOWNLOAD = "download"
"""The setting of a data set that lets it write files into a folder that it is told of. Only the user says so, at a
command or in Python; a recipe file may be somebody else's, so none is heard on it and none holds it."""
PRETRAINED = "pretrained"
"""The setting of a backbone that lets it download weights. A recipe file may hold it, and is heard on it only if the
user allows that."""
CHECKPOINT = "checkpoint"
"""The setting of a backbone that names a file of weights."""
FIXED = ("variant", "dataset", "for", "versions")
"""The keys that are not for a `for` table: what they say cannot depend on the kind of data."""
ARGUMENT = ""
"""The key under which `name:value` keeps its value, until the component's first setting is known."""


@dataclass(frozen=True)
class Choice:
    """A component by name, with settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str = "the recipe") -> Choice:
        """From `{name = "...", setting = ...}`. Raises BadRecipe if there is no name."""
        if not table.get("name"):
            raise BadRecipe(f"{where}: {dict(table)!r} has settings but no name of a component.")
        return cls(table["name"], {key: value for key, value in table.items() if key != "name"})

    def table(self) -> Table:
        """Back to `{name = "...", setting = ...}`, without the settings that are None's default."""
        return {"name": self.name, **{k: "none" if v is None else v for k, v in self.settings.items()}}


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs, by name.

    Attributes:
        variant: The variant that it began from; a label only.
        axes: The choice on each axis of `AXES`; an axis without a component is absent.
        lists: The choices on each axis of `LIST_AXES`, in order.
        parts: Further parts that the procedure wants, by name.
        train: The training settings.
        versions: The versions that a run was made with; empty for a recipe that has not run.
    """

    variant: str = ""
    axes: Mapping[str, Choice] = field(default_factory=dict)
    lists: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    parts: Mapping[str, Choice] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table) -> Recipe:
        """From a table that `normalized` has checked."""
        return cls(
            variant=table.get("variant", ""),
            axes={axis: Choice.of(table[axis], axis) for axis in AXES if table.get(axis)},
            lists={axis: tuple(Choice.of(each, axis) for each in table.get(axis, [])) for axis in LIST_AXES},
            parts={name: Choice.of(each, f"parts.{name}") for name, each in table.get("parts", {}).items() if each},
            train=table.get("train", {}),
            versions=table.get("versions", {}),
        )

    def table(self) -> Table:
        """The recipe as TOML holds it; `Recipe.of(normalized(r.table())) == r`."""
        table: Table = {"variant": self.variant} if self.variant else {}
        table |= {axis: self.axes[axis].table() if axis in self.axes else "none" for axis in AXES}
        table |= {axis: [choice.table() for choice in self.listed(axis)] for axis in LIST_AXES}
        table["train"] = dict(self.train)
        if self.parts:
            table["parts"] = {name: choice.table() for name, choice in self.parts.items()}
        if self.versions:
            table["versions"] = dict(self.versions)
        return table

    def listed(self, axis: str) -> tuple[Choice, ...]:
        """The choices on an axis that holds a list."""
        return self.lists.get(axis, ())

    @property
    def constraints(self) -> tuple[Choice, ...]:
        """The Lipschitz constraints, in order."""
        return self.listed(CONSTRAINTS)

    @property
    def objectives(self) -> tuple[Choice, ...]:
        """The objectives, in order."""
        return self.listed(OBJECTIVES)

    def with_axis(self, axis: str, choice: Choice) -> Recipe:
        """The same recipe with another choice on one axis."""
        return replace(self, axes={**self.axes, axis: choice})


def read_table(path: Path) -> Table:
    """A recipe file as a normalized table.

    Raises:
        BadRecipe: The file cannot be read, is not TOML, or holds something that is no recipe; with its line.
    """
    try:
        table = loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRecipe(f"the recipe {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRecipe(f"the recipe {path} is not TOML: {error}.") from error
    return normalized(table, str(path))


def normalized(table: Mapping[str, Any], where: str = "the recipe") -> Table:
    """A recipe's table with every choice written out as a table, its keys checked.

    Raises:
        UnknownName: A key that no recipe has.
        BadRecipe: A value of the wrong form.
    """
    _refuse_wrong_keys(table, where)
    result = dict(table)
    for axis in AXES:
        if axis in table:
            result[axis] = choice_table(table[axis], f"{where}: {axis}")
    for axis in LIST_AXES:
        if axis in table:
            result[axis] = _list_of_choices(table[axis], f"{where}: {axis}", singular(axis))
    if "parts" in table:
        result["parts"] = {n: choice_table(each, f"{where}: parts.{n}") for n, each in table["parts"].items()}
    if "for" in table:
        result["for"] = _normalized_kinds(table["for"], where)
    return result


def _refuse_wrong_keys(table: Mapping[str, Any], where: str) -> None:
    for key in table:
        if key not in KEYS:
            raise UnknownName(f"key of {where}", key, KEYS)
    if not isinstance(table.get("variant", ""), str):
        raise BadRecipe(f"{where}: variant must be a name, not {table['variant']!r}.")
    for key in ("parts", "train", "for", "versions"):
        if not isinstance(table.get(key, {}), Mapping):
            raise BadRecipe(f"{where}: {key} must be a table, not {table[key]!r}.")


def _normalized_kinds(tables: Mapping[str, Any], where: str) -> Table:
    for kind in tables:
        if kind not in KINDS:
            raise UnknownName(f"kind of data in {where}: for", kind, KINDS)
        if not isinstance(tables[kind], Mapping):
            raise BadRecipe(f"{where}: for.{kind} must be a table, not {tables[kind]!r}.")
        for key in FIXED:
            if key in tables[kind]:
                raise BadRecipe(f"{where}: for.{kind}.{key}: that cannot depend on the kind of data.")
    return {kind: normalized(each, f"{where}: for.{kind}") for kind, each in tables.items()}


def choice_table(value: Any, where: str) -> Table:
    """`"name"`, `"name:value"`, `"none"` or a table, as a table; empty for none."""
    if isinstance(value, str):
        if value in ("", "none"):
            return {}
        name, colon, argument = value.partition(":")
        return {"name": name, **({ARGUMENT: argument} if colon else {})}
    if not isinstance(value, Mapping):
        raise BadRecipe(f'{where} must be a name or a table {{ name = "...", ... }}, not {value!r}.')
    if "name" in value and isinstance(value["name"], str):
        return choice_table(value["name"], where) | {key: each for key, each in value.items() if key != "name"}
    if "name" in value:
        raise BadRecipe(f"{where}.name must be a string, not {value['name']!r}.")
    return dict(value)


def singular(axis: str) -> str:
    """What one component of a list is called in a message."""
    return {CONSTRAINTS: "constraint"}.get(axis, axis)


def _list_of_choices(value: Any, where: str, called: str) -> list[Table]:
    values = value if isinstance(value, list) else [value]
    tables = [choice_table(each, where) for each in values]
    tables = [table for table in tables if table]
    names = [table.get("name") for table in tables]
    if None in names:
        raise BadRecipe(f"{where}: each {called} needs a name.")
    if len(set(names)) < len(names):
        raise BadRecipe(f"{where}: the same {called} is named twice.")
    return tables


def named_table(variant: str | Path, allow_download: bool = False) -> Table:
    """The table that a variant's name, or a recipe file (`.toml`), stands for; empty for an empty name.

    Args:
        variant: The name, or the path.
        allow_download: Whether a file may have a backbone download its weights.

    Raises:
        BadRecipe: The file cannot be read, is no recipe, or would let something be downloaded.
    """
    if Path(variant).suffix == ".py":
        raise BadRecipe(f"{variant} is a plugin and no variant; say --plugin {variant} and a name that it offers.")
    if Path(variant).suffix == ".toml":
        table = read_table(Path(variant))
        if table.get("dataset", {}).get(DOWNLOAD):
            raise BadRecipe(
                f"the recipe {variant}: dataset.{DOWNLOAD} is yours to allow; remove it there, and say --{DOWNLOAD}."
            )
        if table.get("backbone", {}).get(PRETRAINED) and not allow_download:
            raise BadRecipe(
                f"the recipe {variant}: backbone.{PRETRAINED} would download weights, which is yours to allow: say "
                f"--allow-download, or have your own file with --set backbone.{CHECKPOINT}=FILE and without it."
            )
        return table
    return {"variant": str(variant)} if str(variant) else {}
