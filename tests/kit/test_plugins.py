"""The kit on whole distributions: their names, imports and requirements; from the shell, and as a pytest plugin."""

import json
import os
import subprocess
import sys

import pytest

from zoo.index import Index
from zoo.testing import CHECKS, Subject, cases

ENTRY = "[zoo.v1.distance]\nmine = zoo_mine\n"
REQUIRES = "Requires-Dist: gan-zoo>=0.1,<1\n"
CODE = '''
from zoo import Distance, hookimpl


class Mine(Distance):
    """Real scores up, fake scores down."""

    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


@hookimpl
def distance():
    return {"mine": Mine}
'''


@pytest.fixture
def put(install):
    """Installs a distribution, by default a good one; its module is forgotten afterwards."""

    def put(code=CODE, entry=ENTRY, requires=REQUIRES, dist="zoo-mine"):
        install(dist, entry, code)
        metadata = install.site / f"{dist.replace('-', '_')}-1.0.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text() + requires)

    yield put
    sys.modules.pop("zoo_mine", None)


def failing(dist="zoo-mine", only=None):
    """What fails of a distribution's checks, with the reason."""
    chosen = [case for case in cases(dist) if only in (None, case.what.name)]
    return {result.check: result.detail for result in (case.result() for case in chosen) if result.bad}


def test_a_good_plugin_conforms(put, forked_python):
    put()
    assert failing() == {}


@pytest.mark.parametrize(
    ("code", "check", "reason"),
    [
        (CODE.replace("def distance()", "def distanse()"), "loads", "distanse"),
        (CODE.replace('"mine": Mine', '"mine": Mine, "other": Mine'), "loads", "other"),
        ("import no_such_module", "loads", "no_such_module"),
        ("print('hello')" + CODE, "imports-alone", "prints 'hello"),
        ("import zoo_wgan" + CODE, "imports-alone", "imports zoo_wgan, which is another plugin's"),
        ("import torch\ntorch.manual_seed(0)" + CODE, "imports-alone", "draws from torch's global generator"),
        ("import torch\ntorch.set_default_dtype(torch.float64)" + CODE, "imports-alone", "default dtype"),
        ("import random\nrandom.seed(0)" + CODE, "imports-alone", "draws from Python's random"),
        ("import warnings\nwarnings.simplefilter('ignore')" + CODE, "imports-alone", "how warnings are filtered"),
    ],
)
def test_mistakes_of_modules_are_caught(put, code, check, reason, forked_python):
    put(code)
    if check == "imports-alone":
        # In this process only the metadata is read, so that its global state stays as it is.

        entries = tuple(entry for entry in Index.scan().entries if entry.dist == "zoo-mine")
        (what,) = [each for each in CHECKS if each.name == check]
        with pytest.raises(AssertionError, match=reason):
            what.run(Subject("plugin", "zoo-mine", entries=entries))
    else:
        assert reason in failing(only=check)[check]


@pytest.mark.parametrize(
    ("changes", "check", "reason"),
    [
        ({"requires": ""}, "requirements", "does not require gan-zoo"),
        ({"requires": "Requires-Dist: gan-zoo>=0.1\n"}, "requirements", "without a ceiling"),
        ({"requires": "Requires-Dist: gan-zoo<1\n"}, "requirements", "without a floor"),
        ({"requires": REQUIRES + "Requires-Dist: torch==2.11\n"}, "requirements", "torch==2.11"),
        ({"requires": REQUIRES + "Requires-Dist: torch<3,>=2\n"}, "requirements", "only lower bounds"),
        ({"entry": ENTRY.replace("mine =", "My_Loss =")}, "names", "'My_Loss' cannot be a name"),
        ({"entry": ENTRY.replace("mine =", "wasserstein =")}, "names", "given by zoo-wgan too"),
        ({"entry": ENTRY.replace("distance", "distanse")}, "loads", "distanse"),
        ({"code": CODE + 'expected_failures = {"mine:drawing": "x"}'}, "expected-failures", "no check 'drawing'"),
        ({"code": CODE + 'expected_failures = {"yours:draws": "x"}'}, "expected-failures", "no component 'yours'"),
        ({"code": CODE + 'expected_failures = {"mine:draws": ""}'}, "expected-failures", "no reason"),
    ],
)
def test_mistakes_of_metadata_are_caught(put, changes, check, reason):
    put(**changes)
    assert reason in failing(only=check)[check]


def test_lower_bounds_of_torch_are_no_pins(put):
    put(requires=REQUIRES + "Requires-Dist: torch>=2.11\n")
    assert failing(only="requirements") == {}


def test_expected_failures_of_a_module_are_used(put):
    flipped = CODE.replace("return -batch.fake", "return batch.fake")
    put(flipped + 'expected_failures = {"mine:moves-a-dirac-toward-the-data": "it flees"}')
    results = [case.result() for case in cases("zoo-mine") if case.what.name == "moves-a-dirac-toward-the-data"]
    assert [result.status for result in results] == ["expected failure"]
    assert failing(only="expected-failures") == {}


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def run_pytest(folder, *arguments, site=""):
    line = [sys.executable, "-m", "pytest", "-q", "-p", "zoo.testing.plugin", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        line, cwd=folder, capture_output=True, text=True, timeout=300, env=environment(PYTHONPATH=str(site))
    )
    return done.returncode, done.stdout + done.stderr


