"""Settings of a component: read from its factory's signature, validated before anything is built."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from zoo.errors import BadSetting, BrokenPlugin, UnknownName
from zoo.toml import fits

RESERVED = ("name", "every")
"""Words that a recipe uses beside a component's settings."""
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Setting:
    """The meaning and range of a setting: `lr: Annotated[float, Setting("step size", gt=0)] = 1e-3`."""

    meaning: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def broken_bound(self, value: float) -> str | None:
        """The bound that `value` breaks, in words, or None."""
        if self.ge is not None and not value >= self.ge:
            return f"at least {self.ge:g}"
        if self.gt is not None and not value > self.gt:
            return f"greater than {self.gt:g}"
        if self.le is not None and not value <= self.le:
            return f"at most {self.le:g}"
        if self.lt is not None and not value < self.lt:
            return f"less than {self.lt:g}"
        return None

    @property
    def range(self) -> str:
        """The bounds as text, such as `>= 0, < 1`; empty when there are none."""
        bounds = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class SettingSpec:
    """One setting of one factory."""

    name: str
    type: Any
    default: Any
    setting: Setting

    @property
    def type_name(self) -> str:
        """The type as a user would write it: `float`, `"a" | "b"`, `list of int`."""
        return type_name(self.type)

    def check(self, value: Any, where: str) -> Any:
        """The value as the factory wants it. Raises BadSetting naming `where`."""
        value = _coerce(value, self.type, f"{where}.{self.name}")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                bound = self.setting.broken_bound(number)
                if bound:
                    raise BadSetting(f"{where}.{self.name} must be {bound}, not {number!r}.")
        return value


def settings_of(factory: Callable[..., Any]) -> dict[str, SettingSpec]:
    """The keyword-only parameters of `factory`, in order. Raises BrokenPlugin for an illegal one."""
    specs = {}
    hints = _hints(factory)
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            specs[name] = _spec(factory, name, parameter, hints.get(name, Any))
    return specs


def context_of(factory: Callable[..., Any]) -> list[str]:
    """The names of the ordinary parameters of `factory`: what it is given by the core, by name."""
    ordinary = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return [n for n, p in inspect.signature(factory).parameters.items() if p.kind in ordinary]


def resolve(factory: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every setting of `factory`: the given values, checked, and the defaults of the others.

    Raises:
        UnknownName: A setting that the factory does not have.
        BadSetting: A value of the wrong type or out of range.
    """
    specs = settings_of(factory)
    for name in given:
        if name not in specs:
            ordinary = "It is an ordinary parameter, and settings are keyword-only: they stand behind a *."
            raise UnknownName(f"setting of {where}", name, specs, ordinary if name in context_of(factory) else "")
    return {name: spec.check(given[name], where) if name in given else spec.default for name, spec in specs.items()}


def type_name(kind: Any) -> str:
    """A type as a user would write it."""
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in get_args(kind))
    if origin in (Union, types.UnionType):
        return " | ".join('"none"' if choice is type(None) else type_name(choice) for choice in get_args(kind))
    if origin in (list, Sequence):
        return f"list of {type_name(get_args(kind)[0])}"
    return getattr(kind, "__name__", str(kind))


def _spec(factory: Callable[..., Any], name: str, parameter: inspect.Parameter, hint: Any) -> SettingSpec:
    setting = Setting()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        setting = next((note for note in notes if isinstance(note, Setting)), setting)
    label = getattr(factory, "__qualname__", repr(factory))
    if parameter.default is inspect.Parameter.empty:
        raise BrokenPlugin(f"setting '{name}' of {label} has no default; every setting needs one.")
    if name in RESERVED:
        raise BrokenPlugin(f"setting '{name}' of {label}: that word is the recipe's own; call the setting otherwise.")
    if not _legal(hint):
        raise BrokenPlugin(
            f"setting '{name}' of {label} has type {type_name(hint)}; "
            "use bool, int, float, str, Literal, or a list or Optional of these."
        )
    return SettingSpec(name, hint, parameter.default, setting)


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    target = factory.__init__ if inspect.isclass(factory) else factory
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        label = getattr(factory, "__qualname__", repr(factory))
        raise BrokenPlugin(f"a type in the signature of {label} cannot be read: {error}.") from error


def _legal(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return all(choice is type(None) or _legal(choice) for choice in get_args(kind))
    if origin in (list, Sequence):
        return _legal(get_args(kind)[0])
    return origin is Literal or kind in _SCALARS


def _coerce(value: Any, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _coerce_union(value, get_args(kind), where)
    if origin in (list, Sequence):
        if not isinstance(value, (list, tuple)):
            raise BadSetting(f"{where} must be a {type_name(kind)}, not {value!r}.")
        return [_coerce(item, get_args(kind)[0], where) for item in value]
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(kind)):
            raise BadSetting(f"{where} must be one of {type_name(kind)}, not {value!r}.")
        return value
    return _coerce_scalar(value, kind, where)


def _coerce_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if type(None) in choices and (value is None or value == "none"):
        return None
    for choice in choices:
        if choice is not type(None):
            try:
                return _coerce(value, choice, where)
            except BadSetting:
                continue
    names = " or ".join('"none"' if choice is type(None) else type_name(choice) for choice in choices)
    raise BadSetting(f"{where} must be {names}, not {value!r}.")


def _coerce_scalar(value: Any, kind: type, where: str) -> Any:
    if not fits(value):
        raise BadSetting(f"{where} is too large a number.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise BadSetting(f"{where} must be a {type_name(kind)}, not {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadSetting(f"{where} must be a finite number, not {value!r}.")
    return value
