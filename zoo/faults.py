"""What is wrong with a component, as far as can be seen before training: what its hook needs and it has not."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from torch import Tensor, nn

from zoo.backbones import Backbone
from zoo.components import ArrayDataset, Dataset, Distance, Generator, LipschitzConstraint, Objective
from zoo.errors import BrokenPlugin
from zoo.metrics import Metric
from zoo.mistakes import broken
from zoo.procedures import About, Parts, Phase, Procedure, Want
from zoo.settings import settings_of

BASES: Mapping[str, type] = {
    "backbone": Backbone,
    "critic": nn.Module,
    "dataset": Dataset,
    "distance": Distance,
    "generator": nn.Module,
    "lipschitz_constraint": LipschitzConstraint,
    "metric": Metric,
    "network": nn.Module,
    "objective": Objective,
    "procedure": Procedure,
}
"""What a component of each hook is a subclass of."""
MOMENTS: Mapping[type, Sequence[str]] = {
    LipschitzConstraint: ("parametrize", "penalty", "project"),
    Objective: ("critic_loss", "generator_loss"),
}
"""Methods of which one at least does something."""
ATTRIBUTES: Sequence[tuple[type, str, Callable[[Any], bool], str]] = (
    (ArrayDataset, "samples", lambda value: isinstance(value, Tensor), "call super().__init__(samples) in __init__"),
    (Dataset, "shape", lambda value: _is_shape(value), "set self.shape, of one sample: (2,), or (1, 28, 28)"),
    (Generator, "latent_dim", lambda value: type(value) is int, "set self.latent_dim, the size of a latent point"),
    (Backbone, "stages", lambda value: isinstance(value, Sequence), "set stages, a list of zoo.Stage"),
    (
        Objective,
        "trained_with",
        lambda value: isinstance(value, (tuple, list)),
        "set trained_with, a tuple of phases: ('critic',)",
    ),
    (Metric, "figures", lambda value: isinstance(value, Mapping), "set figures, such as {'error': 'lower'}"),
)
"""What a component sets, what is right, and how it is set."""
NETWORKS = ("backbone", "critic", "generator", "network")


def refuse_unmade(hook: str, factory: Callable[..., Any]) -> None:
    """Raises BrokenPlugin for a class that is none of its hook's, lacks methods, or has settings of no legal type."""
    if inspect.isclass(factory) and not issubclass(factory, BASES[hook]):
        raise broken(factory, _no_subclass(hook))
    try:
        settings_of(factory)
    except BrokenPlugin as error:
        raise broken(factory, str(error), "__init__") from error
    missing = sorted(getattr(factory, "__abstractmethods__", ())) if inspect.isabstract(factory) else []
    if missing:
        raise broken(factory, f"it defines no {' and no '.join(missing)}.{_like(factory, missing)}")


def refuse_foreign_context(hook: str, factory: Any, wanted: Sequence[str], given: Sequence[str]) -> None:
    """Raises BrokenPlugin for an ordinary parameter of a factory that the core has nothing for."""
    for name in wanted:
        if name not in given:
            near = difflib.get_close_matches(name, given, n=1)
            known = f"Did you mean {near[0]}?" if near else f"It gives {', '.join(sorted(given)) or 'nothing'}."
            text = f"it wants '{name}', which the core does not give to a {hook}. {known} Settings stand behind a *."
            raise broken(factory, text, "__init__")


def refuse_faulty(hook: str, part: Any) -> None:
    """Raises BrokenPlugin for a component that is not what its hook asks for, as far as can be seen unused."""
    if not isinstance(part, BASES[hook]):
        raise broken(part, _no_subclass(hook))
    if isinstance(part, nn.Module) and "_modules" not in vars(part):
        raise broken(part, "its __init__ does not call super().__init__(); do so in its first line.", "__init__")
    if isinstance(part, nn.Module) and hook in NETWORKS and not _has_forward(part):
        raise broken(part, f"it defines no forward.{_like(type(part), ['forward'])}")
    _refuse_unset(part)
    _refuse_idle(part)
    _refuse_other_signatures(part)


def wants_of(procedure: Procedure, about: About) -> Mapping[str, Want]:
    """The parts that a procedure needs. Raises BrokenPlugin if it returns anything else."""
    wants = procedure.wants(about)
    if not isinstance(wants, Mapping) or not all(isinstance(want, Want) for want in wants.values()):
        what = "a dict of zoo.Want by the parts' names"
        raise broken(procedure, f"wants returns {kind_of(wants)}, and not {what}.", "wants")
    return wants