def test_the_pytest_plugin_has_a_test_for_each_check(put, install, tmp_path, forked_python):
    put(CODE.replace("return -batch.fake", "return batch.fake"))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_own.py").write_text("def test_own():\n    pass\n")
    code, text = run_pytest(tmp_path, "--zoo-plugin", "zoo-mine", "-vv", site=install.site)
    assert code == 1, text
    assert "test_conformance[distance/mine:sign-of-the-critic-loss] PASSED" in text
    assert "test_conformance[distance/mine:moves-a-dirac-toward-the-data] FAILED" in text
    assert "1 failed" in text
    assert "test_own" not in text


def test_the_pytest_plugin_works_beside_paths_and_in_several_processes(put, install, tmp_path, forked_python):
    put()
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    some = ["-k", "own or sign or settings"]
    code, text = run_pytest(tmp_path, "test_own.py", "-n", "2", "--zoo-plugin", "zoo-mine", *some, site=install.site)
    assert code == 0, text
    assert "3 passed" in text


def test_the_pytest_plugin_does_nothing_without_its_option(tmp_path, forked_python):
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    code, text = run_pytest(tmp_path)
    assert code == 0, text
    assert "1 passed" in text


def test_zoo_check_of_an_installed_plugin(zoo_process):
    # With the real Python, all through; the others take one that has torch imported already.
    printed = json.loads(zoo_process("check", "zoo-wgan-gp", "--json").stdout)
    assert set(printed) == {"plugin", "conforms", "counts", "results"}
    assert printed["plugin"] == "zoo-wgan-gp"
    assert printed["conforms"] is True
    assert set(printed["results"][0]) == {"hook", "name", "check", "status", "detail", "seconds"}
    assert sum(printed["counts"].values()) == len(printed["results"]) > 30


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "zoo-mine"
version = "0.1.0"
dependencies = ["gan-zoo>=0.1,<1"]
[project.entry-points."zoo.v1.distance"]
mine = "zoo_mine"
[tool.hatch.build.targets.wheel]
only-include = ["zoo_mine.py"]
"""


@pytest.fixture
def folder(tmp_path):
    """`folder(code)` writes the source of a plugin."""

    def folder(code=CODE):
        place = tmp_path / "source"
        place.mkdir()
        (place / "pyproject.toml").write_text(PROJECT)
        (place / "zoo_mine.py").write_text(code)
        return place

    return folder


def test_zoo_check_of_a_folder(forked_python, zoo_process, folder):
    place = folder("print('a plugin may not print')" + CODE.replace("return -batch.fake", "return batch.fake"))
    done = zoo_process("check", place, code=1)
    assert "moves-a-dirac-toward-the-data" in done.stdout
    assert "imports-alone" in done.stdout
    assert "zoo-mine does not conform" in done.stdout
    assert "2 failed" in done.stdout


def test_zoo_check_names_the_check_that_hangs(zoo_command, monkeypatch):
    # What the real process prints when it begins a check, without the seconds that it takes to come so far.
    running = {"running": ["distance", "mine", "losses-are-scalars"]}
    script = f"import time; print({json.dumps(running)!r}, flush=True); time.sleep(600)"
    monkeypatch.setattr("zoo.cli.check._command", lambda dist: [sys.executable, "-c", script])
    printed = json.loads(zoo_command("check", "zoo-wgan", "--timeout", 1, "--json", code=1).stdout)
    (last,) = printed["results"]
    assert (last["check"], last["status"]) == ("losses-are-scalars", "failed")
    assert "within 1 s" in last["detail"]


def test_zoo_check_names_the_check_that_kills_the_process(forked_python, zoo_process, folder):
    dying = CODE.replace("return -batch.fake", "import os; os._exit(3); return -batch.fake")
    printed = json.loads(zoo_process("check", folder(dying), "--json", code=1).stdout)
    assert printed["results"][-1]["check"] == "losses-are-scalars"


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("zoo-nope", "no installed plugin is called 'zoo-nope'"),
        ("./nowhere", "there is no 'nowhere'"),
        ("./empty", "has no pyproject.toml"),
        ("none.whl", "there is no 'none.whl'"),
    ],
)
def test_zoo_check_of_what_is_not_there(zoo_command, tmp_path, plugin, words):
    (tmp_path / "empty").mkdir()
    assert words in zoo_command("check", plugin, code=2).stderr


def test_one_check_can_be_chosen(forked_python):
    line = [sys.executable, "-m", "zoo.testing", "zoo-wgan", "--check", "names", "--verbose"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    assert "zoo-wgan   names  passed" in done.stdout
    assert "zoo-wgan conforms: 1 passed." in done.stdout
