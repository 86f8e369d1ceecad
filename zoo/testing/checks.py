"""What a check of the conformance kit is, and what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from zoo.hookspecs import HOOKS
from zoo.index import Entry
from zoo.settings import context_of

PLUGIN = "plugin"
"""Stands in the place of a hook for checks of a distribution as a whole."""


class Failed(AssertionError):
    """A component does not do what its hook asks; it says what was measured, what was expected, and why it matters."""


class Skipped(Exception):
    """A check that does not apply to a component, with the reason."""


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        hook: The component's hook, or `PLUGIN` for a distribution as a whole.
        name: The component's name, or the distribution's.
        factory: What the plugin offers under that name; None for a distribution.
        entries: What the distribution's metadata declares; empty for a factory that is checked by itself.
    """

    hook: str
    name: str
    factory: Any = None
    entries: tuple[Entry, ...] = ()

    def make(self, seed: int = 0, **context: Any) -> Any:
        """Builds the component with its default settings, its context filled by name, under a seed."""
        wanted = context_of(self.factory)
        missing = [name for name in wanted if name not in context]
        if missing:
            raise Failed(f"it wants '{missing[0]}', which the core does not give to a {self.hook}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.factory(*(context[name] for name in wanted))


@dataclass(frozen=True)
class Check:
    """One thing that is checked.

    Attributes:
        name: Lower-case with hyphens.
        hooks: The hooks whose components it is for.
        verifies: What it verifies, in a sentence.
        run: Raises `Failed`, `Skipped`, or whatever the component raises.
    """

    name: str
    hooks: tuple[str, ...]
    verifies: str
    run: Callable[[Subject], None]


CHECKS: list[Check] = []
"""All checks, in the order of their definition."""


def check(*hooks: str) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Makes a function a check of components of `hooks` (of all hooks if none is named), under its own name.

    The first line of its docstring is what it verifies.
    """

    def add(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        verifies = (inspect.getdoc(run) or "").split("\n")[0]
        CHECKS.append(Check(run.__name__.replace("_", "-"), hooks or HOOKS, verifies, run))
        return run

    return add


def require(condition: object, message: str) -> None:
    """Raises Failed with `message` unless `condition` holds."""
    if not condition:
        raise Failed(message)
