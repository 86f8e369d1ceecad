"""Pictures of conditional runs: no row of a grid has more than one class, and each class has its turn."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.components import Described
from zoo.draws import Draws
from zoo.pictures import classes_shown, save_picture

IMAGES = Described((1, 2, 2), 10)


def shades(labels):
    """Images in a shade of their class, from 0.3 to 1, which no gap has."""
    return torch.tensor([0.3 + 0.07 * label for label in labels]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def rows_of(path, columns):
    """The classes in each row of a saved grid, None for a gap."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"), dtype=float) / 127.5 - 1
    scale = pixels.shape[1] // (columns * 3 + 1)
    cells = pixels[::scale, ::scale][1::3, 1::3]
    return [[round((shade - 0.3) / 0.07) if shade > 0.2 else None for shade in row] for row in cells]


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        ([n % 10 for n in range(64)], 7),
        ([n // 8 for n in range(64)], 8),
        ([7, 3] * 32, 8),
        ([4], 1),
        ([5, 0, 0, 0], 3),
    ],
)
def test_every_row_has_one_class_and_every_sample_is_there(labels, columns, tmp_path):
    save_picture(tmp_path / "grid.png", shades(labels), IMAGES, labels)
    rows = rows_of(tmp_path / "grid.png", columns)
    shown = [[label for label in row if label is not None] for row in rows]
    assert all(len(set(row)) <= 1 for row in shown)
    assert sorted(label for row in shown for label in row) == sorted(labels)
    order = list(dict.fromkeys(label for row in shown for label in row))
    assert order == list(dict.fromkeys(labels))
    assert all(None not in row[: len(kept)] for row, kept in zip(rows, shown, strict=True))


def test_without_labels_samples_keep_their_order(tmp_path):
    labels = Draws(0).randint(10, 9).tolist()
    save_picture(tmp_path / "grid.png", shades(labels), IMAGES)
    assert [label for row in rows_of(tmp_path / "grid.png", 3) for label in row] == labels


def test_of_many_classes_some_are_shown_evenly_spread():
    assert classes_shown(10, 64) == list(range(10))
    assert classes_shown(10, 3) == [0, 3, 6]
    shown = classes_shown(1000, 64)
    assert len(shown) == 16
    assert set(np.diff(shown)) == {62, 63}
