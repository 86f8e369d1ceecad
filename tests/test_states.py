"""Plugins are switched off and on, watched while they load, and examined; a broken one stops none of that."""

import json
import sys

import pytest

from zoo import watching
from zoo.errors import BrokenPlugin, DisabledPlugin
from zoo.index import Index
from zoo.install.doctor import examine
from zoo.plugins import Plugins

GOOD = """
from zoo import hookimpl

class Mine:
    pass

@hookimpl
def distance():
    return {"mine": Mine}
"""
POINTS = "[zoo.v1.distance]\nmine = {module}\n"


def put(install, dist, code=GOOD, **options):
    install(dist, POINTS.format(module=dist.replace("-", "_")), code, **options)


def test_a_disabled_plugin_is_not_loaded_and_says_so(install, zoo_command):
    put(install, "zoo-off", "raise RuntimeError('imported')")
    assert "zoo-off" in zoo_command("list").stdout
    assert "zoo enable zoo-off" in zoo_command("disable", "zoo_off").stdout
    assert "zoo-off" not in zoo_command("list").stdout
    with pytest.raises(DisabledPlugin, match="distance 'mine' of zoo-off 1.0 is disabled: zoo enable zoo-off"):
        Plugins().component("distance", "mine")
    assert "is disabled" in zoo_command("show", "mine", code=2).stderr
    zoo_command("enable", "zoo-off")
    with pytest.raises(BrokenPlugin, match="RuntimeError: imported"):
        Plugins().component("distance", "mine")


def test_disabling_is_checked(install, zoo_command):
    put(install, "zoo-off")
    assert "gan-zoo is the core" in zoo_command("disable", "gan-zoo", code=2).stderr
    assert "Did you mean zoo-off" in zoo_command("disable", "zoo-of", code=2).stderr
    assert "A component of zoo-off is called so" in zoo_command("disable", "mine", code=2).stderr
    assert "is not disabled" in zoo_command("enable", "zoo-off", code=2).stderr


def test_a_disabled_plugin_that_was_uninstalled_can_be_enabled(zoo_command, monkeypatch, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "disabled.txt").write_text("zoo-gone\n")
    monkeypatch.setenv("ZOO_STATE", str(state))
    zoo_command("enable", "zoo-gone")
    assert (state / "disabled.txt").read_text() == ""


def test_the_variable_disables_for_one_process(install, zoo_command, monkeypatch):
    put(install, "zoo-off")
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", " zoo_off, zoo-other")
    assert "zoo-off" not in zoo_command("list").stdout
    assert "by ZOO_DISABLE_PLUGINS" in zoo_command("enable", "zoo-off", code=2).stderr
    states = {s["name"]: s for s in json.loads(zoo_command("plugins", "--json").stdout)}
    assert (states["zoo-off"]["state"], states["zoo-off"]["cause"]) == ("disabled", "by ZOO_DISABLE_PLUGINS")


def test_a_folder_that_cannot_be_written_is_an_error(install, zoo_command, monkeypatch, tmp_path):
    put(install, "zoo-off")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_STATE", str(tmp_path / "file"))
    assert "Set ZOO_STATE to a folder that can" in zoo_command("disable", "zoo-off", code=1).stderr


def test_plugins_are_listed_with_their_state(install, zoo_command):
    put(install, "zoo-good")
    install("zoo-next", "[zoo.v2.distance]\nnew = zoo_next\n")
    install("zoo-bad", "[zoo.v1.distance]\nno equals sign\n")
    install("zoo-typo", "[zoo.v1.distanse]\nx = zoo_typo\n")
    said = zoo_command("plugins", "--json")
    states = {s["name"]: s for s in json.loads(said.stdout)}
    assert {name: states[name]["state"] for name in ("zoo-good", "zoo-next", "zoo-bad", "zoo-typo", "gan-zoo")} == {
        "zoo-good": "ok",
        "zoo-next": "needs another API",
        "zoo-bad": "broken",
        "zoo-typo": "broken",
        "gan-zoo": "ok",
    }
    assert states["gan-zoo"]["origin"] == "core"
    assert states["zoo-good"] == {
        "name": "zoo-good",
        "version": "1.0",
        "api": [1],
        "provides": {"distance": ["mine"]},
        "origin": "unlisted",
        "state": "ok",
        "cause": "",
    }
    assert states["zoo-wgan"]["origin"] == "editable"
    table = zoo_command("plugins")
    assert "zoo-bad, broken: unreadable entry_points.txt" in table.stderr
    assert all(len(line) <= 100 for line in table.stdout.splitlines())


