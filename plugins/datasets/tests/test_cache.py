"""Decoded images are kept once, whole or not at all, whoever else writes and whatever goes wrong."""

import fcntl
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from zoo_datasets import cache, folders
from zoo_datasets.cache import cached_images
from zoo_datasets.folders import image_folder

from zoo import BadData, SaveFailed, images

SHAPE = (5, 1, 4, 4)
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The folder of the cache; it is not there yet."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    """Five images, each of one colour."""
    for number in range(5):
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch):
    """What has been decoded since, one entry a picture."""
    entries, read_image = [], images.read_image
    monkeypatch.setattr(folders, "read_image", lambda *given: entries.append(1) or read_image(*given))
    return entries


def reds(photos, **settings):
    return image_folder(path=str(photos), side=4, **settings).samples[:, 0, 0, 0].tolist()


def names(folder):
    return sorted(path.suffix for path in folder.iterdir())


def fill(put):
    for index in reversed(range(SHAPE[0])):
        put(index, np.full(SHAPE[1:], index, np.uint8))


def never(put):
    raise AssertionError("it was decoded again")


def test_images_are_decoded_once_and_then_mapped(photos, kept, decoded):
    assert reds(photos) == [0, 10, 20, 30, 40]
    assert names(kept) == [".npy"]
    assert reds(photos) == [0, 10, 20, 30, 40]
    assert len(decoded) == 5
    assert image_folder(path=str(photos), side=4).mapped


def test_the_file_is_an_ordinary_array(photos, kept):
    data = image_folder(path=str(photos), side=4)
    (file,) = kept.iterdir()
    assert np.array_equal(np.load(file), data.samples.numpy())


def test_writing_to_the_samples_leaves_the_file_as_it_is(photos):
    image_folder(path=str(photos), side=4).samples.fill_(7)
    assert reds(photos) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("settings", [{"channels": 1}, {"side": 5}])
def test_other_settings_are_other_images(photos, decoded, settings):
    image_folder(path=str(photos), side=4)
    image_folder(**{"path": str(photos), "side": 4, **settings})
    assert len(decoded) == 10


def change_a_time(photos):
    os.utime(photos / "3.png", ns=(1, 1))


def change_a_size(photos):
    found = (photos / "3.png").stat()
    with (photos / "3.png").open("ab") as file:
        file.write(b" ")
    os.utime(photos / "3.png", ns=(found.st_atime_ns, found.st_mtime_ns))


def change_a_byte_and_nothing_else(photos):
    found = (photos / "3.png").stat()
    for red in range(31, 256):
        Image.new("RGB", (8, 8), (red, 0, 0)).save(photos / "3.png")
        if (photos / "3.png").stat().st_size == found.st_size:
            break
    os.utime(photos / "3.png", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (photos / "3.png").stat().st_size == found.st_size


def rename_a_file(photos):
    (photos / "3.png").rename(photos / "9.png")


def remove_a_file(photos):
    (photos / "3.png").unlink()


def update_pillow(photos):
    import PIL

    PIL.__version__ += "+"


@pytest.mark.parametrize(
    "change",
    [change_a_time, change_a_size, change_a_byte_and_nothing_else, rename_a_file, remove_a_file, update_pillow],
)
def test_another_content_is_decoded_anew(photos, decoded, change, monkeypatch):
    import PIL

    monkeypatch.setattr(PIL, "__version__", PIL.__version__)
    reds(photos)
    decoded.clear()
    change(photos)
    again = reds(photos)
    assert len(decoded) == len(again)
    if change is change_a_byte_and_nothing_else:
        assert again[3] > 30


def test_a_folder_that_was_moved_is_not_decoded_again(photos, decoded):
    reds(photos)
    moved = photos.rename(photos.with_name("moved"))
    assert reds(moved) == [0, 10, 20, 30, 40]
    assert len(decoded) == 5


def truncated(file):
    file.write_bytes(file.read_bytes()[:-1])


def empty(file):
    file.write_bytes(b"")


def foreign(file):
    file.write_bytes(b"no array" * 100)


def other_shape(file):
    np.save(file, np.zeros((4, *SHAPE[1:]), np.uint8))


def other_type(file):
    np.save(file, np.zeros(SHAPE, np.int8))


def objects(file):
    np.save(file, np.array([{}]), allow_pickle=True)


@pytest.mark.parametrize("damage", [truncated, empty, foreign, other_shape, other_type, objects])
def test_a_damaged_file_is_made_anew(kept, damage):
    cached_images("key", SHAPE, fill)
    damage(kept / "images-key.npy")
    images = cached_images("key", SHAPE, fill)
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(cached_images("key", SHAPE, never), images)


def test_what_fails_leaves_nothing(kept):
    def broken(put):
        fill(put)
        raise BadData("an image is broken")

    with pytest.raises(BadData):
        cached_images("key", SHAPE, broken)
    assert list(kept.iterdir()) == []


def test_a_full_disk_says_what_to_do_and_leaves_nothing(photos, kept, monkeypatch):
    monkeypatch.setattr(cache.os, "fsync", lambda number: os.write(os.open("/dev/full", os.O_WRONLY), b" "))
    with pytest.raises(SaveFailed, match=r"No space left.*ZOO_CACHE"):
        reds(photos)
    assert list(kept.iterdir()) == []


def test_a_full_disk_is_no_broken_picture(photos, monkeypatch):
    def write(file, shape, fill):
        fill(lambda index, image: os.write(os.open("/dev/full", os.O_WRONLY), b" "))

    monkeypatch.setattr(cache, "_write", write)
    with pytest.raises(SaveFailed, match="No space left"):
        reds(photos)


def test_a_folder_that_cannot_be_made_says_what_to_do(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(SaveFailed, match=r"file/below: .*ZOO_CACHE"):
        reds(photos)


def in_a_fork(work):
    """Runs something in a process of its own, which ends without a word."""

    def run():
        work()
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_is_killed_leaves_nothing_that_is_taken_for_a_cache(kept):
    def half(put):
        put(0, np.zeros(SHAPE[1:], np.uint8))
        time.sleep(60)

    process = in_a_fork(lambda: cached_images("key", SHAPE, half))
    wait_for(lambda: kept.exists() and ".part" in names(kept))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert names(kept) == [".lock", ".part"]
    assert cached_images("key", SHAPE, fill)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert names(kept) == [".npy"]


def test_a_second_process_waits_and_decodes_nothing(kept, tmp_path, capsys):
    go = tmp_path / "go"

    def slowly(put):
        wait_for(go.exists)
        fill(put)

    process = in_a_fork(lambda: cached_images("key", SHAPE, slowly))
    wait_for(lambda: kept.exists() and ".part" in names(kept))
    with ThreadPoolExecutor(1) as thread:
        images = thread.submit(cached_images, "key", SHAPE, never)
        time.sleep(0.1)
        assert not images.done()
        go.touch()
        assert images.result(20)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    process.join()
    assert names(kept) == [".npy"]
    assert "waiting for it" in capsys.readouterr().err


def test_a_lock_that_was_removed_meanwhile_is_asked_for_anew(tmp_path, monkeypatch):
    """Else two processes make the same file. filelock 3.21 is the first that looks whether its file is still there."""
    file, flock, opened = tmp_path / "x.lock", fcntl.flock, []

    def removed_first(*given):
        """The first time, another process removes the file between this one's opening and locking it."""
        if not opened:
            file.unlink()
        opened.append(given)
        return flock(*given)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with FileLock(file, timeout=5):
        assert file.exists()
