"""What a wheel would do to an environment beside adding its own package: found before anything is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from zoo.environment import state_folder
from zoo.index import first_distributions
from zoo.install.ledger import source_folder
from zoo.install.wheels import Wheel, real

STARTUP = {".pth", ".start"}
"""Suffixes of files in a site folder that Python reads, and may execute, whenever it starts."""
STARTUP_MODULES = {"sitecustomize", "usercustomize"}
COMMANDS = re.compile(r"(zoo|uvx?|pip|pythonw?)[\d.]*(\.exe|\.py)?", re.IGNORECASE)
"""Commands that a plugin may not install."""


def risks(wheel: Wheel) -> list[str]:
    """Why a wheel is not to be installed; empty if nothing speaks against it."""
    return [*_startup(wheel), *_scripts(wheel), *_trespasses(wheel), *_settings(wheel), *_other_metadata(wheel)]


def unfit_requirements(wheel: Wheel) -> list[str]:
    """Requirements that cannot be left to the installer: from an address it would build and so execute source."""
    found = []
    for text in wheel.requires:
        try:
            requirement = Requirement(text)
            if requirement.marker:
                requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
            found.append(f"its requirement '{text}' is malformed: {error}")
            continue
        if requirement.url:
            found.append(f"its requirement '{text}' is fetched from an address of its own and not from a package index")
    return found


def unmet(wheel: Wheel, allow: Collection[str] = ()) -> list[str]:
    """Installed packages, but for `allow`, whose version a wheel cannot do with: they would have to be changed."""
    found = []
    for text in wheel.requires:
        requirement = Requirement(text)
        version = installed_version(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        fits = not version or canonicalize_name(requirement.name) in allow or _fits(requirement.specifier, version)
        if applies and not fits:
            found.append(f"it needs {requirement.name}{requirement.specifier}, and {version} is installed")
    return found


def _fits(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def installed_version(name: str) -> str:
    """The version of a distribution that is installed, `?` if it does not say; empty if none is."""
    try:
        return importlib.metadata.version(name) or "?"
    except importlib.metadata.PackageNotFoundError:
        return ""
    except (ValueError, KeyError):
        return "?"


def _startup(wheel: Wheel) -> Iterator[str]:
    folders = {os.path.realpath(folder) for folder in [*sys.path, *site.getsitepackages(), *_site_folders()]}
    for file in wheel.destinations:
        if os.path.realpath(file.parent) in folders:
            if file.suffix in STARTUP:
                yield f"it carries {file.name}, which Python would execute whenever it starts"
            elif file.stem in STARTUP_MODULES:
                yield f"it carries {file.name}, which Python would import whenever it starts"


def _site_folders() -> tuple[str, str]:
    paths = sysconfig.get_paths()
    return os.path.realpath(paths["purelib"]), os.path.realpath(paths["platlib"])


def _scripts(wheel: Wheel) -> Iterator[str]:
    scripts = Path(sysconfig.get_paths()["scripts"])
    own = _own_files(wheel)
    placed = {file.name for file in wheel.destinations if file.parent == real(scripts / "any").parent}
    for name in sorted({*wheel.scripts, *placed}):
        if "/" in name or "\\" in name:
            yield f"its command '{name}' would be written into another folder"
        elif COMMANDS.fullmatch(name):
            yield f"it installs a command called '{name}'"
        elif (scripts / name).exists() and real(scripts / name) not in own:
            yield f"its command '{name}' would replace one that is here already ({scripts / name})"


def _settings(wheel: Wheel) -> Iterator[str]:
    """Files that would set up the environment itself: its Python, its installer (`pip.conf`), or the zoo."""
    top, state = os.path.realpath(sys.prefix), os.path.realpath(state_folder())
    for file in wheel.destinations:
        if str(file.parent) == top or file.is_relative_to(state):
            yield f"it writes {file}, which belongs to the environment itself"


def _other_metadata(wheel: Wheel) -> Iterator[str]:
    """A second metadata folder would make Python and the zoo see a distribution that nobody installed."""
    folders = {os.path.realpath(folder) for folder in [*sys.path, *_site_folders()]}
    for name in sorted({part.name for file in wheel.destinations for part in _in_folders(file, folders)}):
        if name.endswith((".dist-info", ".egg-info", ".egg-link")) and name != wheel.info:
            yield f"it carries {name}, the metadata of another distribution"


def _in_folders(file: Path, folders: set[str]) -> list[Path]:
    """The file, and the folders that it lies in, as far as they lie in one of `folders`."""
    return [part for part in (file, *file.parents) if str(part.parent) in folders]


def _trespasses(wheel: Wheel) -> Iterator[str]:
    """Files in places that another distribution, or Python itself, has."""
    own = _own_files(wheel)
    owned = {file.parts[len(Path(folder).parts)] for folder in _site_folders() for file in own if _within(file, folder)}
    for file in wheel.destinations:
        if os.path.lexists(file) and file not in own:
            yield f"it would overwrite {file}{_owner(file)}"
    for name, example in _top_level(wheel).items():
        if name.partition(".")[0] not in {part.partition(".")[0] for part in owned}:
            yield from _shadows(wheel, name.partition(".")[0], example)


def _top_level(wheel: Wheel) -> dict[str, Path]:
    """What the wheel adds to the site folders, with one file of each: packages, modules, anything else."""
    found: dict[str, Path] = {}
    for folder in _site_folders():
        for file in wheel.destinations:
            if _within(file, folder):
                name = file.relative_to(folder).parts[0]
                if not name.endswith((".dist-info", ".pth")):
                    found.setdefault(name, file)
    return found


def _shadows(wheel: Wheel, module: str, example: Path) -> Iterator[str]:
    if not module.isidentifier():
        return
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return
    # A namespace package has no origin: several distributions may share it.
    if spec is not None and spec.origin is not None and not _is_own_source(wheel, Path(spec.origin)):
        yield f"it writes {example}, but the package '{module}' is another's{_owner(Path(spec.origin))}"


def _is_own_source(wheel: Wheel, file: Path) -> bool:
    """Whether a file is in the source folder of an editable installation of the same distribution."""
    for name, _, metadata in first_distributions():
        if name == wheel.name:
            source = source_folder(metadata)
            return source is not None and file.resolve().is_relative_to(source.resolve())
    return False


def _own_files(wheel: Wheel) -> set[Path]:
    """The files of the version of the same distribution that is installed; a newer one may replace them."""
    try:
        distribution = importlib.metadata.distribution(wheel.name)
    except importlib.metadata.PackageNotFoundError:
        return set()
    return {real(Path(os.path.normpath(str(file.locate())))) for file in distribution.files or ()}


def _owner(file: Path) -> str:
    """` (of NAME VERSION)`, for a file that an installed distribution has recorded."""
    for distribution in importlib.metadata.distributions():
        try:
            files = [str(f.locate()) for f in distribution.files or () if f.name == file.name]
            if real(file) in {real(Path(os.path.normpath(f))) for f in files}:
                return f" (of {canonicalize_name(distribution.metadata['Name'])} {distribution.version})"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return ""


def _within(file: Path, folder: str) -> bool:
    return file.is_relative_to(folder) and file != Path(folder)
