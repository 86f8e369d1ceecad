"""What is compared: contenders, budget, seeds and scales, checked before anything is trained or written."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from zoo import __version__
from zoo.comparing.contenders import Data, Draft, Drafting, Networks, data_of, labels
from zoo.comparing.measures import chosen, scales_of
from zoo.comparing.results import Budget, Comparison, Contender
from zoo.errors import UsageError
from zoo.measuring import flattery
from zoo.plugins import installed
from zoo.recipe import Choice, Table
from zoo.resolve import Assignments

DEFAULT_SEEDS = 3
DEFAULT_SAMPLES = 2000
DEFAULT_POINTS = 5


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks for.

    Attributes:
        contenders: Variants, recipe files and run folders.
        dataset: The data set; empty for that of the first run or recipe file that has one.
        seeds: How many seeds, from 0.
        steps: The budget, if it is in iterations.
        critic_updates: The budget, if it is in optimiser steps of the critic.
        seconds: The budget, if it is in time of training.
        metrics: Metrics, the main one first; empty for those that tell something of the data.
        samples: How many samples each figure is measured on.
        points: How many times a run is measured in the course of its training, about.
        networks: `same`: variants have the networks of the first one; `own`: each has its own.
        assignments: Single settings of all contenders.
        device: Where they are trained.
        recipes: Further contenders, as the tables of recipes by label.
    """

    contenders: tuple[str, ...]
    dataset: str = ""
    seeds: int = DEFAULT_SEEDS
    steps: int | None = None
    critic_updates: int | None = None
    seconds: float | None = None
    metrics: tuple[str, ...] = ()
    samples: int = DEFAULT_SAMPLES
    points: int = DEFAULT_POINTS
    networks: Networks = "same"
    assignments: Assignments = ()
    device: str = "auto"
    recipes: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A comparison before it begins.

    Attributes:
        comparison: Without cells; with 0 steps where these follow from a rate that is still to be measured.
        updates: The critic's optimiser steps in an iteration, by contender.
    """

    comparison: Comparison
    updates: Mapping[str, float]


def plan(request: Request, say: Callable[[str], None]) -> Plan:
    """The comparison that is asked for. Nothing is trained or written.

    Every contender is built once and checked.

    Raises:
        UsageError: Something of it is wrong; the message names the contender.
    """
    _refuse_nonsense(request)
    plugins = installed()
    data = data_of(request.dataset, request.contenders, plugins, request.assignments)
    drafting = Drafting(data, plugins, request.assignments, request.networks, request.device, request.samples)
    named = zip(request.contenders, labels(request.contenders), strict=True)
    drafts = [drafting.draft(name, label) for name, label in named]
    drafts += [drafting.of_table(table, label) for label, table in request.recipes.items()]
    evidence = {draft.label: draft.evidence for draft in drafts}
    metrics = chosen(request.metrics, data.dataset, evidence, plugins, say)
    notes = tuple(f"{label}: {text}" for label, each in evidence.items() for text in flattery(metrics, each))
    for note in notes:
        say(f"Warning: {note}")
    budget = _budget(request, drafts)
    comparison = Comparison(
        dataset=dataset_name(data.choice),
        budget=budget,
        seeds=tuple(range(request.seeds)),
        contenders=tuple(_contender(draft, budget) for draft in drafts),
        scales=scales_of(metrics, data.dataset, request.samples),
        samples=_samples(request, data),
        points=request.points,
        command=shlex.join(["zoo", *sys.argv[1:]]) if Path(sys.argv[0]).name == "zoo" else "",
        about=_about(),
        notes=notes,
    )
    return Plan(comparison, {draft.label: draft.updates for draft in drafts})


def _refuse_nonsense(request: Request) -> None:
    if not request.contenders and not request.recipes:
        raise UsageError("nothing to compare: name variants, recipe files or run folders.")
    given = {"--steps": request.steps, "--critic-updates": request.critic_updates, "--seconds": request.seconds}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"a budget is one of {', '.join(given)}, not {' and '.join(named)}.")
    if any((given[name] or 0) <= 0 for name in named):
        raise UsageError(f"{named[0]} must be above 0.")
    for name, value in (("--seeds", request.seeds), ("--samples", request.samples), ("--points", request.points)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}.")
    if any(tuple(path) == ("train", "seed") for path, _ in request.assignments):
        raise UsageError("train.seed is what differs between the runs of a contender; say how many with --seeds.")


def _budget(request: Request, drafts: Sequence[Draft]) -> Budget:
    if request.seconds is not None:
        return Budget("seconds", request.seconds)
    if request.critic_updates is not None:
        without = [draft.label for draft in drafts if not draft.updates]
        if without:
            raise UsageError(f"{without[0]} has no critic; give the budget as --steps or --seconds.")
        return Budget("critic updates", request.critic_updates)
    first = next((draft for draft in drafts if draft.run is None), drafts[0])
    own = first.step if first.run else first.recipe.train["steps"]
    return Budget("steps", request.steps or own)


def _contender(draft: Draft, budget: Budget) -> Contender:
    if draft.run is not None:
        return Contender(draft.label, {}, draft.step, round(draft.step * draft.updates), str(draft.run))
    if budget.kind == "critic updates" and budget.amount < draft.updates:
        raise UsageError(f"{draft.label} makes {draft.updates:g} critic updates in one step; allow at least so many.")
    steps = {"steps": budget.amount, "critic updates": budget.amount / (draft.updates or 1), "seconds": 0}[budget.kind]
    contender = Contender(draft.label, draft.recipe.table(), 0, 0)
    return with_steps(contender, int(steps), draft.updates)


def with_steps(contender: Contender, steps: int, updates: float) -> Contender:
    """A contender that trains so many steps, at the end of which its schedule ends as well."""
    train = {key: value for key, value in contender.table["train"].items() if key != "seed"}
    if steps != train["steps"]:
        train |= {"steps": steps, "schedule_steps": 0}
    table = {**contender.table, "train": train}
    return replace(contender, table=table, steps=steps, critic_updates=round(steps * updates))


def _samples(request: Request, data: Data) -> int:
    size = data.dataset.size
    return request.samples if size is None else min(request.samples, size)


def dataset_name(choice: Choice) -> str:
    """A data set as `--dataset` says it: its name, with its first setting if that is a text, such as a folder."""
    first = next(iter(choice.settings.values()), None)
    return f"{choice.name}:{first}" if isinstance(first, str) and first else choice.name


def _about() -> dict[str, str]:
    return {
        "zoo": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": str(cores()),
    }


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
