"""Small files in the real formats, read by the real torchvision; its checksums become those of the files."""

import bz2
import gzip
import hashlib
import pickle
import re
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.io
import torch
from PIL import EpsImagePlugin, Image
from torchvision import datasets
from zoo_datasets.torchvision_data import SPLITS, torchvision

from zoo import BadData, MissingPackage

RANDOM = np.random.default_rng(0)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_files():
    """The four files of MNIST by name, in the idx format, with 6 training and 4 test images."""
    contents, arrays = {}, {}
    for prefix, count in [("train", 6), ("t10k", 4)]:
        images = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) * 3 % 10).astype(np.uint8)
        contents[f"{prefix}-images-idx3-ubyte"] = idx(images)
        contents[f"{prefix}-labels-idx1-ubyte"] = idx(labels)
        arrays[prefix] = images, labels
    return contents, arrays


def write_cifar(root, kind, monkeypatch):
    """Batches of a CIFAR set, two images a file. Returns the training images `(N, 3, 32, 32)` and labels."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    key = "fine_labels" if kind is datasets.CIFAR100 else "labels"
    images, labels = [], []

    def write(name, content):
        packed = pickle.dumps(content)
        (folder / name).write_bytes(packed)
        return [name, md5(packed)]

    def batch(name):
        data = RANDOM.integers(0, 256, (2, 3072), dtype=np.uint8)
        images.append(data)
        labels.extend([len(labels), len(labels) + 1])
        return write(name, {"data": data, key: labels[-2:]})

    monkeypatch.setattr(kind, "train_list", [batch(name) for name, _ in kind.train_list])
    train = np.concatenate(images).reshape(-1, 3, 32, 32), list(labels)
    monkeypatch.setattr(kind, "test_list", [batch(name) for name, _ in kind.test_list])
    name, checksum = write(kind.meta["filename"], {kind.meta["key"]: ["a", "b"]})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": name, "md5": checksum})
    return train


@pytest.mark.parametrize("which", ["MNIST", "FashionMNIST", "KMNIST"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_files_are_read(tmp_path, which, split):
    contents, arrays = mnist_files()
    folder = tmp_path / which / "raw"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    data = torchvision(which=which, root=str(tmp_path), split=split)
    images, labels = arrays["train" if split == "train" else "t10k"]
    assert data.samples.dtype == torch.uint8
    np.testing.assert_array_equal(data.samples[:, 0].numpy(), images)
    assert data.labels.tolist() == labels.tolist()
    assert data.shape == (1, 28, 28)


def test_packed_files_are_unpacked_with_download_and_checked(tmp_path, monkeypatch):
    contents, arrays = mnist_files()
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for name, content in contents.items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    data = torchvision(which="MNIST", root=str(tmp_path), download=True, side=32)
    assert data.samples.shape == (6, 1, 32, 32)
    picture = Image.fromarray(arrays["train"][0][2]).resize((32, 32), Image.Resampling.BICUBIC)
    assert (data.samples[2, 0].int() - torch.from_numpy(np.array(picture)).int()).abs().max() <= 1


def test_emnist_is_the_balanced_split(tmp_path):
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    (folder / "emnist-balanced-test-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "emnist-balanced-test-labels-idx1-ubyte").write_bytes(idx(np.array([46, 0, 9], np.uint8)))
    data = torchvision(which="EMNIST", root=str(tmp_path), split="test")
    assert data.labels.tolist() == [46, 0, 9]
    assert data.classes == 47


@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
def test_cifar_batches_are_read(tmp_path, monkeypatch, kind):
    images, labels = write_cifar(tmp_path, kind, monkeypatch)
    data = torchvision(which=kind.__name__, root=str(tmp_path))
    np.testing.assert_array_equal(data.samples.numpy(), images)
    assert data.labels.tolist() == labels
    assert torchvision(which=kind.__name__, root=str(tmp_path), split="test").size == 2


def test_svhn_is_read(tmp_path, monkeypatch):
    images = RANDOM.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    file = tmp_path / "test_32x32.mat"
    scipy.io.savemat(file, {"X": images, "y": np.array([[1], [10], [9], [2]], np.uint8)})
    entry = ["", file.name, md5(file.read_bytes())]
    monkeypatch.setattr(datasets.SVHN, "split_list", {**datasets.SVHN.split_list, "test": entry})
    data = torchvision(which="SVHN", root=str(tmp_path), split="test")
    np.testing.assert_array_equal(data.samples.permute(2, 3, 1, 0), images)
    assert data.labels.tolist() == [1, 0, 9, 2]


def test_usps_is_read(tmp_path):
    values = RANDOM.integers(0, 256, (3, 256)) / 127.5 - 1
    lines = (
        " ".join([str(label), *(f"{at}:{value:.6f}" for at, value in enumerate(row, 1))])
        for label, row in zip([10, 1, 5], values, strict=True)
    )
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    data = torchvision(which="USPS", root=str(tmp_path), split="test")
    assert data.shape == (1, 16, 16)
    assert data.labels.tolist() == [9, 0, 4]
    assert (data.samples.flatten(1) / 127.5 - 1 - torch.from_numpy(values)).abs().max() <= 1 / 127


def test_qmnist_labels_are_the_classes(tmp_path):
    folder = tmp_path / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    notes = np.arange(24, dtype=">i4").reshape(3, 8) % 10
    (folder / "qmnist-train-images-idx3-ubyte").write_bytes(idx(images))
    head = struct.pack(">HBB2I", 0, 12, 2, *notes.shape)
    (folder / "qmnist-train-labels-idx2-int").write_bytes(head + notes.astype(">i4").tobytes())
    data = torchvision(which="QMNIST", root=str(tmp_path))
    np.testing.assert_array_equal(data.samples[:, 0], images)
    assert data.labels.tolist() == [0, 8, 6]


def test_a_damaged_batch_is_not_read(tmp_path, monkeypatch):
    write_cifar(tmp_path, datasets.CIFAR10, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"damaged")
    with pytest.raises(BadData, match=r"CIFAR10 could not be read from '.*cifar-10-batches-py'.*corrupted"):
        torchvision(which="CIFAR10", root=str(tmp_path))


def write_food(root, sizes):
    """Food101 with one image of each size, of growing brightness. Returns the folder of the images."""
    images = root / "food-101" / "images" / "ape"
    images.mkdir(parents=True)
    for index, size in enumerate(sizes):
        Image.fromarray(np.full((*size, 3), 80 * index, np.uint8)).save(images / f"{index}.jpg")
    (root / "food-101" / "meta").mkdir()
    text = '{"ape": ["ape/0", "ape/1"], "bee": ["ape/2"]}'
    (root / "food-101" / "meta" / "train.json").write_text(text)
    return images


def test_images_of_different_sizes_need_a_side(tmp_path):
    write_food(tmp_path, [(12, 20), (16, 16), (30, 14)])
    with pytest.raises(BadData, match=r"^the images of Food101 differ in size \(12x20 and .*dataset\.side"):
        torchvision(which="Food101", root=str(tmp_path))
    data = torchvision(which="Food101", root=str(tmp_path), side=8)
    assert [round(value / 80) for value in data.samples.float().mean((1, 2, 3)).tolist()] == [0, 1, 2]
    assert data.labels.tolist() == [0, 0, 1]


def test_broken_files_are_named(tmp_path):
    images = write_food(tmp_path, [(16, 16)] * 3)
    for name in ("1.jpg", "2.jpg"):
        (images / name).write_bytes(b"damaged")
    with pytest.raises(BadData, match=r"2 of 3 images cannot be read: Food101 train image 1 .*2\.jpg"):
        torchvision(which="Food101", root=str(tmp_path), side=8)
    (images / "0.jpg").write_bytes(b"damaged")
    with pytest.raises(BadData, match=r"the first train image of Food101 cannot be read: .*0\.jpg"):
        torchvision(which="Food101", root=str(tmp_path), side=8)


def test_a_file_of_a_set_starts_no_program(tmp_path, ghostscript, postscript):
    images = write_food(tmp_path, [(8, 8), (8, 8), (8, 8)])
    (images / "1.jpg").write_bytes(postscript)
    with pytest.raises(BadData, match="1 of 3 images cannot be read"):
        torchvision(which="Food101", root=str(tmp_path))
    assert not ghostscript()
    assert EpsImagePlugin.gs_binary is None


def test_attributes_are_not_labels(tmp_path, monkeypatch):
    """CelebA's 40 attributes an image are no class."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    tables = {
        "list_eval_partition.txt": "a.png 0\nb.png 0\nc.png 2\n",
        "identity_CelebA.txt": "a.png 5\nb.png 6\nc.png 6\n",
        "list_bbox_celeba.txt": "3\nx y w h\na.png 0 0 1 1\nb.png 0 0 1 1\nc.png 0 0 1 1\n",
        "list_landmarks_align_celeba.txt": "3\nx y\na.png 0 0\nb.png 0 0\nc.png 0 0\n",
        "list_attr_celeba.txt": "3\nYoung Smiling\na.png 1 -1\nb.png -1 1\nc.png 1 1\n",
    }
    for name, text in tables.items():
        (folder / name).write_text(text)
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((218, 178, 3), 9, np.uint8)).save(folder / "img_align_celeba" / f"{name}.png")
    files = [["", md5(text.encode()), name] for name, text in tables.items()]
    monkeypatch.setattr(datasets.CelebA, "file_list", files)
    data = torchvision(which="CelebA", root=str(tmp_path), side=16)
    assert data.samples.shape == (2, 3, 16, 16)
    assert data.labels is None


