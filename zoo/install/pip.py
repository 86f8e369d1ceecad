"""The installer: pip, or where an environment has none, pip run by uv. It never builds what it fetches."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import InstallFailed, MissingPackage

LEAST_PIP = (22, 2)
"""The first with `install --dry-run --report`."""
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

    find_links: Sequence[str] = ()
    index_url: str | None = None

    @property
    def options(self) -> list[str]:
        """As options of pip."""
        links = [word for link in self.find_links for word in ("--find-links", _absolute(link))]
        return links + (["--index-url", self.index_url] if self.index_url else [])


def run_pip(command: str, *arguments: str, sources: Sources | None = None) -> str:
    """Runs a pip command on this environment; what it printed. Only wheels are used.

    Raises:
        InstallFailed: It fails; its last lines are shown.
        MissingPackage: There is neither pip nor uv, or pip is too old.
    """
    sources = sources or Sources()
    # `wheel` builds the one folder that the user names; all else that it needs comes as wheels too.
    only = [] if command == "uninstall" else [*WHEELS_ONLY, *sources.options]
    line = [*_pip(), command, "--disable-pip-version-check", "--no-input", *only, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env=_environment(sources))
    if done.returncode:
        raise InstallFailed(f"the installer failed:\n{_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _absolute(link: str) -> str:
    return os.path.abspath(link) if os.path.exists(link) else link


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        _refuse_old_pip()
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is None:
        raise MissingPackage(
            f"this environment has no pip, and there is no uv: install pip or uv (from {LEAST_UV} on)."
        )
    return [uv, "tool", "run", "--quiet", "pip", "--python", sys.executable]


@functools.cache
def _refuse_old_pip() -> None:
    import importlib.metadata

    version = importlib.metadata.version("pip")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < LEAST_PIP:
        least = ".".join(map(str, LEAST_PIP))
        raise MissingPackage(f"pip {version} is too old; pip {least} is needed: python -m pip install --upgrade pip.")


def _environment(sources: Sources) -> dict[str, str]:
    """For uv, which fetches pip itself: from the same sources, and as a wheel."""
    environment = {**os.environ, "UV_NO_BUILD": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if sources.find_links:
        environment["UV_FIND_LINKS"] = ",".join(map(_absolute, sources.find_links))
    if sources.index_url:
        environment["UV_DEFAULT_INDEX"] = sources.index_url
    if os.environ.get("PIP_NO_INDEX"):
        environment["UV_NO_INDEX"] = "1"
    return environment


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    return "\n".join(f"  {line}" for line in lines[-ERRORS:])
