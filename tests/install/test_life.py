"""The whole life of third-party plugins, with the real commands, in an environment of its own."""

import json

import pytest


@pytest.fixture
def published(environment, wheel):
    """Plugins that `zoo new` made, built from their sources, in the index and in a catalogue that the zoo wrote."""
    run, tables = environment.run, []
    wheel(environment.index, "tinylib", entry_points="", code="answer = 42")
    for name, hook in (("zoo-first", "distance"), ("zoo-second", "lipschitz_constraint")):
        run("zoo", "new", name, "--hook", hook, "--out", "sources")
        project = environment.folder / "sources" / name / "pyproject.toml"
        project.write_text(project.read_text().replace('"gan-zoo>=0.1,<1"', '"gan-zoo>=0.1,<1", "tinylib>=1"'))
        build = ["--no-deps", "--no-build-isolation", "--wheel-dir", environment.index]
        run("pip", "wheel", "--quiet", *build, project.parent)
        (built,) = environment.index.glob(f"{name.replace('-', '_')}-*.whl")
        source = f"https://example.org/{name}"
        tables.append(run("zoo", "catalogue", "entry", built, "--owner", "me", "--repository", source).stdout)
    environment.list_in_catalogue(*tables)
    run("zoo", "catalogue", "validate", environment.catalogue)
    return environment


@pytest.mark.slow
def test_from_search_to_sync(published, tmp_path):
    run = published.run
    assert "zoo-first" in run("zoo", "search", "first").stdout
    assert "zoo install zoo-first" in run("zoo", "show", "first", code=2).stderr

    said = run("zoo", "install", "zoo-first", "--yes").stdout
    assert "tinylib" in said
    run("zoo", "install", "test/zoo-second==0.1.0", "--yes")
    assert "first" in run("zoo", "list", "distance").stdout
    states = {s["name"]: s for s in json.loads(run("zoo", "plugins", "--json").stdout)}
    assert (states["zoo-first"]["origin"], states["zoo-first"]["state"]) == ("test", "ok")
    assert states["zoo-wgan"]["origin"] == "unlisted"

    parts = ["--distance", "first", "--lipschitz-constraint", "second"]
    train = ["zoo", "train", "wgan-gp", "--dataset", "ring", *parts, "--steps", "2", "--quiet"]
    run(*train)
    assert json.loads(run("zoo", "check", "zoo-first", "--json").stdout)["conforms"]

    run("zoo", "disable", "zoo-first")
    assert "disabled" in run(*train, code=2).stderr
    assert "zoo-first" not in run("zoo", "list").stdout
    lock = tmp_path / "zoo.lock"
    lock.write_text(run("zoo", "freeze").stdout)
    assert "sha256" in lock.read_text()

    run("zoo", "uninstall", "zoo-first", "--yes")
    run("zoo", "uninstall", "zoo-second", "--yes")
    assert "first" not in run("pip", "freeze").stdout
    run("zoo", "sync", lock, "--yes")
    assert {"zoo-first==0.1.0", "zoo-second==0.1.0"} <= set(run("pip", "freeze").stdout.split())
    states = {s["name"]: s for s in json.loads(run("zoo", "plugins", "--json").stdout)}
    assert states["zoo-first"]["state"] == "disabled"
    run("zoo", "enable", "zoo-first")
    run("zoo", "show", "first")
    again = run("zoo", "sync", lock, "--yes").stdout
    assert "0 installed" in again
