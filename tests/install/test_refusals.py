"""What would put an environment at risk is refused with its reason, and leaves the environment as it was."""

import io
import re
import tarfile

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def listed(shared, wheel):
    """`listed(name, change, ...)` publishes a wheel and lists it, with some of the table's text changed."""

    def publish(name, *changes, **wheel_options):
        path = wheel(shared.index, name, **{"requires": ["gan-zoo>=0.1,<1"], **wheel_options})
        table = shared.run("zoo", "catalogue", "entry", path, "--owner", "me").stdout
        for old, new in changes:
            assert old in table
            table = table.replace(old, new)
        shared.list_in_catalogue(table)
        return path

    yield publish
    shared.catalogue.unlink(missing_ok=True)


def test_a_tampered_wheel(listed, shared, wheel, refuse):
    listed("zoo-tampered")
    wheel(shared.index, "zoo-tampered", code="print('something else')")
    assert re.search(r"zoo-tampered==1.0 that is served is not the one that is listed", refuse("zoo-tampered"))


def test_a_tampered_wheel_given_as_a_file_is_refused_even_unlisted(listed, shared, wheel, refuse):
    listed("zoo-tampered")
    path = wheel(shared.folder / "elsewhere", "zoo-tampered", code="print('something else')")
    assert "is not the file that test/zoo-tampered 1.0 lists" in refuse(path, "--unlisted")


@pytest.mark.parametrize(
    "entry_points",
    [
        "[zoo.v1.distance]\ndiffering = zoo_differing\nmore = zoo_differing\n",
        "[zoo.v1.critic]\ndiffering = zoo_differing\n",
        "[zoo.v2.distance]\ndiffering = zoo_differing\n",
    ],
    ids=["more", "another hook", "another API"],
)
def test_entry_points_that_differ_from_the_catalogue(listed, shared, wheel, refuse, entry_points):
    path = wheel(shared.folder / "bad", "zoo-differing", entry_points=entry_points)
    good = listed("zoo-differing")
    bad, table = path.read_bytes(), shared.catalogue.read_text()
    import hashlib

    sums = [hashlib.sha256(raw).hexdigest() for raw in (good.read_bytes(), bad)]
    good.write_bytes(bad)
    shared.catalogue.write_text(table.replace(*sums))
    assert "is to provide distance 'differing'" in refuse("zoo-differing")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"zoo-evil.pth": "import os"}, "zoo-evil.pth, which Python would execute whenever it starts"),
        ({"zoo_pth-1.0.data/purelib/x.pth": "import os"}, "x.pth, which Python would execute"),
        ({"sitecustomize.py": ""}, "sitecustomize.py, which Python would import whenever it starts"),
        ({"pluggy/evil.py": ""}, r"the package 'pluggy' is another's \(of pluggy"),
        ({"zoo/evil.py": ""}, r"the package 'zoo' is another's \(of gan-zoo 0.1.0\)"),
        ({"random.py": ""}, "the package 'random' is another's"),
        ({"zoo_wgan/__init__.py": ""}, r"it would overwrite .*zoo_wgan/__init__.py \(of zoo-wgan 0.1.0\)"),
        ({"zoo_pth-1.0.data/scripts/pip": "#!python"}, "it installs a command called 'pip'"),
        ({"zoo_pth-1.0.data/scripts/python3.11": "#!python"}, "it installs a command called 'python3.11'"),
        ({"zoo_pth-1.0.data/data/bin/activate": "x"}, "it would overwrite .*bin/activate"),
        ({"zoo_pth-1.0.data/purelib/../../x.py": ""}, "writes outside of the environment"),
    ],
    ids=[
        "pth",
        "pth in data",
        "sitecustomize",
        "pluggy",
        "zoo",
        "stdlib",
        "plugin",
        "pip",
        "python",
        "data",
        "outside",
    ],
)
def test_files_that_reach_beyond_the_package(shared, wheel, refuse, files, words):
    path = wheel(shared.folder / "evil", "zoo-pth", files=files)
    assert re.search(words, refuse(path, "--unlisted"))


def test_a_console_script_called_zoo(shared, wheel, refuse):
    points = "[console_scripts]\nzoo = zoo_script:main\n[zoo.v1.distance]\nscript = zoo_script\n"
    path = wheel(shared.folder / "evil", "zoo-script", entry_points=points)
    assert "it installs a command called 'zoo'" in refuse(path, "--unlisted")


def test_a_weights_file_that_is_called_pth_is_no_risk(shared, wheel, before):
    path = wheel(shared.folder / "good", "zoo-weights", files={"zoo_weights_data/model.pth": "weights"})
    shared.run("zoo", "install", path, "--unlisted", "--yes")
    shared.run("zoo", "uninstall", "zoo-weights", "--yes")


