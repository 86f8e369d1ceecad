"""The set of plugins of an environment, with hashes: written by `zoo freeze`, put back by `zoo sync`."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from zoo import __version__
from zoo.catalogue.schema import NAME, SHA256
from zoo.environment import kept_disabled
from zoo.errors import BadLock, ZooError
from zoo.index import first_distributions
from zoo.install.ledger import installed_file, origin_of
from zoo.install.states import CORE, installed_plugins

SCHEMA = 1
FIELDS: Mapping[str, type] = {"name": str, "version": str, "wheel": str, "sha256": str, "disabled": bool}


@dataclass(frozen=True)
class Locked:
    """One plugin of a lock file.

    Attributes:
        name: The distribution.
        version: Its version.
        wheel: The name of its wheel file.
        sha256: The hash of that file.
        disabled: Whether it was disabled.
    """

    name: str
    version: str
    wheel: str
    sha256: str
    disabled: bool = False


def frozen() -> tuple[list[Locked], list[str]]:
    """The plugins of this environment; and those whose file nobody wrote down, each with the reason."""
    folders = {name: metadata for name, _, metadata in first_distributions()}
    locked, unknown = [], []
    for name, version in sorted(installed_plugins().items()):
        file = installed_file(name, version, folders[name])
        origin = origin_of(name, version, folders[name])
        if origin == "core":
            continue
        if file is None:
            way = "it is editable" if origin == "editable" else "it was not installed by zoo install"
            unknown.append(f"{name} {version}: {way}, so the hash of its wheel is not known")
        else:
            locked.append(Locked(name, version, *file, disabled=name in kept_disabled()))
    return locked, unknown


def written(locked: list[Locked]) -> str:
    """The text of a lock file."""
    head = {"schema": SCHEMA, "zoo": __version__, "python": ".".join(map(str, sys.version_info[:2]))}
    return tomli_w.dumps({**head, "plugin": [asdict(plugin) for plugin in locked]})


def read_lock(path: Path) -> list[Locked]:
    """The plugins of a lock file. Raises BadLock with what is wrong in which table."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadLock(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BadLock(f"{path} is no lock file: {error}.") from error
    if tables.get("schema") != SCHEMA:
        raise BadLock(f"{path} has schema {tables.get('schema')!r}; this zoo reads schema {SCHEMA}.")
    plugins = tables.get("plugin", [])
    if not isinstance(plugins, list):
        raise BadLock(f"{path}: 'plugin' must be a list of tables.")
    locked = [_locked(table, f"{path}: plugin {number}") for number, table in enumerate(plugins, 1)]
    if len({plugin.name for plugin in locked}) < len(locked):
        raise BadLock(f"{path} names a plugin twice.")
    return locked


def _locked(table: Any, where: str) -> Locked:
    if not isinstance(table, dict) or table.keys() != FIELDS.keys():
        raise BadLock(f"{where} must have the fields {', '.join(FIELDS)}.")
    for field, kind in FIELDS.items():
        if not isinstance(table[field], kind):
            raise BadLock(f"{where}: '{field}' must be {kind.__name__}, not {table[field]!r}.")
    _refuse_meaningless(table, where)
    return Locked(**table)


def _refuse_meaningless(table: Mapping[str, Any], where: str) -> None:
    """These words become paths and requirements of the installer, so they may be nothing but what they stand for."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    name, version = table["name"], table["version"]
    try:
        wheel = parse_wheel_filename(table["wheel"])
    except InvalidWheelFilename as error:
        raise BadLock(f"{where}: {error}.") from error
    if (wheel[0], str(wheel[1])) != (name, version) or os.path.basename(table["wheel"]) != table["wheel"]:
        raise BadLock(f"{where}: {table['wheel']!r} is no wheel of {name!r} {version!r}.")
    if not NAME.fullmatch(name) or name == CORE:
        raise BadLock(f"{where}: {name!r} is no plugin's name.")
    if not SHA256.fullmatch(table["sha256"]):
        raise BadLock(f"{where}: 'sha256' must be 64 hexadecimal digits, not {table['sha256']!r}.")


def refuse_unknown(unknown: list[str]) -> None:
    """Raises ZooError if there are plugins whose file nobody wrote down."""
    if unknown:
        listed = "".join(f"\n  {text}" for text in unknown)
        raise ZooError(f"these plugins cannot be frozen; --partial leaves them out:{listed}")
