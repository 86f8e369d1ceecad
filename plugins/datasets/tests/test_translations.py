"""Folders of pairs and without, halves of pictures, and bundled images with sources; each refusal says what to do."""

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_datasets.bundled import digits
from zoo_datasets.image_pairs import paired_folder, unpaired_folder
from zoo_datasets.translations import digit_translation, texture_translation

from zoo import BadData, BadSetting


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(path, value, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((*size, 3), value, np.uint8) if np.isscalar(value) else value
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path):
    """Five pairs whose values are ten times their number, and five more on the other side."""
    for number, name in enumerate(["e", "deep/b", "c", "a", "d"]):
        save(tmp_path / "A" / f"{name}.png", 10 * number)
        save(tmp_path / "B" / f"{name}.bmp", 10 * number + 5)
    return tmp_path


def values(images):
    return images[:, 0, 0, 0].tolist()


def test_pictures_of_equal_names_are_pairs_whatever_their_endings(folder):
    data = paired_folder(path=str(folder), side=8)
    assert data.paired
    assert data.shape == data.source == (3, 8, 8)
    assert values(data.sources) == [30, 20, 40, 10, 0]
    assert [b - a for a, b in zip(values(data.sources), values(data.samples), strict=True)] == [5] * 5
    back = paired_folder(path=str(folder), side=8, direction="b-to-a")
    assert torch.equal(back.samples, data.sources)
    assert torch.equal(back.sources, data.samples)


def test_a_changed_picture_of_either_side_is_decoded_again(folder):
    paired_folder(path=str(folder), side=8)
    save(folder / "B" / "c.bmp", 99, (10, 10))
    assert values(paired_folder(path=str(folder), side=8).samples)[1] == 99


@pytest.mark.parametrize("channels", [1, 3])
def test_halves_of_a_picture_are_a_pair(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16), np.uint8)
    save(tmp_path / "one.png", np.repeat(pixels[..., None], 3, 2))
    data = paired_folder(path=str(tmp_path), layout="halves", side=8, channels=channels)
    assert np.array_equal(data.sources[0, 0], pixels[:, :8])
    assert np.array_equal(data.samples[0, 0], pixels[:, 8:])
    assert data.shape == (channels, 8, 8)


def test_partners_of_two_sizes_but_one_shape_are_cut_to_the_same_place(tmp_path):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 8:] = 200
    save(tmp_path / "A" / "x.png", wide)
    save(tmp_path / "B" / "x.png", wide.repeat(2, 0).repeat(2, 1))
    data = paired_folder(path=str(tmp_path), side=8)
    one, other = data.sources.float(), data.samples.float()
    assert one[0, 0, :, 1].tolist() == other[0, 0, :, 1].tolist() == [0] * 8
    assert one[0, 0, :, 6].tolist() == other[0, 0, :, 6].tolist() == [200] * 8


def test_pairs_that_are_none_are_refused(folder):
    save(folder / "A" / "lonely.png", 1)
    with pytest.raises(BadData, match=r"1 of 6 pictures of .*A' have no partner .*lonely.png"):
        paired_folder(path=str(folder))
    (folder / "A" / "lonely.png").unlink()
    save(folder / "B" / "other.png", 1)
    with pytest.raises(BadData, match=r"1 of 6 pictures of .*B' have no partner .*other.png"):
        paired_folder(path=str(folder))
    (folder / "B" / "other.png").unlink()
    save(folder / "B" / "c.png", 1)
    with pytest.raises(BadData, match="which one partner cannot both have"):
        paired_folder(path=str(folder))
    (folder / "B" / "c.png").unlink()
    save(folder / "B" / "c.bmp", 1, (8, 12))
    with pytest.raises(BadData, match="it is 8x8 and its partner 12x8"):
        paired_folder(path=str(folder), side=8)


