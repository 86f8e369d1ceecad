"""The table that a catalogue needs for a wheel."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from zoo import __version__
from zoo.catalogue.conventions import breaches
from zoo.catalogue.entries import RESULTS, SCHEMA
from zoo.catalogue.schema import mistakes
from zoo.errors import BadPackage, UsageError
from zoo.install.states import CORE
from zoo.install.wheels import Wheel, read_wheel

LINKS = ("repository", "source", "source code", "homepage")
"""Labels under which a package may name its source."""


def table_of(path: Path, owners: Sequence[str], repository: str | None = None, *, conforms: bool | None = None) -> str:
    """The TOML text of the table for a wheel, ready to be put into a catalogue.

    Args:
        path: The wheel that is to be published.
        owners: The accounts that answer for it.
        repository: Where its source is; taken from its metadata if None.
        conforms: What the conformance kit said here; None if it was not asked.

    Raises:
        BadPackage: The wheel is no plugin, or something in it breaks a rule of the catalogue.
        UsageError: It does not say where its source is.
    """
    wheel = read_wheel(path)
    if not wheel.entries or len(wheel.apis) != 1:
        raise BadPackage(f"{path.name} declares components for {len(wheel.apis)} plugin APIs; it must be one.")
    plugin: dict[str, Any] = {
        "name": wheel.name,
        "summary": str(wheel.metadata["Summary"] or ""),
        "repository": repository or _repository(wheel),
        "owners": list(owners),
        "tier": "community",
        "status": "active",
        "api": next(iter(wheel.apis)),
        "provides": {hook: list(names) for hook, names in wheel.provides.items()},
        "release": [_release(wheel)],
    }
    if conforms is not None:
        plugin["tested"] = [_tested(wheel, conforms)]
    tables = {"schema": SCHEMA, "name": "a-catalogue", "plugin": [plugin]}
    found = mistakes(tables) or breaches(tables)
    if found:
        listed = "".join(f"\n  {'.'.join(map(str, m.path[2:]))} {m.text}" for m in found)
        raise BadPackage(f"{path.name} cannot be listed as it is:{listed}")
    return tomli_w.dumps({"plugin": [plugin]})


def _release(wheel: Wheel) -> dict[str, str]:
    return {
        "version": wheel.version,
        "requires-zoo": _requires_zoo(wheel),
        "wheel": wheel.path.name,
        "sha256": wheel.sha256,
    }


def _tested(wheel: Wheel, conforms: bool) -> dict[str, str]:
    # A build of torch for one device has a local version, such as 2.15.0+cpu, which says nothing of the plugin.
    torch = Version(version("torch")).public
    return {"version": wheel.version, "zoo": __version__, "torch": torch, "result": RESULTS[0 if conforms else 1]}


def _requires_zoo(wheel: Wheel) -> str:
    for text in wheel.requires:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == CORE and requirement.specifier:
            # A floor reads better before its ceiling.
            return ",".join(sorted(map(str, requirement.specifier), key=lambda bound: bound.startswith("<")))
    raise BadPackage(f'{wheel.path.name} does not require a range of {CORE}; add "{CORE}>=0.1,<1" to dependencies.')


def _repository(wheel: Wheel) -> str:
    links = [text.split(",", 1) for text in wheel.metadata.get_all("Project-URL") or ()]
    named: dict[str, str] = {label.strip().lower(): address.strip() for label, address in links}
    for label in LINKS:
        if label in named:
            return named[label]
    raise UsageError(f"{wheel.path.name} does not say where its source is: add --repository https://...")
