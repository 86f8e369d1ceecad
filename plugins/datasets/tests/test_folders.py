import os
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms
from zoo_datasets import pictures
from zoo_datasets.folders import image_folder, image_names

from zoo import BadData, images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return path


def plain(value, size=(8, 8)):
    return np.full((*size, 3), value)


def test_pixels_are_kept_at_their_own_size(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    save(tmp_path / "one.png", pixels)
    data = image_folder(path=str(tmp_path), side=16)
    assert data.samples.dtype == torch.uint8
    assert np.array_equal(data.samples[0].permute(1, 2, 0), pixels)
    assert data.shape == (3, 16, 16)
    assert data.labels is None


def test_order_is_that_of_the_paths_at_every_depth(tmp_path):
    for value, name in enumerate(["B.png", "a.jpg", "deep/er/x.bmp", "deep/y.webp", "z.JPEG"]):
        save(tmp_path / name, plain(40 * value))
    data = image_folder(path=str(tmp_path), side=8)
    assert [round(mean / 40) for mean in data.samples.float().mean((1, 2, 3)).tolist()] == [0, 1, 2, 3, 4]


def test_other_files_and_hidden_names_are_skipped(tmp_path):
    save(tmp_path / "one.png", plain(7))
    save(tmp_path / ".hidden.png", plain(8))
    save(tmp_path / ".folder" / "two.png", plain(9))
    (tmp_path / "notes.txt").write_text("no image")
    assert image_folder(path=str(tmp_path), side=8).samples.unique().tolist() == [7]


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path):
    for value, name in [(10, "dog/1.png"), (20, "cat/2.png"), (30, "dog/deep/3.png"), (40, "ape/4.png")]:
        save(tmp_path / name, plain(value))
    data = image_folder(path=str(tmp_path), side=8)
    values = data.samples.float().mean((1, 2, 3)).tolist()
    assert dict(zip(values, data.labels.tolist(), strict=True)) == {40: 0, 20: 1, 10: 2, 30: 2}
    assert data.classes == 3


@pytest.mark.parametrize("names", [["all/1.png", "all/2.png"], ["a/1.png", "b/2.png", "3.png"]])
def test_one_sub_folder_or_an_image_beside_them_means_no_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name, plain(1))
    data = image_folder(path=str(tmp_path), side=8)
    assert data.size == len(names)
    assert data.labels is None


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (64, 64), (20, 20)])
def test_resizing_is_short_side_then_centre_crop(tmp_path, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    wave = 127 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7)
    picture = np.stack([wave, wave[::-1], wave[:, ::-1]], axis=2)
    save(tmp_path / "one.png", picture)
    got = image_folder(path=str(tmp_path), side=32).samples[0].float()
    image = Image.open(tmp_path / "one.png")
    resized = transforms.resize(image, 32, InterpolationMode.BICUBIC)
    expected = torch.from_numpy(np.array(transforms.center_crop(resized, 32))).permute(2, 0, 1).float()
    assert (got - expected)[:, 3:-3, 3:-3].abs().max() <= 2


def test_shrinking_is_antialiased(tmp_path):
    save(tmp_path / "one.png", np.indices((64, 64)).sum(0) % 2 * 255)
    samples = image_folder(path=str(tmp_path), side=16).samples.float()
    assert (samples - 127.5).abs().max() < 3


def test_grey_and_colour_become_the_channels_asked_for(tmp_path):
    save(tmp_path / "colour.png", np.dstack([np.full((8, 8), v) for v in (255, 0, 0)]))
    save(tmp_path / "grey.png", np.full((8, 8), 50))
    save(tmp_path / "transparent.png", np.dstack([np.full((8, 8), v) for v in (1, 2, 3, 128)]))
    colour = image_folder(path=str(tmp_path), side=8).samples[:, :, 0, 0].tolist()
    assert colour == [[255, 0, 0], [50, 50, 50], [1, 2, 3]]
    grey = image_folder(path=str(tmp_path), side=8, channels=1)
    assert grey.shape == (1, 8, 8)
    assert grey.samples[:, 0, 0, 0].tolist() == [76, 50, 2]


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture = plain(0)
    picture[:4] = 200
    save(tmp_path / "one.png", picture, exif=exif)
    assert image_folder(path=str(tmp_path), side=8).samples[0, 0, :, 0].tolist() == [0] * 4 + [200] * 4


def test_linked_folders_are_followed(tmp_path):
    save(tmp_path / "elsewhere" / "one.png", plain(5))
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "link")
    assert image_folder(path=str(tmp_path / "data"), side=8).size == 1


def test_many_images_keep_their_places_among_threads(tmp_path):
    for index in range(100):
        save(tmp_path / f"{index:03}.png", np.full((4, 4), index))
    assert image_folder(path=str(tmp_path), side=4).samples[:, 0, 0, 0].tolist() == list(range(100))


def test_no_path_says_how_to_give_one():
    with pytest.raises(BadData, match="--dataset image-folder:PATH"):
        image_folder()


def test_a_missing_folder_and_a_file_are_named(tmp_path):
    with pytest.raises(BadData, match=r"'.*/gone' does not exist"):
        image_folder(path=str(tmp_path / "gone"))
    file = save(tmp_path / "one.png", plain(1))
    with pytest.raises(BadData, match=r"one\.png' is a file"):
        image_folder(path=str(file))


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(BadData, match=r"has no image; looked for .*\.png"):
        image_folder(path=str(tmp_path))


def test_a_folder_that_cannot_be_listed_is_not_skipped(tmp_path, monkeypatch):
    save(tmp_path / "one.png", plain(1))
    scan = os.scandir
    (tmp_path / "locked").mkdir()

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadData, match="locked"):
        image_folder(path=str(tmp_path), side=8)


