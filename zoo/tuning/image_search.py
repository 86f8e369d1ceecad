"""The pictures of a folder that are most like a picture, by features of a layer of a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.backbones import Backbone
from zoo.errors import BadData, UsageError
from zoo.images import image_files, read_image
from zoo.tuning.classifier import Pool
from zoo.tuning.judging import CHUNK
from zoo.tuning.places import Place, features_of, place_of
from zoo.tuning.standing import Standing, standing

SIDE = 224
"""The side of images for a backbone by name; those of a run have the run's."""
LARGE = 50_000
"""An index of more pictures is searched by FAISS, where it is installed."""
NAMED = 5
"""So many unreadable pictures are named in the message."""


@dataclass(frozen=True)
class Found:
    """A picture that is like the query.

    Attributes:
        image: Its file.
        similarity: The cosine of the angle between its features and the query's.
        distance: 1 - similarity.
    """

    image: Path
    similarity: float
    distance: float


def search_images(
    named: str | Backbone,
    layer: str,
    index: str | Path,
    query: str | Path,
    *,
    n: int = 10,
    pool: Pool = "average",
    side: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> list[Found]:
    """The pictures of a folder that are most like a picture, the nearest first.

    All are compared, so that none is missed. Where the query lies in the folder, it is not found itself.

    Args:
        named: The name of a backbone, such as `timm:resnet18`; a run folder; or a backbone.
        layer: The stage, or the block inside it, whose features are compared; `zoo.tuning.layers` says which is best.
        index: The folder, with its sub-folders.
        query: A picture.
        n: So many are found, or as many as there are.
        pool: How feature maps become features: `average`, `max` or `gem`.
        side: Of the square that is cut out of each picture; 224 if None, and that of a run.
        settings: Of a backbone by name, such as `{"backbone.checkpoint": "weights.safetensors"}`.
        device: Where features are computed: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: There is no such layer (the message lists those there are), backbone, folder or picture.
        BadData: Pictures cannot be read; the first few are named.
    """
    folder, asked = Path(index), Path(query)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} to search; --index takes a folder of pictures.")
    if not asked.is_file():
        raise UsageError(f"there is no picture {asked}.")
    files = [file for file in image_files([folder]) if not file.samefile(asked)]
    if not files:
        raise UsageError(f"there is no picture in {folder} but {asked} itself.")
    stand = _standing(named, side, settings, device)
    place = place_of(stand.backbone, stand.shape, layer)
    looked_for = directions(stand, place, [asked], pool)[0]
    similarities, numbers = nearest(directions(stand, place, files, pool), looked_for, n)
    pairs = zip(similarities.tolist(), numbers.tolist(), strict=True)
    return [Found(files[number], similarity, max(0.0, 1 - similarity)) for similarity, number in pairs]


def directions(stand: Standing, place: Place, files: Sequence[Path], pool: Pool) -> Tensor:
    """Features `(N, channels)` of pictures, of length 1; so many pictures at a time are in memory.

    Raises:
        BadData: Some cannot be read; the first few are named, and all are tried before.
    """
    found, broken = [], []
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(files), CHUNK):
            read = list(threads.map(lambda file: _read(file, stand.shape), files[start : start + CHUNK]))
            broken += [message for message in read if isinstance(message, str)]
            images = [torch.from_numpy(each) for each in read if not isinstance(each, str)]
            if not broken:
                found += features_of(stand.backbone, [place], torch.stack(images), pool, stand.device)
    if broken:
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise BadData(
            f"{len(broken)} of {len(files)} pictures cannot be read: {', '.join(broken[:NAMED])}{more}. "
            "Repair or remove them."
        )
    return F.normalize(torch.cat(found), dim=1)


def nearest(index: Tensor, query: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The highest products with a query, and the numbers of their rows, the highest first: exact, by all products.

    Args:
        index: `(N, D)`; more than `LARGE` rows are searched by FAISS's IndexFlatIP where it is installed, else by a
            matrix product.
        query: `(D,)`.
        n: How many, if there are as many.
    """
    count = min(n, len(index))
    if len(index) > LARGE and (faiss := _faiss()) is not None:
        flat = faiss.IndexFlatIP(index.shape[1])
        flat.add(index.numpy())
        products, numbers = flat.search(query[None].numpy(), count)
        return torch.from_numpy(products[0]), torch.from_numpy(numbers[0])
    products, numbers = (index @ query).topk(count)
    return products, numbers


def save_found(path: Path, query: Path, found: Sequence[Found]) -> None:
    """Draws the query and what was found, with the distances above. Raises SaveFailed."""
    from zoo.tuning.pictures import new_figure, save_figure
    from zoo.writing import saving

    columns = min(6, len(found) + 1)
    rows = -(-(len(found) + 1) // columns)
    figure = new_figure(1.6 * columns, 1.85 * rows)
    titles = ["query", *(f"{each.distance:.3f}" for each in found)]
    for place, (title, file) in enumerate(zip(titles, [query, *(each.image for each in found)], strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(read_image(file, SIDE, 3).transpose(1, 2, 0))
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, fontweight="bold" if place == 1 else "normal")
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def _standing(named: str | Backbone, side: int | None, settings: Mapping[str, Any] | None, device: str) -> Standing:
    pairs = [(key.split("."), value) for key, value in (settings or {}).items()]
    stand = standing(named, (3, side or SIDE, side or SIDE), pairs, device, began=False)
    channels, height, width = stand.shape if len(stand.shape) == 3 else (0, 0, 0)
    if channels not in (1, 3) or height != width:
        raise UsageError(f"the run {named} is of samples {tuple(stand.shape)}; pictures are read as square images.")
    if side is not None and side != height:
        raise UsageError(f"the run {named} is of images of side {height}; leave --side out.")
    return stand


def _read(file: Path, shape: Sequence[int]) -> np.ndarray | str:
    """A picture's pixels, or why there are none."""
    try:
        return read_image(file, shape[1], shape[0]).copy()
    except Exception as error:  # Pillow has a dozen kinds for a broken file.
        return f"{file} ({error})"


def _faiss() -> Any:
    """FAISS, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss
