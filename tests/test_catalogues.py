"""Catalogues are checked with line and field, read from several places, and cannot fool a terminal."""

import http.server
import threading

import pytest
import tomli_w

from zoo.catalogue import read_catalogue, read_catalogues
from zoo.catalogue.text import shown
from zoo.errors import BadCatalogue, DuplicateName, UnknownName

SHA = "0" * 63 + "a"


def plugin(name="zoo-x", **changes):
    table = {
        "name": name,
        "summary": "x",
        "repository": "https://example.org/x",
        "owners": ["me"],
        "tier": "community",
        "status": "active",
        "api": 1,
        "provides": {"critic": [name.removeprefix("zoo-")]},
        "release": [release(name)],
        **changes,
    }
    return {key: value for key, value in table.items() if value is not None}


def release(name="zoo-x", version="1.0", **changes):
    wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return {"version": version, "requires-zoo": ">=0.1,<1", "wheel": wheel, "sha256": SHA, **changes}


@pytest.fixture
def catalogue(tmp_path):
    def write(*plugins, name="test", **top):
        file = tmp_path / f"{name}.toml"
        file.write_text(tomli_w.dumps({"schema": 1, "name": name, **top, "plugin": list(plugins)}))
        return file

    return write


def line(file, text):
    """The line with a text in the second plugin's table."""
    lines = file.read_text().splitlines()
    headers = [number for number, found in enumerate(lines) if found == "[[plugin]]"]
    return next(n for n, found in enumerate(lines[headers[1] :], start=headers[1] + 1) if text in found)


STRUCTURE = [
    ({"api": "1"}, "api =", "plugin 'zoo-x', field 'api' must be a whole number, not '1'"),
    ({"api": True}, "api =", "field 'api' must be a whole number"),
    ({"status": "gone"}, "status =", "field 'status' must be one of active, deprecated, removed, critical"),
    ({"status": "critical"}, "[[plugin]]", "field 'reason' is missing: say why it is critical"),
    ({"colour": "red"}, "colour =", "field 'colour' is no field"),
    ({"provides": {"critics": ["x"]}}, "critics =", "field 'provides.critics' is no hook"),
    ({"provides": {"critic": ["Big Name"]}}, "critic =", "must be lower-case letters and digits"),
    ({"provides": {}}, "[plugin.provides]", "names nothing"),
    ({"summary": None}, "[[plugin]]", "field 'summary' is missing"),
    ({"summary": " "}, "summary =", "field 'summary' is empty"),
    ({"owners": []}, "owners =", "must name the accounts"),
    ({"owners": ["two words"]}, "owners =", "must name the accounts"),
    ({"tier": "best"}, "tier =", "must be one of first-party, verified, community"),
    ({"release": [release(sha256="ABC")]}, "sha256 =", "field 'release.1.sha256' must be 64 hexadecimal"),
    ({"release": [release(version="one", wheel="x")]}, "version =", "must be a version such as 1.0.2"),
    ({"release": [release(wheel="zoo_y-1.0-py3-none-any.whl")]}, "wheel =", "is not one of zoo-x 1.0"),
    ({"release": [release(wheel="nonsense.whl")]}, "wheel =", "field 'release.1.wheel'"),
    ({"release": [release(**{"requires-zoo": "new"})]}, "requires-zoo =", "must be like '>=0.1,<1'"),
    (
        {"tested": [{"version": "1.0", "zoo": "0.1.0", "torch": "2.15.0", "result": "good"}]},
        "tested =",
        "passed, failed",
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), STRUCTURE)
def test_a_mistake_is_named_with_line_plugin_and_field(catalogue, change, where, words):
    file = catalogue(plugin("zoo-a"), plugin(**change))
    with pytest.raises(BadCatalogue) as caught:
        read_catalogue(str(file))
    place = [text for text in str(caught.value).splitlines() if words in text]
    assert place, caught.value
    assert place[0].startswith(f"{file}:{line(file, where)}: ")


CONVENTIONS = [
    ([plugin("zoo-b"), plugin("zoo-a")], "in the order of their names: before 'zoo-b'"),
    ([plugin("zoo-a"), plugin("zoo-a")], "'zoo-a' stands here twice"),
    ([plugin("zoo-a"), plugin("zoo-b", provides={"critic": ["a"]})], "'a' is a critic of zoo-a already"),
    ([plugin("torch")], "'torch' is reserved"),
    ([plugin("mine")], "must begin with 'zoo-': 'zoo-mine'"),
    ([plugin(provides={"critic": ["none"]})], "'none' is a word that recipes use"),
    ([plugin(provides={"critic": ["b", "a"]})], "must be in order, each name once"),
    ([plugin(repository="ftp://x")], "must be an https address"),
    ([plugin(summary="x" * 161)], "has 161 characters"),
    ([plugin(summary="red \x1b[31m")], "has control characters"),
    ([plugin(release=[])], "without a release and its sha256 nobody can install it"),
    ([plugin(release=[release(version="1.1"), release(version="1.0")])], "in the order of their versions"),
    ([plugin(owners=["me", "me"])], "names somebody twice"),
    (
        [plugin(tested=[{"version": "2.0", "zoo": "0.1.0", "torch": "2.15.0", "result": "passed"}])],
        "2.0 is no release of it",
    ),
]


