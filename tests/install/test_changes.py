"""Upgrades, removals, lock files and installers: what changes an environment on purpose."""

import ensurepip
import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def versions(environment):
    return dict(line.split("==") for line in environment.run("pip", "freeze").stdout.split() if "==" in line)


def test_an_upgrade_and_its_dependency_need_allow_changes(environment, wheel):
    run = environment.run
    for version in ("1.0", "2.0"):
        wheel(environment.index, "tinylib", version, entry_points="", code="x = 1")
        wheel(environment.index, "zoo-grows", version, requires=[f"tinylib=={version}"])
    run("zoo", "install", "zoo-grows==1.0", "--unlisted", "--yes")
    said = run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes", code=1).stderr
    assert "it needs tinylib==2.0, and 1.0 is installed" in said
    assert versions(environment)["tinylib"] == "1.0"
    said = run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes", "--upgrade", code=1).stderr
    assert "it needs tinylib==2.0, and 1.0 is installed" in said
    said = run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes", "--allow-changes").stdout
    assert [line.split()[:3] for line in said.splitlines()[1:3]] == [
        ["zoo-grows", "1.0", "2.0"],
        ["tinylib", "1.0", "2.0"],
    ]
    assert {"zoo-grows": "2.0", "tinylib": "2.0"}.items() <= versions(environment).items()
    assert "installed already" in run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes").stdout


def test_upgrade_replaces_the_plugin_and_nothing_else(environment, wheel):
    run = environment.run
    for version in ("1.0", "2.0"):
        wheel(environment.index, "zoo-grows", version)
    run("zoo", "install", "zoo-grows==1.0", "--unlisted", "--yes")
    assert "--upgrade allows it" in run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes", code=1).stderr
    run("zoo", "install", "zoo-grows==2.0", "--unlisted", "--yes", "--upgrade")
    assert versions(environment)["zoo-grows"] == "2.0"
    other = wheel(environment.folder / "other", "zoo-grows", "2.0", summary="Another file.")
    assert "not known to come from this file" in run("zoo", "install", other, "--unlisted", "--yes", code=1).stderr
    run("zoo", "install", other, "--unlisted", "--yes", "--upgrade")
    assert "installed already" in run("zoo", "install", other, "--unlisted", "--yes").stdout


def test_a_source_folder_is_built_and_installed(environment):
    shutil.copytree(Path(__file__).parent.parent.parent / "plugins" / "vanilla", environment.folder / "vanilla")
    run = environment.run
    assert "is a source folder" in run("zoo", "install", "./vanilla", "--yes", code=2).stderr
    run("zoo", "install", "./vanilla", "--unlisted", "--yes")
    assert "vanilla-minimax" in run("zoo", "list", "variant").stdout
    assert "zoo-vanilla==0.1.0" in run("pip", "freeze").stdout.split()


def test_freeze_and_sync_do_not_guess(environment, wheel):
    run, lock = environment.run, environment.folder / "zoo.lock"
    path = wheel(environment.index, "zoo-locked")
    run("zoo", "install", path, "--unlisted", "--yes")
    lock.write_text(run("zoo", "freeze").stdout)
    assert run("zoo", "uninstall", "gan-zoo", "--yes", code=2).stderr.startswith("Error: gan-zoo is the core")
    assert "no installed plugin is called 'zoo-lockt'" in run("zoo", "uninstall", "zoo-lockt", code=2).stderr

    # Another file of the same version, in the environment and in the index.
    other = wheel(environment.folder / "other", "zoo-locked", code="x = 1")
    run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", other)
    assert "1 installed" in run("zoo", "sync", lock, "--yes").stdout
    (site,) = (environment.folder / "venv" / "lib").glob("python3.*/site-packages")
    assert "class Mine" in (site / "zoo_locked.py").read_text()
    run("zoo", "uninstall", "zoo-locked", "--yes")
    shutil.copy(other, environment.index)
    assert "is not the one that is listed" in run("zoo", "sync", lock, "--yes", code=1).stderr

    run("pip", "install", "--quiet", "zoo-locked")
    said = run("zoo", "freeze", code=1).stderr
    assert "zoo-locked 1.0: it was not installed by zoo install" in said
    assert "zoo-locked" not in run("zoo", "freeze", "--partial").stdout

    text = lock.read_text()
    lock.write_text(text.replace('name = "zoo-locked"', "name = 3"))
    assert "'name' must be str" in run("zoo", "sync", lock, "--yes", code=2).stderr
    lock.write_text(text.replace("schema = 1", "schema = 2"))
    assert "schema 2" in run("zoo", "sync", lock, "--yes", code=2).stderr
    assert "cannot be read" in run("zoo", "sync", "none.lock", code=2).stderr


