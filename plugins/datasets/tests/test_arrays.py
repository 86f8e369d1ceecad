from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_datasets.arrays import array

from zoo import BadData

RANDOM = np.random.default_rng(0)


@pytest.fixture
def stored(tmp_path):
    def store(*values, **named):
        if named:
            np.savez(tmp_path / "data.npz", **named)
            return str(tmp_path / "data.npz")
        np.save(tmp_path / "data.npy", values[0])
        return str(tmp_path / "data.npy")

    return store


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8", "longdouble"])
def test_vectors_are_used_as_they_are(stored, dtype):
    values = (100 * RANDOM.standard_normal((12, 5))).astype(dtype)
    data = array(path=stored(values))
    assert data.samples.dtype == torch.float32
    np.testing.assert_array_equal(data.samples.numpy(), values.astype("f4"))
    assert (data.kind, data.shape, data.size) == ("vector", (5,), 12)


def test_numbers_on_the_line_become_vectors_of_one(stored):
    assert array(path=stored(np.arange(4.0))).samples.tolist() == [[0], [1], [2], [3]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_uint8_images_stay_uint8(stored, order):
    values = np.asarray(RANDOM.integers(0, 256, (6, 9, 7)), np.uint8, order=order)
    data = array(path=stored(values))
    assert data.samples.dtype == torch.uint8
    assert data.shape == (1, 9, 7)
    np.testing.assert_array_equal(data.samples[:, 0].numpy(), values)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_found_first_and_last(stored, channels):
    values = RANDOM.integers(0, 256, (6, channels, 9, 7), dtype=np.uint8)
    first = array(path=stored(values)).samples
    last = array(path=stored(values.transpose(0, 2, 3, 1))).samples
    assert first.shape == (6, channels, 9, 7)
    np.testing.assert_array_equal(first, values)
    assert torch.equal(first, last)


def test_float_images_from_zero_to_one_are_stretched(stored):
    values = RANDOM.random((5, 4, 4))
    values[0, 0, :2] = 0, 1
    data = array(path=stored(values))
    np.testing.assert_allclose(data.samples[:, 0].numpy(), 2 * values - 1, atol=1e-6)


def test_float_images_from_minus_one_to_one_are_used_as_they_are(stored):
    values = RANDOM.uniform(-1, 1, (5, 4, 4)).astype("f4")
    np.testing.assert_array_equal(array(path=stored(values)).samples[:, 0].numpy(), values)


def test_labels_come_from_their_own_key(stored):
    path = stored(x=np.zeros((4, 2)), y=np.array([0, 2, 1, 2], "u1"))
    data = array(path=path, labels_key="y")
    assert data.samples.shape == (4, 2)
    assert data.labels.tolist() == [0, 2, 1, 2]
    assert data.classes == 3


def test_key_says_which_array_holds_the_samples(stored):
    path = stored(a=np.zeros((4, 2)), b=np.ones((3, 5)))
    assert array(path=path, key="b").samples.shape == (3, 5)
    with pytest.raises(BadData, match=r"holds a, b; say which are the samples with `dataset\.key`"):
        array(path=path)
    with pytest.raises(BadData, match="has no array 'c'; it has a, b"):
        array(path=path, key="c")
    with pytest.raises(BadData, match="has no array 'y'"):
        array(path=path, key="a", labels_key="y")


def test_a_single_array_needs_no_key_and_takes_none(stored):
    assert array(path=stored(samples=np.ones((3, 5)))).size == 3
    with pytest.raises(BadData, match=r"for \.npz files"):
        array(path=stored(np.ones((3, 5))), key="samples")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.ones((3, 2), complex), "values of type complex128"),
        (np.array([["a", "b"]]), "values of type <U1"),
        (np.ones((3, 2), bool), "values of type bool"),
        (np.ones((3, 2), int), "values of type int64.*convert them to float32"),
        (np.ones(3, [("x", "f4")]), "values of type"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "infinite"),
        (np.array([[1e300]]), "beyond single precision"),
        (np.full((2, 4, 4), np.nan), "NaN"),
        (np.array(1.0), r"shape \(\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((2, 1, 4, 4, 4)), r"shape \(2, 1, 4, 4, 4\)"),
        (np.zeros((2, 4, 4, 4)), "neither the first nor the last"),
        (np.zeros((2, 3, 4, 3)), "either the first or the last"),
        (np.ones((3, 2), np.uint8), "uint8 vectors"),
        (np.full((2, 4, 4), 2.0), r"from 2 to 2; rescale them"),
        (np.linspace(-1.5, 0.5, 32).reshape(2, 4, 4), r"from -1\.5 to 0\.5"),
    ],
)
def test_what_does_not_fit_is_named(stored, values, complaint):
    with pytest.raises(BadData, match=complaint):
        array(path=stored(values))


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.zeros(4), "type float64"),
        (np.zeros((4, 10), int), r"shape \(4, 10\)"),
        (np.array([0, -1, 1, 1]), "negative class -1"),
        (np.zeros(3, int), "4 samples have 3 labels"),
    ],
)
def test_labels_that_do_not_fit_are_named(stored, labels, complaint):
    with pytest.raises(BadData, match=complaint):
        array(path=stored(x=np.ones((4, 2)), y=labels), labels_key="y")


def test_pickled_objects_are_never_loaded(stored):
    with pytest.raises(BadData, match="cannot be read"):
        array(path=stored(np.array([{}, []], object)))
    with pytest.raises(BadData, match="cannot be read"):
        array(path=stored(x=np.array([{}, []], object)))


def test_damaged_files_are_named(stored, tmp_path):
    whole = Path(stored(np.ones((50, 2))))
    for name, content in [
        ("cut.npy", whole.read_bytes()[:300]),
        ("text.npy", b"hello"),
        ("empty.npy", b""),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=f"{name}' cannot be read"):
            array(path=str(tmp_path / name))
    packed = Path(stored(x=np.ones((50, 2)), y=np.zeros(3))).read_bytes()
    (tmp_path / "cut.npz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BadData, match=r"cut\.npz' cannot be read"):
        array(path=str(tmp_path / "cut.npz"), key="x")


def test_a_missing_file_and_no_file_say_how_to_give_one(tmp_path):
    with pytest.raises(BadData, match="--dataset array:PATH"):
        array()
    with pytest.raises(BadData, match=r"gone\.npy' does not exist"):
        array(path=str(tmp_path / "gone.npy"))
