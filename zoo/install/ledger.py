"""What `zoo install` has installed in this environment: version, hash and origin of each plugin."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.environment import state_folder, write_state
from zoo.errors import ZooError

FILE = "installed.json"
UNLISTED = "unlisted"


@dataclass(frozen=True)
class Installed:
    """One plugin that was installed.

    Attributes:
        version: Its version.
        wheel: The name of the wheel file.
        sha256: The hash of that file.
        origin: `catalogue/name`, or `unlisted`.
        record: The hash of the list of files that the installer made of it, by which later changes are noticed.
    """

    version: str
    wheel: str
    sha256: str
    origin: str
    record: str


def recorded() -> dict[str, Installed]:
    """What was installed, by distribution; some may have been removed or replaced by other means since."""
    path = os.path.join(state_folder(), FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return {name: Installed(**fields) for name, fields in json.load(file).items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(f"{path} cannot be read: {error}. Remove it; origins and hashes are then unknown.") from error


def record(name: str, installed: Installed | None) -> None:
    """Writes down what was installed under a name, or that it was removed. Raises SaveFailed."""
    known = recorded()
    known.pop(name, None)
    if installed is not None:
        known[name] = installed
    write_state(FILE, json.dumps({name: asdict(known[name]) for name in sorted(known)}, indent=2) + "\n")


def recorded_as(name: str, version: str, metadata: str) -> Installed | None:
    """What was installed under a name, if it is what is there now: pip may have replaced it since."""
    known = recorded().get(name)
    return known if known and known.version == version and known.record == record_of(metadata) else None


def record_of(metadata: str) -> str:
    """The hash of a distribution's list of files; empty if there is none."""
    try:
        with open(os.path.join(metadata, "RECORD"), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def origin_of(name: str, version: str, metadata: str) -> str:
    """`core`, `editable`, the catalogue that a plugin was installed from, or `unlisted`.

    Args:
        name: The distribution.
        version: Its installed version.
        metadata: Its metadata folder.
    """
    if name == "gan-zoo":
        return "core"
    if _part(_direct_url(metadata), "dir_info").get("editable"):
        return "editable"
    known = recorded_as(name, version, metadata)
    return known.origin.partition("/")[0] if known else UNLISTED


def installed_file(name: str, version: str, metadata: str) -> tuple[str, str] | None:
    """(wheel, sha256) of an installed plugin, as `zoo install` or pip wrote it down; None if nobody did."""
    known = recorded_as(name, version, metadata)
    if known:
        return known.wheel, known.sha256
    direct = _direct_url(metadata)
    sha256 = _part(_part(direct, "archive_info"), "hashes").get("sha256")
    return (os.path.basename(direct["url"]), sha256) if isinstance(sha256, str) and sha256 else None


def source_folder(metadata: str) -> Path | None:
    """The source folder of an editable install; None for others."""
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    direct = _direct_url(metadata)
    editable = _part(direct, "dir_info").get("editable")
    return Path(url2pathname(urlparse(direct["url"]).path)) if editable else None


def _direct_url(metadata: str) -> dict[str, Any]:
    """What the installer wrote down of a package that came from no index (PEP 610); empty if it came from one."""
    try:
        with open(os.path.join(metadata, "direct_url.json"), encoding="utf-8") as file:
            table = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) and isinstance(table.get("url"), str) else {}


def _part(table: Any, name: str) -> dict[str, Any]:
    """A table in a table; empty where something else stands there, since anybody may have written it."""
    part = table.get(name)
    return part if isinstance(part, dict) else {}