def phases_of(procedure: Procedure, parts: Parts) -> Sequence[Phase]:
    """The phases of an iteration. Raises BrokenPlugin if a procedure returns none, or some that cannot be run."""
    phases = procedure.phases(parts)
    if not isinstance(phases, (list, tuple)) or not phases or not all(isinstance(each, Phase) for each in phases):
        raise broken(procedure, f"phases returns {kind_of(phases)}, and not a list of zoo.Phase.", "phases")
    names = [phase.name for phase in phases]
    for phase in phases:
        if fault := _fault_of(phase, parts, names.count(phase.name)):
            raise broken(procedure, f"the {phase.name} phase {fault}.", "phases")
    return phases


def drawn_of(procedure: Procedure, parts: Parts, dataset: Dataset) -> Dataset:
    """What batches are drawn from. Raises BrokenPlugin if a procedure returns anything else."""
    drawn = procedure.drawn(parts, dataset)
    if not isinstance(drawn, Dataset):
        raise broken(procedure, f"drawn returns {kind_of(drawn)}, and not a data set.", "drawn")
    return drawn


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, (list, tuple, Mapping)):
        held = list(value.values()) if isinstance(value, Mapping) else value
        kind = type(value).__name__
        return f"a {kind} of {type(held[0]).__name__}" if len(held) else f"an empty {kind}"
    if value is None:
        return "nothing (is a 'return' missing?)"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _fault_of(phase: Phase, parts: Parts, same: int) -> str:
    if same > 1:
        return f"is there {same} times; phases have names of their own"
    if isinstance(phase.trains, str):
        return f"trains '{phase.trains}', and not a tuple of names; write ('{phase.trains}',)"
    unknown = [name for name in phase.trains if name not in parts]
    if unknown:
        near = difflib.get_close_matches(unknown[0], parts, n=1)
        return f"trains '{unknown[0]}', which is no part; the parts: {', '.join(near or parts)}"
    for name in ("steps", "every"):
        if type(value := getattr(phase, name)) is not int or value < 1:
            return f"has {name} = {value!r}, and not a whole number from 1"
    for name, given in (("loss", ["batch"]), ("after", [])):
        called = getattr(phase, name)
        if called is not None and not _takes(called, given):
            return f"has the {name} {signature(called)}, but it is called with ({', '.join(given)})"
    return ""


def _no_subclass(hook: str) -> str:
    base = BASES[hook]
    name = f"torch.nn.Module, better of zoo.{hook.title()}" if base is nn.Module else f"zoo.{base.__name__}"
    return f"it is on the hook {hook}, and no subclass of {name}."


def _refuse_unset(part: Any) -> None:
    for base, name, is_right, how in ATTRIBUTES:
        if isinstance(part, base) and not is_right(getattr(part, name, None)):
            said = f"it has {name} = {getattr(part, name)!r}" if hasattr(part, name) else f"it has no {name}"
            raise broken(part, f"{said}; {how}.", "__init__")


def _has_forward(network: nn.Module) -> bool:
    return getattr(network.forward, "__func__", None) is not nn.Module.forward


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(type(side) is int for side in value)


def _refuse_idle(part: Any) -> None:
    for base, moments in MOMENTS.items():
        if isinstance(part, base) and not any(getattr(type(part), each) is not getattr(base, each) for each in moments):
            raise broken(part, f"it does nothing: it defines none of {', '.join(moments)}.{_like(type(part), moments)}")


def _refuse_other_signatures(part: Any) -> None:
    """A method is called as that of the base class is."""
    for base in type(part).__mro__:
        if base.__module__.startswith("zoo."):
            for name, method in vars(base).items():
                if inspect.isfunction(method) and not name.startswith("_"):
                    _refuse_other_signature(part, name, _positional(method)[1:])


def _refuse_other_signature(part: Any, name: str, given: Sequence[str]) -> None:
    own = getattr(part, name)
    if callable(own) and not _takes(own, given):
        text = f"{name} takes {signature(own)}, but it is called with ({', '.join(given)})."
        raise broken(part, text, name)


def _positional(method: Callable[..., Any]) -> list[str]:
    return [name for name, each in signature(method).parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]


def _takes(function: Callable[..., Any], given: Sequence[str]) -> bool:
    try:
        signature(function).bind(*given)
    except TypeError:
        return False
    except ValueError:  # What is written in C does not say what it takes.
        return True
    return True


def _like(factory: Any, missing: Sequence[str]) -> str:
    """Which methods may have been meant for those that are missing."""
    own = [name for name in vars(factory) if not name.startswith("__")]
    found = [(each, name) for name in missing for each in difflib.get_close_matches(name, own, n=1, cutoff=0.7)]
    return " " + " ".join(f"Is its {each} meant to be {name}?" for each, name in found) if found else ""
