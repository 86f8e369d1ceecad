"""The terms of a loss, so that distances and penalties are checked alike: random numbers, waiting, state, inputs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.batch import Batch, mean_records
from zoo.components import Distance, LipschitzConstraint, overrides
from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.testing.checks import Failed, Skipped, Subject, require
from zoo.testing.toys import LINE, VECTOR, Bent, game, points

Term = Callable[[Batch], Tensor]

STEPS = 5


def terms_of(component: Distance | LipschitzConstraint) -> dict[str, Term]:
    """The scalars that a component computes, by the name of the method. Skipped for a constraint without penalty."""
    if isinstance(component, Distance):
        return {"critic_loss": component.critic_loss, "generator_loss": component.generator_loss}
    return {"penalty": penalty_of(component)}


def penalty_of(constraint: LipschitzConstraint) -> Term:
    """A constraint's penalty. Skipped if it has none."""
    if not overrides(constraint, "penalty"):
        raise Skipped("it has no penalty.")

    def penalty(batch: Batch) -> Tensor:
        value = constraint.penalty(batch)
        if not isinstance(value, Tensor):
            raise Failed(f"penalty() returns {value!r}, which is no tensor; return a scalar tensor for any critic.")
        return value

    return penalty


def shape_of(component: Any) -> tuple[int, ...]:
    """The shape of the samples that it is tried on: vectors; numbers on the line for a distance that refuses those."""
    if isinstance(component, Distance):
        for shape in (VECTOR, LINE):
            with contextlib.suppress(IncompatibleParts):
                component.generator_loss(toy(shape=shape))
                return shape
    return VECTOR


def toy(seed: int = 0, draws: Draws | None = None, n: int = 16, shape: Sequence[int] = VECTOR) -> Batch:
    """A game of a bent critic on samples of a shape."""
    real, fake = points(shape, n, seed)
    return game(Bent(shape), real, fake, draws=draws or Draws(seed))


def evaluate(component: Any, seed: int = 0) -> dict[str, Tensor]:
    """Every term, and a distance's estimate, on a batch of its own, without graph."""
    shape = shape_of(component)
    found = {name: term(toy(seed, shape=shape)).detach() for name, term in terms_of(component).items()}
    if isinstance(component, Distance):
        with torch.no_grad():
            estimate = component.estimate(toy(seed, shape=shape))
        found |= {} if estimate is None else {"estimate": estimate}
    return found


def train(component: Any, steps: int = STEPS) -> None:
    """Some steps as the trainer does them: every term on a batch, then `after_step` with the means of the records."""
    shape = shape_of(component)
    for seed in range(steps):
        for name in terms_of(component):
            batch = toy(seed, shape=shape)
            terms_of(component)[name](batch)
            with torch.no_grad():
                component.after_step(mean_records(batch.records))


def same(one: dict[str, Tensor], other: dict[str, Tensor], message: str) -> None:
    """Raises Failed unless two evaluations agree to the last bit."""
    for name in one:
        require(
            torch.equal(one[name], other[name]),
            f"{message} {name} is {one[name].item():.8g}, then {other[name].item():.8g}.",
        )


GENERATORS: dict[str, Callable[[], Any]] = {
    "torch's global generator": lambda: torch.get_rng_state().tolist(),
    "Python's random": random.getstate,
    "numpy.random": lambda: str(np.random.get_state()),
}


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """All global generators seeded; put back afterwards."""
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


def refuse_global_draws(compute: Callable[[], dict[str, Tensor]]) -> None:
    """Raises Failed if a computation draws from a global generator, or gives something else the second time."""
    with global_seed(1):
        before = {name: state() for name, state in GENERATORS.items()}
        first = compute()
        for name, state in GENERATORS.items():
            require(state() == before[name], f"it draws from {name}; use batch.rand and batch.randn.")
    with global_seed(2):
        same(first, compute(), "the same seed gives another result; use batch.rand and batch.randn.")


def subject_terms(subject: Subject) -> Any:
    """The component, if it has a term at all. Raises Skipped."""
    component = subject.make()
    terms_of(component)
    return component