def test_loads_and_calls_are_traced(install, zoo_command, monkeypatch):
    put(install, "zoo-traced")
    monkeypatch.setenv("ZOO_TRACE_PLUGINS", "1")
    said = zoo_command("show", "mine").stderr.splitlines()
    assert [line.rsplit(":", 1)[0] for line in said] == [
        "zoo: importing zoo_traced of zoo-traced",
        "zoo: calling distance of zoo-traced",
        "zoo: calling the hooks of zoo_traced of zoo-traced",
    ]
    assert all(line.endswith(" ms") for line in said)
    monkeypatch.setenv("ZOO_TRACE_PLUGINS", "0")
    assert zoo_command("show", "mine").stderr == ""


def test_a_plugin_that_hangs_is_named_with_what_to_do(install, zoo_command, monkeypatch):
    put(install, "zoo-hangs", f"import time; time.sleep(1.0)\n{GOOD}")
    monkeypatch.setattr(watching, "PATIENCE", 0.2)
    said = zoo_command("show", "mine").stderr
    assert "importing zoo_hangs of the plugin zoo-hangs has taken 0.2 s and goes on" in said
    assert "zoo disable zoo-hangs" in said
    assert watching.PATIENCE == 0.2


def test_a_plugin_that_does_not_hang_is_not_named(install, zoo_command):
    put(install, "zoo-quick")
    assert zoo_command("show", "mine").stderr == ""


@pytest.fixture
def doctor(install, monkeypatch, forked_python):
    """What the doctor finds in the plugins that were put there, loading them in processes of their own."""
    from zoo.catalogue import Catalogues

    def run(catalogues=(), **options):
        monkeypatch.delenv("ZOO_DISABLE_PLUGINS", raising=False)
        path = [str(install.site), *sys.path]
        monkeypatch.setenv("PYTHONPATH", str(install.site))
        off = {entry.dist for entry in Index.scan(path).entries if entry.dist.startswith(("zoo-", "gan-"))}
        mine = {file.name.split("-")[0].replace("_", "-") for file in install.site.glob("*-info")}
        monkeypatch.setenv("ZOO_DISABLE_PLUGINS", ",".join(off - mine))
        return [(f.plugin, f.kind, f.text) for f in examine(Catalogues(tuple(catalogues)), **options)]

    return run


@pytest.mark.slow
def test_the_doctor_finds_what_is_wrong_in_loading(install, doctor):
    put(install, "zoo-fine", GOOD.replace('"mine"', '"fine"').replace("mine", "fine"))
    (install.site / "zoo_fine-1.0.dist-info" / "entry_points.txt").write_text("[zoo.v1.distance]\nfine = zoo_fine\n")
    put(install, "zoo-missing", "import not_there_at_all")
    put(install, "zoo-drift", GOOD + "\n@hookimpl\ndef critic():\n    return {'hidden': Mine}\n")
    put(install, "zoo-dies", "import os; os._exit(7)")
    put(install, "zoo-slow", f"import time; time.sleep(1)\n{GOOD}")
    found = doctor(timeout=120, slow=0.9)
    loading = {(name, kind): text for name, kind, text in found if kind == "load" or name == "zoo-slow"}
    loading.pop(("zoo-slow", "duplicate"))
    assert set(loading) == {
        ("zoo-missing", "load"),
        ("zoo-drift", "load"),
        ("zoo-dies", "load"),
        ("zoo-slow", "slow"),
    }
    assert "not_there_at_all" in loading["zoo-missing", "load"]
    assert "offers the critic 'hidden'" in loading["zoo-drift", "load"]
    assert "exit code 7" in loading["zoo-dies", "load"]
    duplicates = {name for name, kind, _ in found if kind == "duplicate"}
    assert duplicates == {"zoo-missing", "zoo-drift", "zoo-dies", "zoo-slow"}


