"""`zoo finetune`, `zoo predict` and `zoo export` as a user types them."""

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from zoo.cli import cli
from zoo.errors import ZooError

QUICK = ["--steps", "4", "--batch-size", "8", "--quiet", "--device", "cpu"]


@pytest.fixture
def photos(tmp_path):
    """Two classes of pictures, of many sizes and modes."""
    modes = ["RGB", "L", "P", "RGBA", "CMYK", "LA", "1"]
    for name, grey in (("dark", 40), ("light", 210)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(14):
            picture = Image.new("RGB", (12 + number, 20), (grey, grey, grey + number)).convert(modes[number % 7])
            suffix = "jpg" if picture.mode == "CMYK" else "png"
            picture.save(tmp_path / "photos" / name / f"{number}.{suffix}")
    return tmp_path / "photos"


def zoo(*arguments):
    """What a command prints. Errors that a user can meet are raised."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_pictures_of_all_modes_are_learnt_and_named(photos, tmp_path):
    folder = f"image-folder:{photos}"
    out = zoo(
        "finetune", "timm:test_resnet", "--dataset", folder, "--set", "dataset.side=16", "--steps", 30, "--lr", 0.01,
        "--batch-size", 8, "--quiet", "--out", tmp_path, "--name", "run", "--json",
    )  # fmt: skip
    (result,) = json.loads(out)
    assert result["accuracy"] == 1.0
    assert result["samples"] == 6
    assert {file.name for file in (tmp_path / "run" / "results").iterdir()} == {
        *("test.json", "confusion.png", "mistakes.png", "curves.png")
    }
    found = json.loads(zoo("predict", tmp_path / "run", photos / "dark", photos / "light" / "3.png", "--json"))
    assert [each["class"] for each in found] == ["dark"] * 14 + ["light"]
    assert all(abs(sum(each["probabilities"]) - 1) < 1e-6 for each in found)
    assert "light" in zoo("predict", tmp_path / "run", photos / "light" / "3.png")


def test_seeds_choose_other_shots_and_are_summarised(tmp_path):
    out = zoo(
        "finetune", "timm:test_resnet", "--dataset", "digits", "--tune", "head", "--shots", 3, "--seeds", 2, *QUICK,
        "--out", tmp_path,
    )  # fmt: skip
    assert "Accuracy over 2 seeds: " in out
    assert "trained on  30 samples, 4 steps" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"test_resnet-digits-head-3shots-seed{seed}" for seed in (0, 1)
    ]


def test_a_backbone_that_has_learnt_nothing_is_said_to_be_so(tmp_path):
    def said(backbone, name):
        arguments = ["finetune", backbone, "--dataset", "digits", *QUICK, "--out", str(tmp_path), "--name", name]
        return CliRunner().invoke(cli, arguments, standalone_mode=False).stderr

    assert "random weights, so that this trains it from scratch" in said("timm:test_resnet", "first")
    assert said(str(tmp_path / "first"), "second") == ""


def test_epochs_are_counted_in_samples_that_are_trained_on(tmp_path):
    out = zoo(
        "finetune", "timm:test_resnet", "--dataset", "digits", "--shots", 4, "--epochs", 2, "--batch-size", 16,
        "--dry-run", "--json",
    )  # fmt: skip
    assert json.loads(out)["recipe"]["train"]["steps"] == 5  # 40 samples twice, in batches of 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["timm:test_resnet", "--dataset", "ring"], "no labels"),
        (["timm:test_resnet", "--dataset", "digits", "--tune", "last-9"], "the backbone has .* stages: "),
        (["timm:test_resnet", "--dataset", "digits", "--shots", "500"], "500 samples of each class .* class 0 has"),
        (["timm:resnet19", "--dataset", "digits"], "timm has no model 'resnet19'. Near: "),
        (["timm:test_resnet", "--dataset", "digits", "--steps", "4", "--epochs", "1"], "--steps or --epochs"),
        (["timm:test_resnet", "--dataset", "digits", "--seed", "1", "--seeds", "2"], "leave --seed out"),
        (["timm:test_resnet", "--dataset", "digits", "--augment", "melt"], "augment"),
        (["timm:test_resnet", "--dataset", "digits", "--classifier", "nothing"], "nothing"),
        (["nowhere/run", "--dataset", "digits"], "nowhere/run"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(arguments, message, tmp_path):
    with pytest.raises(ZooError, match=message) as refused:
        zoo("finetune", *arguments, "--out", tmp_path / "runs", "--quiet")
    assert refused.value.exit_code == 2 or "class 0 has" in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_predicting_with_a_gan_is_refused(tmp_path):
    zoo(
        "train", "wgan", "--dataset", "digits", "--steps", 1, "--batch-size", 8, "--quiet", "--out", tmp_path, "--name",
        "gan",
    )  # fmt: skip
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ZooError, match="no run of zoo finetune"):
        zoo("predict", tmp_path / "gan", tmp_path / "a.png")
    with pytest.raises(ZooError, match=r"no picture or folder .*b\.png"):
        zoo("predict", tmp_path / "gan", tmp_path / "b.png")


def test_sampling_a_classifier_is_refused(tmp_path):
    zoo("finetune", "timm:test_resnet", "--dataset", "digits", *QUICK, "--out", tmp_path, "--name", "run")
    with pytest.raises(ZooError, match="has no generator to draw samples from"):
        zoo("sample", tmp_path / "run", "--grid", tmp_path / "grid.png")
    with pytest.raises(ZooError, match="this run generates none"):
        zoo("evaluate", tmp_path / "run", "--metric", "prdc")
    figures = json.loads(zoo("evaluate", tmp_path / "run", "--json"))
    assert [figure["name"] for figure in figures] == ["accuracy", "cross-entropy"]
    assert {figure["size"] for figure in figures} == {359}
    zoo("export", tmp_path / "run", "--out", tmp_path / "exported")
    assert torch.load(tmp_path / "exported" / "model.pth", weights_only=True)
