"""Checks of backbones alone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.backbones import Backbone
from zoo.errors import ZooError
from zoo.procedures import About
from zoo.settings import resolve, settings_of
from zoo.testing.checks import Failed, Skipped, Subject, check, require
from zoo.testing.networks import (
    GREY,
    Trial,
    build,
    changed,
    difference,
    require_finite,
    states_of,
    taken,
    trials,
    weighted_sum,
)

OBLONG = (3, 48, 32)
FREEZE = "freeze"
"""A setting of this name that takes "all" or true is tried where a backbone is trained by default."""


@check("backbone")
def taps(subject: Subject) -> None:
    """One finite feature map a stage, with the stage's channels and stride, for grey and colour images of any size."""
    found = [trial for trial in (_trial(subject, shape) for shape in (GREY, OBLONG)) if trial is not None]
    found = found or list(trials(subject))
    sizes = [_sizes_of_maps(trial) for trial in found]
    # A backbone that resizes images to a size of its own has the same maps for all.
    if len(sizes) == 1 or sizes[0] != sizes[1]:
        for trial, each in zip(found, sizes, strict=True):
            _require_strides(trial, each)


def _sizes_of_maps(trial: Trial) -> list[tuple[int, ...]]:
    maps = trial.network.eval()(*trial.inputs(2))
    _require_stages(trial.network, maps)
    require_finite(maps, f"feature maps of {trial}")
    return [tuple(each.shape[2:]) for each in maps]


def _trial(subject: Subject, shape: tuple[int, ...]) -> Trial | None:
    about = About(shape, None)
    try:
        return Trial(subject, about, build(subject, about))
    except ZooError:
        return None


def _require_stages(backbone: Backbone, maps: Sequence[Tensor]) -> None:
    stages = backbone.stages
    require(isinstance(maps, (list, tuple)), f"it returns {type(maps).__name__}, and not a list of feature maps.")
    require(len(maps) == len(stages) > 0, f"it declares {len(stages)} stages and returns {len(maps)} feature maps.")
    require(len({stage.name for stage in stages}) == len(stages), "two of its stages have the same name.")
    for stage, found in zip(stages, maps, strict=True):
        require(
            found.ndim == 4 and len(found) == 2 and found.shape[1] == stage.channels,
            f"stage {stage.name}: of 2 images it returns {tuple(found.shape)}, and declares {stage.channels} channels; "
            "feature maps are (N, channels, height, width).",
        )


def _require_strides(trial: Trial, sizes: Sequence[tuple[int, ...]]) -> None:
    """Feature maps of images that are not resized have side / stride pixels, rounded either way."""
    sides = trial.about.shape[1:]
    for stage, size in zip(trial.network.stages, sizes, strict=True):
        fits = all(abs(side / stage.stride - pixels) < 1 for side, pixels in zip(sides, size, strict=True))
        require(
            fits,
            f"stage {stage.name}: of images of {sides[0]}x{sides[1]} pixels the feature map has {size[0]}x{size[1]}, "
            f"which is no stride of {stage.stride}; declare the stride that it has.",
        )


@check("backbone")
def freeze(subject: Subject) -> None:
    """What is frozen stays so in training mode, statistics included, and gradients pass through it."""
    trial = _frozen(subject)
    network = trial.network
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    still = {name: norm for name, norm in network.named_modules() if _is_frozen_norm(norm)}
    before = {name: states_of(norm) for name, norm in still.items()}
    images = trial.inputs(4)[0].mul(0.5).add(0.4).requires_grad_()
    network.train()
    outputs = trial.outputs(images)
    total = weighted_sum(outputs)
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
    thawed = [name for name in frozen if network.get_parameter(name).requires_grad]
    require(not thawed, f"train() makes frozen parameters trainable again, such as {thawed[:1]}.")
    moved = [name for name, norm in still.items() if any(_differ(before[name], norm))]
    require(
        not moved,
        f"in training mode the running statistics of the frozen {moved[:1]} move: override train(), and keep frozen "
        "modules in evaluation mode.",
    )
    if images.grad is None:
        raise Failed("no gradient passes through what is frozen; do not use no_grad or detach.")
    require_finite([images.grad], "gradients by the images")
    if len(frozen) == len(list(network.parameters())):
        gap = difference(outputs, trial.evaluated(images.detach()))
        require(gap == 0, f"all of it is frozen, but training mode changes its output by {gap:.2g}: dropout, or norms?")


def _frozen(subject: Subject) -> Trial:
    """The backbone as it is if some of it is frozen, or with its setting `freeze`."""
    about = taken(subject)[0]
    for value in (None, "all", True):
        chosen = subject if value is None else _with(subject, value)
        if chosen is not None:
            network = build(chosen, about)
            if not all(p.requires_grad for p in network.parameters()):
                return Trial(chosen, about, network)
    raise Skipped(f"nothing of it is frozen, and it has no setting '{FREEZE}' that takes \"all\" or true.")


def _with(subject: Subject, value: object) -> Subject | None:
    if FREEZE not in settings_of(subject.factory):
        return None
    try:
        settings = {FREEZE: resolve(subject.factory, {FREEZE: value}, subject.name)[FREEZE]}
    except ZooError:
        return None
    return replace(subject, factory=functools.partial(subject.factory, **settings))