def test_sync_removes_only_when_it_is_asked_to(environment, wheel):
    run, lock = environment.run, environment.folder / "zoo.lock"
    lock.write_text(run("zoo", "freeze").stdout)
    run("zoo", "install", wheel(environment.index, "zoo-extra"), "--unlisted", "--yes")
    run("zoo", "sync", lock, "--yes")
    assert "zoo-extra" in versions(environment)
    run("zoo", "sync", lock, "--prune", "--yes")
    assert "zoo-extra" not in versions(environment)
    assert "zoo-wgan" in json.loads(run("zoo", "plugins", "--json").stdout)[-2]["name"]


def test_an_environment_without_pip_uses_uv(environment, wheel):
    (libraries,) = (environment.folder / "venv" / "lib").glob("python3.*/site-packages/libraries.pth")
    without = environment.folder / "without-pip"
    without.mkdir()
    for file in Path(libraries.read_text().strip()).iterdir():
        if not file.name.startswith("pip"):
            (without / file.name).symlink_to(file.resolve())
    libraries.write_text(f"{without}\n")
    bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    shutil.copy(bundled, environment.index)
    wheel(environment.index, "tinylib", entry_points="", code="x = 1")
    path = wheel(environment.index, "zoo-by-uv", requires=["tinylib"])
    cache = {"UV_CACHE_DIR": str(environment.folder / "cache")}

    none = environment.run("zoo", "install", path, "--unlisted", "--yes", code=1, PATH="/nowhere").stderr
    assert "this environment has no pip, and there is no uv" in none
    options = ("--unlisted", "--yes", "--find-links", environment.index)
    environment.run("zoo", "install", path, *options, **cache)
    assert "by-uv" in environment.run("zoo", "list", "distance").stdout
    environment.run("zoo", "uninstall", "zoo-by-uv", "--yes", UV_FIND_LINKS=str(environment.index), **cache)
    assert "by-uv" not in environment.run("zoo", "list", "distance").stdout


BROKEN = {
    "zoo_malformed-1.0.dist-info": {"entry_points.txt": b"[zoo.v1.distance]\nno equals sign\n", "METADATA": None},
    "zoo_latin-1.0.dist-info": {"entry_points.txt": b"[zoo.v1.distance]\nlatin = x\n", "METADATA": b"Name: \xe9\n"},
    "zoo_empty-1.0.dist-info": {},
    "zoo_raises-1.0.dist-info": {"entry_points.txt": b"[zoo.v1.distance]\nraises = zoo_raises\n", "METADATA": None},
}


def test_broken_plugins_stop_neither_installing_nor_anything_else(environment, wheel):
    run = environment.run
    site = next((environment.folder / "venv" / "lib").glob("python3.*/site-packages"))
    (site / "zoo_raises.py").write_text("raise RuntimeError('broken')")
    for folder, files in BROKEN.items():
        (site / folder).mkdir()
        name = folder.partition("-")[0].replace("_", "-")
        for file, content in files.items():
            default = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
            (site / folder / file).write_bytes(default if content is None else content)
    run("zoo", "install", wheel(environment.index, "zoo-fine"), "--unlisted", "--yes")
    run("zoo", "disable", "zoo-raises")
    run("zoo", "enable", "zoo-raises")
    run("zoo", "freeze", "--partial")
    others = "zoo-datasets,zoo-networks,zoo-wgan,zoo-wgan-gp"
    found = json.loads(run("zoo", "doctor", "--json", code=1, ZOO_DISABLE_PLUGINS=others).stdout)
    assert {"zoo-malformed", "zoo-raises"} <= {f["plugin"] for f in found}
    assert "zoo-fine" not in {f["plugin"] for f in found}
    run("zoo", "train", "wgan-gp", "--dataset", "ring", "--distance", "fine", "--steps", "2", "--quiet")
    run("zoo", "uninstall", "zoo-fine", "--yes")
    assert "fine" not in run("zoo", "list", "distance").stdout
