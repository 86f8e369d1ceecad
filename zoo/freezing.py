"""What of a run's networks is never trained, as a recipe says it: `critic:stages<2`, `generator:scale-shift`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.backbones import Backbone, frozen_modules
from zoo.errors import BadSetting, IncompatibleParts, UnknownName

WAYS = "none, all, stages<K or scale-shift"
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Torch's normalisations; the first is the base of batch and instance normalisation. Others, as timm's, derive."""
_STAGES = re.compile(r"stages<(\d{1,9})")


@dataclass(frozen=True)
class Piece:
    """A stage of a network.

    Attributes:
        name: Its name in the network.
        parameters: What is trained in it.
        modules: What it consists of; none where only parameters are known.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    modules: Sequence[nn.Module] = ()


def freeze(networks: Mapping[str, nn.Module], wishes: Iterable[str], shape: tuple[int, ...]) -> None:
    """Freezes what is wished of networks: it has no gradient, and stays in evaluation mode whatever is done later.

    Normalisation that is frozen so keeps its statistics, and dropout is off.

    Args:
        networks: The networks by name.
        wishes: Such as `critic:stages<2`: a network's name, and what of it is frozen, see `WAYS`.
        shape: Of one sample.

    Raises:
        BadSetting: A wish cannot be read, or the network has fewer stages; the message lists them.
        UnknownName: There is no such network.
        IncompatibleParts: A network has no scales and shifts that could be trained alone.
    """
    for wish in wishes:
        part, _, what = wish.partition(":")
        match = _STAGES.fullmatch(what)
        if not match and what not in ("none", "all", "scale-shift"):
            raise BadSetting(
                f"train.freeze: '{wish}' is not of the form PART:WHAT, where WHAT is {WAYS}, such as "
                "'critic:stages<2' (in a shell with the quotes)."
            )
        if part not in networks:
            raise UnknownName("part for train.freeze", part, networks)
        if match:
            _freeze_stages(part, networks[part], int(match[1]), shape)
        elif what != "none":
            _freeze_all(networks[part], but=_scales_and_shifts(part, networks[part]) if what == "scale-shift" else [])


def stages_of(network: nn.Module, shape: tuple[int, ...]) -> list[Piece]:
    """The stages of a network, counted from its input.

    Of a network with a `backbone` they are the backbone's, and then what stands on it. Of another one they are its
    outermost blocks that hold parameters, in the order in which it defines them; normalisation belongs to the block
    before it, and a container of a single block is looked into.
    """
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, Backbone):
        return _pieces(_opened(network))
    found = zip(backbone.stages, backbone.parameters_by_stage(shape), strict=True)
    below = [Piece(f"backbone.{stage.name}", parameters) for stage, parameters in found]
    return below + _pieces((name, each) for name, each in _children(network) if each is not backbone)


def _freeze_stages(part: str, network: nn.Module, count: int, shape: tuple[int, ...]) -> None:
    stages = stages_of(network, shape)
    if count > len(stages):
        known = ", ".join(f"{number} {stage.name}" for number, stage in enumerate(stages))
        raise BadSetting(f"train.freeze: {part} has no {count} stages to freeze; its stages: {known or 'none'}.")
    for stage in stages[:count]:
        for parameter in stage.parameters:
            parameter.requires_grad_(False)
        for module in stage.modules:
            _keep_still(module)
    _keep_frozen_still(network)


def _freeze_all(network: nn.Module, but: Iterable[nn.Parameter] = ()) -> None:
    kept = {id(parameter) for parameter in but}
    for parameter in network.parameters():
        if id(parameter) not in kept:
            parameter.requires_grad_(False)
    _keep_frozen_still(network)


def _scales_and_shifts(part: str, network: nn.Module) -> list[nn.Parameter]:
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    found = [parameter for norm in norms for parameter in norm.parameters(recurse=False)]
    if not found:
        raise IncompatibleParts(
            f"train.freeze: {part}:scale-shift trains the scales and shifts of normalisation alone, and this {part} "
            "has none; take a network with normalisation, or freeze something else."
        )
    return found


def _keep_frozen_still(network: nn.Module) -> None:
    for module in frozen_modules(network):
        _keep_still(module)


def _keep_still(module: nn.Module) -> None:
    """Keeps a module in evaluation mode, whoever sets the mode of what it is in.

    A method of its own, and no hook: copies of the module have it too, bound to themselves.
    """
    module.__dict__["train"] = MethodType(_train_still, module)
    module.eval()


def _train_still(module: nn.Module, mode: bool = True) -> Any:
    return type(module).train(module, False)


def _children(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules in a network by name, those in its containers in their place."""
    children = []
    for name, child in network.named_children():
        inside = child.named_children() if isinstance(child, (nn.Sequential, nn.ModuleList)) else ()
        children += [(f"{name}.{key}", each) for key, each in inside] or [(name, child)]
    return children


def _opened(network: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The children of a network; those of its only child with parameters, where there is just one that has some."""
    children = [(f"{prefix}{name}", child) for name, child in _children(network)]
    holding = [(name, child) for name, child in children if _holds(child)]
    if len(holding) == 1 and next(holding[0][1].parameters(recurse=False), None) is None:
        name, child = holding[0]
        return _opened(child, f"{name}.")
    return children


def _pieces(children: Iterable[tuple[str, nn.Module]]) -> list[Piece]:
    """Children in groups of one block each; what is before the first block goes with it."""
    groups: list[list[tuple[str, nn.Module]]] = [[]]
    for name, child in children:
        if _is_block(child) and any(_is_block(each) for _, each in groups[-1]):
            groups.append([])
        groups[-1].append((name, child))
    return [_piece(group) for group in groups if any(_holds(each) for _, each in group)]


def _piece(group: Sequence[tuple[str, nn.Module]]) -> Piece:
    names = [name for name, each in group if _is_block(each)] or [name for name, each in group if _holds(each)]
    modules = [each for _, each in group]
    return Piece(names[0], [p for module in modules for p in module.parameters()], modules)


def _holds(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _is_block(module: nn.Module) -> bool:
    return _holds(module) and not isinstance(module, NORMS)