def _is_frozen_norm(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return isinstance(module, _BatchNorm) and bool(parameters) and not any(p.requires_grad for p in parameters)


def _differ(before: dict[str, Tensor], norm: nn.Module) -> list[bool]:
    return [not torch.equal(value, before[name]) for name, value in states_of(norm).items()]


@check("backbone")
def extremes(subject: Subject) -> None:
    """Feature maps of black, grey and white images, values -1, 0 and 1, are finite in either mode."""
    levels = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1)
    for trial in trials(subject):
        images = levels.expand(3, *trial.about.shape).contiguous()
        for training in (False, True):
            trial.network.train(training)
            require_finite(trial.outputs(images), f"feature maps of flat images on {trial}")


@check("backbone")
def grey_is_colour(subject: Subject) -> None:
    """A grey image has the feature maps of the colour image whose three channels it is, with the same weights."""
    grey, colour = _trial(subject, GREY), _trial(subject, (3, *GREY[1:]))
    if grey is None or colour is None:
        raise Skipped("it takes either grey images or colour ones.")
    weights = colour.network.state_dict()
    if [t.shape for t in weights.values()] != [t.shape for t in grey.network.state_dict().values()]:
        raise Skipped("for grey images it is another network, with weights of its own.")
    if [stage.channels for stage in grey.network.stages] != [stage.channels for stage in colour.network.stages]:
        raise Skipped("for grey images it has maps of other channels.")
    grey.network.load_state_dict(weights)
    images = grey.inputs(2)[0]
    gap = difference(grey.evaluated(images), colour.evaluated(images.expand(-1, 3, -1, -1)))
    require(gap < 1e-4, f"the maps of a grey image differ by {gap:.2g} from those of the same image in three channels.")


@check("backbone")
def parameters_by_stage(subject: Subject) -> None:
    """`parameters_by_stage` lists what a map depends on once, at the first such stage, and leaves everything alone."""
    for trial in trials(subject):
        network, shape = trial.network.train(), trial.about.shape
        before, flags = states_of(network), _flags(network)
        listed = network.parameters_by_stage(shape)
        require(not changed(before, network), "parameters_by_stage changes the state, such as statistics.")
        require(_flags(network) == flags, "parameters_by_stage changes what is trained, or the mode of a layer.")
        require(
            len(listed) == len(network.stages),
            f"parameters_by_stage lists {len(listed)} stages, of {len(network.stages)}.",
        )
        _require_owners(trial, listed)


def _require_owners(trial: Trial, listed: Sequence[Sequence[nn.Parameter]]) -> None:
    names = {id(p): name for name, p in trial.network.named_parameters()}
    found = [(id(p), stage) for stage, parameters in enumerate(listed) for p in parameters]
    require(all(each in names for each, _ in found), "parameters_by_stage lists a parameter that it does not have.")
    twice = [names[each] for each, _ in found if sum(each == other for other, _ in found) > 1]
    require(not twice, f"parameters_by_stage lists {twice[:1]} more than once.")
    stages = dict(found)
    for name, first in _first_maps(trial).items():
        listed_at = stages.pop(id(trial.network.get_parameter(name)), None)
        require(listed_at is not None, f"parameters_by_stage leaves out {name}, which map {first} depends on.")
        require(
            listed_at == first,
            f"parameters_by_stage has {name} at stage {listed_at}; map {first} depends on it already.",
        )
    idle = [names[each] for each in stages]
    require(not idle, f"parameters_by_stage lists {idle[:1]}, which no map depends on.")


def _first_maps(trial: Trial) -> dict[str, int]:
    """The first map that each parameter takes part in, by name, found one map at a time."""
    trial.network.requires_grad_(True).eval()
    named = dict(trial.network.named_parameters())
    first: dict[str, int] = {}
    if not named:
        return first
    for stage in range(len(trial.network.stages)):
        total = trial.network(*trial.inputs(1))[stage].sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        for name, gradient in zip(named, found, strict=True):
            if gradient is not None:
                first.setdefault(name, stage)
    return first


def _flags(network: nn.Module) -> tuple[list[bool], list[bool]]:
    return [p.requires_grad for p in network.parameters()], [m.training for m in network.modules()]


@check("backbone")
def freezes_by_stage(subject: Subject) -> None:
    """The maps of stages that are frozen after it was built are those of evaluation; thawed, all is as it was."""
    for trial in trials(subject):
        network = trial.network.requires_grad_(True).train()
        images, flags = trial.inputs(2)[0], _flags(network)
        listed = network.parameters_by_stage(trial.about.shape)
        for count in range(1, len(listed) + 1):
            for parameter in itertools.chain(*listed[:count]):
                parameter.requires_grad_(False)
            before = states_of(network)
            found = [m.detach() for m in network.train()(images)[:count]]
            gap = difference(found, trial.evaluated(images)[:count])
            require(
                gap < 1e-4,
                f"with its first {count} stages frozen, training mode changes their maps by {gap:.2g}: train() must "
                "keep layers in evaluation mode in which all is frozen at the time (zoo.Backbone's does).",
            )
            network.load_state_dict(before)
        network.requires_grad_(True).train()
        require(_flags(network) == flags, "thawed again, some layers stay in evaluation mode after train().")
