"""Checks of settings: their types, documentation, defaults and ranges."""

from __future__ import annotations

import inspect
import tomllib
from typing import Any, Literal, get_args, get_origin

import tomli_w

from zoo.errors import BadSetting, BrokenPlugin, MissingPackage
from zoo.hookspecs import HOOKS
from zoo.settings import SettingSpec, context_of, resolve, settings_of
from zoo.testing.checks import Failed, Subject, check, require

BUILT = tuple(hook for hook in HOOKS if hook != "variant")
ALONE = ("distance", "lipschitz_constraint", "metric")
"""Hooks whose components are built from nothing but their settings."""


class _Nothing:
    """A value that no setting can have."""


def _settings(subject: Subject) -> dict[str, SettingSpec]:
    try:
        return settings_of(subject.factory)
    except BrokenPlugin as error:
        raise Failed(str(error)) from error
    except NameError as error:
        raise Failed(f"the types of its settings cannot be read: {error}.") from error


@check(*BUILT)
def documented(subject: Subject) -> None:
    """The component has a docstring, and each setting a meaning: `zoo show` prints them."""
    text = vars(subject.factory).get("__doc__") if inspect.isclass(subject.factory) else subject.factory.__doc__
    require((text or "").strip(), "it has no docstring of its own; say what it is and where it comes from.")
    bare = [name for name, spec in _settings(subject).items() if not spec.setting.meaning.strip()]
    require(not bare, f"the settings {bare} have no meaning; write Annotated[float, Setting('what it does')].")


@check(*BUILT)
def settings(subject: Subject) -> None:
    """Settings have legal types; defaults are of their type and range and survive TOML; wrong values are refused."""
    specs = _settings(subject)
    table = {name: _plain(spec.default) for name, spec in specs.items()}
    try:
        resolved = resolve(subject.factory, tomllib.loads(tomli_w.dumps(table)), subject.name)
    except BadSetting as error:
        raise Failed(f"a default is not a value that a recipe may have: {error}") from error
    for name, spec in specs.items():
        require(
            _plain(resolved[name]) == table[name],
            f"the default of '{name}' is {spec.default!r}, but {resolved[name]!r} when it is read from a recipe.",
        )
        _require_refusal(spec, subject.name)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return "none" if value is None else value


def _require_refusal(spec: SettingSpec, where: str) -> None:
    try:
        spec.check(_Nothing(), where)
    except BadSetting:
        return
    raise Failed(f"the setting '{spec.name}' of type {spec.type_name} takes a value that is none of that type.")


@check(*ALONE)
def builds(subject: Subject) -> None:
    """It is built with its defaults, and with every choice of each setting that has choices."""
    wanted = context_of(subject.factory)
    require(
        not wanted,
        f"it wants {wanted}, which the core does not give to a {subject.hook}; settings stand after `*`.",
    )
    for values in [{}, *_choices(subject)]:
        try:
            subject.factory(**values)
        except MissingPackage:
            continue
        except Exception as error:
            how = ", ".join(f"{name}={value!r}" for name, value in values.items()) or "its defaults"
            raise Failed(f"it cannot be built with {how}: {type(error).__name__}: {error}") from error


def _choices(subject: Subject) -> list[dict[str, Any]]:
    specs = _settings(subject).values()
    literal = [spec for spec in specs if get_origin(spec.type) is Literal]
    return [{spec.name: choice} for spec in literal for choice in get_args(spec.type)]
