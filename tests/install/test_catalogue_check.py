"""`make catalogue-check`: what a pull request that adds a plugin's table goes through."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.install.entry import table_of

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "check_catalogue.py"


def check(*arguments):
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


@pytest.fixture
def catalogue(tmp_path):
    def write(name, *tables):
        file = tmp_path / f"{name}.toml"
        file.write_text('schema = 1\nname = "test"\n\n' + "\n".join(tables))
        return file

    return write


@pytest.mark.slow
def test_only_what_has_changed_is_installed_and_checked(wheel, catalogue, tmp_path):
    index = tmp_path / "index"
    old = table_of(
        wheel(index, "zoo-aged", code="raise RuntimeError('is not run')", requires=["gan-zoo>=0.1,<1"]), ["me"]
    )
    new = table_of(wheel(index, "zoo-brandnew", requires=["gan-zoo>=0.1,<1"]), ["me"])
    base, changed = catalogue("base", old), catalogue("changed", old, new)
    done = check("--catalogue", changed, "--base", base, "--find-links", index)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "zoo-brandnew 1.0 is installed" in done.stdout
    assert "zoo-brandnew conforms" in done.stdout
    assert "1 tables are new or changed; 0 plugins failed" in done.stdout
    assert "zoo-aged" not in done.stdout


@pytest.mark.slow
def test_a_plugin_that_does_not_conform_or_install_fails_the_check(wheel, catalogue, tmp_path):
    index = tmp_path / "index"
    broken = wheel(index, "zoo-broken", code="raise RuntimeError('no')", requires=["gan-zoo>=0.1,<1"])
    pins = wheel(index, "zoo-pins", requires=["gan-zoo>=0.1,<1", "torch==2.0"])
    done = check(
        "--catalogue", catalogue("both", table_of(broken, ["me"]), table_of(pins, ["me"])), "--find-links", index
    )
    assert done.returncode == 1
    assert "2 plugins failed. zoo-broken zoo-pins" in done.stdout
    assert "it needs torch==2.0" in done.stderr


def test_a_mistake_in_the_catalogue_ends_it(catalogue):
    done = check("--catalogue", catalogue("bad", "[[plugin]]\nname = 3\n"))
    assert done.returncode == 1
    assert "field 'name' must be text, not 3" in done.stdout


@pytest.mark.parametrize("base", ["HEAD", ""])
def test_the_projects_own_catalogue_passes(base):
    done = check("--base", base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 plugins failed" in done.stdout


def test_a_base_that_is_not_there_is_named():
    done = check("--base", "no-such-branch")
    assert done.returncode == 1
    assert "there is no registry.toml in 'no-such-branch'" in done.stderr


def test_the_workflow_can_do_no_harm():
    text = (ROOT / ".github" / "workflows" / "catalogue.yml").read_text()
    keys = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert not any("pull_request_target" in line or "secrets." in line for line in keys)
    assert "permissions:\n  contents: read\n" in text
    assert "  pull_request:\n    paths:\n      - registry.toml\n" in text
    assert "persist-credentials: false" in text
    assert "make catalogue-check" in text
