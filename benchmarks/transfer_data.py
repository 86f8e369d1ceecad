"""Writes the pictures of the transfer study that no data set of the zoo has: patches of textures, and faces.

Usage: python benchmarks/transfer_data.py FOLDER [--patches N] [--seed N]

Nothing is downloaded: all comes inside scikit-image. `textures.npz` has grey patches of 32x32 pixels, of 12 surfaces
and photographs; its labels say which one a patch is from. Patches are mirrored, turned by quarters and made darker,
brighter or flatter at random. `faces.npz` has the 200 pictures of the subset of Labeled Faces in the Wild, labels 0
for what is no face and 1 for faces, brought from 25x25 to 32x32 pixels.
"""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread
from skimage.transform import resize
from skimage.util import img_as_float32

Images = NDArray[np.float32]

SOURCES = (
    "brick.png", "grass.png", "gravel.png", "camera.png", "coins.png", "moon.png", "page.png", "text.png",
    "cell.png", "coffee.png", "chelsea.png", "rocket.jpg",
)  # fmt: skip
"""The pictures that patches are cut from; nobody's face is in them but, small, that of the cameraman."""
SIDE = 32
FACES = 100
"""The first so many pictures of the subset are faces."""


def picture(name: str) -> Images:
    """A picture inside scikit-image, grey, in [0, 1]."""
    with as_file(files("skimage") / "data" / name) as path:
        pixels = img_as_float32(imread(path))
    return pixels if pixels.ndim == 2 else pixels[..., :3].mean(axis=2)


def patches(name: str, count: int, draws: np.random.Generator) -> Images:
    """Patches of a picture, `(count, SIDE, SIDE)`, distorted."""
    whole = picture(name)
    rows, columns = (draws.integers(0, size - SIDE + 1, count) for size in whole.shape)
    return np.stack([distorted(whole[r : r + SIDE, c : c + SIDE], draws) for r, c in zip(rows, columns, strict=True)])


def distorted(patch: Images, draws: np.random.Generator) -> Images:
    """A patch mirrored, turned, and with other brightness and contrast, all at random."""
    turned = np.rot90(patch[:, ::-1] if draws.random() < 0.5 else patch, draws.integers(4))
    middle = turned.mean()
    contrast, brightness = draws.uniform(0.6, 1.2), draws.uniform(-0.15, 0.15)
    return np.clip((turned - middle) * contrast + middle + brightness, 0, 1).astype(np.float32)


def faces() -> tuple[Images, NDArray[np.int64]]:
    """The 200 pictures in [0, 1], `(200, SIDE, SIDE)`, and whether each is a face."""
    with (files("skimage") / "data" / "lfw_subset.npy").open("rb") as file:
        found = np.load(file, allow_pickle=False).astype(np.float32)
    sized = np.stack([resize(each, (SIDE, SIDE), anti_aliasing=False) for each in found])
    return sized.astype(np.float32), (np.arange(len(found)) < FACES).astype(np.int64)


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=int, default=150, help="of each picture")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(options.seed)
    textures = np.concatenate([patches(name, options.patches, draws) for name in SOURCES])
    labels = np.repeat(np.arange(len(SOURCES)), options.patches)
    np.savez_compressed(options.folder / "textures.npz", images=as_bytes(textures), labels=labels)
    images, face = faces()
    np.savez_compressed(options.folder / "faces.npz", images=as_bytes(images), labels=face)
    print(f"{options.folder}: {len(textures)} patches of {len(SOURCES)} pictures, {len(images)} faces and others")


def as_bytes(images: Images) -> NDArray[np.uint8]:
    """Pictures in [0, 1] as one byte a pixel."""
    return (images * 255).round().astype(np.uint8)


if __name__ == "__main__":
    main()
