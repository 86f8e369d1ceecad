"""What backbones are: stages, what belongs to each, and layers that stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.errors import IncompatibleParts


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone: its name, and the channels and the stride of its feature map."""

    name: str
    channels: int
    stride: int


class Backbone(nn.Module):
    """Turns images into feature maps, one a stage.

    A subclass sets `stages` and defines `forward(images) -> list of (N, channels, H, W)`. It knows its own input
    normalisation and size, takes images in [-1, 1] with one or three channels, and keeps frozen what is frozen.
    """

    stages: Sequence[Stage]
    random: bool = False
    """Whether its weights were drawn at random, and have learnt nothing yet."""

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; layers in which everything is frozen at the time stay in evaluation mode."""
        super().train(mode)
        for module in itertools.chain.from_iterable(map(frozen_modules, self.children())):
            module.eval()
        return self

    def parameters_by_stage(self, shape: tuple[int, ...]) -> list[list[nn.Parameter]]:
        """The parameters of each stage: those that its feature map is computed from, and no stage's before it.

        Args:
            shape: Of an image that it takes: channels, height, width.
        """
        parameters, trained = list(self.parameters()), [p.requires_grad for p in self.parameters()]
        self.requires_grad_(True)
        try:
            stages = _owners(self._maps(shape), parameters) if parameters else []
        finally:
            for parameter, was in zip(parameters, trained, strict=True):
                parameter.requires_grad_(was)
        return [[p for p, owner in zip(parameters, stages, strict=True) if owner == n] for n in range(len(self.stages))]

    def whole_model(self, head: nn.Linear) -> tuple[nn.Module, dict[str, Any]]:
        """The model that this is the backbone of, with a linear head on the averaged last stage, for others to load.

        Returns:
            The model, from images as the backbone normalises them to logits; and what whoever loads it needs to know:
            `library`, `model`, `num_classes`, `input_size`, `mean`, `std`.

        Raises:
            IncompatibleParts: There is no such model.
        """
        raise IncompatibleParts(f"{type(self).__name__} is part of no model of another library.")

    def _maps(self, shape: tuple[int, ...]) -> list[Tensor]:
        """Feature maps of an image, with a graph; the mode and statistics are left alone."""
        modes = [(module, module.training) for module in self.modules()]
        try:
            with torch.enable_grad():
                maps: list[Tensor] = self.eval()(torch.zeros(1, *shape, device=next(self.parameters()).device))
        finally:
            for module, training in modes:
                module.training = training
        return maps


def _owners(maps: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[int | None]:
    """The first of the maps that each parameter takes part in; None if it takes part in none."""
    owners: list[int | None] = [None] * len(parameters)
    for number, each in reversed(list(enumerate(maps))):
        found = torch.autograd.grad(each.sum(), parameters, allow_unused=True, retain_graph=True)
        owners = [owner if g is None else number for g, owner in zip(found, owners, strict=True)]
    return owners


def frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules inside a module in which there are parameters and none is trained."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        yield module
    elif parameters:
        for child in module.children():
            yield from frozen_modules(child)