@pytest.mark.slow
def test_the_doctor_gives_up_on_a_plugin_that_never_ends(install, doctor):
    put(install, "zoo-loops", "while True: pass")
    assert doctor(timeout=1) == [("zoo-loops", "load", "loading it did not end in 1 s")]


@pytest.mark.slow
def test_the_doctor_finds_what_is_wrong_in_metadata(install, doctor, tmp_path):
    install("zoo-bad", "[zoo.v1.distance]\nno equals sign\n")
    install("zoo-next", "[zoo.v2.distance]\nnew = zoo_next\n")
    put(install, "zoo-gone")
    (install.site / "zoo_gone-1.0.dist-info" / "direct_url.json").write_text(
        '{"url": "file:///nowhere/at/all", "dir_info": {"editable": true}}'
    )
    put(install, "zoo-moved", GOOD.replace('"mine"', '"moved"'))
    (install.site / "zoo_moved-1.0.dist-info" / "entry_points.txt").write_text("[zoo.v1.distance]\nmoved = zoo_moved\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project.entry-points."zoo.v1.distance"]\nnewer = "zoo_moved"\n')
    (install.site / "zoo_moved-1.0.dist-info" / "direct_url.json").write_text(
        json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    )
    old = install.site / "zoo_moved.egg-info"
    old.mkdir()
    (old / "entry_points.txt").write_text("[zoo.v1.distance]\nold = zoo_moved\n")
    findings = doctor()
    found = {(name, kind): text for name, kind, text in findings}
    assert "unreadable entry_points.txt" in found["zoo-bad", "metadata"]
    assert "v2; this zoo has v1" in found["zoo-next", "api"]
    assert "/nowhere/at/all is gone" in found["zoo-gone", "stale"]
    assert [text for name, kind, text in findings if (name, kind) == ("zoo-moved", "stale")] == [
        f"there is a second installation of it, of version ?, which is not used: {old}",
        f"the pyproject.toml in {source} declares other components than were installed",
    ]


@pytest.mark.slow
def test_the_doctor_compares_with_the_catalogue(install, doctor):
    from zoo.catalogue import Catalogue, CatalogueEntry

    put(install, "zoo-listed")
    table = {"catalogue": "c", "name": "zoo-listed", "summary": "", "repository": "", "owners": (), "tier": ""}
    right = CatalogueEntry(**table, provides={"distance": ("mine",)})
    assert doctor([Catalogue("c", "", (right,))]) == []
    wrong = CatalogueEntry(**table, provides={"distance": ("other",)}, status="critical", reason="It steals.")
    assert doctor([Catalogue("c", "", (wrong,))]) == [
        ("zoo-listed", "catalogue", "c/zoo-listed is critical: It steals"),
        ("zoo-listed", "catalogue", "it and c/zoo-listed differ in what it provides: mine, other"),
    ]


@pytest.mark.parametrize(
    "text",
    ['{"dir_info": 3, "url": "x"}', '{"dir_info": {"editable": true}}', '{"url": 3, "archive_info": []}', "[" * 99_999],
    ids=["no table", "no address", "no text", "deep"],
)
def test_a_malformed_origin_breaks_nothing(install, zoo_command, text):
    put(install, "zoo-origin")
    (install.site / "zoo_origin-1.0.dist-info" / "direct_url.json").write_text(text)
    states = {s["name"]: s for s in json.loads(zoo_command("plugins", "--json").stdout)}
    assert (states["zoo-origin"]["origin"], states["zoo-origin"]["state"]) == ("unlisted", "ok")
    zoo_command("freeze", "--partial")


@pytest.mark.slow
@pytest.mark.parametrize("prints", [r"os.write(1, b'\xff\xfe\n')", "atexit.register(print, 'zoo probe: {')"])
def test_the_doctor_reads_what_a_plugin_prints_as_no_result_of_its_own(install, doctor, prints):
    put(install, "zoo-prints", f"import atexit, os\n{prints}\n{GOOD}")
    found = [(name, kind) for name, kind, _ in doctor()]
    assert found == ([("zoo-prints", "load")] if "probe" in prints else [])
