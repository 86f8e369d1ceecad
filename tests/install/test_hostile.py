"""Wheels, requirements and lock files that are made to get past the checks."""

import io
import re
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def refuse(refuse):
    """The same with `--unlisted`: it is not the catalogue that refuses."""
    return lambda target, *options, **code: refuse(target, "--unlisted", *options, **code)


@pytest.fixture
def source(shared):
    """`source(name)`: a source distribution, which leaves a mark if it is executed; (file, mark)."""

    def make(name):
        mark, file = shared.folder / f"{name}.mark", shared.folder / f"{name}-1.tar.gz"
        backend = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
        with tarfile.open(file, "w:gz") as archive:
            for inside, text in {"b.py": f"open({str(mark)!r}, 'w').close()", "pyproject.toml": backend}.items():
                info = tarfile.TarInfo(f"{name}-1/{inside}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        return file, mark

    return make


def rewritten(path, change):
    """The wheel with the members that `change(name, content)` returns; those for which it is None are left out."""
    with zipfile.ZipFile(path) as archive:
        members = [change(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for member in filter(None, members):
            archive.writestr(*member)
    return path


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"x.data/purelib/torch-0.1.dist-info/METADATA": "x"}, "torch-0.1.dist-info, the metadata of another"),
        ({"zoo_b-1.0.egg-info/entry_points.txt": "x"}, "zoo_b-1.0.egg-info, the metadata of another"),
        ({"x.data/data/lib64/python3.{minor}/site-packages/zoo_wgan/evil.py": ""}, "package 'zoo_wgan' is another's"),
        ({"x.data/data/pip.conf": ""}, "pip.conf, which belongs to the environment itself"),
        ({"x.data/data/etc/gan-zoo/disabled.txt": ""}, "disabled.txt, which belongs to the environment itself"),
        ({"x.data/data/bin/uvx": ""}, "it installs a command called 'uvx'"),
        ({"x.data/stdlib/evil.py": ""}, "is for no place that an installer knows"),
    ],
    ids=["dist-info", "egg-info", "lib64", "pip.conf", "state", "data/bin", "stdlib"],
)
def test_files_that_reach_beyond_the_package_by_a_detour(shared, wheel, refuse, files, words):
    import sys

    if any("lib64" in name for name in files) and not (shared.folder / "venv" / "lib64").exists():
        pytest.skip("this environment has no lib64")
    files = {name.replace("{minor}", str(sys.version_info.minor)): text for name, text in files.items()}
    assert words in refuse(wheel(shared.folder / "detour", "zoo-detour", files=files))


@pytest.mark.parametrize("name", ["./uv", "../lib/evil.py"])
def test_a_command_that_is_a_path(shared, wheel, refuse, name):
    points = f"[zoo.v1.distance]\npath = zoo_path\n[console_scripts]\n{name} = zoo_path:main\n"
    said = refuse(wheel(shared.folder / "path", "zoo-path", entry_points=points))
    assert f"its command '{name}' would be written into another folder" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, t: (n, t + b"zoo_wgan/__init__.py,,\n" if n.endswith("RECORD") else t), "RECORD lists 'zoo_wgan"),
        (lambda n, t: None if n.endswith("RECORD") else (n, t), "RECORD"),
        (lambda n, t: None if n.endswith("METADATA") else (n, t), "inside it is no name"),
        (lambda n, t: (n.replace("zoo_odd-1.0.", "zoo_odd_2-1.0."), t), "its metadata folder is zoo_odd_2-1.0"),
        (lambda n, t: (n, b"[console_scripts]\nno\n" if n.endswith("points.txt") else t), "is not a usable wheel"),
        (lambda n, t: (n, b"[zoo.v1.critic]\n\x1b[2K=x\n" if n.endswith("points.txt") else t), "not 'name = module'"),
    ],
    ids=["false RECORD", "no RECORD", "no METADATA", "other folder", "malformed points", "control characters"],
)
def test_wheels_that_are_not_what_they_say(shared, wheel, refuse, change, words):
    assert words in refuse(rewritten(wheel(shared.folder / "odd", "zoo-odd"), change))


def test_a_wheel_whose_content_is_damaged(shared, wheel, refuse):
    path = wheel(shared.folder / "odd", "zoo-damaged")
    path.write_bytes(path.read_bytes().replace(b"from zoo import", b"from zoo 1mport"))
    assert "is not a usable wheel" in refuse(path)


def test_source_that_a_requirement_names_by_address_is_not_executed(shared, wheel, refuse, source):
    file, mark = source("addressed")
    path = wheel(shared.folder / "by-address", "zoo-addressed", requires=[f"addressed @ {file.as_uri()}"])
    assert "from an address of its own" in refuse(path)
    wheel(shared.index, "tinyaddressed", entry_points="", code="x = 1", requires=[f"addressed @ {file.as_uri()}"])
    path = wheel(shared.folder / "by-address", "zoo-addressed", requires=["tinyaddressed"])
    assert "would be executed to be looked at" in refuse(path)
    assert not mark.exists()


