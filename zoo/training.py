"""The training settings of a recipe, and the optimisers and schedules that they name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from zoo.augment import Operation
from zoo.errors import BadSetting, UnknownName
from zoo.procedures import Layer
from zoo.recipe import Choice, choice_table
from zoo.settings import Setting, resolve
from zoo.toml import fits

UNUSABLE = ("Optimizer", "LBFGS", "SparseAdam")
"""The base class; one that wants a closure; one that wants sparse gradients."""
NOT_SETTABLE = ("differentiable", "capturable")
"""Settings of an optimiser that a recipe cannot have: they are for steps that are differentiated or captured."""
NOT_FUSED = {"fused", "foreach", "differentiable"}
"""Settings of an optimiser beside which it is not made fused."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training settings. An iteration is `critic_steps` critic steps and one generator step."""

    steps: Annotated[int, Setting("iterations in all", ge=1)] = 4000
    critic_steps: Annotated[int, Setting("critic steps per iteration", ge=1)] = 1
    batch_size: Annotated[int, Setting("samples per optimiser step, of all processes together", ge=1)] = 64
    micro_batches: Annotated[int, Setting("parts that a batch is split in, to accumulate gradients", ge=1)] = 1
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], Setting("how the learning rates fall, to zero at the end")
    ] = "constant"
    schedule_steps: Annotated[int, Setting("iterations until the rates are at their end; 0 for steps", ge=0)] = 0
    schedule_from: Annotated[float, Setting("share of those after which the rates begin to fall", ge=0, lt=1)] = 0.0
    average: Annotated[float, Setting("decay of the averaged generator; 0 for none", ge=0, lt=1)] = 0.999
    precision: Annotated[Literal["32", "bf16"], Setting("arithmetic of the networks")] = "32"
    penalty_precision: Annotated[
        Literal["same", "32"], Setting("arithmetic of slopes in a bf16 run; 32 costs a forward of their own")
    ] = "same"
    precision_every: Annotated[
        int, Setting("iterations between two comparisons of bf16 gradients with fp32 ones; 0 for none", ge=0)
    ] = 1000
    channels_last: Annotated[bool, Setting("images and convolutions in torch's channels_last memory format")] = False
    compile: Annotated[bool, Setting("compile losses with their gradients, where that works")] = False
    cuda_graphs: Annotated[
        Literal["auto", "on", "off"], Setting("record steps as CUDA graphs: auto on a CUDA device, where that works")
    ] = "auto"
    augment: Annotated[Sequence[Operation], Setting("what the critic sees of images, real and generated")] = ()
    noise: Annotated[
        float, Setting("standard deviation of noise on all that the critic sees, at first; it fades", ge=0)
    ] = 0.0
    noise_until: Annotated[float, Setting("share of the iterations after which the noise is gone", gt=0, le=1)] = 0.5
    flip: Annotated[bool, Setting("mirror half of the real images left to right, at random")] = False
    init_from: Annotated[str, Setting("a run that networks have their first weights from; empty for none")] = ""
    freeze: Annotated[
        Sequence[str], Setting("what is never trained of a part: PART:all, :stages<K, :scale-shift or :none")
    ] = ()
    seed: Annotated[int, Setting("what every random number follows from", ge=0)] = 0
    log_every: Annotated[int, Setting("iterations between two lines of metrics", ge=1)] = 50
    sample_every: Annotated[int, Setting("iterations between two sample pictures; 0 for the end only", ge=0)] = 1000
    checkpoint_every: Annotated[int, Setting("iterations between two checkpoints; 0 for the end only", ge=0)] = 1000
    validate_every: Annotated[
        int, Setting("iterations between two validations, where samples are held out; 0 for none", ge=0)
    ] = 100
    patience: Annotated[int, Setting("validations without a better one that end a run; 0 for none", ge=0)] = 0
    keep: Annotated[int, Setting("checkpoints that are kept", ge=1)] = 2
    on_divergence: Annotated[
        Literal["stop", "rollback"], Setting("stop, or go on from the last checkpoint with lower learning rates")
    ] = "stop"
    rollbacks: Annotated[int, Setting("how often a run that diverges goes back at most", ge=1)] = 3
    rollback_factor: Annotated[float, Setting("what a rollback multiplies the learning rates by", gt=0, lt=1)] = 0.5