@pytest.mark.parametrize("which", sorted(SPLITS))
@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_files_say_what_to_do_and_nothing_is_fetched(tmp_path, which, split, monkeypatch):
    import urllib.request

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(BadData) as error:
        torchvision(which=which, root=str(tmp_path), split=split, side=32)
    message = str(error.value)
    assert f"{which} could not be read from '{tmp_path}" in message
    assert "--download" in message
    assert "dataset.download=true" in message
    assert "Valid values" not in message
    assert "the network was asked" not in message


def test_the_place_of_the_files_is_named(tmp_path):
    with pytest.raises(BadData, match=f"'{tmp_path}/KMNIST/raw'"):
        torchvision(which="KMNIST", root=str(tmp_path))
    with pytest.raises(BadData, match=f"'{tmp_path}/stl10_binary'"):
        torchvision(which="STL10", root=str(tmp_path))


def test_of_several_processes_one_downloads_at_a_time(tmp_path, monkeypatch):
    inside, most, seen = [], [], threading.Lock()

    class Slow(datasets.MNIST):
        def download(self):
            with seen:
                inside.append(1)
                most.append(len(inside))
            time.sleep(0.05)
            inside.pop()
            raise RuntimeError("done")

    monkeypatch.setattr(datasets, "MNIST", Slow)

    def fetch(_):
        with pytest.raises(BadData, match="done"):
            torchvision(which="MNIST", root=str(tmp_path / "new"), download=True)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fetch, range(3)))
    assert most == [1, 1, 1]


