"""timm's models as networks that return feature maps, and the reasons why one cannot be built."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any, cast

import timm
import torch
from timm.models import FeatureInfo, PretrainedCfg
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import BadData, BadSetting, IncompatibleParts, ZooError


@dataclass(frozen=True)
class Wish:
    """What is asked of timm.

    Attributes:
        model: A name of `timm.list_models()`, with or without the tag of its weights.
        side: The image side to build for, where a model is built for one; None for its own.
        out: Which of the model's stages, in increasing order; None for timm's own choice.
        pretrained: Whether timm downloads weights.
        checkpoint: A file of weights instead; empty for none.
    """

    model: str
    side: int | None = None
    out: tuple[int, ...] | None = None
    pretrained: bool = False
    checkpoint: str = ""

    def arguments(self) -> dict[str, Any]:
        """What `timm.create_model` is given, whatever it makes of the model."""
        arguments: dict[str, Any] = {"pretrained": self.pretrained or bool(self.checkpoint)}
        if self.side is not None and config(self.model).fixed_input_size:
            arguments["img_size"] = self.side
        if self.checkpoint:
            arguments["pretrained_cfg_overlay"] = {"file": self.checkpoint, "custom_load": False}
        return arguments

    @property
    def without_weights(self) -> Wish:
        """The same, initialised at random."""
        return replace(self, pretrained=False, checkpoint="")


def build(wish: Wish) -> nn.Module:
    """A network from normalised images to the list of the wished stages' feature maps.

    Raises:
        BadSetting: Stages that the model does not have.
        IncompatibleParts: The model gives no feature maps, or cannot be built for this image side.
        BadData: Its weights cannot be had.
    """
    try:
        network = _features(wish)
    except Exception as error:
        raise _explained(wish, error) from error
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.Hardsigmoid):
            network.set_submodule(name, _Hardsigmoid())
        # The fused kernels of attention have no second derivative, which gradient penalties need.
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return network


def check_name(model: str) -> None:
    """Raises BadSetting with near names if timm has no such model, or no such weights of it."""
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=5) or timm.list_models(f"*{model}*")[:5]
        advice = f"Near: {', '.join(near)}." if near else "timm.list_models() names them all."
        raise BadSetting(f"backbone.model: timm has no model '{model}'. {advice}")
    try:
        timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{model.partition('.')[0]}.*")) or "none"
        raise BadSetting(f"backbone.model: timm knows no weights '{model}'; it knows {tags}.") from error


def config(model: str) -> PretrainedCfg:
    """What timm says of the model and its weights."""
    return timm.get_pretrained_cfg(model) or PretrainedCfg()


def feature_info(network: nn.Module) -> FeatureInfo:
    """What timm says of a network's stages."""
    return cast(FeatureInfo, network.feature_info)


def weights_hint(model: str) -> str:
    """What to do when timm cannot provide weights."""
    return f"Bring a file of weights of {model} and say backbone.checkpoint=FILE."


def size_hint(wish: Wish, side: int) -> str:
    """Which sides near `side` the model does take: they are tried."""
    stride = max(feature_info(_features(Wish(wish.model))).reduction())
    candidates = (-(-side // stride) * stride, max(config(wish.model).input_size))
    good = [str(c) for c in dict.fromkeys(candidates) if c != side and _takes(wish, c)]
    return f"Choose backbone.input_size={' or '.join(good)}." if good else "Choose another model."


def _takes(wish: Wish, side: int) -> bool:
    network = _attempt(replace(wish.without_weights, side=side))
    if network is None:
        return False
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except Exception:
        return False
    return True


def _features(wish: Wish) -> nn.Module:
    network = timm.create_model(wish.model, features_only=True, out_indices=wish.out, **wish.arguments())
    if not isinstance(getattr(network, "feature_info", None), FeatureInfo):
        raise TypeError("it does not describe its stages")
    return network


def _explained(wish: Wish, error: Exception) -> ZooError:
    """Finds which part of the wish was too much, by adding one after the other."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    bare = _attempt(Wish(wish.model))
    if bare is None:
        return IncompatibleParts(f"timm's {wish.model} gives no feature maps ({reason}). Choose another model.")
    if _attempt(replace(wish.without_weights, side=None)) is None:
        last = len(feature_info(bare)) - 1
        return BadSetting(f"backbone.out: {wish.model} has stages 0 to {last}, not {list(wish.out or ())}.")
    if wish.side is not None and _attempt(wish.without_weights) is None:
        hint = size_hint(wish, wish.side)
        return IncompatibleParts(f"timm's {wish.model} cannot take images of side {wish.side} ({reason}). {hint}")
    source = wish.checkpoint or "the network"
    return BadData(f"the weights of {wish.model} cannot be loaded from {source} ({reason}). {weights_hint(wish.model)}")


def _attempt(wish: Wish) -> nn.Module | None:
    try:
        return _features(wish)
    except Exception:
        return None


class _Hardsigmoid(nn.Module):
    """torch's own has no second derivative."""

    def forward(self, inputs: Tensor) -> Tensor:
        return F.relu6(inputs + 3) / 6
