"""The blocks inside a backbone's stages, found in its tree of modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.backbones import Backbone

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MOST = 0.5
"""Modules of one class are the blocks of a module if they hold more than this share of its parameters."""


@dataclass(frozen=True)
class Block:
    """A module inside a stage that gives a feature map of its own.

    Attributes:
        path: Its name, from the backbone on.
        stage: The number of the stage that its parameters belong to.
        channels: Of its feature map.
        size: Height and width of its feature map.
    """

    path: str
    stage: int
    channels: int
    size: tuple[int, int]


def blocks_of(backbone: Backbone, shape: tuple[int, ...]) -> list[Block]:
    """The blocks of a backbone in the order in which they are run.

    They are looked for from the outside inwards. Blocks are the members of a container (Sequential, ModuleList,
    ModuleDict), or several children of one class that hold most of a module's parameters, if they hold layers of their
    own and their output is a feature map. What gives a stage's very feature map, or holds all of a stage, is a stage
    and no block, such as the last block of a stage; it is looked into, unless others of its class are blocks.

    Args:
        backbone: In any mode.
        shape: Of an image that it takes.
    """
    run = _run(backbone, shape)
    owners = {id(p): n for n, each in enumerate(backbone.parameters_by_stage(shape)) for p in each}
    sizes = Counter(owners.values())
    found: dict[str, Block] = {}
    classes: set[type] = set()
    level: list[tuple[str, nn.Module]] = [("", backbone)]
    while level:
        inside: list[tuple[str, nn.Module]] = []
        for path, child, member in _children(level):
            stage = _stage(child, owners)
            whole = any(count == sizes[n] for n, count in _owned(child, owners).items())
            block = None if whole or stage is None or not member else run.block(path, stage)
            if block is not None:
                found[path] = block
                classes.add(type(child))
            else:
                inside.append((path, child))
        level = [(path, child) for path, child in inside if type(child) not in classes]
    return [found[path] for path in run.order if path in found]


@dataclass(frozen=True)
class _Ran:
    """What modules returned in one run, by path, in order; and the stages' feature maps."""

    outputs: Mapping[str, Tensor]
    maps: list[Tensor]

    @property
    def order(self) -> Iterable[str]:
        return self.outputs

    def block(self, path: str, stage: int) -> Block | None:
        """The block of a module; None if it returns no feature map, or the stage's."""
        output = self.outputs.get(path)
        if output is None or any(output.data_ptr() == each.data_ptr() for each in self.maps):
            return None
        feature_map = as_map(output, self.maps[stage])
        if feature_map is None:
            return None
        _, channels, height, width = feature_map.shape
        return Block(path, stage, channels, (height, width))


def maps_of(backbone: Backbone, shape: tuple[int, ...]) -> list[Tensor]:
    """The feature maps of one black image of a shape, in evaluation mode; the modes of all modules stay."""
    device = next((p.device for p in backbone.parameters()), None)
    modes = [(module, module.training) for module in backbone.modules()]
    try:
        with torch.no_grad():
            maps: list[Tensor] = backbone.eval()(torch.zeros(1, *shape, device=device))
    finally:
        for module, training in modes:
            module.training = training
    return maps


def _run(backbone: Backbone, shape: tuple[int, ...]) -> _Ran:
    outputs: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(_keeping(outputs, path)) for path, module in backbone.named_modules() if path
    ]
    try:
        return _Ran(outputs, maps_of(backbone, shape))
    finally:
        for handle in handles:
            handle.remove()


def _keeping(outputs: dict[str, Tensor], path: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[path] = output

    return keep


def as_map(output: Tensor, stage: Tensor) -> Tensor | None:
    """What a module returns as a feature map `(N, C, H, W)`; None if it is none.

    Args:
        output: `(N, C, H, W)`, `(N, H, W, C)`, or tokens `(N, L, C)`, of which the last H * W are the pixels: timm's
            transformers have those of the class before them.
        stage: The feature map of its stage, by which channels are told from pixels.
    """
    _, channels, height, width = stage.shape
    if output.ndim == 3 and output.shape[1] >= height * width and output.shape[2] == channels:
        return output[:, -height * width :].transpose(1, 2).reshape(-1, channels, height, width)
    if output.ndim != 4:
        return None
    last = output.shape[1:3] == (height, width) and output.shape[2:] != (height, width)
    return output.permute(0, 3, 1, 2) if last else output


def _children(level: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module, bool]]:
    """Modules with layers of their own, one level further in, and whether each may be a block by where it stands."""
    for path, module in level:
        deep = [(name, child) for name, child in module.named_children() if _has_layers(child)]
        repeated = _repeated(module, [child for _, child in deep])
        for name, child in deep:
            member = isinstance(module, CONTAINERS) or type(child) in repeated
            yield f"{path}.{name}" if path else name, child, member and not isinstance(child, CONTAINERS)


def _repeated(module: nn.Module, children: Sequence[nn.Module]) -> set[type]:
    """The classes of which there are several children that hold most of a module's parameters."""
    counts, all_of_it = Counter(type(child) for child in children), _size(module)
    held = {each: sum(_size(child) for child in children if type(child) is each) for each in counts}
    return {each for each, count in counts.items() if count > 1 and held[each] > MOST * all_of_it}


def _has_layers(module: nn.Module) -> bool:
    """Whether modules inside a module hold weights, more than scales and shifts."""
    return any(parameter.ndim > 1 for child in module.children() for parameter in child.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _owned(module: nn.Module, owners: Mapping[int, int]) -> Counter[int]:
    """How many parameters of each stage a module holds."""
    return Counter(owners[id(p)] for p in module.parameters() if id(p) in owners)


def _stage(module: nn.Module, owners: Mapping[int, int]) -> int | None:
    return min(_owned(module, owners), default=None)