def test_broken_images_are_counted_and_the_first_are_named(tmp_path):
    whole = save(tmp_path / "a0.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    (tmp_path / "b1.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "b2.jpg").write_bytes(b"no image")
    for index in range(3, 9):
        (tmp_path / f"b{index}.gif.png").write_bytes(b"")
    with pytest.raises(BadData) as error:
        image_folder(path=str(tmp_path), side=8)
    message = str(error.value)
    assert message.startswith("8 of 9 images cannot be read: ")
    assert [name for name in ("b1.png", "b2.jpg", "b5.gif", "b6.gif", "a0.png") if name in message] == [
        "b1.png",
        "b2.jpg",
        "b5.gif",
    ]
    assert message.endswith("and 3 more. Repair or remove them.")


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    save(tmp_path / "vast.png", np.zeros((60, 50, 3)))
    monkeypatch.setattr(images, "PIXEL_LIMIT", 2999)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as other libraries do
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda picture: pytest.fail("it was decoded"))
    with pytest.raises(BadData, match=r"1 of 1 images.*vast\.png \(50x60 are more than 2,999 pixels"):
        image_folder(path=str(tmp_path), side=8)


def test_a_small_file_of_a_vast_picture_is_refused(tmp_path):
    """A PNG of 20,000 by 20,000 pixels, as its header says."""
    whole = save(tmp_path / "bomb.png", plain(1)).read_bytes()
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + whole[24:29]
    (tmp_path / "bomb.png").write_bytes(whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:])
    with pytest.raises(BadData, match=r"bomb\.png \(.*400,?000,?000.* pixels"):
        image_folder(path=str(tmp_path), side=8)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_more_than_eight_bits_are_refused_and_not_clipped(tmp_path, dtype):
    Image.fromarray(np.full((8, 8), 1000, dtype)).save(tmp_path / "deep.tif")
    with pytest.raises(BadData, match=r"deep\.tif.*more than 8 bits"):
        image_folder(path=str(tmp_path), side=8)


def test_progress_goes_to_standard_error_when_it_takes_long(tmp_path, monkeypatch, capsys):
    from functools import partial

    save(tmp_path / "one.png", plain(1))
    quick = image_folder(path=str(tmp_path), side=8)
    assert quick.size == 1
    assert capsys.readouterr() == ("", "")
    eager = partial(pictures.tqdm, mininterval=0)
    monkeypatch.setattr(pictures, "tqdm", lambda *a, **k: eager(*a, **{**k, "disable": False, "delay": 0}))
    image_folder(path=str(tmp_path), side=4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading images" in err


def test_a_file_named_as_a_picture_starts_no_program(tmp_path, ghostscript, postscript):
    file = tmp_path / "images" / "a.png"
    file.parent.mkdir()
    file.write_bytes(postscript)
    with pytest.raises(BadData, match="cannot identify image file"):
        image_folder(path=str(file.parent))
    assert not ghostscript()
    with Image.open(file) as picture, pytest.raises(subprocess.CalledProcessError):
        picture.load()
    assert ghostscript()


def test_a_picture_may_have_the_name_of_another_kind(tmp_path):
    for kind in ("png", "gif", "webp", "bmp"):
        save(tmp_path / f"{kind}.{kind}", plain(0)).rename(tmp_path / f"{kind}.jpg")
    assert len(image_folder(path=str(tmp_path), side=8).samples) == 4


def test_links_that_go_round_are_followed_once(tmp_path):
    save(tmp_path / "images" / "b" / "x.png", plain(1))
    save(tmp_path / "elsewhere" / "y.png", plain(2))
    folder = tmp_path / "images"
    for link in (folder / "a", folder / "b" / "up"):
        link.symlink_to(folder)
    (folder / "again").symlink_to(folder / "b")
    for link in (folder / "c", folder / "d"):
        link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    assert image_names(folder) == ["b/x.png", "c/y.png"]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    save(tmp_path / "a.png", plain(1))
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    assert image_names(tmp_path) == ["a.png"]
    assert images.image_files([tmp_path]) == [tmp_path / "a.png"]


def test_only_so_many_pixels_are_decoded_at_once(tmp_path, monkeypatch):
    for number, side in enumerate([8, 8, 8, 8, 40, 8]):
        save(tmp_path / f"{number}.png", plain(number, (side, side)))
    inside, most, pixels = [], [], images.pixels

    def watched(picture, *given):
        inside.append(picture.width * picture.height)
        most.append(sum(inside))
        time.sleep(0.02)
        inside.remove(picture.width * picture.height)
        return pixels(picture, *given)

    monkeypatch.setattr(images, "ROOM", images.Room(130))
    monkeypatch.setattr(images, "pixels", watched)
    assert len(image_folder(path=str(tmp_path), side=8).samples) == 6
    assert max(total for total in most if total != 1600) == 128
    assert all(total == 1600 for total in most if total > 128)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux what this process holds")
def test_threads_give_the_memory_of_large_pictures_back(tmp_path, monkeypatch):
    """Four of them decode 36 million pixels each, which take 180 MB, one after the other."""
    Image.new("1", (6000, 6000)).save(tmp_path / "a.png")
    held, together = [], threading.Barrier(4)

    def decode(_):
        together.wait()
        images.read_image(tmp_path / "a.png", 8, 3)
        held.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    monkeypatch.setattr(images, "ROOM", images.Room(1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, range(4)))
    assert max(held) - min(held) < 100e6


def test_room_is_free_again_when_decoding_fails():
    room = images.Room(10)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), room.of(10):
            raise ValueError("broken")
