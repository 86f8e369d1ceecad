"""The catalogue equals the plugins' metadata, and errors in it are named by place."""

import ast
import tomllib
from pathlib import Path

import pytest

import zoo
from zoo.catalogue import Catalogue
from zoo.errors import UsageError
from zoo.index import Index

ROOT = Path(__file__).parent.parent
PLUGINS = sorted((ROOT / "plugins").glob("*/pyproject.toml"))


def test_first_party_entries_equal_the_plugins_metadata():
    provided: dict = {}
    for entry in Index.scan().select():
        if entry.dist != "gan-zoo":
            provided.setdefault(entry.dist, {}).setdefault(entry.hook, []).append(entry.name)
    catalogue = {e.name: {h: sorted(n) for h, n in e.provides.items()} for e in Catalogue.read().entries}
    assert catalogue == provided
    assert len(provided) == len(PLUGINS)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.parent.name)
def test_first_party_plugins_are_named_and_bounded_alike(plugin):
    project = tomllib.loads(plugin.read_text())["project"]
    assert project["name"] == f"zoo-{plugin.parent.name.replace('_', '-')}"
    assert "gan-zoo>=0.1,<1" in project["dependencies"]
    assert not any(dependency.startswith("torch=") for dependency in project["dependencies"])
    summary = next(e.summary for e in Catalogue.read().entries if e.name == project["name"])
    assert summary == project["description"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
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
    names -= {"array", "faces", "grid", "ring", "digits", "mlp", "torchvision", "timm", "none"}
    for source in (ROOT / "zoo").glob("*.py"):
        tree = ast.parse(source.read_text())
        words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not words & names, f"{source} names {words & names}"


def test_searches_match_all_words():
    names = [entry.name for entry in Catalogue.read().search("loss-sensitive qi")]
    assert names == ["zoo-ls-gan"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"api": "1"}, r"plugin 1 \('zoo-x'\): 'api' must be a int"),
        ({"status": "gone"}, "'status' must be one of active, deprecated, removed"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"provides": {"critics": ["x"]}}, "unknown hook 'critics'"),
        ({"summary": None}, "'summary' must be a str"),
    ],
)
def test_a_wrong_table_is_named_by_plugin_and_field(tmp_path, change, words):
    import tomli_w

    table = {"name": "zoo-x", "summary": "x", "owner": "me", "status": "active", "api": 1, "provides": {}, **change}
    file = tmp_path / "registry.toml"
    file.write_text(tomli_w.dumps({"plugin": [{k: v for k, v in table.items() if v is not None}]}))
    with pytest.raises(UsageError, match=words):
        Catalogue.read(file)


def test_a_catalogue_that_is_no_toml_is_named_with_the_line(tmp_path):
    file = tmp_path / "registry.toml"
    file.write_text("[[plugin]]\nname = = 3\n")
    with pytest.raises(UsageError, match=r"registry.toml is not TOML.*line 2"):
        Catalogue.read(file)
