"""From what the user names to one wheel file, checked against the catalogue that lists it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from zoo import __version__
from zoo.catalogue import CatalogueEntry, Catalogues, Release
from zoo.environment import normalized
from zoo.errors import BadPackage, InstallFailed, UnknownName, UsageError
from zoo.hookspecs import API
from zoo.install.ledger import UNLISTED
from zoo.install.pip import Sources, run_pip
from zoo.install.wheels import Wheel, build_wheel, read_wheel

TARGET = re.compile(r"(?P<name>(?:[\w.-]+/)?[A-Za-z0-9][\w.-]*)(?:==(?P<version>[\w.!+-]+))?")
MEANING = (
    "no catalogue lists it: nobody has looked at it, and no hash says that the file is the one its author made. "
    "A plugin is a program that does with your account what it likes"
)
WHAT_UNLISTED_IS = f"{MEANING}. If you trust its author, add --unlisted."


@dataclass(frozen=True)
class Chosen:
    """A wheel that is to be installed.

    Attributes:
        wheel: The file.
        origin: `catalogue/name`, or `unlisted`.
        warnings: What the user should read before agreeing.
    """

    wheel: Wheel
    origin: str
    warnings: tuple[str, ...] = ()


def choose(target: str, catalogues: Catalogues, sources: Sources, folder: Path, *, unlisted: bool) -> Chosen:
    """Fetches, or builds, the wheel that `target` names, and checks it.

    Args:
        target: `NAME`, `NAME==VERSION`, `CATALOGUE/NAME`, a wheel file or a source folder (`./folder`).
        catalogues: Where names are looked up.
        sources: Where files are fetched from.
        folder: Where they are put.
        unlisted: Whether something may be installed that no catalogue lists.

    Raises:
        UsageError: The target cannot be understood or found, or is not listed.
        BadPackage: The catalogue forbids it, or the file is not what the catalogue says.
        InstallFailed: It cannot be fetched.
    """
    if is_path(target):
        try:
            return _local(Path(target).expanduser(), catalogues, folder, unlisted=unlisted)
        except (OSError, RuntimeError) as error:
            raise UsageError(f"'{target}' cannot be read: {str(error).rstrip('.')}.") from error
    match = TARGET.fullmatch(target)
    if match is None:
        raise UsageError(f"'{target}' is neither NAME, NAME==VERSION nor a path such as ./folder or file.whl.")
    catalogue, slash, name = match["name"].rpartition("/")
    name, version = f"{catalogue}{slash}{normalized(name)}", match["version"] or ""
    if catalogues.named(name):
        return _listed(catalogues.find(name), version, sources, folder)
    if slash or not unlisted:
        hint = "" if slash else f"Since {WHAT_UNLISTED_IS}"
        raise UnknownName("plugin of the catalogue", name, _names(catalogues), hint)
    wheel = fetch(name, version, "", sources, folder)
    return Chosen(wheel, UNLISTED, (f"{wheel.name}: {MEANING}.",))


def is_path(target: str) -> bool:
    """Whether a target is a file or folder; a folder in the current one is written `./folder`."""
    return target.endswith((".whl", "/", os.sep)) or target.startswith((".", "/", "~"))


def fetch(name: str, version: str, sha256: str, sources: Sources, folder: Path) -> Wheel:
    """Downloads one wheel; only one with that hash if `sha256` is given. Raises InstallFailed or BadPackage."""
    wanted = f"{name}=={version}" if version else name
    requirements = folder / f"{name}.fetch.txt"
    requirements.write_text(f"{wanted} --hash=sha256:{sha256}\n" if sha256 else f"{wanted}\n", encoding="utf-8")
    into = folder / f"fetched-{name}"
    try:
        run_pip("download", "--no-deps", "--dest", str(into), "--requirement", str(requirements), sources=sources)
    except InstallFailed as error:
        if "DO NOT MATCH THE HASHES" in str(error):
            raise BadPackage(f"the file of {wanted} that is served is not the one that is listed:\n{error}") from error
        raise InstallFailed(f"{wanted} cannot be fetched as a wheel: {error}") from error
    return read_wheel(next(into.glob("*.whl")))


def _listed(entry: CatalogueEntry, version: str, sources: Sources, folder: Path) -> Chosen:
    release = _release(entry, version)
    wheel = fetch(entry.name, release.version, release.sha256, sources, folder)
    _compare(wheel, entry, release)
    return Chosen(wheel, entry.qualified, _warnings(entry))


def _release(entry: CatalogueEntry, version: str) -> Release:
    _refuse_status(entry)
    if entry.api != API:
        raise BadPackage(f"{entry.qualified} needs plugin API v{entry.api}; this zoo has v{API}.")
    if not entry.releases:
        raise BadPackage(
            f"{entry.qualified} has no published release, so there is no sha256 to check a file against. "
            f"{_source_way(entry)}"
        )
    found = entry.release(version) if version else _newest(entry.releases)
    if found is None:
        known = ", ".join(f"{release.version} (zoo {release.requires_zoo})" for release in entry.releases)
        wanted = f"release {version}" if version else f"release for zoo {__version__}"
        raise UsageError(f"{entry.qualified} has no {wanted}; it has {known}.")
    return found


def _newest(releases: Sequence[Release]) -> Release | None:
    fitting = [release for release in releases if __version__ in SpecifierSet(release.requires_zoo)]
    return max(fitting, key=lambda release: Version(release.version), default=None)


def _local(path: Path, catalogues: Catalogues, folder: Path, *, unlisted: bool) -> Chosen:
    if path.is_dir():
        if not unlisted:
            raise UsageError(
                f"'{path}' is a source folder; no catalogue can vouch for what is built from it, and building runs its "
                "code. If you trust its author, add --unlisted."
            )
        wheel = read_wheel(build_wheel(path, folder / "built"))
        for entry in catalogues.named(wheel.name):
            _refuse_status(entry)
        return Chosen(wheel, UNLISTED, (f"{wheel.name}: {MEANING}.",))
    wheel = _own_copy(path, folder)
    for entry in catalogues.named(wheel.name):
        _refuse_status(entry)
        release = entry.release(wheel.version)
        if release:
            _compare(wheel, entry, release)
            return Chosen(wheel, entry.qualified, _warnings(entry))
    if not unlisted:
        raise UsageError(f"{wheel.name} {wheel.version}: {WHAT_UNLISTED_IS}")
    return Chosen(wheel, UNLISTED, (f"{wheel.name}: {MEANING}.",))


def _own_copy(path: Path, folder: Path) -> Wheel:
    """The wheel, read from a copy that nobody else can change between the check and the installation."""
    if not path.is_file():
        raise UsageError(f"there is no wheel '{path}'.")
    return read_wheel(Path(shutil.copy(path, folder)))


def _compare(wheel: Wheel, entry: CatalogueEntry, release: Release) -> None:
    """Refuses a file that is not the listed one, or that offers other names than are listed."""
    if wheel.sha256 != release.sha256:
        raise BadPackage(
            f"{wheel.path.name} is not the file that {entry.qualified} {release.version} lists: its sha256 is "
            f"{wheel.sha256}, that of the catalogue {release.sha256}."
        )
    if wheel.path.name != release.wheel:
        raise BadPackage(f"the catalogue lists {release.wheel} for {entry.qualified}, not {wheel.path.name}.")
    listed = {(hook, name) for hook, names in entry.provides.items() for name in names}
    provided = {(e.hook, e.name) for e in wheel.entries}
    newest = release == max(entry.releases, key=lambda other: Version(other.version))
    # An older release may offer less than the catalogue lists now, but nothing else.
    if not provided or provided - listed or (newest and listed - provided) or wheel.apis != {entry.api}:
        raise BadPackage(
            f"{wheel.path.name} declares {_shown(provided)}, but {entry.qualified} is to provide {_shown(listed)}."
        )


def _refuse_status(entry: CatalogueEntry) -> None:
    if entry.refusal:
        raise BadPackage(f"{entry.refusal}.")


def _source_way(entry: CatalogueEntry) -> str:
    if "://" in entry.repository:
        return f"Its source is {entry.repository}."
    here = f"zoo install ./{entry.repository} --unlisted"
    return f"Its source is {entry.repository} in the repository of its catalogue; there: {here}."


def _warnings(entry: CatalogueEntry) -> tuple[str, ...]:
    return (f"{entry.qualified} is deprecated: {entry.reason}",) if entry.status == "deprecated" else ()


def _shown(provided: set[tuple[str, str]]) -> str:
    return ", ".join(f"{hook} '{name}'" for hook, name in sorted(provided)) or "nothing"


def _names(catalogues: Catalogues) -> list[str]:
    return [entry.name for entry in catalogues.entries]