@pytest.mark.parametrize("requirement", ["tiny!!bad", 'tiny; python_version ~= "abc"'])
def test_a_malformed_requirement(shared, wheel, refuse, requirement):
    path = wheel(shared.folder / "malformed", "zoo-malformed", requires=[requirement])
    assert "is malformed" in refuse(path, "--allow-changes")


def test_two_new_packages_that_write_the_same_file(shared, wheel, refuse):
    wheel(shared.index, "tinyshared", entry_points="", code="x = 1")
    files = {"tinyshared.py": "x = 2"}
    path = wheel(shared.folder / "overlap", "zoo-overlap", requires=["tinyshared"], files=files)
    assert re.search(r"would overwrite .*tinyshared.py of ", refuse(path))


def test_another_spelling_of_a_name_is_not_another_name(shared, wheel, refuse):
    path = wheel(shared.index, "zoo-critical", requires=["gan-zoo>=0.1,<1"])
    table = shared.run("zoo", "catalogue", "entry", path, "--owner", "me").stdout
    shared.list_in_catalogue(table.replace('"active"', '"critical"\nreason = "It steals."'))
    for name in ("Zoo_Critical", "test/zoo.critical", path):
        assert "test/zoo-critical is critical: It steals." in refuse(name)
    shared.catalogue.unlink()


@pytest.mark.parametrize("target", ["nowhere/zoo-x", "~nobody-of-that-name/x.whl", "a" * 300 + ".whl"])
def test_targets_that_cannot_be_there(refuse, target):
    assert refuse(target, code=2).startswith("Error: ")


def test_settings_of_pip_that_would_install_elsewhere(environment, wheel):
    path = wheel(environment.index, "zoo-elsewhere", requires=["click"])
    away = str(environment.folder / "away")
    settings = {"PIP_TARGET": away, "PIP_PREFIX": away, "PIP_DRY_RUN": "1", "PIP_VERBOSE": "2", "PIP_USER": "1"}
    environment.run("zoo", "install", path, "--unlisted", "--yes", **settings)
    assert "elsewhere" in environment.run("zoo", "list", "distance").stdout


LOCK = 'schema = 1\n[[plugin]]\nname = "{0}"\nversion = "{1}"\nwheel = "{2}"\nsha256 = "{3}"\ndisabled = true\n'


@pytest.mark.parametrize(
    "values",
    [
        ("../../x", "1", "x-1-py3-none-any.whl", "0" * 64),
        ("zoo-x", "1\\n--no-binary=:all:", "zoo_x-1-py3-none-any.whl", "0" * 64),
        ("zoo-x", "1", "../zoo_x-1-py3-none-any.whl", "0" * 64),
        ("zoo-x", "1", "zoo_x-1-py3-none-any.whl", "0"),
        ("gan-zoo", "0.1.0", "gan_zoo-0.1.0-py3-none-any.whl", "0" * 64),
    ],
    ids=["path", "option", "wheel", "hash", "core"],
)
def test_a_lock_file_that_says_more_than_a_name(shared, before, values):
    lock = shared.folder / "hostile.lock"
    lock.write_text(LOCK.format(*values))
    assert "plugin 1: " in shared.run("zoo", "sync", lock, "--yes", code=2).stderr
    assert shared.files() == before
    assert not list((shared.folder / "venv").rglob("disabled.txt"))


@pytest.mark.parametrize("text", ["schema = 1\nplugin = 3", "x = " + "[" * 100_000])
def test_a_lock_file_that_is_none(shared, text):
    lock = shared.folder / "none.lock"
    lock.write_text(text)
    shared.run("zoo", "sync", lock, "--yes", code=2)


def test_plugins_of_a_lock_file_are_resolved_together(environment, wheel):
    run, lock = environment.run, environment.folder / "zoo.lock"
    for version in ("1.0", "2.0"):
        wheel(environment.index, "tinyboth", version, entry_points="", code="x = 1")
    wheel(environment.index, "zoo-first", requires=["tinyboth<2"])
    wheel(environment.index, "zoo-second", requires=["tinyboth", "zoo-third"])
    wheel(environment.index, "zoo-third")
    for name in ("zoo-first", "zoo-third", "zoo-second"):
        run("zoo", "install", name, "--unlisted", "--yes")
    lock.write_text(run("zoo", "freeze", "--partial").stdout)
    run("pip", "uninstall", "--yes", "tinyboth", "zoo-first", "zoo-second", "zoo-third")
    run("zoo", "sync", lock, "--yes")
    assert {"tinyboth==1.0", "zoo-second==1.0", "zoo-third==1.0"} <= set(run("pip", "freeze").stdout.split())
