"""Checks of a distribution as a whole: names, requirements, what importing it does."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from zoo.catalogue.conventions import RESERVED_NAMES
from zoo.index import Entry
from zoo.plugins import Plugins
from zoo.testing.checks import CHECKS, PLUGIN, Failed, Skipped, Subject, check, require
from zoo.testing.importing import import_alone

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CORE = "gan-zoo"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
FLOORS, CEILINGS = (">=", ">", "==", "~="), ("<", "<=", "==", "~=", "===")


@check(PLUGIN)
def loads(subject: Subject) -> None:
    """Every module can be imported, and offers exactly what the metadata declares."""
    plugins = Plugins()
    problems = [str(problem) for problem in plugins.index.problems if problem.dist == subject.name]
    require(not problems, "; ".join(problems))
    for entry in subject.entries:
        plugins.load(entry)


@check(PLUGIN)
def names(subject: Subject) -> None:
    """Names are lower-case words with hyphens, given by no other plugin here; the distribution's begins with zoo-."""
    require(
        subject.name == CORE or subject.name.startswith("zoo-"),
        f"the distribution is called '{subject.name}'; it must begin with 'zoo-'.",
    )
    others = {(e.hook, e.name): e.dist for e in Plugins().index.entries if e.dist != subject.name}
    for entry in subject.entries:
        require(
            NAME.fullmatch(entry.name) and entry.name not in RESERVED_NAMES,
            f"'{entry.name}' cannot be a name: use lower-case letters, digits and hyphens, and no word of recipes.",
        )
        giver = others.get((entry.hook, entry.name))
        require(giver is None, f"{entry.hook} '{entry.name}' is given by {giver} too; choose another name.")


@check(PLUGIN)
def imports_alone(subject: Subject) -> None:
    """Importing it in a fresh process is quick, silent, and leaves torch, CUDA and random numbers as they were."""
    modules = sorted({entry.module for entry in subject.entries})
    others = {entry.module for entry in Plugins().index.entries if entry.dist not in (subject.name, CORE)}
    troubles = import_alone(modules, sorted(others.difference(modules)))
    require(not troubles, f"importing {', '.join(modules)} {'; '.join(troubles)}.")


@check(PLUGIN)
def requirements(subject: Subject) -> None:
    """It requires gan-zoo with a floor and a ceiling, and does not hold torch or torchvision back."""
    if subject.name == CORE:
        raise Skipped("it is the core.")
    found = list(_requirements(subject.name))
    core = [requirement for requirement in found if _normal(requirement.name) == CORE]
    require(core, "its metadata does not require gan-zoo; add 'gan-zoo>=0.1,<1' to its dependencies.")
    for which, signs in (("floor", FLOORS), ("ceiling", CEILINGS)):
        require(_has(core[0], signs), f"it requires '{core[0]}', without a {which}; write 'gan-zoo>=0.1,<1'.")
    pinned = [str(r) for r in found if _normal(r.name) in ("torch", "torchvision") and _has(r, CEILINGS)]
    require(not pinned, f"it requires {pinned}; only lower bounds, so that plugins can be installed together.")


def _requirements(dist: str) -> Iterator[Requirement]:
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        raise Skipped("the package 'packaging' is not installed.") from error
    try:
        yield from map(Requirement, importlib.metadata.requires(dist) or [])
    except importlib.metadata.PackageNotFoundError as error:
        raise Failed(f"it has no readable metadata: {error}.") from error


def _has(requirement: Requirement, signs: tuple[str, ...]) -> bool:
    return any(specifier.operator in signs for specifier in requirement.specifier)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@check(PLUGIN)
def expected_failures(subject: Subject) -> None:
    """Each key of expected_failures is the name of a check, or NAME:CHECK of a component, with a reason."""
    for module in {entry.module for entry in subject.entries}:
        declared = getattr(sys.modules.get(module), "expected_failures", {})
        require(isinstance(declared, Mapping), f"expected_failures of {module} is no dict.")
        for key, reason in declared.items():
            require(isinstance(reason, str) and reason.strip(), f"expected_failures['{key}'] says no reason.")
            trouble = _trouble(str(key), subject.entries)
            require(not trouble, f"expected_failures['{key}']: {trouble}.")


def _trouble(key: str, entries: tuple[Entry, ...]) -> str:
    """What is wrong with a key; empty if nothing is."""
    name, _, what = key.rpartition(":")
    hooks = {entry.hook for entry in entries if name in ("", entry.name)}
    if not hooks:
        return f"it offers no component '{name}'"
    for each in CHECKS:
        if each.name == what and hooks.intersection(each.hooks):
            return ""
    return f"there is no check '{what}' of a {' or '.join(sorted(hooks))}"
