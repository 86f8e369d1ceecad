"""What installing a plugin would change: resolved, downloaded and inspected before anything is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from zoo.errors import BadPackage, InstallFailed
from zoo.index import Index, first_distributions
from zoo.install.choose import Chosen
from zoo.install.ledger import Installed, record, record_of
from zoo.install.pip import Sources, run_pip
from zoo.install.risks import installed_version, risks, unfit_requirements, unmet
from zoo.install.wheels import Wheel, read_wheel


@dataclass(frozen=True)
class Change:
    """One distribution that would be added or replaced.

    Attributes:
        wheel: The file that would be installed.
        before: The version that is installed now; empty if none is.
    """

    wheel: Wheel
    before: str


@dataclass(frozen=True)
class Plan:
    """What would change.

    Attributes:
        chosen: The plugin.
        changes: The plugin and what it pulls in, the plugin first; empty if it is installed already.
    """

    chosen: Chosen
    changes: tuple[Change, ...]


def make_plan(
    chosen: Chosen,
    sources: Sources,
    folder: Path,
    *,
    allow: Sequence[str] | None,
    again: bool = False,
    beside: Sequence[Wheel] = (),
) -> Plan:
    """Resolves what a plugin needs, and refuses what would harm the environment.

    Args:
        chosen: The plugin.
        sources: Where dependencies are fetched from.
        folder: Where they are put.
        allow: The installed distributions that may be changed; None for all.
        again: Whether the plugin is installed from this file although that version is there.
        beside: Plugins that will be installed too, each by its own plan; all must agree.

    Raises:
        BadPackage: It would change what is installed and may not, is no plugin, or holds a risk.
        InstallFailed: Its dependencies cannot be resolved from wheels.
    """
    _refuse(chosen.wheel, [*risks(chosen.wheel), *unfit_requirements(chosen.wheel)])
    if not chosen.wheel.entries:
        raise BadPackage(f"{chosen.wheel.name} {chosen.wheel.version} is no plugin: it declares no zoo entry point.")
    if allow is not None:
        _refuse(chosen.wheel, unmet(chosen.wheel, allow), "--allow-changes lets it change them.")
    names = {wheel.name for wheel in beside} - {chosen.wheel.name}
    resolved = [item for item in _resolved(chosen.wheel, sources, beside) if _name(item) not in names]
    changes = _changes(chosen.wheel, resolved, sources, folder, again)
    for change in changes:
        if change.before and allow is not None and change.wheel.name not in allow:
            way = "--upgrade" if change.wheel is chosen.wheel else "--allow-changes"
            raise BadPackage(
                f"{change.wheel.name} {change.before} is installed and would become {change.wheel.version}; nothing "
                f"was changed. {way} allows it."
            )
        if change.wheel is not chosen.wheel:
            _inspect_dependency(chosen.wheel, change.wheel)
    _refuse_overlap(changes)
    return Plan(chosen, changes)


def carry_out(plan: Plan, folder: Path) -> None:
    """Installs exactly the files of a plan, and checks that the plugin is there. Raises InstallFailed."""
    wheel = plan.chosen.wheel
    if plan.changes:
        files = folder / "files"
        files.mkdir()
        for change in plan.changes:
            shutil.copy(change.wheel.path, files)
        requirements = _pinned(plan.changes, folder / "install.txt")
        # From one folder and by hash: no name is looked up anywhere. Given as paths, the packages would have this
        # temporary folder written into their metadata, and `pip freeze` would name it ever after.
        only_these = ["--no-index", "--find-links", str(files), "--require-hashes", "--requirement", str(requirements)]
        run_pip("install", "--no-deps", "--force-reinstall", *only_these, alone=True)
    present = {(e.hook, e.name, e.version) for e in _present() if e.dist == wheel.name}
    if present != {(e.hook, e.name, e.version) for e in wheel.entries}:
        raise InstallFailed(f"{wheel.name} {wheel.version} was installed, but its components are not there.")
    if plan.changes:
        metadata = next(folder for name, _, folder in first_distributions() if name == wheel.name)
        origin, listing = plan.chosen.origin, record_of(metadata)
        record(wheel.name, Installed(wheel.version, wheel.path.name, wheel.sha256, origin, listing))


def _present() -> list[Any]:
    index = Index.scan()
    return [*index.entries, *index.disabled]


def _resolved(wheel: Wheel, sources: Sources, beside: Sequence[Wheel]) -> list[Mapping[str, Any]]:
    """What the installer would install for a wheel, with the hash of each file; nothing is installed."""
    files = dict.fromkeys(str(each.path.resolve()) for each in (wheel, *beside))
    arguments = ("--dry-run", "--quiet", "--report", "-", *files)
    try:
        report = run_pip("install", *arguments, sources=sources)
    except InstallFailed as error:
        raise InstallFailed(
            f"what {wheel.name} {wheel.version} needs cannot be had as wheels (nothing is built from source): {error}"
        ) from error
    installs: list[Mapping[str, Any]] = json.loads(report)["install"]
    return installs


def _changes(
    wheel: Wheel, resolved: Sequence[Mapping[str, Any]], sources: Sources, folder: Path, again: bool
) -> tuple[Change, ...]:
    named = [(_name(item), item) for item in resolved]
    needed = [(name, item["metadata"]["version"], _sha256(item)) for name, item in named if name != wheel.name]
    itself = [Change(wheel, installed_version(wheel.name))] if again or wheel.name in dict(named) else []
    return (*itself, *_dependencies(needed, sources, folder))


def _name(item: Mapping[str, Any]) -> str:
    return canonicalize_name(item["metadata"]["name"])


def _sha256(item: Mapping[str, Any]) -> str:
    name = f"{item['metadata']['name']} {item['metadata']['version']}"
    if item["is_direct"]:
        raise BadPackage(f"the dependency {name} is fetched from an address of its own and not from a package index.")
    sha256: str = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")
    if not sha256:
        raise BadPackage(f"there is no sha256 for the dependency {name}, so it cannot be checked.")
    return sha256


def _dependencies(needed: Sequence[tuple[str, str, str]], sources: Sources, folder: Path) -> list[Change]:
    if not needed:
        return []
    requirements, into = folder / "dependencies.txt", folder / "dependencies"
    requirements.write_text("".join(f"{n}=={v} --hash=sha256:{h}\n" for n, v, h in needed), encoding="utf-8")
    arguments = ("--no-deps", "--require-hashes", "--dest", str(into), "--requirement", str(requirements))
    run_pip("download", *arguments, sources=sources)
    wheels = [read_wheel(path) for path in sorted(into.glob("*.whl"))]
    return [Change(wheel, installed_version(wheel.name)) for wheel in wheels]


def _refuse_overlap(changes: Sequence[Change]) -> None:
    """Refuses a file that two of the packages would write: the one would overwrite the other's."""
    givers: dict[Path, str] = {}
    for change in changes:
        for file in set(change.wheel.destinations):
            if givers.setdefault(file, change.wheel.name) != change.wheel.name:
                _refuse(change.wheel, [f"it would overwrite {file} of {givers[file]}"])


def _inspect_dependency(plugin: Wheel, wheel: Wheel) -> None:
    if wheel.entries:
        raise BadPackage(
            f"{plugin.name} pulls in {wheel.name} {wheel.version}, which is a plugin itself. "
            f"Install that one first, by its name: zoo install {wheel.name}."
        )
    _refuse(wheel, risks(wheel), f"{plugin.name} needs it.")


def _refuse(wheel: Wheel, reasons: Sequence[str], advice: str = "") -> None:
    if reasons:
        listed = "".join(f"\n  {reason}" for reason in reasons)
        raise BadPackage(f"{wheel.name} {wheel.version} is refused; nothing was changed:{listed}\n{advice}".rstrip())


def _pinned(changes: Sequence[Change], path: Path) -> Path:
    lines = (f"{change.wheel.name}=={change.wheel.version} --hash=sha256:{change.wheel.sha256}\n" for change in changes)
    path.write_text("".join(lines), encoding="utf-8")
    return path
