"""Checks a catalogue, and installs and checks each plugin whose table is new or changed: `make catalogue-check`.

Each one is installed by `zoo install` into an environment of its own that sees what is installed here, and is thrown
away afterwards. Exit code 1 if the catalogue has a mistake or a plugin does not conform.

Usage: python scripts/check_catalogue.py [--catalogue FILE] [--base FILE-OR-REVISION] [--find-links DIR]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OWN = ROOT / "registry.toml"


def main() -> None:
    """Checks the catalogue, then each plugin whose table is new or changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, default=OWN)
    parser.add_argument("--base", default="", help="what it is compared with; all its plugins are checked if empty")
    parser.add_argument("--find-links", default="", help="a folder with the wheels, instead of the package index")
    arguments = parser.parse_args()
    zoo = [sys.executable, "-m", "zoo"]
    if subprocess.run([*zoo, "catalogue", "validate", str(arguments.catalogue)]).returncode:
        sys.exit(1)
    before = tables(base_text(arguments.base))
    changed = [
        table for table in tables(arguments.catalogue.read_text()).values() if table != before.get(table["name"])
    ]
    arguments.catalogue = arguments.catalogue.resolve()
    failed = [table["name"] for table in changed if not checked(table, arguments.catalogue, arguments.find_links)]
    print(f"{len(changed)} tables are new or changed; {len(failed)} plugins failed. {' '.join(failed)}".rstrip())
    sys.exit(1 if failed else 0)


def base_text(base: str) -> str:
    """The catalogue that is compared with: a file, or registry.toml in a revision; empty if none is named."""
    if not base or Path(base).is_file():
        return Path(base).read_text() if base else ""
    shown = subprocess.run(["git", "show", f"{base}:registry.toml"], cwd=ROOT, capture_output=True, text=True)
    if shown.returncode:
        sys.exit(f"there is no registry.toml in '{base}': {shown.stderr.strip()}")
    return shown.stdout


def tables(text: str) -> dict[str, dict[str, Any]]:
    """The plugins' tables, by name."""
    return {table["name"]: table for table in tomllib.loads(text).get("plugin", [])}


def checked(table: dict[str, Any], catalogue: Path, find_links: str) -> bool:
    """Installs the newest release of a plugin, and runs the conformance kit on it."""
    name, releases = table["name"], table.get("release", [])
    if not releases or table["status"] in ("removed", "critical"):
        print(f"{name}: nothing to install ({table['status']}, {len(releases)} releases)")
        return True
    with tempfile.TemporaryDirectory() as folder:
        python = environment(Path(folder))
        links = ["--find-links", find_links] if find_links else []
        further = [] if catalogue == OWN else ["--catalogue", str(catalogue.resolve())]
        install = ["install", f"{name}=={releases[-1]['version']}", "--yes", "--upgrade", *links, *further]
        commands = ([python, "-m", "zoo", *command] for command in (install, ["check", name]))
        return all(subprocess.run(command, cwd=folder).returncode == 0 for command in commands)


def environment(folder: Path) -> str:
    """A fresh environment that sees the libraries and the zoo of this one; what is installed goes into it alone."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = str(folder / "bin" / "python")
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], text=True
    )
    seen = [sysconfig.get_paths()["purelib"], str(ROOT), *map(str, sorted(ROOT.glob("plugins/*/src")))]
    Path(site.strip(), "zoo.pth").write_text("\n".join(seen) + "\n")
    return python


if __name__ == "__main__":
    main()
