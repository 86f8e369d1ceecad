"""A tuned backbone as a whole model of timm, which timm alone can load."""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn

from zoo import IncompatibleParts
from zoo_timm_backbones.images import ModelInput, varied_images
from zoo_timm_backbones.models import Wish

INNER = "model."
"""How timm begins the names of weights where it wraps a model to get its feature maps."""
CLOSE = 1e-4
"""How far the logits of the whole model may be from the backbone's, relative to the largest."""


def whole_model(wish: Wish, network: nn.Module, images: ModelInput, head: nn.Linear, channels: int) -> nn.Module:
    """timm's model with the weights of a backbone and of a linear head on its averaged last stage.

    Args:
        wish: What the backbone was built from.
        network: The backbone's network, from normalised images to feature maps.
        images: What gives images to it.
        head: From averaged features to logits.
        channels: Of the images that it is tried with.

    Raises:
        IncompatibleParts: timm's model computes something else: it has layers behind its last stage.
    """
    arguments = {key: value for key, value in wish.arguments().items() if key == "img_size"}
    model: nn.Module = timm.create_model(wish.model, num_classes=head.out_features, **arguments).eval()
    found = model.load_state_dict(_weights(network), strict=False)
    last = getattr(model, "get_classifier", lambda: None)()
    if not isinstance(last, nn.Linear) or last.weight.shape != head.weight.shape or found.unexpected_keys:
        raise IncompatibleParts(_told(wish, "its classifier is no linear layer on the last stage"))
    last.load_state_dict(head.state_dict())
    _refuse_other_logits(wish, model, network.eval(), images, head, channels)
    return model


def _weights(network: nn.Module) -> Mapping[str, Tensor]:
    return {name.removeprefix(INNER): value.cpu() for name, value in network.state_dict().items()}


@torch.no_grad()
def _refuse_other_logits(
    wish: Wish, model: nn.Module, network: nn.Module, images: ModelInput, head: nn.Linear, channels: int
) -> None:
    side = (images.size or (64, 64))[0]
    points = images(varied_images(4, (channels, side, side)))
    ours, theirs = head(network(points)[-1].mean(dim=(2, 3))), model(points)
    gap = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12))
    if not gap < CLOSE:
        raise IncompatibleParts(_told(wish, "it has layers between its last stage and its classifier"))


def _told(wish: Wish, reason: str) -> str:
    return (
        f"timm's whole {wish.model} is not its last stage, averaged, with a linear layer: {reason}. "
        "The backbone and the head are exported apart."
    )
