"""What a user calls samples: files, folders of images, runs and data sets; and what is refused of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import BadData, UsageError
from zoo.sources import as_samples, is_image_folder, samples_of


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Five colour images, each of one colour, 20 pixels wide and 10 high."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        Image.new("RGB", (20, 10), (50 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


def test_a_folder_of_images_is_a_source(photos):
    assert is_image_folder(str(photos))
    sample = samples_of(str(photos), 10)
    assert sample.values.shape == (5, 3, 64, 64)
    assert sample.values.min() == -1.0
    assert len(samples_of(str(photos), 3)) == 3


def test_a_folder_of_images_is_read_in_the_shape_that_is_wanted(photos):
    assert samples_of(str(photos), 10, shape=(1, 8, 8)).values.shape == (5, 1, 8, 8)
    assert samples_of(str(photos), 10, shape=(2,)).values.shape == (5, 3, 64, 64)


def test_a_data_set_goes_before_a_folder_of_its_name(photos, monkeypatch):
    photos.rename(photos.with_name("digits"))
    monkeypatch.chdir(photos.parent)
    assert samples_of("digits", 3).values.shape == (3, 1, 8, 8)
    assert samples_of("./digits", 3).values.shape == (3, 3, 64, 64)


@pytest.mark.parametrize("turned", [False, True])
def test_the_command_reads_images_in_the_shape_of_the_other_side(photos, zoo_command, turned):
    sources = ["digits", "photos"]
    arguments = reversed(sources) if turned else sources
    said = json.loads(zoo_command("distance", *arguments, "--by", "energy", "--floors", 0, "--json").stdout)
    assert (said["one"], said["other"]) == tuple(reversed(sources) if turned else sources)
    assert said["figures"][0]["size"] == 5
    assert said["distance"] > 0


def test_two_folders_of_images_have_a_distance(photos, zoo_command):
    done = zoo_command("distance", "photos", "photos", "--by", "energy", "--floors", 0, "--json")
    assert json.loads(done.stdout)["distance"] == pytest.approx(0.0, abs=1e-5)
    assert done.stderr.count("photos: 5 images, converted to 3 x 64 x 64.") == 2


def test_a_damaged_npz_file_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, samples=np.random.default_rng(0).normal(size=(100, 3)))
    content = whole.read_bytes()
    (tmp_path / "short.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "wrong.npz").write_bytes(content[:200] + bytes(100) + content[300:])
    (tmp_path / "none.npz").write_bytes(b"")
    for name in ("short.npz", "wrong.npz", "none.npz"):
        with pytest.raises(BadData, match=f"{name} is no array of numbers"):
            samples_of(str(tmp_path / name), 10)


def test_other_files_are_no_samples(tmp_path):
    (tmp_path / "notes.txt").write_text("1 2 3")
    with pytest.raises(UsageError, match=r"notes.txt' is no .npy or .npz file"):
        samples_of(str(tmp_path / "notes.txt"), 10)


@pytest.mark.parametrize(
    "values", [np.array([{}], dtype=object), np.array(3.0), np.zeros((0, 2)), np.array([1j]), torch.zeros(0)]
)
def test_what_is_no_numbers_or_none_is_refused(values):
    with pytest.raises(BadData, match="it holds .* must be numbers"):
        as_samples(values, "it")


def test_values_beyond_single_precision_are_refused():
    with pytest.raises(BadData, match="beyond single precision"):
        as_samples(np.array([1.0, 1e300]), "it")


def test_tensors_and_arrays_are_samples():
    assert as_samples(torch.ones(3, 2, requires_grad=True), "it").tolist() == [[1, 1]] * 3
    assert as_samples(np.arange(3), "it").tolist() == [[0.0], [1.0], [2.0]]
    assert as_samples(np.array([0, 255], np.uint8), "it").flatten().tolist() == [-1.0, 1.0]


def test_one_sample_has_no_distance(tmp_path, zoo_command):
    np.save(tmp_path / "one.npy", np.ones((1, 2)))
    arguments = ("distance", "one.npy", "one.npy", "--by")
    assert "energy needs 2 samples of each kind; there are 1" in zoo_command(*arguments, "energy", code=2).stderr
    assert "needs 64 samples of each kind" in zoo_command(*arguments, "neural:wgan-lp", code=2).stderr
