"""Recipes over recipes: a variant's, a file's, the user's; and single settings in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.errors import BadRecipe, UnknownName, UsageError
from zoo.recipe import AXES, CONSTRAINTS, LIST_AXES, Table, choice_table, singular
from zoo.toml import value_of


def layered(tables: Iterable[Mapping[str, Any]]) -> Table:
    """Normalized tables laid over each other, the later ones winning.

    A choice of the same name, or of no name, changes settings; a choice of another name replaces them all.
    A list of constraints or objectives replaces the list beneath.
    """
    result: Table = {}
    for table in tables:
        for key, value in table.items():
            if key in AXES:
                result[key] = _over(result.get(key, {}), value)
            elif key == "parts":
                beneath = result.get(key, {})
                result[key] = {**beneath, **{n: _over(beneath.get(n, {}), each) for n, each in value.items()}}
            elif key == "train":
                result[key] = _train_over(result.get(key, {}), value)
            else:
                result[key] = value
    return result


def _over(beneath: Table, above: Table) -> Table:
    if not above or above.get("name", beneath.get("name")) != beneath.get("name"):
        return dict(above)
    return _later(beneath, above)


def _later(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """One table over another, its keys behind: `name:value` is heard unless its setting is given later by name."""
    return {**{key: value for key, value in beneath.items() if key not in above}, **above}


def _train_over(beneath: Table, above: Table) -> Table:
    """Training settings: numbers replace, `optimizer` merges as a choice, `optimizers` a phase at a time or empty."""
    result = {**beneath, **above}
    if "optimizer" in above:
        result["optimizer"] = _over(beneath.get("optimizer", {}), choice_table(above["optimizer"], "train.optimizer"))
    if isinstance(above.get("optimizers"), Mapping):
        below = beneath.get("optimizers")
        phases = dict(below) if isinstance(below, Mapping) and above["optimizers"] else {}
        for phase, each in above["optimizers"].items():
            table = choice_table(each, f"train.optimizers.{phase}")
            phases[phase] = _over(phases.get(phase, {}), table)
        result["optimizers"] = phases
    return result


def for_kinds(table: Table, kinds: Iterable[str]) -> list[Table]:
    """A table as the layers that count for some kinds of data: its own, then its `for.KIND` of each kind in turn."""
    common = {key: value for key, value in table.items() if key != "for"}
    return [common, *(table.get("for", {}).get(kind, {}) for kind in kinds)]


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`axis.setting=value` as a path and a value, which is TOML or else a string.

    Raises:
        UsageError: There is no `=`, or the path has one word only.
    """
    path, equals, value = text.partition("=")
    words = [word.strip() for word in path.split(".")]
    if not equals or len(words) < 2 or not all(words):
        raise UsageError(f"'--set {text}' is not of the form axis.setting=value, such as generator.width=64.")
    return words, value_of(value.strip())


def assign(table: Table, path: Sequence[str], value: Any) -> Table:
    """The table with one setting changed: `generator.width`, `lipschitz_constraint.NAME.weight`, `train.steps`.

    Raises:
        UnknownName: No axis, or no constraint or objective of the recipe, has that name.
        BadRecipe: The axis has no component, or the path is too long.
    """
    axis, *rest = path
    if rest[-1] == "name" and axis != "train":
        way = f"[parts.{rest[0]}] of a recipe file" if axis == "parts" else f"--{axis.replace('_', '-')}"
        raise BadRecipe(f"{'.'.join(path)}: a name is no setting; replace the part with {way}.")
    if axis in LIST_AXES:
        return {**table, axis: _assign_listed(axis, table.get(axis, []), rest, value)}
    if axis == "train":
        return layered([table, {"train": _nested(rest, value)}])
    if axis == "parts":
        return layered([table, {"parts": {rest[0]: _nested(rest[1:], value)}}])
    if axis not in AXES:
        raise UnknownName("axis", axis, (*AXES, *LIST_AXES, "train", "parts"))
    if not table.get(axis):
        raise BadRecipe(f"{'.'.join(path)} is set, but the recipe has no {axis}; name one with --{axis}.")
    return {**table, axis: _later(table[axis], _nested(rest, value))}


def _nested(path: Sequence[str], value: Any) -> Table:
    for word in reversed(path):
        value = {word: value}
    if not isinstance(value, dict):
        raise BadRecipe("a setting needs a name after its axis, such as generator.width.")
    return value


def _assign_listed(axis: str, tables: list[Table], path: Sequence[str], value: Any) -> list[Table]:
    names = [table["name"] for table in tables]
    if len(path) != 2:
        raise BadRecipe(f"say {axis}.NAME.setting=value; the recipe's {singular(axis)}s: {', '.join(names) or 'none'}.")
    if path[0] not in names:
        kind = {CONSTRAINTS: "Lipschitz constraint"}.get(axis, axis)
        raise UnknownName(f"{kind} of this recipe", path[0], names)
    return [{**each, path[1]: value} if each["name"] == path[0] else each for each in tables]
