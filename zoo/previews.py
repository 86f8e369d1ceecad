"""Pictures of what a generator has learnt so far, in the course of a training."""

from __future__ import annotations

from typing import Any

import torch

from zoo.components import is_conditional
from zoo.devices import derived
from zoo.draws import Draws
from zoo.folder import Folder
from zoo.normalising import apart
from zoo.pictures import drawable, save_picture
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
        samples, partial = _samples(trainer, PICTURED[composition.dataset.kind]), partial_of(path)
    with saving(path, partial):
        save_picture(partial, samples, composition.dataset)
        put_in_place(partial, path)
    return str(path)


@torch.no_grad()
def _samples(trainer: Trainer, n: int) -> torch.Tensor:
    """The same latent points in every picture, drawn apart from the training's own random numbers."""
    generator: Any = trainer.generator
    draws = Draws(derived(trainer.train.seed, "pictures"), trainer.composition.device)
    z = generator.latent(n, draws)
    training = generator.training
    generator.eval()
    classes = trainer.composition.dataset.classes
    rows = torch.arange(n, device=draws.device) * (classes or 1) // n
    samples: torch.Tensor = generator(z, rows) if is_conditional(generator) else generator(z)
    generator.train(training)
    return samples
