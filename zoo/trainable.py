"""What each phase trains, and what of it is still frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import nn

from zoo.errors import BadRecipe
from zoo.procedures import Layer, Phase


class Trainable:
    """The parameters of networks by phase. What was frozen when they were built stays so.

    Args:
        networks: The networks, by the names that phases train them by.
        phases: The phases of an iteration.
        steps: How many iterations the shares are of, after which layers are trained.

    Raises:
        BadRecipe: A layer holds parameters of a part that its phase does not train.
    """

    def __init__(self, networks: Mapping[str, nn.Module], phases: Sequence[Phase], steps: int) -> None:
        self._networks = networks
        self._own = {name: [p for p in network.parameters() if p.requires_grad] for name, network in networks.items()}
        self.layers = {phase.name: self._layers(phase) for phase in phases}
        """What each phase trains in the course of a run, in groups with learning rates of their own."""
        self._starts = {
            phase: [round(layer.since * steps) for layer in layers] for phase, layers in self.layers.items()
        }
        self._now: tuple[tuple[str, ...], int] | None = None

    def thaws(self, phase: Phase) -> bool:
        """Whether what the phase trains changes in the course of a run."""
        return any(self._starts[phase.name])

    def of(self, phase: Phase, iteration: int) -> list[nn.Parameter]:
        """What the phase trains in an iteration."""
        starts = zip(self.layers[phase.name], self._starts[phase.name], strict=True)
        return [parameter for layer, start in starts if start <= iteration for parameter in layer.parameters]

    def only(self, phase: Phase, iteration: int) -> None:
        """Freezes all but what the phase trains in an iteration."""
        now = (phase.trains, sum(start <= iteration for start in self._starts[phase.name]))
        if now == self._now:
            return
        self._freeze(self.of(phase, iteration))
        if phase.layers:
            for part in phase.trains:
                self._networks[part].train()  # Frozen layers are kept in evaluation mode, and others are not.
        self._now = now

    def release(self) -> None:
        """Gives the networks back as they came: what was trainable is trainable again."""
        self._freeze(parameter for own in self._own.values() for parameter in own)
        self._now = None

    def _freeze(self, but: Iterable[nn.Parameter]) -> None:
        trained = {id(parameter) for parameter in but}
        for own in self._own.values():
            for parameter in own:
                parameter.requires_grad_(id(parameter) in trained)

    def _layers(self, phase: Phase) -> list[Layer]:
        """The phase's layers without what is frozen, and without those of which nothing is left."""
        own = {id(parameter): parameter for part in phase.trains for parameter in self._own[part]}
        layers = phase.layers or (Layer(phase.name, list(own.values())),)
        known = {id(p) for part in phase.trains for p in self._networks[part].parameters()}
        return [layer for layer in _of(layers, own, known, phase) if layer.parameters]


def _of(layers: Iterable[Layer], own: Mapping[int, nn.Parameter], known: set[int], phase: Phase) -> Iterator[Layer]:
    for layer in layers:
        if any(id(parameter) not in known for parameter in layer.parameters):
            raise BadRecipe(f"layer {layer.name} of the {phase.name} phase is of no part that the phase trains.")
        yield replace(layer, parameters=[p for p in layer.parameters if id(p) in own])
