"""What a run was trained on, so that a resumed one is not trained on something else without anybody noticing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.components import ArrayDataset, Dataset, Translations
from zoo.errors import BadData
from zoo.recipe import Choice
from zoo.resolve import GIVEN

CONTENT = "content"
"""The key of a checkpoint's `data` that holds what `fingerprint` returns."""


def fingerprint(dataset: Dataset, choice: Choice) -> str:
    """What a data set is, in words that change when it does.

    An array's are its size, type and a hash of its values and labels, which is read once, on the CPU. A density's are
    its name and settings; those of one that was made in Python are not known.
    """
    if isinstance(dataset, ArrayDataset):
        labels = "" if dataset.labels is None else f", {dataset.classes} classes"
        if isinstance(dataset, Translations):
            labels = f", {len(dataset.sources):,} sources {dataset.source}{'' if dataset.paired else ' of no pairs'}"
        kind = str(dataset.samples.dtype).removeprefix("torch.")
        return f"{dataset.size:,} samples of {kind} {tuple(dataset.shape)}{labels}, sha256 {_sha256(dataset)[:16]}"
    if choice.name.startswith(GIVEN):
        return "a density made in Python"
    settings = ", ".join(f"{key}={value!r}" for key, value in sorted(choice.settings.items()))
    return f"the density {choice.name}({settings})"


def refuse_other_data(described: Mapping[str, Any], found: str, path: Path) -> None:
    """Raises BadData if a checkpoint was trained on other data than are there now, naming both.

    Args:
        described: The checkpoint's `data`; one of an earlier version does not say what they were.
        found: The fingerprint of the data that are there.
        path: The run folder, for the message.
    """
    before = described.get(CONTENT, found)
    if before != found:
        raise BadData(
            f"the data set of {path} has changed since its checkpoint. It was {before}; now it is {found}. "
            "Put back what it was, or train a new run on the new data."
        )


def _sha256(dataset: ArrayDataset) -> str:
    digest = hashlib.sha256()
    sources = dataset.sources if isinstance(dataset, Translations) else None
    for tensor in (dataset.samples, dataset.labels, sources):
        if tensor is not None:
            digest.update(tensor.detach().cpu().reshape(-1).numpy().data)
    return digest.hexdigest()
