"""A wheel, read without being installed: what it is, what it provides, and where its files would go."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
import posixpath
import sysconfig
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from zoo.errors import BadPackage, UsageError
from zoo.index import Entry, read_entries

ENTRY_POINTS = "entry_points.txt"
SCHEMES = ("purelib", "platlib", "headers", "scripts", "data")
"""Places that a `.data` folder may name; the installer fails at any other, halfway."""
DAMAGES = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError)
"""What reading a damaged, encrypted or malformed wheel raises."""


@dataclass(frozen=True)
class Wheel:
    """One wheel file.

    Attributes:
        path: Where it lies.
        name: The distribution, in its normal form.
        version: As in its metadata.
        sha256: Of the whole file, in hexadecimal.
        entries: The components that it declares.
        info: The name of its metadata folder.
        requires: Its requirements, as in its metadata.
        metadata: Its other metadata, such as `Summary`.
        destinations: Where each of its files would be written in this environment.
        scripts: The names of the commands that it would install, as it writes them.
    """

    path: Path
    name: str
    version: str
    sha256: str
    entries: tuple[Entry, ...]
    info: str
    requires: tuple[str, ...]
    metadata: importlib.metadata.PackageMetadata
    destinations: tuple[Path, ...]
    scripts: tuple[str, ...]

    @property
    def provides(self) -> dict[str, tuple[str, ...]]:
        """The names that it declares, in order, by hook."""
        hooks = sorted({entry.hook for entry in self.entries})
        return {hook: tuple(sorted(e.name for e in self.entries if e.hook == hook)) for hook in hooks}

    @property
    def apis(self) -> set[int]:
        """The major versions of the plugin API that it is written for."""
        return {entry.api for entry in self.entries}


def read_wheel(path: Path) -> Wheel:
    """Reads a wheel. Raises UsageError if there is none; BadPackage if it is damaged or not what its name says."""
    if not path.is_file():
        raise UsageError(f"there is no wheel '{path}'.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except DAMAGES as error:
        raise BadPackage(f"{path.name} is not a usable wheel: {error}.") from error


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_wheel(folder: Path, into: Path) -> Path:
    """Builds the wheel of a source folder, which runs that folder's build code.

    Raises:
        UsageError: There is no pyproject.toml.
        BadPackage: The build fails; what it printed last is shown.
    """
    if not (folder / "pyproject.toml").is_file():
        raise UsageError(f"'{folder}' is no package: it has no pyproject.toml.")
    into.mkdir(parents=True, exist_ok=True)
    from zoo.install.pip import run_pip

    run_pip("wheel", "--no-deps", *_isolation(folder), "--wheel-dir", str(into), str(folder.resolve()))
    return next(into.glob("*.whl"))


def _isolation(folder: Path) -> list[str]:
    """Without an isolated environment where what the build needs is already here: quicker, and works offline."""
    import tomllib

    from packaging.requirements import Requirement

    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        needs = [Requirement(need) for need in table["build-system"]["requires"]]
        here = all(need.specifier.contains(importlib.metadata.version(need.name)) for need in needs)
    except (KeyError, ValueError, importlib.metadata.PackageNotFoundError):
        return []
    return ["--no-build-isolation"] if here else []


def _read(path: Path, archive: zipfile.ZipFile) -> Wheel:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise ValueError(str(error)) from error
    info = _dist_info(archive)
    distribution = importlib.metadata.PathDistribution(zipfile.Path(archive, f"{info}/"))
    inside = (distribution.metadata["Name"] or "no name", distribution.version or "and no version")
    if canonicalize_name(inside[0]) != name or inside[1] != str(version):
        raise ValueError(f"inside it is {' '.join(inside)}")
    _refuse_folder_of_another(info, name)
    _refuse_false_record(archive, info)
    if damaged := archive.testzip():
        raise ValueError(f"'{damaged}' in it is damaged")
    text = archive.read(f"{info}/{ENTRY_POINTS}").decode() if f"{info}/{ENTRY_POINTS}" in archive.namelist() else ""
    return Wheel(
        path=path,
        name=name,
        version=str(version),
        sha256=sha256_of(path),
        entries=tuple(read_entries(text, name, str(version))),
        info=info,
        requires=tuple(distribution.requires or ()),
        metadata=distribution.metadata,
        destinations=tuple(_destinations(archive, name)),
        scripts=tuple(_scripts(archive, distribution)),
    )


def _dist_info(archive: zipfile.ZipFile) -> str:
    folders = {name.split("/")[0] for name in archive.namelist() if name.split("/")[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise ValueError(f"it has {len(folders)} .dist-info folders")
    return folders.pop()


def _refuse_folder_of_another(info: str, name: str) -> None:
    """The zoo knows an installed distribution by the name of this folder, without opening a file."""
    if canonicalize_name(info.partition("-")[0]) != name:
        raise ValueError(f"its metadata folder is {info}")


def _refuse_false_record(archive: zipfile.ZipFile, info: str) -> None:
    """Its list of files may hold no other's: the installer would delete those with it."""
    members = set(archive.namelist())
    rows = csv.reader(archive.read(f"{info}/RECORD").decode().splitlines())
    for file in (row[0] for row in rows if row):
        if file not in members and (".." in file.split("/") or not file.startswith(f"{info}/")):
            raise ValueError(f"its RECORD lists '{file}', which it does not hold")


def _destinations(archive: zipfile.ZipFile, name: str) -> Iterator[Path]:
    schemes = sysconfig.get_paths()
    python = f"python{sysconfig.get_python_version()}"
    schemes["headers"] = os.path.join(schemes["data"], "include", "site", python, name)
    for member in archive.namelist():
        if not member.endswith("/"):
            yield _destination(member, schemes)


def _destination(member: str, schemes: Mapping[str, str]) -> Path:
    place, inside = schemes["purelib"], member
    first, _, rest = member.partition("/")
    if first.endswith(".data"):
        scheme, _, inside = rest.partition("/")
        if scheme not in SCHEMES:
            raise ValueError(f"'{member}' is for no place that an installer knows")
        place = schemes[scheme]
    if posixpath.isabs(inside) or "\\" in inside or ".." in inside.split("/"):
        raise ValueError(f"it writes outside of the environment: '{member}'")
    return real(Path(place, inside))


def real(file: Path) -> Path:
    """The file by the true path of its folder: an environment's `lib64` may be its `lib`."""
    return Path(os.path.realpath(file.parent), file.name)


def _scripts(archive: zipfile.ZipFile, distribution: importlib.metadata.Distribution) -> Iterator[str]:
    for point in distribution.entry_points:
        if point.group in ("console_scripts", "gui_scripts"):
            yield point.name
    for member in archive.namelist():
        if ".data/scripts/" in member and not member.endswith("/"):
            yield posixpath.basename(member)