@dataclass(frozen=True)
class Training:
    """Validated training settings: numbers, the optimiser, and what differs for single phases."""

    train: Train
    optimizer: Choice
    optimizers: Mapping[str, Choice] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Training:
        """From a recipe's `train` table. Raises UnknownName, BadSetting or BadRecipe."""
        numbers = {key: value for key, value in table.items() if key not in ("optimizer", "optimizers")}
        for key in ("precision", "penalty_precision"):
            if isinstance(numbers.get(key), int):
                numbers[key] = str(numbers[key])
        base = {"name": "Adam", "lr": 2e-4} | choice_table(table.get("optimizer", {}), "train.optimizer")
        optimizer = _checked(base, "train.optimizer")
        if not isinstance(table.get("optimizers", {}), Mapping):
            raise BadSetting(f"train.optimizers must be a table by phase, not {table['optimizers']!r}.")
        own = {
            phase: _checked(_own_table(base, each), f"train.optimizers.{phase}")
            for phase, each in table.get("optimizers", {}).items()
        }
        return cls(Train(**resolve(Train, numbers, "train")), optimizer, own)

    def table(self) -> dict[str, Any]:
        """Back to a recipe's `train` table, every setting written out."""
        lists = {name: list(getattr(self.train, name)) for name in ("augment", "freeze")}
        phases = {phase: choice.table() for phase, choice in self.optimizers.items()}
        # An empty table is written as well: a variant's own would come back where the recipe is trained again.
        return {**vars(self.train), **lists, "optimizer": self.optimizer.table(), "optimizers": phases}

    def build(self, phase: str, layers: Sequence[Layer], capturable: bool = False) -> torch.optim.Optimizer:
        """The optimiser of a phase, a group for each layer that has parameters.

        It is fused where torch has it so; `capturable` has all of its state on the device.
        """
        choice = self.optimizers.get(phase, self.optimizer)
        factory = _optimizer_class(choice.name, f"train.optimizers.{phase}")
        settings = dict(choice.settings)
        parameters = [parameter for layer in layers for parameter in layer.parameters]
        known = inspect.signature(factory).parameters
        if "fused" in known and not NOT_FUSED & set(settings) and _fusible(parameters):
            settings["fused"] = True
        if capturable:
            rate = settings.get("lr", known["lr"].default)
            settings |= {"capturable": True, "lr": torch.tensor(rate, device=parameters[0].device)}
        try:
            optimizer = factory(_groups(layers), **settings)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            raise BadSetting(
                f"the optimiser {choice.name} of the phase {phase} refuses its settings: {error}"
            ) from error
        for group, layer in zip(optimizer.param_groups, layers, strict=True):
            if layer.rate != 1:
                group["lr"] = group["lr"] * layer.rate
        return optimizer

    def not_capturable(self, phases: Iterable[str]) -> str:
        """Why an optimiser of these phases cannot be part of a CUDA graph; empty if all can."""
        for phase in phases:
            name = self.optimizers.get(phase, self.optimizer).name
            known = inspect.signature(_optimizer_class(name, f"train.optimizers.{phase}")).parameters
            if "capturable" not in known:
                return f"the optimiser {name} has no form that can be recorded"
        return ""