def test_a_failed_download_names_its_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{tmp_path.as_uri()}/nowhere/"])
    with pytest.raises(BadData, match=r"MNIST could not be downloaded: .*No such file") as error:
        torchvision(which="MNIST", root=str(tmp_path), download=True)
    assert f"'{tmp_path}/MNIST/raw'" in str(error.value)


def test_a_set_that_needs_another_package_names_it(tmp_path, monkeypatch):
    def lacking(self, *args, **kwargs):
        raise ModuleNotFoundError("No module named 'h5py'")

    monkeypatch.setattr(datasets.PCAM, "__init__", lacking)
    with pytest.raises(MissingPackage, match="PCAM needs another package: No module named 'h5py'"):
        torchvision(which="PCAM", root=str(tmp_path))


@pytest.mark.parametrize(
    ("which", "advice"),
    [
        ("mnist", "Did you mean .*MNIST"),
        ("CIFAR", "Did you mean .*CIFAR10"),
        ("Kitti12345", "Known: .*SVHN"),
        ("", "--dataset torchvision:MNIST"),
    ],
)
def test_an_unknown_name_gets_near_ones(which, advice):
    with pytest.raises(BadData, match=advice):
        torchvision(which=which)


def test_every_set_is_documented():
    documented = torchvision.__doc__.split("Raises")[0]
    assert [name for name in SPLITS if not re.search(rf"\b{name}\b", documented)] == []
