"""How well runs translate digits: errors of held-out pairs, and whether a classifier sees the source's class.

Usage: python benchmarks/translation.py RUN [RUN ...]
"""

from __future__ import annotations

import sys

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from zoo_datasets.bundled import digits
from zoo_datasets.translations import digit_translation

import zoo
from zoo.translating import translated


def main() -> None:
    """Prints a table for each run."""
    images, labels = digits().samples, digits().labels
    assert labels is not None
    held_out = torch.arange(len(images)) % 5 == 4
    classifier = LogisticRegression(C=0.05, max_iter=2000)
    classifier.fit(images[~held_out].flatten(1).numpy(), labels[~held_out].numpy())
    for path in sys.argv[1:]:
        run = zoo.load(path, device="cpu")
        task = run.folder.recipe().axes["dataset"].settings
        wanted = {**task, "paired": True, "split": "test"}
        pairs = digit_translation(**wanted)
        mean = digit_translation(**{**wanted, "split": "train"}).samples.mean(0).expand_as(pairs.samples)
        made = translated(run, pairs.sources)
        rows = {"made": made, "the source as it is": pairs.sources, "the mean digit": mean, "real": pairs.samples}
        print(f"{path}: {task['task']}, {'paired' if task['paired'] else 'unpaired'}, {len(made)} held-out digits")
        for name, each in rows.items():
            error = (each - pairs.samples).abs().mean()
            agreed = (_seen(classifier, each) == labels[held_out]).float().mean()
            print(f"  {name:20} L1 {error:.4f}  class of the source {agreed:.1%}")
        if "backward" in run.composition.networks:
            again = translated(run, made, backward=True)
            print(f"  there and back      L1 {(again - pairs.sources).abs().mean():.4f}")


def _seen(classifier: LogisticRegression, images: Tensor) -> Tensor:
    return torch.from_numpy(classifier.predict(images.flatten(1).numpy()))


if __name__ == "__main__":
    main()
