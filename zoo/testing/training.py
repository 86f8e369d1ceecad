"""A short training, stopped and gone on with in a temporary folder."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.compose import Composition
from zoo.devices import seeded
from zoo.folder import Folder
from zoo.testing.checks import require
from zoo.trainer import Trainer

STOP, STEPS = 10, 20
"""Iterations until the checkpoint, and in all."""


def require_training(compose: Callable[[], Composition], what: str) -> None:
    """Raises Failed unless losses are finite, and a run that was stopped and resumed ends as one that was not.

    Args:
        compose: Makes the same composition, newly built, whenever it is called.
        what: What is trained, for the message.
    """
    with tempfile.TemporaryDirectory() as place:
        composition = compose()
        folder = Folder.create(Path(place) / "run", composition.recipe)
        straight = _trained(composition, folder)
        resumed = _resumed(compose(), folder)
    different = sorted(name for name in straight if not _same(straight[name], resumed.get(name)))
    require(
        not different,
        f"{what}: resumed at iteration {STOP}, {len(different)} of {len(straight)} tensors differ at iteration {STEPS} "
        f"from those of a run that did not stop, such as {', '.join(different[:3])}: some state is not saved. "
        "Keep it in buffers, take random numbers from batch.rand and batch.randn.",
    )


def _trained(composition: Composition, folder: Folder) -> dict[str, Any]:
    trainer = Trainer(composition)
    with seeded(composition.training.train.seed, "training"):
        for _ in range(STEPS):
            if trainer.iteration == STOP:
                folder.save(STOP, trainer.state_dict(), 1)
            trainer.iterate(estimate=trainer.iteration == STEPS - 1)
    means = trainer.flush()
    trainer.refuse_divergence()
    require(means, "no phase returned a loss.")
    require(all(math.isfinite(value) for value in means.values()), f"losses are not finite: {means}.")
    return flattened(trainer.state_dict())


def _resumed(composition: Composition, folder: Folder) -> dict[str, Any]:
    trainer = Trainer(composition)
    with seeded(composition.training.train.seed + 1, "other numbers than the run's"):
        trainer.load_state_dict(folder.load())
        while trainer.iteration < STEPS:
            trainer.iterate(estimate=trainer.iteration == STEPS - 1)
    return flattened(trainer.state_dict())


def flattened(state: Any, name: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict, by dotted names."""
    if isinstance(state, dict):
        pairs = [(str(key), value) for key, value in state.items()]
    elif isinstance(state, (list, tuple)):
        pairs = [(str(index), value) for index, value in enumerate(state)]
    else:
        return {name: state}
    return {k: v for key, value in pairs for k, v in flattened(value, f"{name}.{key}" if name else key).items()}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
