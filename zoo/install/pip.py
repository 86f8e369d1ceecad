"""The installer: pip, or where an environment has none, a pip that uv lends. It never builds what it fetches."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from zoo.errors import InstallFailed, MissingPackage

LEAST_PIP = (22, 2)
"""The first with `install --dry-run --report`."""
OVERRULED = (
    *("TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "PLATFORM", "DEST", "DRY_RUN", "REPORT", "VERBOSE", "QUIET"),
    *("REQUIREMENT", "EDITABLE", "NO_DEPS", "IGNORE_INSTALLED"),
)
"""Settings of pip (`PIP_TARGET` and so on) that would have it do something else than what was checked and agreed."""
PLACES = ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
"""Settings of pip that name places to look into."""
LEAST_UV = "0.4.30"
"""The oldest that was tried."""
WHEELS_ONLY = ("--only-binary", ":all:")
ERRORS = 12
"""Lines of what the installer said that an error shows."""


@dataclass(frozen=True)
class Sources:
    """Where packages are fetched from, beside what the environment's own pip settings say.

    Attributes:
        find_links: Folders or pages with wheels.
        index_url: The package index; the installer's own default if None.
    """

    find_links: tuple[str, ...] = ()
    index_url: str | None = None

    @property
    def options(self) -> list[str]:
        """As options of pip."""
        links = [word for link in self.find_links for word in ("--find-links", _absolute(link))]
        return links + (["--index-url", self.index_url] if self.index_url else [])


def run_pip(command: str, *arguments: str, sources: Sources | None = None, alone: bool = False) -> str:
    """Runs a pip command on this environment; what it printed. Only wheels are used.

    Args:
        command: Such as `install`.
        arguments: Of the command.
        sources: Where packages are fetched from.
        alone: Whether pip's own settings count for nothing: no other place is looked into, nor installed to.

    Raises:
        InstallFailed: It fails; its last lines are shown.
        MissingPackage: There is neither pip nor uv, or pip is too old.
    """
    sources = sources or Sources()
    own = {name: value for name, value in os.environ.items() if name not in {f"PIP_{word}" for word in OVERRULED}}
    environment = {**own, "PIP_ROOT_USER_ACTION": "ignore", **_borrowed_pip(sources)}
    if alone:
        environment = {name: value for name, value in environment.items() if name not in PLACES}
        environment["PIP_CONFIG_FILE"] = os.devnull
    # `wheel` builds the one folder that the user names; all else that it needs comes as wheels too.
    only = [] if command == "uninstall" else [*WHEELS_ONLY, *sources.options]
    line = [sys.executable, "-P", "-m", "zoo.install.installer", command, "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*line, *only, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise InstallFailed(f"the installer failed:\n{_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _absolute(link: str) -> str:
    return os.path.abspath(link) if os.path.exists(link) else link


def _borrowed_pip(sources: Sources) -> dict[str, str]:
    """Nothing if this environment has a pip; else where one is that uv has fetched, as an environment variable."""
    if importlib.util.find_spec("pip"):
        _refuse_old_pip()
        return {}
    path = [_fetched_pip(sources), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


@functools.cache
def _fetched_pip(sources: Sources) -> str:
    """A temporary folder with pip in it, which goes when this process ends."""
    uv = shutil.which("uv")
    if uv is None:
        raise MissingPackage(
            f"this environment has no pip, and there is no uv: install pip or uv (from {LEAST_UV} on)."
        )
    folder = tempfile.mkdtemp(prefix="zoo-pip-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    line = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", folder, *WHEELS_ONLY]
    done = subprocess.run([*line, *sources.options, "pip"], capture_output=True, text=True, env=_for_uv())
    if done.returncode:
        raise InstallFailed(f"uv cannot fetch pip, which this environment has not:\n{_last_words(done.stderr)}")
    return folder


def _for_uv() -> dict[str, str]:
    """uv does not read pip's settings; the one that forbids the network counts for it as well."""
    return {**os.environ, **({"UV_NO_INDEX": "1"} if os.environ.get("PIP_NO_INDEX") else {})}


@functools.cache
def _refuse_old_pip() -> None:
    import importlib.metadata

    version = importlib.metadata.version("pip")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < LEAST_PIP:
        least = ".".join(map(str, LEAST_PIP))
        raise MissingPackage(f"pip {version} is too old; pip {least} is needed: python -m pip install --upgrade pip.")


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    return "\n".join(f"  {line}" for line in lines[-ERRORS:])
