import socket

import pytest
import torch
from zoo_datasets import bundled
from zoo_datasets.bundled import digits, faces

from zoo import BadSetting, MissingPackage
from zoo.api import compose_table


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


def test_with_background_faces_are_labelled():
    data = faces(background=True)
    assert (data.samples.shape, data.classes, data.class_names) == ((200, 1, 25, 25), 2, ["background", "face"])
    assert data.labels.tolist() == [1] * 100 + [0] * 100
    torch.testing.assert_close(data.samples[:100], faces().samples)
    template = data.samples[:50].mean(0).flatten()
    alike = torch.cosine_similarity(
        data.samples.flatten(1) - data.samples.flatten(1).mean(1, keepdim=True), (template - template.mean())[None]
    )
    assert ((alike > 0.25).long() == data.labels).float().mean() > 0.9


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


def test_some_digits_are_renumbered_and_named():
    data, all_of_them = digits(classes=[7, 5]), digits()
    assert (data.classes, data.class_names) == (2, ["7", "5"])
    assert torch.equal(data.samples, all_of_them.samples[(all_of_them.labels == 7) | (all_of_them.labels == 5)])
    assert torch.equal(data.samples[data.labels == 0], all_of_them.samples[all_of_them.labels == 7])
    assert torch.equal(data.samples[data.labels == 1], all_of_them.samples[all_of_them.labels == 5])


def test_a_limit_takes_as_many_of_each_digit_and_a_larger_one_the_same_and_more():
    few, more, others = (digits(classes=[5, 6, 7, 8, 9], limit=n, seed=s) for n, s in ((10, 3), (27, 3), (10, 4)))
    assert torch.bincount(few.labels).tolist() == [2] * 5
    assert sorted(torch.bincount(more.labels).tolist()) == [5, 5, 5, 6, 6]
    assert torch.equal(more.samples[:10], few.samples)
    assert not torch.equal(others.samples, few.samples)
    assert len(few.samples.flatten(1).unique(dim=0)) == 10


def test_a_limit_below_the_number_of_digits_leaves_ten_classes():
    data = digits(limit=3)
    assert (data.size, data.classes, data.class_names) == (3, 10, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": []}, "each once"),
        ({"classes": [5, 5]}, r"each once, not \[5, 5\]"),
        ({"classes": [0], "limit": 179}, "at most 178"),
        ({"classes": [10]}, "at most 9"),
        ({"limit": -1}, "at least 0"),
    ],
)
def test_digits_that_are_not_there_are_told(settings, words):
    with pytest.raises(BadSetting, match=words):
        compose_table({"variant": "wgan-gp", "dataset": {"name": "digits", **settings}}, device="cpu")
