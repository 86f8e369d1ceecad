"""First weights from another run: whole networks that are alike, and the backbones of those that stand on one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.backbones import Backbone
from zoo.classifiers import Classifier
from zoo.compose import Composition
from zoo.errors import BadRun, IncompatibleParts
from zoo.folder import Folder

States = Mapping[str, Mapping[str, Tensor]]
BACKBONE = "backbone."


def inherit(composition: Composition, path: str) -> list[str]:
    """Gives the networks of a composition the weights of a run's best checkpoint.

    A network has those of the run's network of its name; a generator those that were trained, not their average, for
    which the run's critic is no match. Or, where a network has a `backbone`, that one has those of the backbone of any
    of the run's networks. A network that the run has none for stays as it was built. Of a classifier of other data only
    the backbone is taken over: what its head says are other classes, though they may be as many.

    Args:
        composition: Newly built.
        path: The run folder.

    Returns:
        What was taken over, such as `generator` or `classifier.backbone`.

    Raises:
        BadRun, BadCheckpoint: It is no run that can be read.
        IncompatibleParts: A network that the run has as well does not fit, or nothing of it is alike; the message names
            the first weight that does not fit.
    """
    folder = Folder.open(Path(path))
    if not folder.steps():
        raise BadRun(f"{path} has no checkpoint to begin from; it must be trained first.")
    states: States = folder.load_best()["networks"]
    # As a file holds them: it has "none" for what is None here.
    its, mine = (recipe.axes["dataset"].table() for recipe in (folder.recipe(), composition.recipe))
    same_data = its == mine
    taken: list[str] = []
    for name, network in composition.networks.items():
        misfits = {}
        whole = same_data or not isinstance(network, Classifier)
        for found, target, state in _offers(name, network, states, whole):
            misfits[found] = _misfit(target, state)
            if not misfits[found]:
                target.load_state_dict(dict(state))
                _note_training(target)
                taken.append(found)
                break
        else:
            _refuse_misfits(path, name, misfits)
    if not taken:
        raise IncompatibleParts(f"{path} has no network that could begin here; it has {', '.join(states)}.")
    return taken


def _refuse_misfits(path: str, name: str, misfits: Mapping[str, str]) -> None:
    if misfits:
        reasons = "; ".join(f"{found}: {reason}" for found, reason in misfits.items())
        raise IncompatibleParts(
            f"no network fits what {path} has learnt as {name}: {reasons}. "
            "Take the same networks and constraints as that run."
        )


def _offers(
    name: str, network: nn.Module, states: States, whole: bool
) -> list[tuple[str, nn.Module, Mapping[str, Tensor]]]:
    """What a network (if `whole`), or its backbone, may have its weights from, the best first."""
    offers = [(name, network, states[name])] if whole and name in states else []
    backbone = getattr(network, "backbone", None)
    if isinstance(backbone, Backbone):
        parts = [_part(state, BACKBONE) for state in states.values()]
        offers += [(f"{name}.backbone", backbone, part) for part in parts if part]
    return offers


def _note_training(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, Backbone):
            module.random = False


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _misfit(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """The first way in which a state does not fit a network; empty if it fits."""
    mine = network.state_dict()
    for name, value in mine.items():
        if name not in state:
            return f"{name} is not among its weights"
        if isinstance(value, torch.Tensor) and value.shape != state[name].shape:
            return f"{name} has shape {tuple(state[name].shape)} there and {tuple(value.shape)} here"
    more = [name for name in state if name not in mine]
    return f"{more[0]} is not a weight here" if more else ""