def _groups(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    return [{"params": list(layer.parameters)} for layer in layers]


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Loads what `state_dict` returned, perhaps on another kind of device: how it is computed stays as it is here.

    Raises:
        ValueError: It is not what such an optimiser keeps: fused steps would read and write beyond its tensors.
    """
    mine: list[dict[str, Any]] = list(optimizer.param_groups)
    forms = [{key: group[key] for key in ("capturable", "fused") if key in group} for group in mine]
    rates = [float(group["lr"]) for group in state["param_groups"]]
    groups = [
        {**group, **form, "lr": rate} for group, form, rate in zip(state["param_groups"], forms, rates, strict=True)
    ]
    optimizer.load_state_dict({"state": _fitted(optimizer, groups, state["state"]), "param_groups": groups})
    for group, before, rate in zip(optimizer.param_groups, mine, rates, strict=True):
        if isinstance(before["lr"], Tensor):
            # The same tensor: a recorded step reads its rate there.
            group["lr"] = before["lr"].fill_(rate)


def _fitted(
    optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]], state: Mapping[Any, Mapping[str, Any]]
) -> dict[Any, dict[str, Any]]:
    """What is kept of each parameter, as copies that lie in memory as an optimiser's own."""
    fitted = {}
    for mine, group in zip(optimizer.param_groups, groups, strict=True):
        for number, parameter in zip(group["params"], mine["params"], strict=True):
            if state.get(number):
                own = _stepped(optimizer, group, parameter)
                if state[number].keys() != own.keys():
                    raise ValueError(f"an optimiser keeps {sorted(own)} here, not {sorted(state[number])}")
                fitted[number] = {key: _like(own[key], value, key) for key, value in state[number].items()}
    return fitted


def _stepped(optimizer: torch.optim.Optimizer, group: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """What an optimiser of this kind keeps of such a parameter after a step."""
    plain = {key: False for key in ("capturable", "fused", "foreach") if key in group}
    fresh = torch.zeros_like(parameter, requires_grad=True)
    fresh.grad = torch.zeros_like(parameter)
    kind: Callable[..., torch.optim.Optimizer] = type(optimizer)
    other = kind([{**group, **plain, "params": [fresh]}])
    other.step()
    return dict(other.state[fresh])


def _like(own: Any, value: Any, key: str) -> Any:
    if not isinstance(own, Tensor):
        if type(own) is not type(value):
            raise ValueError(f"an optimiser's {key} is of type {type(value).__name__}")
        return value
    if not isinstance(value, Tensor) or value.shape != own.shape or not value.is_floating_point():
        shape = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"an optimiser's {key} is {shape}, and must be floating {tuple(own.shape)}")
    return own.copy_(value)


def factor(schedule: str, step: int, steps: int, begin: float = 0.0) -> float:
    """What the learning rates are multiplied by at an iteration: 1 at the first, near 0 at the last unless constant.

    They begin to fall after the share `begin` of all steps. Beyond the last, as in a run that was extended, it stays
    what it was there.

    >>> [factor("linear", step, 8, begin=0.5) for step in (0, 4, 6, 7)]
    [1.0, 1.0, 0.5, 0.25]
    """
    progress = max(0.0, min(step, steps - 1) - begin * steps) / (steps - begin * steps)
    if schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress)) if schedule == "cosine" else 1.0


def told_of_extension(train: Train, until: int) -> str | None:
    """What to say where steps are beyond the schedule's end, at rates that teach little; None where they are not."""
    if train.schedule == "constant" or train.steps <= until:
        return None
    last = factor(train.schedule, until, until, train.schedule_from)
    return (
        f"the learning rates of this run fell until step {until} (train.schedule={train.schedule}); the further steps, "
        f"to {train.steps}, are at {last:.2g} times the first rates, and change little. A new run "
        "goes on from its weights with rates of its own: zoo train ... --init-from RUN. One that is to be extended "
        "later gets --set train.schedule_steps=N when it begins."
    )


def _own_table(base: Mapping[str, Any], own: Any) -> dict[str, Any]:
    table = choice_table(own, "train.optimizers")
    return table if table.get("name", base["name"]) != base["name"] else {**base, **table}


def _checked(table: Mapping[str, Any], where: str) -> Choice:
    choice = Choice.of(table, where)
    parameters = list(inspect.signature(_optimizer_class(choice.name, where)).parameters)[1:]
    known = [name for name in parameters if name not in NOT_SETTABLE]
    for name, value in choice.settings.items():
        if name not in known:
            raise UnknownName(f"setting of {where} ({choice.name})", name, known)
        if isinstance(value, str):
            raise BadSetting(f"{where}.{name} must be a number, a list or a bool, not '{value}'.")
        if not fits(value):
            raise BadSetting(f"{where}.{name} is too large a number.")
    return choice


def _optimizer_class(name: str, where: str) -> Callable[..., torch.optim.Optimizer]:
    known = {
        key: value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and key not in UNUSABLE
    }
    if name not in known:
        raise UnknownName(f"optimiser (torch.optim) for {where}", name, known)
    return known[name]


def _fusible(parameters: Iterable[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in parameters)
