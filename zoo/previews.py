"""Pictures of what a generator has learnt so far, in the course of a training."""

from __future__ import annotations

import math
from typing import Any

import torch

from zoo.components import Dataset, Translations, as_floats, is_conditional
from zoo.devices import derived
from zoo.draws import Draws
from zoo.folder import Folder
from zoo.normalising import apart
from zoo.pictures import classes_shown, drawable, save_picture
from zoo.trainer import Trainer
from zoo.writing import partial_of, put_in_place, saving

PICTURED = {"image": 64, "vector": 2500}
"""How many samples a picture shows."""


def preview(trainer: Trainer, folder: Folder) -> str | None:
    """Draws samples into a run's folder, whole; the picture's path, or None if there is nothing to draw.

    Raises:
        SaveFailed: It could not be written.
    """
    composition = trainer.composition
    if not folder.writes or "generator" not in composition.networks or not drawable(composition.dataset):
        return None
    path = folder.samples / f"step-{trainer.iteration:08d}.png"
    with apart():
        (samples, labels), partial = _samples(trainer, PICTURED[composition.dataset.kind]), partial_of(path)
    with saving(path, partial):
        save_picture(partial, samples, composition.dataset, labels)
        put_in_place(partial, path)
    return str(path)


@torch.no_grad()
def _samples(trainer: Trainer, n: int) -> tuple[torch.Tensor, list[int] | None]:
    """The same latent points in every picture, drawn apart from the training's own random numbers; and the classes."""
    generator: Any = trainer.generator
    draws = Draws(derived(trainer.train.seed, "pictures"), trainer.composition.device)
    dataset = trainer.composition.dataset
    sources = _sources(dataset, n // 2, draws) if is_conditional(generator) else None
    labels = _labels(dataset, n) if is_conditional(generator) and sources is None else None
    condition = sources if labels is None else torch.tensor(labels, device=draws.device)
    z = generator.latent(n if condition is None else len(condition), draws)
    training = generator.training
    generator.eval()
    samples: torch.Tensor = generator(z) if condition is None else generator(z, condition)
    generator.train(training)
    return samples if sources is None else beside(sources, samples), labels


def _labels(dataset: Dataset, n: int) -> list[int]:
    """About `n` classes of samples, as many of each."""
    shown = classes_shown(dataset.classes or 1, n)
    return [label for label in shown for _ in range(math.ceil(n / len(shown)))]


def _sources(dataset: Dataset, n: int, draws: Draws) -> torch.Tensor | None:
    """The first sources of a data set that has any."""
    return as_floats(dataset.sources[:n]).to(draws.device) if isinstance(dataset, Translations) else None


def beside(sources: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """Each source and what was made of it, one after the other, where they have one shape; else what was made."""
    if sources.shape != made.shape:
        return made
    return torch.stack([sources, made], dim=1).flatten(0, 1)