def test_halves_of_an_odd_width_and_broken_pictures_are_refused(tmp_path):
    save(tmp_path / "odd.png", 1, (8, 15))
    with pytest.raises(BadData, match="15 pixels wide"):
        paired_folder(path=str(tmp_path), layout="halves", side=8)
    (tmp_path / "odd.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match="odd.png"):
        paired_folder(path=str(tmp_path), layout="halves", side=8)


@pytest.mark.parametrize("make", [paired_folder, unpaired_folder])
def test_folders_that_are_missing_or_empty_are_refused(make, tmp_path):
    with pytest.raises(BadData, match="does not exist"):
        make(path=str(tmp_path / "none"))
    with pytest.raises(BadData, match=r"has no folder .*dataset.a"):
        make(path=str(tmp_path))
    for name in ("A", "B", "trainA", "trainB"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadData, match="has no image"):
        make(path=str(tmp_path))


def test_two_folders_without_pairs_are_two_sets(tmp_path):
    for number in range(3):
        save(tmp_path / "trainA" / f"{number}.png", number)
    for number in range(5):
        save(tmp_path / "trainB" / f"x{number}.jpg", 100 + number, (12, 9))
    data = unpaired_folder(path=str(tmp_path), side=8)
    assert not data.paired
    assert values(data.sources) == [0, 1, 2]
    assert values(data.samples) == [100, 101, 102, 103, 104]
    back = unpaired_folder(path=str(tmp_path), a="trainB", b="trainA", side=8, direction="b-to-a")
    assert torch.equal(back.samples, data.samples)


def test_sources_of_digits_are_made_of_them():
    original = digits().samples
    for task, expected in (("rotated", original.rot90(1, (2, 3))), ("inverted", -original)):
        data = digit_translation(task=task)
        assert torch.equal(data.samples, original)
        assert torch.equal(data.sources, expected)
    edges = digit_translation(task="edges").sources
    assert set(edges.unique().tolist()) == {-1.0, 1.0}
    flat = original[:, :, 1:-1, 1:-1]
    assert 0.1 < float(edges.add(1).div(2).mean()) < 0.7
    assert flat.shape[-1] == 6


def test_edges_are_where_the_brightness_changes():
    from zoo_datasets.translations import _edges

    step = torch.full((1, 1, 8, 8), -1.0)
    step[..., 4:] = 1.0
    columns = _edges(step)[0, 0].unique(dim=0)
    assert columns.tolist() == [[-1, -1, -1, 1, 1, -1, -1, -1]]
    assert torch.equal(_edges(step.mT), _edges(step).mT)


def test_noise_has_its_size_and_seed():
    data = digit_translation(task="noisy", noise=0.1)
    inside = data.samples.abs() < 0.6
    assert float((data.sources - data.samples)[inside].std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(data.sources, digit_translation(task="noisy", noise=0.1).sources)
    assert not torch.equal(data.sources, digit_translation(task="noisy", noise=0.1, seed=1).sources)
    assert float(digit_translation(noise=5.0).sources.abs().max()) == 1


def test_held_out_digits_are_none_of_those_that_train():
    parts = {split: digit_translation(task="inverted", split=split) for split in ("train", "test", "all")}
    assert [parts[each].size for each in ("train", "test", "all")] == [1438, 359, 1797]
    assert torch.equal(parts["test"].samples, digits().samples[4::5])


def test_unpaired_digits_have_no_source_of_their_own():
    data = digit_translation(task="inverted", paired=False)
    assert not data.paired
    assert data.size == 899
    assert len(data.sources) == 898
    own = {image.numpy().tobytes() for image in data.samples}
    shared = sum((-image).numpy().tobytes() in own for image in data.sources)
    assert shared <= 2  # A few digits are in the set twice.


def test_patches_are_parts_of_their_photographs():
    data = texture_translation(source="grass", target="gravel", side=16, size=20)
    assert not data.paired
    assert data.samples.dtype == torch.uint8
    assert tuple(data.samples.shape) == (20, 1, 16, 16)
    from zoo_datasets.translations import _texture

    for name, patches in (("grass", data.sources), ("gravel", data.samples)):
        windows = _texture(name).unfold(0, 16, 1).unfold(1, 16, 1)
        for patch in patches[:3, 0]:
            assert bool((windows == patch).all(-1).all(-1).any())
    again = texture_translation(source="grass", target="gravel", side=16, size=20, seed=1)
    assert not torch.equal(again.samples, data.samples)
    with pytest.raises(BadSetting, match="name two textures"):
        texture_translation(source="brick", target="brick")
