"""Does what CONTRIBUTING.md says: writes its files and runs its commands, with real installs into a folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)

TITLES = {
    "A variant of your own": 1,
    "A variant in a plugin": 1,
    "A plugin of your own": 1,
    "A new component": 1,
    "Publishing a plugin": 0,
}
"""The sections, and how many runs their commands train."""


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)[1]


@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES)
def test_the_steps_work_as_written(title, tmp_path):
    site = tmp_path / "site"
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "OMP_NUM_THREADS": "1",
        "PIP_TARGET": str(site),
        "PIP_QUIET": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    commands = 0
    for language, name, content in BLOCK.findall(section(title)):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        elif language == "sh":
            for command in content.strip().splitlines():
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                commands += 1
    assert commands > 0
    assert len(list(tmp_path.glob("runs/*"))) == TITLES[title]
