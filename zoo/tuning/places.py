"""Where in a backbone features can be taken: its stages, and the blocks inside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.backbones import Backbone
from zoo.errors import IncompatibleParts, UsageError
from zoo.tuning.blocks import as_map, blocks_of, maps_of
from zoo.tuning.classifier import Pool, pooled
from zoo.tuning.judging import outputs


@dataclass(frozen=True)
class Place:
    """A layer to take features from.

    Attributes:
        name: A stage's name, or a block's path in the network.
        stage: The number of the stage that it is, or is inside.
        channels: Of its feature map: so many features it gives.
        size: Height and width of its feature map.
        path: A block's path in the backbone; empty for a stage.
    """

    name: str
    stage: int
    channels: int
    size: tuple[int, int]
    path: str = ""


def places_of(backbone: Backbone, shape: tuple[int, ...], blocks: bool = False) -> list[Place]:
    """The layers of a backbone from the first to the last: stages, each behind the blocks inside it.

    Args:
        backbone: The backbone.
        shape: Of an image that it takes.
        blocks: Whether blocks are listed. The last one of a stage is the stage itself.
    """
    maps = maps_of(backbone, shape)
    root = _root(backbone)
    stages = {stage.name for stage in backbone.stages}
    inside = [(b.path.removeprefix(root), b) for b in (blocks_of(backbone, shape) if blocks else [])]
    places = []
    for number, (stage, each) in enumerate(zip(backbone.stages, maps, strict=True)):
        own = [(name, block) for name, block in inside if block.stage == number and name not in stages]
        places += [Place(name, number, block.channels, block.size, block.path) for name, block in own]
        places.append(Place(stage.name, number, each.shape[1], (each.shape[2], each.shape[3])))
    return places


def place_of(backbone: Backbone, shape: tuple[int, ...], name: str) -> Place:
    """A layer by name. Raises UsageError with those there are."""
    places = places_of(backbone, shape, blocks=True)
    for place in places:
        if place.name == name:
            return place
    stages = ", ".join(place.name for place in places if not place.path)
    inside = ", ".join(place.name for place in places if place.path)
    blocks = f" The blocks inside them are {inside}." if inside else ""
    raise UsageError(f"no layer of this backbone is called '{name}'. Its stages are {stages}.{blocks}")


def features_of(
    backbone: Backbone, places: Sequence[Place], samples: Tensor, pool: Pool, device: torch.device
) -> list[Tensor]:
    """Features `(N, channels)` of each layer, on the CPU; they are computed some images at a time.

    Args:
        backbone: Lies on the device; its mode is kept.
        places: The layers.
        samples: Images `(N, C, H, W)` as they are kept.
        pool: How feature maps are pooled; see `zoo.tuning.classifier.pooled`.
        device: Where it is computed.

    Raises:
        IncompatibleParts: A feature is NaN or infinite.
    """
    with _watched(backbone, places) as seen:

        def look(images: Tensor) -> Tensor:
            maps = backbone(images)
            return torch.cat([pooled(_map_at(place, maps, seen), pool) for place in places], dim=1)

        found = torch.split(outputs(backbone, look, samples, device), [place.channels for place in places], dim=1)
    for place, each in zip(places, found, strict=True):
        if not bool(each.isfinite().all()):
            raise IncompatibleParts(f"features of layer {place.name} are NaN or infinite for some of these images.")
    return [each.contiguous() for each in found]


def _map_at(place: Place, maps: Sequence[Tensor], seen: dict[str, Tensor]) -> Tensor:
    if not place.path:
        return maps[place.stage]
    feature_map = as_map(seen[place.path], maps[place.stage])
    assert feature_map is not None  # blocks_of lists no other ones
    return feature_map


@contextlib.contextmanager
def _watched(backbone: Backbone, places: Sequence[Place]) -> Iterator[dict[str, Tensor]]:
    """Inside, what blocks return is kept by their paths, until they are run again."""
    seen: dict[str, Tensor] = {}

    def kept(path: str, output: Tensor) -> None:
        seen[path] = output.clone()  # The next layer may write into it.

    handles = [
        backbone.get_submodule(place.path).register_forward_hook(
            lambda _module, _inputs, output, path=place.path: kept(path, output)
        )
        for place in places
        if place.path
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _root(backbone: nn.Module) -> str:
    """The path to the module of which nobody is the only child, with a dot behind; blocks are named from there."""
    path, module = "", backbone
    while True:
        children = [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]
        if len(children) != 1 or not any(True for _ in children[0][1].children()):
            return path
        path, module = f"{path}{children[0][0]}.", children[0][1]