@pytest.mark.parametrize(("plugins", "words"), CONVENTIONS)
def test_validate_finds_breaches_of_convention_that_readers_forgive(catalogue, zoo_command, plugins, words):
    file = catalogue(*plugins)
    assert words in zoo_command("catalogue", "validate", file, code=1).stdout
    read_catalogue(str(file))


def test_a_right_catalogue_has_no_mistake(catalogue, zoo_command):
    removed = plugin("zoo-c", provides={"critic": ["a"]}, status="removed", reason="It was renamed.")
    tested = [{"version": "1.0", "zoo": "0.1.0", "torch": "2.15.0", "result": "passed"}]
    file = catalogue(plugin("zoo-a"), plugin("zoo-b", tested=tested), removed)
    assert "3 plugins, no mistake" in zoo_command("catalogue", "validate", file).stdout
    assert zoo_command("catalogue", "validate", file, "--json").stdout.strip() == "[]"
    assert "no mistake" in zoo_command("catalogue", "validate").stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[plugin]]\nname = = 3\n", "is not TOML.*line 2"),
        ('schema = 2\nname = "x"\n', "bad.toml:1: field 'schema' must be 1, not 2"),
        ('name = "x"\n', "field 'schema' is missing"),
        ("schema = 1\nname = 'x'\nplugin = [3]\n", "bad.toml:3: plugin 0 must be a table"),
        ("x = " + "[" * 100_000, "is not TOML: .*recursion"),
        ("schema = " + "9" * 5000, "is not TOML: .*limit"),
        ("schema = 0x" + "f" * 5000 + "\nname = 'x'\n", "bad.toml:1: field 'schema' is too large a number"),
    ],
)
def test_a_text_that_is_no_catalogue(tmp_path, text, words):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(BadCatalogue, match=words):
        read_catalogue(str(file))


def test_catalogues_stand_beside_each_other(catalogue, zoo_command, monkeypatch):
    company = catalogue(plugin("zoo-wgan", provides={"critic": ["ours"]}), plugin("zoo-own"), name="company")
    monkeypatch.setenv("ZOO_CATALOGUES", str(company))
    said = zoo_command("search", "zoo-own").stdout
    assert "company" in said
    together = read_catalogues()
    with pytest.raises(DuplicateName, match=r"say 'gan-zoo/zoo-wgan' or 'company/zoo-wgan'"):
        together.find("zoo-wgan")
    assert together.find("company/zoo-wgan").provides == {"critic": ("ours",)}
    with pytest.raises(UnknownName, match="Did you mean zoo-own"):
        together.find("zoo-wn")
    assert "zoo install zoo-own" in zoo_command("show", "own", code=2).stderr


def test_two_catalogues_of_one_name_are_refused(catalogue):
    with pytest.raises(BadCatalogue, match="are both called 'gan-zoo'"):
        read_catalogues([str(catalogue(name="gan-zoo"))])


def test_what_is_shown_cannot_rewrite_the_screen(catalogue, zoo_command):
    file = catalogue(plugin("zoo-own", summary="good\x1b]0;evil\x07 \u202egnp\n\n\x08 end"))
    said = zoo_command("search", "zoo-own", "--catalogue", file).stdout
    assert not {"\x1b", "\x07", "\x08", "\u202e"} & set(said)
    assert shown("a\tb\r\nc\x00") == "a b c"


@pytest.mark.parametrize("place", ["http://example.org/x.toml", "ftp://example.org/x", "file:///etc/passwd"])
def test_other_addresses_than_https_are_refused(place, zoo_command):
    assert "is not at an https address" in zoo_command("search", "--catalogue", place, code=2).stderr


@pytest.mark.parametrize("place", ["https://[x", "https://exa mple/x", "https://a..b/", "~nobody-of-that-name/c.toml"])
def test_an_address_that_is_none(place, zoo_command):
    assert "cannot be read" in zoo_command("search", "--catalogue", place, code=2).stderr


def test_a_redirect_away_from_https_is_refused(monkeypatch):
    from zoo.catalogue import files

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "http://example.org/elsewhere.toml")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    refuse = files._refuse_other_than_https
    # The local server has no certificate: its own address passes here for one with https.
    monkeypatch.setattr(files, "_refuse_other_than_https", lambda a: None if "127.0.0.1" in a else refuse(a))
    try:
        with pytest.raises(BadCatalogue, match=r"http://example.org/elsewhere.toml is not at an https address"):
            files.text_of(f"http://127.0.0.1:{server.server_port}/catalogue.toml")
    finally:
        server.shutdown()
        server.server_close()


def test_a_catalogue_that_is_missing(zoo_command):
    said = zoo_command("search", "--catalogue", "none.toml", code=2).stderr
    assert "the catalogue none.toml cannot be read: No such file" in said


def test_searches_match_all_words():
    assert [entry.name for entry in read_catalogues().search("loss-sensitive qi")] == ["zoo-ls-gan"]


def test_a_release_is_found_however_its_version_is_written(catalogue):
    (entry,) = read_catalogue(str(catalogue(plugin("zoo-x")))).entries
    assert entry.release("1.0.0") == entry.release("1.0") == entry.releases[0]
    assert entry.release("1.1") is None
    assert entry.release("new") is None
