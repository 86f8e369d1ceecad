import socket

import pytest
import torch
from zoo_datasets import bundled
from zoo_datasets.bundled import digits, faces

from zoo import MissingPackage


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a bundled data set asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_digits_are_those_of_scikit_learn():
    data = digits()
    assert data.samples.shape == (1797, 1, 8, 8)
    assert data.kind == "image"
    levels = data.samples.unique()
    assert torch.equal(levels, torch.linspace(-1, 1, 17))
    flat = data.samples.flatten(1)
    assert (flat.amin(0) == flat.amax(0)).sum() == 3
    counts = torch.bincount(data.labels)
    assert data.classes == 10
    assert (counts.min(), counts.max()) == (174, 183)


def test_digits_belong_to_their_labels():
    data = digits()
    flat = data.samples.flatten(1)
    train, test = flat[:898], flat[898:]
    nearest = torch.cdist(test, train).argmin(1)
    assert (data.labels[:898][nearest] == data.labels[898:]).float().mean() > 0.94


def test_faces_are_the_first_half_of_the_file():
    data = faces()
    assert data.samples.shape == (100, 1, 25, 25)
    assert data.labels is None
    assert data.samples.min() >= -1
    assert data.samples.max() <= 1
    assert data.samples.max() > 0.9
    stored = torch.from_numpy(bundled._lfw_subset()).float()
    assert torch.allclose(data.samples[:, 0] / 2 + 0.5, stored[:100], atol=1e-6)


def test_faces_look_alike_and_the_background_does_not():
    """Their mean face explains faces it has not seen; the left-out half has no such mean."""
    stored = torch.from_numpy(bundled._lfw_subset()).float().flatten(1)
    centred = stored - stored.mean(1, keepdim=True)
    template = centred[:50].mean(0)
    alike = torch.cosine_similarity(centred, template[None])
    assert alike[50:100].mean() > 0.4
    assert alike[100:].mean() < 0.1


@pytest.mark.parametrize(("factory", "native"), [(digits, 8), (faces, 25)])
@pytest.mark.parametrize("side", [8, 16, 32])
def test_other_sizes_keep_range_and_brightness(factory, native, side):
    data, original = factory(side=side), factory()
    assert data.shape == (1, side, side)
    assert data.samples.abs().max() <= 1
    if side == 2 * native:
        halved = torch.nn.functional.avg_pool2d(data.samples, 2)
        inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
        blurred = torch.nn.functional.interpolate(original.samples, size=side, mode="bilinear")
        assert torch.allclose(halved[inner], torch.nn.functional.avg_pool2d(blurred, 2)[inner], atol=1e-5)
    brightness = data.samples.mean((1, 2, 3)) - original.samples.mean((1, 2, 3))
    assert brightness.abs().max() < 0.15


def test_a_scikit_image_without_the_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "files", lambda package: tmp_path)
    with pytest.raises(MissingPackage, match="pip install scikit-image"):
        faces()
