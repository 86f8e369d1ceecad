"""A timm model as a backbone: its own normalisation and size, its stages, what of it is frozen."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from zoo import Backbone, BadSetting, IncompatibleParts, Setting, Stage
from zoo_timm_backbones.images import ModelInput, varied_images
from zoo_timm_backbones.models import Wish, build, check_name, config, feature_info, size_hint, weights_hint
from zoo_timm_backbones.norms import calibrate
from zoo_timm_backbones.weights import check_checkpoint
from zoo_timm_backbones.whole import whole_model

Freeze: TypeAlias = Literal["none", "all"] | int

_data_config: Callable[[nn.Module], dict[str, Any]] = resolve_model_data_config

UNSEEN = 0.1
"""The share of its pixels that a model may leave out of an image: convolutions without padding lose a border."""


class TimmBackbone(Backbone):
    """Any model of timm that gives feature maps. Everything in it is differentiable twice.

    Images are resized bilinearly where needed, and get the mean and standard deviation that the model was trained
    with. With random weights, batch normalisation gets the statistics of 32 noise images, always the same, because in
    evaluation mode a deep network that nothing normalises vanishes or explodes.

    Args:
        shape: Channels (one or three), height and width of the images in [-1, 1].
        model: A name of `timm.list_models()`, with or without the tag of a set of weights.
        pretrained: Whether timm downloads the weights.
        checkpoint: A local file of weights instead, .safetensors or .pth, read without running code in it.
        input_size: The side that images are resized to, square. None keeps the images' size, and is the model's
            own for a model that is built for one size.
        out: The model's stages to return, in increasing order. None is timm's choice: all of a convolutional
            network, the last three blocks of most vision transformers.
        freeze: What is never trained: "none", "all", or so many of the returned stages with everything that they
            are computed from. Frozen layers stay in evaluation mode; gradients pass through them.

    Raises:
        BadSetting: A model, weights or stages that do not exist.
        BadData: Weights that cannot be downloaded, or a file that is missing, broken or another model's.
        IncompatibleParts: Samples that are no such images, or a size that the model cannot take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        model: Annotated[str, Setting("a model of timm")] = "resnet18",
        pretrained: Annotated[bool, Setting("download trained weights")] = False,
        checkpoint: Annotated[str, Setting("a local file of weights; empty for none")] = "",
        input_size: Annotated[int | None, Setting("side that images are resized to", ge=1)] = None,
        out: Annotated[list[int] | None, Setting("stages to return, counted from 0", ge=0)] = None,
        freeze: Annotated[Freeze, Setting("what is not trained; a number counts first stages", ge=0)] = "none",
    ) -> None:
        super().__init__()
        file = str(Path(checkpoint).expanduser()) if checkpoint else ""
        wish = Wish(model, input_size, None if out is None else tuple(out), pretrained, file)
        _check(shape, wish)
        self._wish, self._channels = wish, shape[0]
        self.network = build(wish)
        self.images = _model_input(self.network, wish)
        self.stages = _stages(self.network)
        self._channels_last = getattr(self.network, "output_fmt", None) == "NHWC"
        self.eval()
        self._refuse_size(shape, wish)
        self.random = not wish.arguments()["pretrained"]
        if self.random:
            calibrate(self, varied_images(32, shape))
        self._refuse_blindness(shape, wish)
        self._freeze(freeze, shape)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images `(N, 1 or 3, H, W)` to one feature map `(N, channels, height, width)` a stage."""
        maps: list[Tensor] = self.network(self.images(images))
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps

    def whole_model(self, head: nn.Linear) -> tuple[nn.Module, dict[str, Any]]:
        """timm's own model with these weights and this head. See `zoo.Backbone.whole_model`."""
        whole = copy.deepcopy(self).cpu()
        model = whole_model(self._wish, whole.network, whole.images, copy.deepcopy(head).cpu(), self._channels)
        trained = _data_config(self.network)
        about = {
            "library": "timm",
            "model": self._wish.model.partition(".")[0],
            "num_classes": head.out_features,
            "input_size": list(self.images.size) if self.images.size else None,
            "mean": list(trained["mean"]),
            "std": list(trained["std"]),
        }
        return model, about

    def _refuse_size(self, shape: tuple[int, ...], wish: Wish) -> None:
        side = wish.side or max(self.images.size or shape[1:])
        try:
            with torch.no_grad():
                maps = self(varied_images(1, shape))
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise IncompatibleParts(
                f"timm's {wish.model} cannot take images of side {side} ({reason}). {size_hint(wish, side)}"
            ) from error
        found = [m.shape[1] if m.ndim == 4 else None for m in maps]
        if found != [stage.channels for stage in self.stages]:
            raise IncompatibleParts(f"timm's {wish.model} gives no feature maps (N, channels, height, width).")

    def _refuse_blindness(self, shape: tuple[int, ...], wish: Wish) -> None:
        """Refuses a model whose last stage leaves out much of the image, as patches that do not fit do.

        NaN sent backwards reaches every pixel that is connected, through weights of zero as well.
        """
        images = varied_images(4, shape).requires_grad_()
        last = self(images)[-1]
        (gradient,) = torch.autograd.grad(last, images, torch.full_like(last, torch.nan))
        unseen = float((gradient == 0).all(dim=1).all(dim=0).float().mean())
        if unseen > UNSEEN:
            side = wish.side or max(self.images.size or shape[1:])
            raise IncompatibleParts(
                f"at side {side} timm's {wish.model} leaves out {unseen:.0%} of an image. {size_hint(wish, side)}"
            )

    def _freeze(self, freeze: Freeze, shape: tuple[int, ...]) -> None:
        if freeze == "all":
            self.requires_grad_(False)
        elif isinstance(freeze, int) and freeze > 0:
            if freeze > len(self.stages):
                raise BadSetting(f"backbone.freeze: there are {len(self.stages)} stages, not {freeze}.")
            for parameter in itertools.chain(*self.parameters_by_stage(shape)[:freeze]):
                parameter.requires_grad_(False)


def _check(shape: tuple[int, ...], wish: Wish) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise IncompatibleParts(f"a timm backbone takes images of one or three channels, not samples {shape}.")
    check_name(wish.model)
    out = wish.out
    if out is not None and (not out or list(out) != sorted(set(out)) or out[0] < 0):
        raise BadSetting(f"backbone.out must list stages in increasing order, counted from 0, not {list(out)}.")
    if wish.checkpoint:
        check_checkpoint(wish)
    elif wish.pretrained and not config(wish.model).has_weights:
        raise BadSetting(f"backbone.pretrained: timm has no weights of {wish.model}. {weights_hint(wish.model)}")


def _model_input(network: nn.Module, wish: Wish) -> ModelInput:
    trained = _data_config(network)
    size = None if wish.side is None else (wish.side, wish.side)
    if size is None and config(wish.model).fixed_input_size:
        _, *size = trained["input_size"]
    return ModelInput(trained["mean"], trained["std"], None if size is None else (size[0], size[1]))


def _stages(network: nn.Module) -> list[Stage]:
    info = feature_info(network)
    return [Stage(*stage) for stage in zip(info.module_name(), info.channels(), info.reduction(), strict=True)]
