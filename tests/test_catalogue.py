"""The project's own catalogue equals the plugins, and plugins keep to the rules that all have."""

import ast
import tomllib
from pathlib import Path

import pytest

import zoo
from zoo.catalogue import default_path, read_catalogue
from zoo.index import Index
from zoo.install.wheels import build_wheel, read_wheel

ROOT = Path(__file__).parent.parent
ENTRIES = read_catalogue(str(default_path())).entries
PLUGINS = sorted((ROOT / "plugins").glob("*/pyproject.toml"))


def test_first_party_entries_equal_the_plugins_metadata():
    provided: dict = {}
    for entry in Index.scan().select():
        if entry.dist != "gan-zoo":
            provided.setdefault(entry.dist, {}).setdefault(entry.hook, []).append(entry.name)
    catalogue = {e.name: {h: sorted(n) for h, n in e.provides.items()} for e in ENTRIES}
    assert catalogue == provided
    assert len(provided) == len(PLUGINS)


@pytest.mark.slow
def test_first_party_entries_equal_what_the_wheels_contain(tmp_path):
    for plugin in PLUGINS:
        wheel = read_wheel(build_wheel(plugin.parent, tmp_path / plugin.parent.name))
        entry = next(entry for entry in ENTRIES if entry.name == wheel.name)
        assert wheel.provides == entry.provides
        assert wheel.apis == {entry.api}
        assert entry.repository == f"plugins/{plugin.parent.name}"
        assert wheel.metadata["Summary"] == entry.summary


def test_only_published_releases_have_hashes():
    # None is published yet; a release that is added here must be the file that was published.
    assert [entry.name for entry in ENTRIES if entry.releases] == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.parent.name)
def test_first_party_plugins_are_named_and_bounded_alike(plugin):
    project = tomllib.loads(plugin.read_text())["project"]
    assert project["name"] == f"zoo-{plugin.parent.name.replace('_', '-')}"
    assert "gan-zoo>=0.1,<1" in project["dependencies"]
    assert not any(dependency.startswith("torch=") for dependency in project["dependencies"])
    summary = next(e.summary for e in ENTRIES if e.name == project["name"])
    assert summary == project["description"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "__version__") for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "zoo":
            yield "zoo", node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_import_public_names_only_and_never_each_other(plugin):
    own = f"zoo_{plugin.parent.name}"
    sources = list(plugin.parent.glob("src/**/*.py"))
    assert sources
    for source in sources:
        for module, name in imports(source):
            root = (module or "").split(".")[0]
            assert not root.startswith("zoo_") or root == own, f"{source} imports {module}"
            if root == "zoo":
                assert module == "zoo", f"{source} imports {module}"
                assert name in zoo.__all__, f"{source} imports {name}, which is not public"


def test_the_core_names_no_method():
    names = {entry.name for entry in Index.scan().select() if entry.dist != "gan-zoo"}
    names -= {"array", "faces", "grid", "ring", "digits", "mlp", "torchvision", "timm", "none", "lipschitz"}
    for source in (ROOT / "zoo").glob("*.py"):
        tree = ast.parse(source.read_text())
        words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not words & names, f"{source} names {words & names}"
