"""The transfer study: what is trained for each way and number of shots, and where scratch catches up."""

import json

import pytest
import torch
from click.testing import CliRunner

import zoo
from zoo.cli import cli
from zoo.errors import ZooError
from zoo.folder import Folder
from zoo.tuning.amounts import Amount, catch_ups, caught_up, label_of
from zoo.tuning.transfer import Asked, _dataset, _split, _tables, shots_of, ways_of

QUICK = ["--steps", "2", "--jobs", "1", "--quiet", "--device", "cpu"]


def run(*arguments):
    """What a command prints. Errors that a user can meet are raised."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def amount(way, per_class, mean, half=None):
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Amount(way, str(per_class), float(per_class), 2, 0, mean, low, high, {})


def tables(backbone="timm:test_resnet", **asked):
    asked = Asked(backbone=backbone, dataset="digits", **asked)
    choice, dataset = _dataset(asked)
    return _tables(asked, choice, dataset, _split(asked, dataset))


def test_scratch_catches_up_on_a_straight_line_in_the_logarithm():
    curve = [(1, 0.2), (10, 0.6), (100, 0.8)]
    assert caught_up(curve, 0.4) == (pytest.approx(10**0.5), "")
    assert caught_up(curve, 0.7) == (pytest.approx(10**1.5), "")
    assert caught_up(curve, 0.1) == (1, "at most")
    assert caught_up(curve, 0.9) == (100, "more than")
    dipping = [(1, 0.2), (10, 0.6), (100, 0.5), (1000, 0.9)]
    assert caught_up(dipping, 0.6) == (10, "")


def test_each_way_is_compared_with_scratch_on_as_many_samples():
    amounts = [amount("scratch", 1, 0.2, 0.1), amount("scratch", 10, 0.6, 0.1), amount("head", 1, 0.4, 0.05),
               amount("head", 10, 0.65, 0.05)]  # fmt: skip
    one, ten = catch_ups(amounts)
    assert (one.way, one.shots, one.gain, one.overlaps) == ("head", "1", pytest.approx(0.2), False)
    assert one.samples == pytest.approx(10**0.5)
    assert (ten.bound, ten.overlaps) == ("more than", True)


def test_ways_and_shots_are_read_in_order():
    assert shots_of("all,5, 1,5") == (1, 5, 0)
    assert ways_of("scratch, last-2,head,head") == ("scratch", "last-2", "head")
    assert label_of("last-2", 0) == "last-2-allshots"
    with pytest.raises(ZooError, match="'half' is neither"):
        shots_of("1,half")
    with pytest.raises(ZooError, match="'tail' is no way of tuning; they are scratch, head"):
        ways_of("head,tail")


def test_scratch_is_the_same_network_without_what_it_has_learnt(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(zoo.create("backbone", "timm", shape=(1, 8, 8), model="test_resnet").network.state_dict(), weights)
    checkpoint = [(["backbone", "checkpoint"], str(weights))]
    found = tables(shots=(2, 0), ways=("scratch", "head"), assignments=checkpoint)
    assert list(found) == ["scratch-2shots", "head-2shots", "scratch-allshots", "head-allshots"]
    assert found["scratch-2shots"]["backbone"]["checkpoint"] == ""
    assert found["scratch-2shots"]["procedure"]["tune"] == "all"
    assert found["head-2shots"]["backbone"]["checkpoint"] == str(weights)
    assert [table["train"]["batch_size"] for table in found.values()] == [20, 20, 32, 32]
    assert {table["train"]["validate_every"] for table in found.values()} == {0}


def test_a_study_is_made_once_and_extended(tmp_path):
    command = ["transfer", "timm:test_resnet", "--dataset", "digits", "--tune", "scratch,head", *QUICK, "--json"]
    command += ["--out", tmp_path / "study"]
    first = json.loads(run(*command, "--shots", "1,2", "--seeds", "1"))
    assert [(each["way"], each["shots"], each["runs"]) for each in first["amounts"]] == [
        ("scratch", "1", 1), ("head", "1", 1), ("scratch", "2", 1), ("head", "2", 1),
    ]  # fmt: skip
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "cells").iterdir()}
    again = json.loads(run(*command, "--shots", "1,2", "--seeds", "1"))
    assert again["amounts"] == first["amounts"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "cells").iterdir()} == cells
    more = json.loads(run(*command, "--shots", "1,2", "--seeds", "2"))
    assert [each["runs"] for each in more["amounts"]] == [2] * 4
    assert (tmp_path / "study" / "transfer.png").stat().st_size > 1000
    assert json.loads((tmp_path / "study" / "transfer.json").read_text())["catch_ups"] == more["catch_ups"]
    assert not list((tmp_path / "study" / "runs" / "head-1shots-seed0" / "checkpoints").glob("*.pt"))


def test_seeds_choose_the_shots_of_all_ways_alike(tmp_path):
    run("transfer", "timm:test_resnet", "--dataset", "digits", "--tune", "scratch,head", "--shots", "2", "--seeds", "2",
        *QUICK, "--out", tmp_path / "study")  # fmt: skip
    recipes = {path.parent.name: Folder(path.parent).recipe() for path in tmp_path.rglob("runs/*/recipe.toml")}
    assert {name[-1]: recipe.train["seed"] for name, recipe in recipes.items()} == {"0": 0, "1": 1}
    assert {recipe.axes["procedure"].settings["split_seed"] for recipe in recipes.values()} == {0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["timm:test_resnet", "--dataset", "digits", "--shots", "500"], "--shots 500: class . has 1.. samples"),
        (["timm:test_resnet", "--dataset", "ring"], "no labels"),
        (["timm:test_resnet", "--dataset", "digits", "--tune", "tail"], "no way of tuning"),
        (["timm:test_resnet", "--dataset", "digits", "--tune", "last-9"], "the backbone has"),
        (["timm:test_resnet", "--dataset", "digits", "--shots", "0"], "'0' is neither"),
        (["timm:test_resnet", "--dataset", "digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["timm:test_resnet", "--dataset", "digits", "--set", "train.seed=3"], "say it with --seeds"),
        (["timm:test_resnet", "--dataset", "digits", "--set", "procedure.test=0.0"], "procedure.test is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(arguments, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        run("transfer", *arguments, *QUICK, "--out", tmp_path / "study")
    assert not (tmp_path / "study").exists()
