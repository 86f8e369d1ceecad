"""Does what CONTRIBUTING.md says: writes its files and runs its commands, with real installs into a folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)

REAL = ("A variant of your own",)
"""The section that is followed with the real Python, all through."""
TITLES = {
    ("A variant of your own",): ["calm-file"],
    ("A variant from a paper",): ["mao-digits", "mao-ring"],
    ("A variant in a plugin",): ["calm-plugin"],
    ("A plugin of your own", "Publishing a plugin"): ["pulse"],
    ("A new component",): ["orthoreg"],
}
"""Sections that are followed one after the other, and the runs that their commands train."""


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def commands_folder(_forked):
    """A folder with a `python` and a `zoo` that begin with torch imported."""
    command = _forked.parent / "zoo"
    command.write_text(f'#!/bin/sh\nexec {_forked} {Path(sys.executable).parent / "zoo"} "$@"\n')
    command.chmod(0o755)
    return _forked.parent


@pytest.mark.slow
@pytest.mark.parametrize("titles", TITLES, ids=" then ".join)
def test_the_steps_work_as_written(titles, tmp_path, commands_folder):
    site = tmp_path / "site"
    folders = [Path(sys.executable).parent, *([] if titles == REAL else [commands_folder])]
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "OMP_NUM_THREADS": "1",
        "PIP_TARGET": str(site),
        "PIP_QUIET": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]]),
    }
    commands = 0
    for language, name, content in BLOCK.findall("".join(map(section, titles))):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        elif language == "sh":
            for command in content.replace("\\\n", " ").strip().splitlines():
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                commands += 1
    assert commands > 0
    assert sorted(path.name for path in tmp_path.glob("runs/*")) == TITLES[titles]