def test_a_dependency_that_is_source_only_is_not_built(shared, wheel, refuse):
    mark = shared.folder / "mark"
    source = f"open({str(mark)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='sourceonly', version='1')"
    with tarfile.open(shared.index / "sourceonly-1.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": source,
            "PKG-INFO": "Metadata-Version: 2.1\nName: sourceonly\nVersion: 1\n",
        }.items():
            info = tarfile.TarInfo(f"sourceonly-1/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    path = wheel(shared.folder / "needs", "zoo-needs-source", requires=["sourceonly"])
    assert "cannot be had as wheels" in refuse(path, "--unlisted")
    assert not mark.exists()


@pytest.mark.parametrize("status", ["critical", "removed"])
def test_what_the_catalogue_warns_of(listed, refuse, status):
    path = listed("zoo-bad", ('status = "active"', f'status = "{status}"\nreason = "It steals keys."'))
    assert f"test/zoo-bad is {status}: It steals keys." in refuse("zoo-bad")
    assert f"test/zoo-bad is {status}: It steals keys." in refuse(path, "--unlisted")


@pytest.mark.parametrize("requirement", ["torch==2.0", "gan-zoo>=9", "pluggy<1", "numpy<1"])
def test_another_version_of_what_is_installed(shared, wheel, refuse, requirement):
    path = wheel(shared.folder / "pins", "zoo-pins", requires=[requirement])
    name = re.match(r"[a-z-]+", requirement)[0]
    assert re.search(rf"it needs {name}.*, and \d.* is installed", refuse(path, "--unlisted"))


def test_a_dependency_that_would_change_what_is_installed_in_a_second_step(shared, wheel, refuse):
    wheel(shared.index, "tinywants", entry_points="", requires=["click<1"], code="x = 1")
    wheel(shared.index, "click", "0.9", entry_points="", code="x = 1")
    path = wheel(shared.folder / "second", "zoo-second-step", requires=["tinywants"])
    said = refuse(path, "--unlisted")
    assert re.search(r"click [\d.]+ is installed and would become 0.9; nothing was changed", said)


def test_a_dependency_that_is_a_plugin(shared, wheel, refuse):
    wheel(shared.index, "zoo-hidden")
    path = wheel(shared.folder / "pulls", "zoo-pulls", requires=["zoo-hidden"])
    assert "Install that one first, by its name: zoo install zoo-hidden" in refuse(path, "--unlisted")


def test_a_dependency_with_a_startup_file(shared, wheel, refuse):
    wheel(shared.index, "tinypth", entry_points="", files={"tiny.pth": "import os"})
    path = wheel(shared.folder / "pulls", "zoo-pulls-pth", requires=["tinypth"])
    assert re.search(r"tinypth 1.0 is refused(.|\n)*zoo-pulls-pth needs it", refuse(path, "--unlisted"))


def test_a_dependency_with_an_address_of_its_own(shared, wheel, refuse):
    other = wheel(shared.folder / "direct", "tinydirect", entry_points="", code="x = 1")
    path = wheel(shared.folder / "direct", "zoo-direct", requires=[f"tinydirect @ file://{other}"])
    assert "from an address of its own" in refuse(path, "--unlisted")


def test_an_entry_without_a_hash(refuse):
    assert "there is no sha256 to check a file against" in refuse("zoo-vanilla")


def test_what_nobody_lists(shared, wheel, refuse):
    path = wheel(shared.index, "zoo-nobody")
    assert "--unlisted" in refuse(path, code=2)
    assert "--unlisted" in refuse("zoo-nobody", code=2)
    assert "Did you mean zoo-vanilla" in refuse("zoo-vanila", code=2)


def test_misuse(shared, wheel, refuse):
    assert "there is no wheel" in refuse("none.whl", code=2)
    assert "has no pyproject.toml" in refuse("./", "--unlisted", code=2)
    assert "is neither NAME" in refuse("zoo mine", code=2)
    broken = shared.folder / "zoo_broken-1.0-py3-none-any.whl"
    broken.write_bytes(b"not a zip file")
    assert "is not a usable wheel" in refuse(broken, "--unlisted")
    library = wheel(shared.folder / "lib", "zoo-library", entry_points="")
    assert "is no plugin" in refuse(library, "--unlisted")


def test_nothing_happens_before_somebody_agrees(shared, wheel, before):
    path = wheel(shared.index, "zoo-agree")
    said = shared.run("zoo", "install", path, "--unlisted", code=2)
    assert "zoo-agree" in said.stdout
    assert "add --yes" in said.stderr
    assert "nobody has looked at it" in said.stderr
    assert shared.files() == before


def test_a_release_that_is_not_there(listed, refuse):
    listed("zoo-old", ('requires-zoo = "', 'requires-zoo = ">=7,'))
    assert "has no release for zoo 0.1.0; it has 1.0" in refuse("zoo-old", code=2)
    assert "has no release 3.0" in refuse("zoo-old==3.0", code=2)
