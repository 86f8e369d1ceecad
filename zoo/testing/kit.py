"""Runs the conformance kit's checks on the components of a distribution, or on one factory."""

from __future__ import annotations

import functools
import sys
import time
import unittest
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from zoo.environment import normalized
from zoo.errors import UnknownName, ZooError
from zoo.index import Entry
from zoo.mistakes import in_a_line
from zoo.plugins import Plugins
from zoo.testing.checks import CHECKS, PLUGIN, Check, Skipped, Subject

Status: TypeAlias = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]
BAD: tuple[Status, ...] = ("failed", "unexpected pass")


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Attributes:
        hook: The component's hook, or `plugin`.
        name: The component's name, or the distribution's.
        check: The check's name.
        status: `passed`, `failed`, `skipped`, `expected failure` or `unexpected pass`.
        detail: What was wrong, or why it was skipped or expected to fail.
        seconds: How long it took.
    """

    hook: str
    name: str
    check: str
    status: Status
    detail: str
    seconds: float

    @property
    def bad(self) -> bool:
        """Whether the plugin does not conform."""
        return self.status in BAD


@dataclass(frozen=True)
class Case:
    """One check of one component; `str(case)` is `hook/name:check`.

    Attributes:
        subject: What is checked.
        what: The check.
        expected: Why its author expects it to fail; empty if it is to pass.
    """

    subject: Subject
    what: Check
    expected: str = ""

    def __str__(self) -> str:
        return f"{self.subject.hook}/{self.subject.name}:{self.what.name}"

    def result(self) -> Result:
        """Runs the check; never raises for what a component does."""
        start, threads = time.perf_counter(), torch.get_num_threads()
        torch.set_num_threads(1)  # Several threads slow the small networks of the checks down.
        try:
            status, detail = self._outcome()
        finally:
            torch.set_num_threads(threads)
        seconds = time.perf_counter() - start
        return Result(self.subject.hook, self.subject.name, self.what.name, status, detail, seconds)

    def check(self) -> None:
        """Runs the check in a test: AssertionError if the component does not conform, SkipTest if it does not apply."""
        result = self.result()
        if result.bad:
            raise AssertionError(f"{self}: {result.detail}")
        if result.status != "passed":
            raise unittest.SkipTest(f"{result.status}: {result.detail}")

    def _outcome(self) -> tuple[Status, str]:
        try:
            self.what.run(self.subject)
        except Skipped as reason:
            return "skipped", str(reason)
        except (Exception, SystemExit) as error:
            cause = str(error) if isinstance(error, (AssertionError, ZooError)) else in_a_line(error)
            return ("expected failure", f"{self.expected} ({cause})") if self.expected else ("failed", cause)
        if self.expected:
            return "unexpected pass", "it passes now: take it out of expected_failures."
        return "passed", ""


def cases(dist: str) -> list[Case]:
    """Every check of every component of an installed distribution.

    A plugin that cannot be loaded has the checks of the distribution only, and fails in them. Failures that its author
    expects stand in its module: `expected_failures = {"NAME:CHECK": "reason"}`.

    Raises:
        UnknownName: No plugin of that name is installed.
    """
    plugins = Plugins()
    entries = tuple(entry for entry in plugins.index.select() if entry.dist == normalized(dist))
    if not entries and normalized(dist) not in {problem.dist for problem in plugins.index.problems}:
        raise UnknownName("installed plugin", dist, {entry.dist for entry in plugins.index.entries})
    found = _of(Subject(PLUGIN, normalized(dist), entries=entries), {})
    for entry in entries:
        try:
            factory = plugins.load(entry)
        except ZooError:
            continue
        found += _of(Subject(entry.hook, entry.name, factory, entries), _expected(entry))
    return found


def cases_of(hook: str, factory: Any, expected_failures: Mapping[str, str] | None = None) -> list[Case]:
    """Every check of one factory, which need not be installed; its name is that of the class or function.

    Args:
        hook: The hook it is for.
        factory: What a plugin would offer.
        expected_failures: Why a check is expected to fail, by its name.
    """
    name = getattr(factory, "__name__", type(factory).__name__)
    return _of(Subject(hook, name, factory), expected_failures or {})


def check_component(hook: str, factory: Any, expected_failures: Mapping[str, str] | None = None) -> list[Result]:
    """Runs every check on one factory. Raises AssertionError that names each check that fails, and how."""
    results = [case.result() for case in cases_of(hook, factory, expected_failures)]
    wrong = [f"{result.check}: {result.detail}" for result in results if result.bad]
    if wrong:
        raise AssertionError("\n".join([f"{len(wrong)} of {len(results)} checks fail:", *wrong]))
    return results


check_generator = functools.partial(check_component, "generator")
check_critic = functools.partial(check_component, "critic")
check_distance = functools.partial(check_component, "distance")
check_lipschitz_constraint = functools.partial(check_component, "lipschitz_constraint")
check_objective = functools.partial(check_component, "objective")
check_backbone = functools.partial(check_component, "backbone")
check_network = functools.partial(check_component, "network")
check_dataset = functools.partial(check_component, "dataset")
check_metric = functools.partial(check_component, "metric")
check_procedure = functools.partial(check_component, "procedure")
check_variant = functools.partial(check_component, "variant")


def _of(subject: Subject, expected: Mapping[str, str]) -> list[Case]:
    return [Case(subject, what, _reason(subject, what, expected)) for what in _for(subject.hook)]


def _for(hook: str) -> Iterable[Check]:
    return (what for what in CHECKS if hook in what.hooks)


def _reason(subject: Subject, what: Check, expected: Mapping[str, str]) -> str:
    return expected.get(f"{subject.name}:{what.name}") or expected.get(what.name, "")


def _expected(entry: Entry) -> Mapping[str, str]:
    declared: Mapping[str, str] = getattr(sys.modules[entry.module], "expected_failures", {})
    return declared
