"""A plugin is loaded when it is asked for; a broken one is a clear error and breaks nothing else."""

import sys

import pytest

from zoo.errors import BrokenPlugin, UnknownName, UsageError
from zoo.plugins import Plugins

GOOD = """
from zoo import hookimpl

@hookimpl
def distance():
    return {"mine": dict}
"""


def test_a_component_is_imported_when_it_is_asked_for(install, plugins_of):
    install("zoo-lazy", "[zoo.v1.distance]\nmine = zoo_lazy\n", GOOD)
    plugins = plugins_of()
    assert "zoo_lazy" not in sys.modules
    assert plugins.component("distance", "mine") is dict
    assert "zoo_lazy" in sys.modules


@pytest.mark.parametrize(
    ("dist", "code", "cause"),
    [
        ("zoo-missing", "import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("zoo-exits", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("zoo-syntax", "def broken(:", "SyntaxError"),
        ("zoo-raises", GOOD.replace('return {"mine": dict}', "raise ValueError('no')"), "ValueError: no"),
        ("zoo-list", GOOD.replace('{"mine": dict}', "['mine']"), "must return a dict"),
        ("zoo-drift", GOOD.replace('"mine"', '"other"'), r"declares \['mine'\].*offers \['other'\]"),
        ("zoo-nothing", "", r"declares \['mine'\].*offers \[\]"),
        ("zoo-typo", GOOD.replace("def distance", "def distanse"), "distanse"),
    ],
)
def test_a_broken_plugin_is_named_with_version_cause_and_remedy(install, plugins_of, dist, code, cause):
    module = dist.replace("-", "_")
    install(dist, f"[zoo.v1.distance]\nmine = {module}\n", code)
    install(f"{dist}-good", f"[zoo.v1.distance]\nfine = {module}_good\n", GOOD.replace("mine", "fine"))
    plugins = plugins_of()
    with pytest.raises(BrokenPlugin, match=cause) as caught:
        plugins.component("distance", "mine")
    assert f"{dist} 1.0" in str(caught.value)
    assert "einstall" in str(caught.value)
    assert plugins.component("distance", "fine") is dict


def test_a_name_of_the_catalogue_says_which_plugin_to_install(install, plugins_of):
    with pytest.raises(
        UnknownName, match="A plugin that is not installed provides it: zoo-wgan, whose source is plugins/wgan"
    ):
        plugins_of().component("distance", "wasserstein")


def test_a_local_file_offers_components(tmp_path, plugins_of, install):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    plugins = plugins_of()
    plugins.add_file(file)
    assert plugins.component("distance", "mine") is dict


def test_a_local_file_that_is_missing_or_empty_is_refused(tmp_path):
    plugins = Plugins()
    with pytest.raises(UsageError, match="there is no plugin file"):
        plugins.add_file(tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(BrokenPlugin, match="offers no component"):
        plugins.add_file(tmp_path / "empty.py")
