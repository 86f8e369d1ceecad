"""Writes the first-party plugins' tables in registry.toml from their pyproject.toml; releases stay as they are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "registry.toml"
OWNER = "gan-zoo"
HEADER = """\
# The catalogue: plugins that exist, installed or not. docs/catalogue.md describes its fields.
# First-party entries are written by `make sync`; a third-party plugin is one table more (`zoo catalogue entry WHEEL`).

"""
GROUP = re.compile(r"zoo\.v(\d+)\.(\w+)")


def first_party(pyproject: Path, known: dict[str, Any]) -> dict[str, Any]:
    """The catalogue's table of one plugin in this repository."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    groups = {GROUP.fullmatch(group): names for group, names in project["entry-points"].items()}
    found = {(int(match[1]), match[2]): sorted(names) for match, names in groups.items() if match}
    return {
        "name": project["name"],
        "summary": project["description"],
        "repository": str(pyproject.parent.relative_to(ROOT)),
        "owners": [OWNER],
        "tier": "first-party",
        "status": "active",
        "api": max(api for api, _ in found),
        "provides": {hook: names for (_, hook), names in sorted(found.items())},
        **{key: known[key] for key in ("status", "reason", "release", "tested") if key in known},
    }


def main() -> None:
    """Rewrites the first-party tables; the others stay as they are."""
    known = {table["name"]: table for table in tomllib.loads(CATALOGUE.read_text(encoding="utf-8")).get("plugin", [])}
    for pyproject in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        name = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["name"]
        known[name] = first_party(pyproject, known.get(name, {}))
    tables = {"schema": 1, "name": OWNER, "plugin": [known[name] for name in sorted(known)]}
    CATALOGUE.write_text(HEADER + tomli_w.dumps(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
