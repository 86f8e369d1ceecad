"""A plugin's own tests, with the core and that plugin installed from wheels and nothing else of the repository.

`ZOO_ALONE` names the plugins, with commas between; `make test-alone` runs all of them.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = os.environ.get("ZOO_ALONE", "wgan_gp").split(",")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def pip(*arguments):
    done = subprocess.run([*PIP, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    return next(wheels.glob("gan_zoo-*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugins_tests_pass_against_the_built_core(plugin, core, tmp_path):
    folder, site = ROOT / "plugins" / plugin, tmp_path / "site"
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, folder)
    pip("install", "--no-deps", "--no-index", "--target", site, core, next(tmp_path.glob("*.whl")))
    # Without `site`, editable installs are not on the path: what is imported is what the wheels hold.
    command = [sys.executable, "-S", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{site}{os.pathsep}{sysconfig.get_path('purelib')}",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    code = "import zoo; print(zoo.__file__)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert str(site) in found.stdout
    options = ["--rootdir", str(tmp_path), "-c", os.devnull, "--import-mode=importlib"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_wheel_carries_the_catalogue(core, tmp_path):
    pip("install", "--no-deps", "--no-index", "--target", tmp_path, core)
    assert (tmp_path / "zoo" / "registry.toml").read_bytes() == (ROOT / "registry.toml").read_bytes()
