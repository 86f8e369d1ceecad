"""A run's weights for others: safetensors, the recipe, and where there is one the model of another library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tomli_w
from torch import Tensor, nn

from zoo.classifiers import Classifier
from zoo.errors import IncompatibleParts, UsageError
from zoo.run import Run
from zoo.writing import saving, write_whole


def export(run: Run, folder: Path) -> list[Path]:
    """Writes a run's networks, its recipe, and for a classifier the model of another library if there is one.

    `NETWORK.safetensors` is a network's state, of the averaged generator where there is one, under the names that the
    zoo's own network has. `model.safetensors` and `model.pth` are the same weights under the names of the library that
    `model.json` names, with what loads them.

    Args:
        run: What is exported.
        folder: Is made, and must not be there.

    Returns:
        The files.

    Raises:
        UsageError: The folder is there.
        SaveFailed: It cannot be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already; nothing was changed. Choose another --out.")
    with saving(folder):
        folder.mkdir(parents=True)
    files = [folder / "recipe.toml"]
    write_whole(files[0], tomli_w.dumps(run.composition.recipe.table()).encode())
    for name, network in run.composition.networks.items():
        files.append(_write(folder / f"{name}.safetensors", network))
        if isinstance(network, Classifier):
            files += _write_model(folder, network, run)
    return files


def whole_model(network: Classifier) -> tuple[nn.Module, dict[str, Any]]:
    """The other library's model with a classifier's weights. Raises IncompatibleParts if there is none."""
    head = network.head[-1] if isinstance(network.head, nn.Sequential) else network.head
    if not isinstance(head, nn.Linear) or getattr(network, "pool", "average") != "average":
        raise IncompatibleParts("its head is no linear layer on the averages of the last stage.")
    return network.backbone.whole_model(head)


def _write_model(folder: Path, network: Classifier, run: Run) -> list[Path]:
    import torch

    try:
        model, about = whole_model(network)
    except IncompatibleParts as error:
        about = {"library": None, "reason": str(error)}
        write_whole(folder / "model.json", json.dumps(about, indent=2).encode())
        return [folder / "model.json"]
    about |= {"image_range": [0, 1], "class_names": run.composition.dataset.class_names}
    write_whole(folder / "model.json", json.dumps(about, indent=2).encode())
    weights = folder / "model.pth"
    with saving(weights):
        torch.save(model.state_dict(), weights)
    return [folder / "model.json", _write(folder / "model.safetensors", model), weights]


def _write(path: Path, network: nn.Module) -> Path:
    from safetensors.torch import save

    write_whole(path, save(_apart(network)))
    return path


def _apart(network: nn.Module) -> dict[str, Tensor]:
    """A network's state without storage that two tensors share, which safetensors refuses."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}
