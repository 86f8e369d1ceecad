"""The index is read from metadata: quick, complete, and never broken by one bad distribution."""

import subprocess
import sys

import pytest

from zoo.errors import BrokenPlugin, DuplicateName, UnknownName
from zoo.index import Index
from zoo.variants import _summaries, summary_of


def scan(install):
    return Index.scan([str(install.site)])


def test_names_come_from_metadata_alone(install):
    install("zoo-a", "[console_scripts]\nx = y\n[zoo.v1.distance]\nmine = zoo_a\nother = zoo_a\n", "raise SystemExit")
    assert [(e.hook, e.name, e.dist, e.version) for e in scan(install).entries] == [
        ("distance", "mine", "zoo-a", "1.0"),
        ("distance", "other", "zoo-a", "1.0"),
    ]


def test_a_name_given_twice_must_be_qualified(install):
    install("zoo-a", "[zoo.v1.distance]\nmine = zoo_a\n")
    install("zoo-b", "[zoo.v1.distance]\nmine = zoo_b\n")
    index = scan(install)
    with pytest.raises(DuplicateName, match=r"'zoo-a/mine' or 'zoo-b/mine'"):
        index.find("distance", "mine")
    assert index.find("distance", "zoo-b/mine").module == "zoo_b"


def test_unknown_names_get_near_matches_and_a_hint(install):
    install("zoo-a", "[zoo.v1.critic]\ndcgan = zoo_a\n")
    with pytest.raises(UnknownName, match=r"no critic is called 'dcgam'. Install it. Did you mean dcgan"):
        scan(install).find("critic", "dcgam", lambda: "Install it.")


def test_another_api_is_refused_without_import(install):
    install("zoo-a", "[zoo.v2.critic]\nnew = zoo_a\n", "raise SystemExit")
    index = scan(install)
    assert index.select() == []
    assert "v2" in str(index.problems[0])
    with pytest.raises(BrokenPlugin, match=r"zoo-a 1.0 needs plugin API v2; this zoo has v1"):
        index.find("critic", "new")


def test_an_unknown_hook_is_reported_with_near_names(install):
    install("zoo-a", "[zoo.v1.lipshitz_constraint]\nx = zoo_a\n")
    assert "lipschitz_constraint" in str(scan(install).problems[0])


@pytest.mark.parametrize("broken", [b"[zoo.v1.critic]\nno equals sign\n", b"[zoo.v1.critic]\n\xff\xfe = x\n"])
def test_malformed_metadata_is_one_problem_and_breaks_nothing_else(install, broken):
    install("zoo-bad", broken)
    install("zoo-good", "[zoo.v1.critic]\nfine = zoo_good\n")
    index = scan(install)
    assert [entry.name for entry in index.entries] == ["fine"]
    assert [problem.dist for problem in index.problems] == ["zoo-bad"]


def test_the_first_distribution_on_the_path_wins(install, tmp_path):
    install("zoo-a", "[zoo.v1.critic]\nfirst = zoo_a\n")
    stale = tmp_path / "stale" / "zoo_a-0.9.egg-info"
    stale.mkdir(parents=True)
    (stale / "entry_points.txt").write_text("[zoo.v1.critic]\nstale = zoo_a\n")
    index = Index.scan([str(install.site), str(stale.parent)])
    assert [entry.name for entry in index.entries] == ["first"]


def test_wildcards_select(install):
    install("zoo-a", "[zoo.v1.variant]\nwgan = a\nwgan-gp = a\nvanilla = a\n")
    assert [entry.name for entry in scan(install).select("variant", "wgan*")] == ["wgan", "wgan-gp"]


@pytest.mark.parametrize(
    "command", [["list"], ["list", "variant"], ["search", "gan"], ["--help"], ["train", "--help"], ["show", "--help"]]
)
def test_looking_imports_neither_torch_nor_a_plugin(command):
    code = (
        "import sys; from zoo.cli import main; sys.argv = ['zoo', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally:\n"
        "    bad = [m for m in sys.modules if m == 'torch' or m.startswith('zoo_')]\n"
        "    print('IMPORTED', bad, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "IMPORTED []" in done.stderr


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        ("there", '[mine]\nsummary = "What it is."\n', "What it is."),
        ("there", "[mine]\nsummary = 3\n", ""),
        ("there", "mine = 3\n", ""),
        ("there", "[mine\n", ""),
        ("there.variants", '[mine]\nsummary = "What it is."\n', "What it is."),
        ("nowhere", "", ""),
        ("sys", "", ""),
    ],
)
def test_summaries_are_read_without_running_a_plugin(module, text, told, tmp_path, monkeypatch):
    package = tmp_path / "there"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    (package / "variants.toml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(package)
    _summaries.cache_clear()
    assert summary_of(module, "mine") == told
    _summaries.cache_clear()
