"""Checks a file of weights before a model is built from it, so that nothing stays random unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from zoo import BadData
from zoo_timm_backbones.models import Wish, config


def check_checkpoint(wish: Wish) -> None:
    """Loads the file into the whole model, classifier included, where timm insists that names match.

    (For feature maps alone timm leaves out what does not match.) Files of every layout that timm can convert are
    good, with a classifier of any size or none.

    Raises:
        BadData: The file is missing, cannot be read safely, or is another model's.
    """
    mismatch: Exception | None = None
    for classes in _classes(wish, _read(Path(wish.checkpoint))):
        try:
            loaded = [_whole_model(wish, classes) for _ in range(2)]
        except Exception as error:
            mismatch = mismatch or error
        else:
            _refuse_holes(wish, *loaded)
            return
    raise BadData(f"{wish.checkpoint} does not fit {wish.model}: {_shortened(str(mismatch))}") from mismatch


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise BadData(f"backbone.checkpoint: there is no file {path}.")
    try:
        weights = load_state_dict(str(path), weights_only=True)
        tensors = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    except Exception as error:
        raise BadData(
            f"{path} cannot be read as weights ({type(error).__name__}: {_shortened(str(error))}); "
            "it must be a .safetensors file or a dictionary of tensors saved by torch.save."
        ) from error
    if not tensors:
        raise BadData(f"{path} holds no weights: no tensor is in it under a name.")
    return tensors


def _classes(wish: Wish, weights: Mapping[str, Tensor]) -> list[int]:
    """How many classes the file's classifier may have: what it says, or, where timm renames it, two guesses."""
    about = config(wish.model)
    names = [about.classifier] if isinstance(about.classifier, str) else list(about.classifier or ())
    said = [len(weights[f"{name}.weight"]) for name in names if f"{name}.weight" in weights]
    return said[:1] or [0, about.num_classes]


def _whole_model(wish: Wish, classes: int) -> nn.Module:
    arguments = wish.arguments()
    arguments["pretrained_cfg_overlay"] |= {"num_classes": classes, "label_offset": 0}
    return timm.create_model(wish.model, **arguments)


def _refuse_holes(wish: Wish, first: nn.Module, second: nn.Module) -> None:
    """A weight that differs between two loadings came from the initialisation: for some models timm allows that."""
    again = second.state_dict()
    missing = [name for name, value in first.state_dict().items() if not torch.equal(value, again[name])]
    if missing:
        raise BadData(
            f"{wish.checkpoint} does not fit {wish.model}: it lacks {len(missing)} of its weights, "
            f"such as {missing[0]}."
        )


def _shortened(text: str, length: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + " ..."
