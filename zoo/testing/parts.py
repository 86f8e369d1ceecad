"""Small parts and data for trying procedures and variants with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.components import ArrayDataset, Critic, Distance, Generator, Translations
from zoo.compose import Composition
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.procedures import About, Parts, Procedure
from zoo.recipe import Recipe
from zoo.testing.checks import Skipped
from zoo.testing.networks import CLASSES, SmallBackbone
from zoo.training import Training

SIZE = 96
"""Samples of a small data set."""


class SmallGenerator(Generator):
    """One hidden layer, and tanh; of latent points, and of sources where there are any."""

    latent_dim = 5

    def __init__(self, shape: tuple[int, ...], source: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.conditional = source is not None
        inputs, size = 5 + (torch.Size(source).numel() if source else 0), torch.Size(shape).numel()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, size), nn.Unflatten(1, shape), nn.Tanh()
        )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples."""
        given = z if condition is None or not self.conditional else torch.cat([z, condition.flatten(1)], dim=1)
        samples: Tensor = self.layers(given)
        return samples


class SmallCritic(Critic):
    """One hidden layer."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores."""
        scores: Tensor = self.layers(samples)
        return scores.squeeze(1)


class SmallDistance(Distance):
    """The difference of mean scores, which stay small for a while."""

    def critic_loss(self, batch: Batch) -> Tensor:
        """Fakes down, real samples up."""
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        """Fakes up."""
        return -batch.fake_scores.mean()


def small_data(shape: tuple[int, ...]) -> ArrayDataset:
    """Samples within [-1, 1], with labels."""
    draws = Draws(3)
    return ArrayDataset(torch.tanh(0.5 + draws.randn(SIZE, *shape)), torch.arange(SIZE) % CLASSES)


def small_translations(shape: tuple[int, ...], paired: bool = True) -> Translations:
    """Samples within [-1, 1], and sources of the same shape."""
    draws = Draws(4)
    return Translations(small_data(shape).samples, torch.tanh(draws.randn(SIZE, *shape) - 0.5), paired=paired)


def small_networks(procedure: Procedure, about: About) -> dict[str, nn.Module]:
    """A small network for every part that a procedure wants. Raises Skipped for parts that the kit has not."""
    makers: dict[str, Callable[..., nn.Module]] = {
        "generator": SmallGenerator,
        "critic": SmallCritic,
        "backbone": SmallBackbone,
    }
    networks: dict[str, nn.Module] = {}
    for name, want in procedure.wants(about).items():
        if want.hook not in makers or (want.hook == "backbone" and len(about.shape) != 3):
            raise Skipped(f"it wants '{name}' of the hook {want.hook}, which the kit has no small part for.")
        context = {**vars(about), **{k: v(networks) if callable(v) else v for k, v in want.context.items()}}
        sourced = {"source": context["source"]} if want.hook == "generator" else {}
        with seeded(0, name):
            networks[name] = makers[want.hook](context["shape"], **sourced)
    return networks


def small_composition(procedure: Procedure, networks: Mapping[str, nn.Module], about: About, steps: int) -> Composition:
    """A composition of a procedure with copies of small parts."""
    training = Training.of({"steps": steps, "batch_size": 8, "critic_steps": 2})
    copies = {name: copy.deepcopy(network) for name, network in networks.items()}
    parts = Parts(networks=copies, distance=SmallDistance(), critic_steps=2, classes=about.classes)
    phases = procedure.phases(parts)
    data: ArrayDataset = small_data(about.shape)
    if about.source is not None:
        data = small_translations(about.shape, bool(about.paired))
    device = torch.device("cpu")
    return Composition(Recipe(), training, data, copies, parts, phases, procedure, device)
