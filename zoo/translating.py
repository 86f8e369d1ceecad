"""Sources made into samples by a run's generator; or samples into sources, where it trains a part for that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.components import is_conditional
from zoo.draws import Draws
from zoo.errors import UsageError
from zoo.run import CHUNK, Run

BACKWARD = "backward"
"""The part that makes sources from samples."""


def translated(run: Run, images: Tensor, *, backward: bool = False, seed: int = 0) -> Tensor:
    """What a run makes of sources, or of samples the other way round, on the CPU.

    Args:
        run: A run on data with sources.
        images: `(N, *source)`, or `(N, *shape)` backward, in the range of the data: images in [-1, 1].
        backward: Whether samples are made into sources.
        seed: The same seed gives the same results; of no effect where the generator has no latent points.

    Returns:
        `(N, *shape)`, or `(N, *source)` backward.

    Raises:
        UsageError: The run makes nothing of sources, has no part for the other way, or the images have another shape.
    """
    network, expected = _translator(run, backward), translates_from(run, backward)
    if tuple(images.shape[1:]) != expected:
        raise UsageError(f"{run.folder.path} translates images {expected}, not {tuple(images.shape[1:])}.")
    draws, made = Draws(seed, run.composition.device), []
    with torch.no_grad():
        for chunk in torch.split(images, CHUNK):
            z = network.latent(len(chunk), draws)
            made.append(network(z, chunk.to(draws.device)).float().cpu())
    return torch.cat(made).contiguous()


def translates_from(run: Run, backward: bool = False) -> tuple[int, ...]:
    """The shape of what a run translates. Raises UsageError if it translates nothing, as `translated`."""
    _translator(run, backward)
    dataset = run.composition.dataset
    assert dataset.source is not None
    return dataset.shape if backward else dataset.source


def _translator(run: Run, backward: bool) -> Any:
    networks, path = run.composition.networks, run.folder.path
    generator = networks.get("generator")
    if run.composition.dataset.source is None or generator is None or not is_conditional(generator):
        raise UsageError(
            f"{path} translates nothing: its samples are made from no others. "
            "Train on data with sources, with a generator that looks at them."
        )
    if not backward:
        return generator
    if BACKWARD not in networks:
        raise UsageError(f"{path} has learnt no way back from samples to sources; leave out --backward.")
    return networks[BACKWARD]
