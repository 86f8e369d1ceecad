"""Backbones that are looked at, and not trained: by name, or those of a run, as it began and as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from zoo.backbones import Backbone
from zoo.compose import compose
from zoo.devices import resolve_device, seeded
from zoo.errors import BadRun, UsageError
from zoo.inheriting import inherit
from zoo.layering import assign
from zoo.plugins import installed
from zoo.recipe import PRETRAINED, Choice, choice_table, normalized
from zoo.resolve import Assignments, Components
from zoo.run import Run, load
from zoo.tuning.supervised import PART

AXIS = "backbone"


@dataclass(frozen=True)
class Standing:
    """A backbone for images of one shape.

    Attributes:
        backbone: As it is now.
        shape: Of the images: channels, height, width.
        device: Where it lies.
        before: As its run began; None where there is no run.
        run: Whose it is; None for one by name.
    """

    backbone: Backbone
    shape: tuple[int, ...]
    device: torch.device
    before: Backbone | None = None
    run: Run | None = None


def is_run(named: str) -> bool:
    """Whether a name is that of a run folder."""
    return (Path(named) / "recipe.toml").is_file()


def named_backbone(
    named: str, shape: tuple[int, ...], assignments: Assignments = (), device: torch.device | None = None
) -> Standing:
    """A backbone by name. One with random weights has those that a fine-tuning with seed 0 begins with.

    Args:
        named: Such as `timm:resnet18`.
        shape: Of the images.
        assignments: Settings of it, by paths that begin with `backbone`.
        device: Where it is put; the CPU if None.

    Raises:
        UsageError: There is none of that name, or a setting is wrong.
    """
    table = {AXIS: choice_table(named, AXIS)}
    for path, value in assignments:
        if path[0] != AXIS:
            raise UsageError(
                f"{'.'.join(path)} is set, but here is only a backbone; its settings begin with '{AXIS}.'."
            )
        table = assign(table, path, value)
    with seeded(0, PART):
        backbone = Components(installed()).backbone(Choice.of(table[AXIS], AXIS), shape)
    target = device or torch.device("cpu")
    return Standing(backbone.to(target), shape, target)


def run_backbone(
    path: str | Path, device: str = "auto", *, began: bool = True, allow_download: bool = False
) -> Standing:
    """The backbone that a network of a run stands on, with the weights of its best checkpoint.

    Args:
        path: The run folder.
        device: Where it is put.
        began: Whether it is built as well as the run began: with random weights, those of its file, of its download, or
            of the run that it began from.
        allow_download: Whether the weights that it began with may be downloaded.

    Raises:
        BadRun: It is no run, nothing in it stands on a backbone, the run that it began from is not there any more, or
            weights would be downloaded.
        BadData: The file of weights that it began with is not there any more.
    """
    run = load(path, device=device)
    backbone = _backbone_in(run.composition.networks, path)
    before = _as_begun(run, allow_download) if began else None
    return Standing(backbone, run.composition.dataset.shape, run.composition.device, before, run)


def standing(
    named: str | Backbone,
    shape: tuple[int, ...],
    assignments: Assignments = (),
    device: str = "auto",
    *,
    began: bool = True,
    allow_download: bool = False,
) -> Standing:
    """Any backbone that is named, or given. See `named_backbone` and `run_backbone`.

    Args:
        named: A name, a run folder, or a backbone.
        shape: Of the images; those of a run have the run's.
        assignments: Settings of one that is named, by path.
        device: Where it is put.
        began: Whether that of a run is built as the run began, too.
        allow_download: Whether the weights that a run began with may be downloaded.

    Raises:
        UsageError: There is no such one, or settings are given for one that is built already.
    """
    target = resolve_device(device)
    if isinstance(named, str) and not is_run(named):
        return named_backbone(named, shape, assignments, target)
    if assignments:
        path, _ = assignments[0]
        raise UsageError(f"{'.'.join(path)} is set, but this backbone is built already; set nothing of it.")
    if isinstance(named, str):
        return run_backbone(named, device, began=began, allow_download=allow_download)
    return Standing(named.to(target), shape, target)


def _as_begun(run: Run, allow_download: bool) -> Backbone:
    named = run.folder.recipe()
    if named.axes[AXIS].settings.get(PRETRAINED) and not allow_download:
        raise BadRun(
            f"{run.folder.path} began with weights that are downloaded, which is yours to allow: say --allow-download, "
            "or --now to look at it only as it is."
        )
    components = Components(run.components.plugins, {"dataset": run.composition.dataset})
    recipe, dataset = components.recipe(normalized(named.table()))
    composition = compose(components, recipe, dataset, run.composition.device)
    if composition.training.train.init_from:
        inherit(composition, composition.training.train.init_from)
    return _backbone_in(composition.networks, run.folder.path)


def _backbone_in(networks: Mapping[str, nn.Module], path: str | Path) -> Backbone:
    """That of the classifier, or else of the first network that stands on one."""
    found = [backbone for name, backbone in _backbones(networks) if name == PART]
    found += [backbone for _, backbone in _backbones(networks)]
    if not found:
        raise BadRun(
            f"nothing in the run {path} stands on a backbone; name a run of which a critic or classifier does."
        )
    return found[0]


def _backbones(networks: Mapping[str, nn.Module]) -> Iterable[tuple[str, Backbone]]:
    for name, network in networks.items():
        backbone = getattr(network, AXIS, None)
        if isinstance(backbone, Backbone):
            yield name, backbone
