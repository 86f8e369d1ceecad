"""Searching a folder for pictures that are like a picture."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import zoo
from zoo import BadData
from zoo.api import start
from zoo.backbones import Backbone, Stage
from zoo.cli.search_images import search_images as command
from zoo.errors import UsageError
from zoo.testing.networks import SmallBackbone
from zoo.tuning import image_search
from zoo.tuning.image_search import nearest, save_found, search_images
from zoo.tuning.tune import composed, tuning_table

MODEL = "timm:test_resnet"


class Colours(Backbone):
    """The mean colour in [0, 1], and nothing else."""

    stages = (Stage("pixels", 3, 1),)

    def forward(self, images):
        return [(images + 1) / 2]


def save(path, colour, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    save(folder / "red.png", (255, 0, 0))
    save(folder / "dark" / "red.png", (90, 0, 0), (17, 64))
    save(folder / "orange.png", (255, 100, 0))
    save(folder / "green.png", (0, 255, 0))
    (folder / "notes.txt").write_text("no picture")
    return folder


def names(found, folder):
    return [each.image.relative_to(folder).as_posix() for each in found]


def test_the_nearest_by_cosine_come_first(pictures, tmp_path):
    query = save(tmp_path / "query.png", (200, 0, 0))
    found = search_images(Colours(), "pixels", pictures, query, side=16, device="cpu")
    assert set(names(found[:2], pictures)) == {"red.png", "dark/red.png"}
    assert names(found[2:], pictures) == ["orange.png", "green.png"]
    expected = [1, 1, 255 / np.hypot(255, 100), 0]
    assert [each.similarity for each in found] == pytest.approx(expected, abs=1e-4)
    assert [each.distance for each in found] == pytest.approx([1 - s for s in expected], abs=1e-4)
    assert all(each.distance >= 0 for each in found)
    assert names(search_images(Colours(), "pixels", pictures, query, n=3, side=16, device="cpu"), pictures)[2:] == [
        "orange.png"
    ]


def test_a_query_that_lies_in_the_folder_is_not_found_itself(pictures):
    found = search_images(Colours(), "pixels", pictures, pictures / "dark" / ".." / "red.png", side=8, device="cpu")
    assert names(found, pictures) == ["dark/red.png", "orange.png", "green.png"]


def test_pictures_are_looked_at_some_at_a_time(pictures, monkeypatch):
    whole = search_images(Colours(), "pixels", pictures, pictures / "red.png", side=8, device="cpu")
    monkeypatch.setattr(image_search, "CHUNK", 2)
    assert search_images(Colours(), "pixels", pictures, pictures / "red.png", side=8, device="cpu") == whole


def test_a_run_has_the_side_and_channels_that_it_learnt_with(tmp_path, pictures):
    options = {"steps": 3, "batch_size": 8, "validate_every": 0, "checkpoint_every": 0}
    start(composed(tuning_table(MODEL, "digits", options), device="cpu"), tmp_path / "run")
    run, query = str(tmp_path / "run"), pictures / "red.png"
    found = search_images(run, "layer3", pictures, query, device="cpu")
    backbone = zoo.load(run, device="cpu").composition.networks["classifier"].backbone
    pixels = [image_search.read_image(file, 8, 1).copy() for file in (query, *(each.image for each in found))]
    with torch.no_grad():
        maps = backbone(zoo.components.as_floats(torch.from_numpy(np.stack(pixels))))
    features = maps[3].mean(dim=(2, 3))
    expected = torch.nn.functional.cosine_similarity(features[1:], features[:1])
    assert [each.similarity for each in found] == pytest.approx(expected.tolist(), abs=1e-5)
    with pytest.raises(UsageError, match="is of images of side 8; leave --side out"):
        search_images(run, "layer3", pictures, query, side=16, device="cpu")


def test_a_run_of_vectors_is_refused(tmp_path, pictures):
    zoo.train("wgan", dataset="ring", steps=1, batch_size=8, out=tmp_path, name="plain", device="cpu")
    with pytest.raises(UsageError, match="nothing in the run .* stands on a backbone"):
        search_images(str(tmp_path / "plain"), "layer3", pictures, pictures / "red.png", device="cpu")


def test_a_layer_that_there_is_not_is_refused_with_those_there_are(pictures):
    with pytest.raises(UsageError, match=r"is called .third.. Its stages are first, second\.$"):
        search_images(SmallBackbone((3, 8, 8)), "third", pictures, pictures / "red.png", side=8, device="cpu")


def test_pictures_that_cannot_be_read_are_named(pictures):
    for number in range(7):
        (pictures / f"broken{number}.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"7 of 10 pictures cannot be read: .*broken0.png \(.*broken4.png .* and 2 more"):
        search_images(Colours(), "pixels", pictures, pictures / "red.png", side=8, device="cpu")
    with pytest.raises(BadData, match=r"1 of 1 pictures cannot be read: .*broken0.png"):
        search_images(Colours(), "pixels", pictures, pictures / "broken0.png", side=8, device="cpu")


def test_folders_and_pictures_that_are_not_there_are_refused(tmp_path, pictures):
    query = pictures / "red.png"
    with pytest.raises(UsageError, match="there is no folder .*nowhere to search"):
        search_images(Colours(), "pixels", tmp_path / "nowhere", query, device="cpu")
    with pytest.raises(UsageError, match=r"there is no picture .*gone.png"):
        search_images(Colours(), "pixels", pictures, pictures / "gone.png", device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there is no picture in .*empty"):
        search_images(Colours(), "pixels", tmp_path / "empty", query, device="cpu")
    with pytest.raises(UsageError, match=r"no picture in .*dark but .*red.png itself"):
        search_images(Colours(), "pixels", pictures / "dark", pictures / "dark" / "red.png", device="cpu")


# FAISS


def many(n=40, d=6):
    torch.manual_seed(0)
    index = torch.nn.functional.normalize(torch.randn(n, d), dim=1)
    return index, torch.nn.functional.normalize(torch.randn(d), dim=0)


class FlatIndex:
    """What of faiss.IndexFlatIP is used, in numpy."""

    used = 0

    def __init__(self, width):
        self.rows = np.empty((0, width), np.float32)

    def add(self, rows):
        assert rows.dtype == np.float32
        assert rows.flags["C_CONTIGUOUS"]
        self.rows = np.concatenate([self.rows, rows])

    def search(self, queries, count):
        FlatIndex.used += 1
        products = queries @ self.rows.T
        order = (-products).argsort(axis=1)[:, :count]
        return np.take_along_axis(products, order, 1), order


def test_a_large_index_is_searched_by_faiss_where_it_is_installed(monkeypatch):
    """By a stand-in, so that the path is run where FAISS is not installed."""
    index, query = many()
    expected = nearest(index, query, 7)
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(IndexFlatIP=FlatIndex))
    monkeypatch.setattr(FlatIndex, "used", 0)
    nearest(index, query, 7)
    assert FlatIndex.used == 0
    monkeypatch.setattr(image_search, "LARGE", 39)
    found = nearest(index, query, 7)
    assert FlatIndex.used == 1
    assert found[1].tolist() == expected[1].tolist()
    assert torch.allclose(found[0], expected[0], atol=1e-6)


def test_a_large_index_is_searched_without_faiss_as_well(monkeypatch):
    index, query = many()
    expected = nearest(index, query, 50)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(image_search, "LARGE", 0)
    found = nearest(index, query, 50)
    assert len(found[0]) == 40
    assert all(torch.equal(mine, its) for mine, its in zip(found, expected, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_faiss_itself_finds_the_same(monkeypatch):
    pytest.importorskip("faiss")
    index, query = many(300, 32)
    expected = nearest(index, query, 20)
    monkeypatch.setattr(image_search, "LARGE", 0)
    found = nearest(index, query, 20)
    assert found[1].tolist() == expected[1].tolist()
    assert torch.allclose(found[0], expected[0], atol=1e-6)


# The command


def test_the_command_prints_json_and_saves_a_grid(tmp_path, pictures):
    options = [MODEL, str(pictures / "red.png"), "--layer", "layer2", "--index", str(pictures), "--device", "cpu"]
    options += ["--side", "32", "-n", "2", "--grid", str(tmp_path / "new" / "grid.png")]
    printed = json.loads(CliRunner().invoke(command, [*options, "--json"], catch_exceptions=False).output)
    assert [set(each) for each in printed] == [{"image", "similarity", "distance"}] * 2
    assert printed[0]["distance"] <= printed[1]["distance"]
    with Image.open(tmp_path / "new" / "grid.png") as grid:
        assert grid.width > 300
    table = CliRunner(env={"COLUMNS": "999"}).invoke(command, options, catch_exceptions=False).output.splitlines()
    assert table[0].split() == ["DISTANCE", "IMAGE"]
    assert [line.split()[1] for line in table[1:3]] == [each["image"] for each in printed]


def test_the_grid_shows_the_query_first_and_distances_as_titles(tmp_path, pictures, monkeypatch):
    shown = []
    monkeypatch.setattr("zoo.tuning.pictures.save_figure", lambda figure, path: shown.append(figure))
    found = search_images(Colours(), "pixels", pictures, pictures / "red.png", side=8, device="cpu")
    save_found(tmp_path / "grid.png", pictures / "red.png", found)
    axes = shown[0].axes
    assert [each.get_title() for each in axes] == ["query", *(f"{each.distance:.3f}" for each in found)]
    colours = [each.images[0].get_array()[0, 0].tolist() for each in axes]
    assert colours == [[255, 0, 0], [90, 0, 0], [255, 100, 0], [0, 255, 0]]
