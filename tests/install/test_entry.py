"""`zoo catalogue entry`: the table of a wheel, ready for a catalogue."""

import tomllib

import pytest

import zoo
from zoo.install.entry import table_of

GOOD = {"requires": ["gan-zoo>=0.1,<1"]}


def test_the_table_says_what_the_wheel_is(wheel, tmp_path, zoo_command):
    path = wheel(tmp_path, "zoo-mine", summary="Mine.", **GOOD)
    (table,) = tomllib.loads(zoo_command("catalogue", "entry", path, "--owner", "me").stdout)["plugin"]
    (release,) = table.pop("release")
    assert table == {
        "name": "zoo-mine",
        "summary": "Mine.",
        "repository": "https://example.org/zoo-mine",
        "owners": ["me"],
        "tier": "community",
        "status": "active",
        "api": 1,
        "provides": {"distance": ["mine"]},
    }
    import hashlib

    assert release == {
        "version": "1.0",
        "requires-zoo": ">=0.1,<1",
        "wheel": "zoo_mine-1.0-py3-none-any.whl",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.mark.slow
def test_what_the_kit_says_is_written_down(wheel, tmp_path, zoo_command, forked_python):
    import torch

    release = torch.__version__.partition("+")[0]
    path = wheel(tmp_path, "zoo-broken", code="raise RuntimeError('no')", **GOOD)
    (table,) = tomllib.loads(zoo_command("catalogue", "entry", path, "--owner", "me", "--check").stdout)["plugin"]
    assert table["tested"] == [{"version": "1.0", "zoo": zoo.__version__, "torch": release, "result": "failed"}]
    good = tomllib.loads(table_of(wheel(tmp_path, "zoo-mine", **GOOD), ["me"], conforms=True))["plugin"][0]
    assert [tested["result"] for tested in good["tested"]] == ["passed"]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ({}, "does not require a range of gan-zoo", 1),
        ({"entry_points": "", **GOOD}, "declares components for 0 plugin APIs", 1),
        (
            {"entry_points": "[zoo.v1.distance]\nx = zoo_mine\n[zoo.v2.distance]\nx = y\n", **GOOD},
            "for 2 plugin APIs",
            1,
        ),
        ({"entry_points": "[zoo.v1.distance]\nBig = zoo_mine\n", **GOOD}, "must be lower-case letters", 1),
        ({"summary": "x" * 161, **GOOD}, "has 161 characters", 1),
    ],
)
def test_what_cannot_be_listed_is_refused(wheel, tmp_path, zoo_command, options, words, code):
    path = wheel(tmp_path, "zoo-mine", **options)
    assert words in zoo_command("catalogue", "entry", path, "--owner", "me", code=code).stderr


def test_misuse_is_said(wheel, tmp_path, zoo_command):
    path = wheel(tmp_path, "zoo-mine", **GOOD)
    assert "must name the accounts" in zoo_command("catalogue", "entry", path, "--owner", "two words", code=1).stderr
    assert "Missing option '--owner'" in zoo_command("catalogue", "entry", path, code=2).stderr
    assert "there is no wheel" in zoo_command("catalogue", "entry", "none.whl", "--owner", "me", code=2).stderr
