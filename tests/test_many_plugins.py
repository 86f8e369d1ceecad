"""Two hundred plugins, twelve of them broken in different ways: all the others work, and each broken one says why."""

import json
import os
import subprocess
import sys
from importlib.metadata import Distribution

import pytest

import zoo
from zoo.errors import BrokenPlugin, DuplicateName, UnknownName, ZooError
from zoo.index import Index

GOOD = """
from zoo import hookimpl

class {name}:
    pass

@hookimpl
def distance():
    return {{"{name}": {name}}}
"""
BROKEN_CODE = {
    "missing": "import not_there_at_all",
    "exits": "import sys; sys.exit(3)",
    "syntax": "def broken(:",
    "typo": "from zoo import hookimpl\n@hookimpl\ndef distanse():\n    return {}\n",
    "raises": "from zoo import hookimpl\n@hookimpl\ndef distance():\n    raise ValueError('no luck')\n",
    "drift": GOOD.format(name="other"),
    "loops": "while True: pass",
}
CAUSES = {
    "missing": "ModuleNotFoundError: No module named 'not_there_at_all'",
    "exits": "SystemExit: 3",
    "syntax": "SyntaxError",
    "typo": "distanse",
    "raises": "ValueError: no luck",
    "drift": "declares ['drift'] on the hook distance, but the module offers ['other']",
}
GOOD_ONES = [f"good{number}" for number in range(188)]


@pytest.fixture
def crowd(install, monkeypatch):
    """188 good plugins and 12 broken ones; the path that they are on."""
    # What malformed metadata makes the zoo change in this process ends with the test.
    monkeypatch.setattr(Distribution, "entry_points", Distribution.entry_points)
    for name in GOOD_ONES:
        put(install, name, GOOD.format(name=name))
    for name, code in BROKEN_CODE.items():
        put(install, name, code)
    install("zoo-malformed", "[zoo.v1.distance]\nno equals sign\n")
    install("zoo-latin", b"[zoo.v1.distance]\nlatin\xe9 = zoo_latin\n")
    install("zoo-v2", "[zoo.v2.distance]\nv2 = zoo_v2\n", "raise RuntimeError('imported')")
    install("zoo-copy", "[zoo.v1.distance]\ngood0 = zoo_copy\n", GOOD.format(name="good0"))
    put(install, "shadowed", GOOD.format(name="shadowed"))
    stale = install.site / "zoo_shadowed.egg-info"
    stale.mkdir()
    (stale / "entry_points.txt").write_text("[zoo.v1.distance]\nstale = zoo_shadowed\n")
    return install.site


def put(install, name, code):
    install(f"zoo-{name}", f"[zoo.v1.distance]\n{name} = zoo_{name}\n", code)


def test_they_are_listed_without_being_imported(crowd):
    code = (
        "import sys; from zoo.cli import main; sys.argv = ['zoo', 'list', 'distance', '--json']\n"
        "try: main()\n"
        "finally: print('IMPORTED', [m for m in sys.modules if m == 'torch' or m.startswith('zoo_')], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(crowd)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "IMPORTED []" in done.stderr
    names = {entry["name"] for entry in json.loads(done.stdout) if entry["plugin"].startswith("zoo-")}
    assert {*GOOD_ONES, *BROKEN_CODE, "shadowed"} <= names
    assert not {"v2", "stale", "latiné"} & names
    warned = [line for line in done.stderr.splitlines() if line.startswith("Warning")]
    assert len(warned) == 3
    assert all(any(name in line for name in ("zoo-malformed", "zoo-latin", "zoo-v2")) for line in warned)


def test_every_good_one_is_built_and_each_broken_one_says_why(crowd, plugins_of):
    plugins = plugins_of()
    for name, cause in CAUSES.items():
        with pytest.raises(BrokenPlugin) as caught:
            plugins.component("distance", name)
        said = str(caught.value)
        assert f"plugin zoo-{name} 1.0 is broken" in said
        assert cause in said
        assert f"zoo disable zoo-{name}" in said or "reinstall" in said
    for name in [*GOOD_ONES[1:], "shadowed"]:
        assert type(plugins.component("distance", name)()).__name__ == name
    with pytest.raises(DuplicateName, match=r"'zoo-copy/good0' or 'zoo-good0/good0'"):
        plugins.component("distance", "good0")
    assert plugins.component("distance", "zoo-copy/good0") is not plugins.component("distance", "zoo-good0/good0")
    with pytest.raises(BrokenPlugin, match=r"zoo-v2 1.0 needs plugin API v2; this zoo has v1. Update one of them"):
        plugins.component("distance", "v2")


def test_names_that_unreadable_metadata_hides_are_explained(crowd):
    index = Index.scan([str(crowd)])
    assert {problem.dist for problem in index.problems} == {"zoo-malformed", "zoo-latin", "zoo-v2"}
    with pytest.raises(UnknownName, match="no distance is called 'stale'"):
        index.find("distance", "stale")


def test_a_plugin_that_never_ends_is_named_while_it_runs(crowd, tmp_path):
    code = "from zoo import watching; watching.PATIENCE = 0.5\nfrom zoo.cli import main\nmain()"
    environment = {**os.environ, "PYTHONPATH": str(crowd)}
    command = [sys.executable, "-c", code, "show", "loops"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
    finally:
        process.kill()
        process.communicate()
    assert "importing zoo_loops of the plugin zoo-loops has taken 0.5 s" in line
    assert "zoo disable zoo-loops" in line


def test_commands_about_something_else_work(crowd, zoo_command):
    for command in (["list"], ["search", "gan"], ["plugins"], ["show", "good7"], ["disable", "zoo-loops"]):
        zoo_command(*command)


def test_training_something_else_works(crowd, zoo_process, monkeypatch):
    # The metadata that cannot be read would break torch itself: its optimisers look through all entry points.
    monkeypatch.setenv("PYTHONPATH", str(crowd))
    zoo_process("train", "wgan-gp", "--dataset", "ring", "--steps", "2", "--quiet", "--batch-size", "4")


def test_idle_plugins_change_nothing_in_a_training_step(install, tmp_path):
    from torch.utils._python_dispatch import TorchDispatchMode

    from zoo.plugins import installed

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            operations.append(str(func))
            return func(*args, **(kwargs or {}))

    def run(name):
        installed.cache_clear()
        operations.clear()
        with Record():
            zoo.train("wgan-gp", dataset="ring", name=name, out=tmp_path, steps=2, batch_size=4)
        return list(operations)

    operations = []
    alone = run("alone")
    for number in range(20):
        put(install, f"idle{number}", "raise RuntimeError('imported')")
    among = run("among")
    assert len(alone) > 100
    assert among == alone
    assert not [module for module in sys.modules if module.startswith("zoo_idle")]


def test_a_broken_plugin_among_them_is_no_zoo_error_of_another(crowd, plugins_of):
    plugins = plugins_of()
    with pytest.raises(ZooError, match="zoo-missing"):
        plugins.component("distance", "missing")
    assert plugins.component("distance", "good1").__name__ == "good1"
