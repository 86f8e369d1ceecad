"""Checks of variants."""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from zoo.api import compose_table
from zoo.components import ArrayDataset
from zoo.compose import Composition
from zoo.errors import BadData, BadRecipe, IncompatibleParts, MissingPackage, UnknownName
from zoo.plugins import installed
from zoo.recipe import AXES, LIST_AXES, Recipe, Table, normalized
from zoo.resolve import Components
from zoo.testing.checks import Failed, Skipped, Subject, check, require
from zoo.testing.parts import small_data, small_translations
from zoo.testing.training import STEPS, require_training
from zoo.training import Training
from zoo.variants import Variant

LONGEST = 160
"""Characters of a summary, which `zoo list` shows on a line."""
BATCH = 8
CRITIC_STEPS = 2
VECTOR, TINY, LARGER, LINE = (2,), (1, 8, 8), (1, 32, 32), (1,)


def _variant(subject: Subject) -> Variant:
    variant = subject.factory
    require(isinstance(variant, Variant), f"it is a {type(variant).__name__}, and not a zoo.Variant.")
    found: Variant = variant
    return found


def _table(subject: Subject) -> Table:
    return normalized(_variant(subject).table, f"the variant {subject.name}")


@check("variant")
def summary(subject: Subject) -> None:
    """It has a summary of one line."""
    text = _variant(subject).summary
    said = isinstance(text, str) and bool(text.strip())
    require(said, "it has no summary; say in a sentence what it is and when to use it.")
    require("\n" not in text, "its summary has several lines; one is shown.")
    require(len(text) <= LONGEST, f"its summary has {len(text)} characters; {LONGEST} are the most.")


@check("variant")
def recipe(subject: Subject) -> None:
    """Its table is a recipe, and every component that it names is installed."""
    missing = []
    for hook, name in sorted(set(_names(_table(subject)))):
        try:
            installed().index.find(hook, name)
        except UnknownName as error:
            missing.append(f"{hook} '{name}' ({error})")
    require(not missing, f"it names what is not installed: {'; '.join(missing)} Depend on what provides it.")


def _names(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if table.get("variant"):
        yield "variant", table["variant"]
    for hook in AXES:
        if table.get(hook, {}).get("name"):
            yield hook, table[hook]["name"]
    for axis in LIST_AXES:
        for choice in table.get(axis, []):
            yield axis, choice["name"]
    for each in table.get("for", {}).values():
        yield from _names(each)


@check("variant")
def settings(subject: Subject) -> None:
    """Its settings are legal for every kind of data, and the whole recipe comes back from TOML as it was."""
    table = _table(subject)
    for shape in (VECTOR, TINY, LARGER):
        try:
            found = _resolved(table, shape)
        except (BadData, MissingPackage) as error:
            raise Skipped(f"its data set is not at hand: {error}") from error
        again = Recipe.of(normalized(tomllib.loads(tomli_w.dumps(found.table()))))
        require(again.table() == found.table(), f"for samples {shape} its recipe is another one when read from TOML.")


def _resolved(table: Table, shape: tuple[int, ...]) -> Recipe:
    """Its whole recipe, for samples with labels, or with sources where it takes no others."""
    if _own_data(table):
        return Components(installed()).recipe(table)[0]
    try:
        return Components(installed(), {"dataset": small_data(shape)}).recipe(table)[0]
    except IncompatibleParts:
        return Components(installed(), {"dataset": small_translations(shape)}).recipe(table)[0]


def _own_data(table: Table) -> bool:
    return bool(table.get("dataset"))


@check("variant")
def round_trip(subject: Subject) -> None:
    """Its table is the same when written as TOML and read again."""
    table = dict(_variant(subject).table)
    try:
        text = tomli_w.dumps(table)
    except TypeError as error:
        raise Failed(f"its table cannot be written as TOML ({error}): text, numbers, lists and tables can.") from error
    read = normalized(tomllib.loads(text))
    require(read == _table(subject), "its table is another one when written as TOML and read: are there tuples?")


@check("variant")
def trains_and_resumes(subject: Subject) -> None:
    """It trains on vectors and images, the line or translations to finite losses; resumed, as if never stopped."""
    table = _table(subject)
    refusals: list[str] = []
    tried: dict[str, ArrayDataset | None] = {"its own data": None}
    if not _own_data(table):
        tried = {f"samples {shape}": small_data(shape) for shape in (VECTOR, TINY, LINE)}
        tried["translations of images"] = small_translations(TINY)
    for number, (what, data) in enumerate(tried.items()):
        if number > 1 and len(refusals) < number:
            break  # The line, and sources, are for what takes nothing else.
        compose = functools.partial(_composed, table, data)
        try:
            compose()
        except (BadData, MissingPackage) as error:
            raise Skipped(f"its data set is not at hand: {error}") from error
        except BadRecipe as error:
            if type(error) is not BadRecipe:
                raise
            refusals.append(str(error))
        except IncompatibleParts as error:
            refusals.append(str(error))
        else:
            require_training(compose, what)
    require(
        len(refusals) < len(tried),
        f"it can be trained neither on vectors, nor on images, the line or translations: {' '.join(refusals)}",
    )


def _composed(table: Table, dataset: ArrayDataset | None) -> Composition:
    """The variant on small data, with small batches and few critic steps, so that it is quick."""
    given = {} if dataset is None else {"dataset": dataset}
    train = Components(installed(), given).recipe(table)[0].train
    own = Training.of(train).train
    changes = {
        "steps": STEPS,
        "batch_size": own.micro_batches * math.ceil(BATCH / own.micro_batches),
        "critic_steps": min(CRITIC_STEPS, own.critic_steps),
    }
    assignments = [(("train", name), value) for name, value in changes.items()]
    return compose_table(table, assignments, device="cpu", given=given)
