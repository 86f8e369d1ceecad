"""`zoo new` makes plugins that install, pass their own tests, lint clean and train; and refuses what it should."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from zoo import __version__
from zoo.hookspecs import HOOKS
from zoo.scaffold import LONGEST, TEMPLATES, distribution_name, make, plan

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def run(command, folder, **environment):
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PIP_QUIET": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        **environment,
    }
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
    return done.stdout


def pip_install(folders, site):
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", *folders]
    run(command, site.parent, PIP_TARGET=str(site))
    # Extra paths of this process lead the child to the same zoo, wherever that is.
    return {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_it_says_the_commands_that_its_author_runs_next(zoo_command):
    # tests/test_contributing.py runs them for a new plugin, as commands of the shell.
    made = json.loads(zoo_command("new", "novel-distance", "--hook", "distance", "--json").stdout)
    assert made["next"][0].startswith("pip install --no-build-isolation --no-deps -e ")
    assert made["next"][1] == f"python -m pytest {made['path']}"
    assert made["next"][2] == f"zoo check {made['name']}"


@pytest.mark.slow
def test_a_new_plugin_for_each_hook_passes_its_tests_and_trains(tmp_path, zoo_command, monkeypatch, forked_python):
    made = [make(plan(f"zoo-fresh-{hook.replace('_', '-')}", hook, tmp_path)) for hook in HOOKS]
    folders = [each.plan.folder for each in made]
    installed = pip_install(folders, tmp_path / "site")
    # All at once, which is quicker than torch imported eight times; each has a test_conformance.py.
    # Importing each in a process of its own is left to the plugins of this repository (tests/kit/test_first_party.py).
    options = [
        "-q",
        "-rs",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "-k",
        "not imports-alone",
    ]
    tested = run([sys.executable, "-m", "pytest", *options, *folders], tmp_path, **installed)
    assert re.search(r"[1-9]\d\d passed", tested)
    assert "got empty parameter set" not in tested
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for each in made:
        program, *arguments = shlex.split(each.train)
        assert program == "zoo"
        zoo_command(*arguments, "--steps", "3", "--quiet")
        assert (tmp_path / "runs" / each.plan.component / "recipe.toml").is_file()


def test_it_shows_the_tree_and_what_to_do_next(zoo_command, tmp_path):
    output = zoo_command("new", "mine", "--hook", "lipschitz-constraint", "--out", "here").stdout
    assert "Made zoo-mine ('mine', with the prefix of all plugins), with the lipschitz_constraint 'mine'" in output
    folder = tmp_path / "here" / "zoo-mine"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "LICENSE", ".github/workflows/test.yml", "src/zoo_mine/py.typed"} < files
    assert {"tests/test_conformance.py", "tests/test_mine.py", "CHANGELOG.md", ".gitignore"} < files
    for file in files:
        assert f"  {file}\n" in output
    assert "pip install --no-build-isolation --no-deps -e here/zoo-mine\n" in output
    assert "python -m pytest here/zoo-mine\n" in output
    assert "zoo check zoo-mine\n" in output
    train = output.strip().splitlines()[-1].strip()
    assert train in (folder / "README.md").read_text()
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["zoo-mine"]


@pytest.mark.parametrize("hook", HOOKS)
def test_metadata_bounds_the_zoo_and_never_torch(hook, tmp_path):
    planned = plan("zoo-mine", hook, tmp_path, author='Ada "Countess" @author@')
    made = make(planned)
    project = tomllib.loads((planned.folder / "pyproject.toml").read_text())["project"]
    minor = ".".join(__version__.split(".")[:2])
    assert f"gan-zoo>={minor},<{int(minor.split('.')[0]) + 1}" in project["dependencies"]
    assert not any(dependency.startswith("torch") for dependency in project["dependencies"])
    assert project["entry-points"] == {f"zoo.v1.{hook}": {"mine": "zoo_mine"}}
    assert project["license"] == "Apache-2.0"
    assert project["authors"] == [{"name": 'Ada "Countess" @author@'}]
    for file in made.files:
        text = (planned.folder / file).read_text(encoding="utf-8")
        assert not re.search(r"@\w+@", text.replace("@author@", "")), file
        assert "pypi" not in text.lower()


def test_long_and_short_names_leave_the_files_clean(tmp_path):
    for hook in HOOKS:
        for name in ("zoo-q", "zoo-" + "abcdefghi-" * 3 + "abcdef"):
            assert len(name) <= LONGEST
            make(plan(name, hook, tmp_path / hook))
    run([BIN / "ruff", "check", "--no-cache", "."], tmp_path)
    run([BIN / "ruff", "format", "--check", "--no-cache", "."], tmp_path)


@pytest.mark.slow
def test_new_plugins_are_strictly_typed(tmp_path):
    folders = [make(plan(f"zoo-novel-{hook.replace('_', '-')}", hook, tmp_path)).plan.folder for hook in HOOKS]
    mypy = [BIN / "mypy", "--cache-dir", ROOT / ".mypy_cache"]
    paths = os.pathsep.join(str(folder / "src") for folder in folders)
    # All at once, which is quicker; test_conformance.py is the same module in each, so that only one is looked at.
    run(
        [*mypy, "--strict", *tmp_path.glob("*/src/*"), *tmp_path.glob("*/tests/test_novel_*.py")],
        tmp_path,
        MYPYPATH=paths,
    )
    run(mypy, folders[0])


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("My Plugin_2", "zoo-my-plugin-2"),
        ("zoo_mine", "zoo-mine"),
        ("Mine", "zoo-mine"),
        ("zoo-", "zoo-mine"),
        ("-mine", "zoo-mine"),
        ("mine--too", "zoo-mine-too"),
        ("ünïcode", "zoo-n-code"),
        ("../escape", "zoo-escape"),
        ("", "zoo-mine"),
        ("x" * 80, "zoo-" + "x" * 36),
    ],
)
def test_a_name_that_breaks_the_rule_is_refused_with_one_that_does_not(zoo_command, tmp_path, name, suggested):
    error = zoo_command("new", "--hook", "critic", "--", name, code=2).stderr
    assert f"'{suggested}' would do" in error
    assert "lower-case letters, digits and single hyphens" in error
    assert distribution_name(suggested) == suggested
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "hook", "words"),
    [
        ("gan-zoo", "critic", "'gan-zoo' is reserved"),
        ("zoo", "critic", "'zoo' is reserved"),
        ("testing", "critic", "'zoo-testing' is reserved"),
        ("none", "distance", "'zoo-none' is reserved"),
        ("zoo-wgan-gp", "critic", "the catalogue has a plugin zoo-wgan-gp already"),
        ("mlp", "critic", "zoo-networks has a critic 'mlp' already; choose another name, such as 'zoo-my-mlp'"),
        ("adversarial", "procedure", "gan-zoo has a procedure 'adversarial' already"),
        ("fine", "critics", "no hook is called 'critics'. Did you mean critic?"),
        ("installed", "critic", "a distribution zoo-installed is installed already"),
        ("importable", "critic", "a Python module zoo_importable already"),
    ],
)
def test_a_name_that_is_taken_is_refused(zoo_command, install, tmp_path, name, hook, words):
    install("zoo-installed", "")
    (install.site / "zoo_importable.py").write_text("raise AssertionError('it is not to be imported')")
    assert words in zoo_command("new", name, "--hook", hook, "--out", "here", code=2).stderr
    assert not (tmp_path / "here").exists()


def test_nothing_is_ever_overwritten(zoo_command, tmp_path):
    theirs = tmp_path / "zoo-mine" / "theirs.txt"
    theirs.parent.mkdir()
    zoo_command("new", "mine", "--hook", "critic")
    before = sorted(tmp_path.rglob("*"))
    assert "is there already" in zoo_command("new", "mine", "--hook", "critic", code=2).stderr
    (tmp_path / "zoo-file").write_text("theirs")
    assert "is there already" in zoo_command("new", "file", "--hook", "critic", code=2).stderr
    (tmp_path / "zoo-link").symlink_to("nowhere")
    assert "is there already" in zoo_command("new", "link", "--hook", "critic", code=2).stderr
    assert sorted(p for p in tmp_path.rglob("*") if p.name not in ("zoo-file", "zoo-link")) == before


def test_what_cannot_be_written_is_said_and_leaves_nothing(zoo_command, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("theirs")
    assert "could not be written" in zoo_command("new", "mine", "--hook", "critic", "--out", "file", code=1).stderr
    write = Path.write_text

    def full(path, text, **options):
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left on device" in zoo_command("new", "mine", "--hook", "critic", code=1).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_author_of_several_lines_is_refused(zoo_command, tmp_path):
    assert "one line" in zoo_command("new", "mine", "--hook", "critic", "--author", "A\nB", code=2).stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_wheel_carries_every_template(tmp_path):
    run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT],
        tmp_path,
    )
    packed = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    templates = {f"zoo/templates/{path.relative_to(TEMPLATES)}" for path in TEMPLATES.rglob("*") if path.is_file()}
    assert templates <= packed
    assert len(templates) > 8 * 3
