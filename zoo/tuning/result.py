"""What came of a fine-tuning: accuracy on samples that it never saw, its mistakes, its course."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.classifiers import Classifier
from zoo.components import as_floats
from zoo.errors import BadRun
from zoo.run import Run
from zoo.tuning.judging import accuracy, confusion, cross_entropy, outputs
from zoo.tuning.splits import Split
from zoo.tuning.supervised import PART, Supervised
from zoo.writing import write_whole

FOLDER = "results"
"""The folder in a run's folder where pictures and figures are."""


@dataclass(frozen=True)
class Result:
    """A classifier's figures on the samples that were kept for the end.

    Attributes:
        run: The run folder.
        accuracy: The share that it is right about.
        low: Where Wilson's 95% interval (1927) of it begins, for samples alone: seeds add their own spread.
        high: Where it ends.
        cross_entropy: The mean, in nats.
        samples: How many samples there are.
        trained: How many samples it was trained on.
        step: The iteration of the weights.
        confusion: How many samples of each class (a list each) were taken for each class.
    """

    run: str
    accuracy: float
    low: float
    high: float
    cross_entropy: float
    samples: int
    trained: int
    step: int
    confusion: list[list[int]]


@dataclass(frozen=True)
class Tested:
    """A classifier's result, with what it said of each sample.

    Attributes:
        result: The figures.
        images: `(N, C, H, W)` in [-1, 1].
        labels: `(N,)`.
        logits: `(N, classes)`.
    """

    result: Result
    images: Tensor
    labels: Tensor
    logits: Tensor


def tested(run: Run) -> Tested:
    """Tests a run's classifier on the samples that neither trained nor validated it.

    Raises:
        BadRun: It is no run of fine-tuning, or keeps no sample to test with.
        BadData: The data are not there any more.
    """
    classifier, split = classifier_of(run), split_of(run)
    if not len(split.test):
        raise BadRun(f"{run.folder.path} keeps no sample to test with: its procedure.test is 0.")
    samples, labels = split.dataset.samples[split.test], split.labels(split.test)
    logits = outputs(classifier, classifier, samples, run.composition.device)
    low, high = _wilson(round(accuracy(logits, labels) * len(labels)), len(labels))
    result = Result(
        run=str(run.folder.path),
        accuracy=accuracy(logits, labels),
        low=low,
        high=high,
        cross_entropy=cross_entropy(logits, labels),
        samples=len(labels),
        trained=len(split.trained),
        step=run.step,
        confusion=confusion(logits, labels).tolist(),
    )
    return Tested(result, as_floats(samples), labels, logits)


def classifier_of(run: Run) -> Classifier:
    """A run's classifier. Raises BadRun if it has none."""
    network = run.composition.networks.get(PART)
    if not isinstance(network, Classifier):
        raise BadRun(f"{run.folder.path} is no run of zoo finetune: there is no classifier in it.")
    return network


def split_of(run: Run) -> Split:
    """How a run's data set is split. Raises BadRun if it is no run of fine-tuning."""
    procedure = run.composition.procedure
    if not isinstance(procedure, Supervised):
        raise BadRun(f"{run.folder.path} is no run of zoo finetune.")
    return procedure.split(run.dataset, run.composition.training.train.seed)


def write_result(run: Run, found: Tested) -> Path:
    """Writes figures and pictures into the run's folder, and returns where they are. Raises SaveFailed."""
    from zoo.tuning.pictures import save_confusion, save_curves, save_mistakes

    folder = run.folder.path / FOLDER
    folder.mkdir(exist_ok=True)
    write_whole(folder / "test.json", json.dumps(asdict(found.result)).encode())
    save_confusion(folder / "confusion.png", found.result.confusion)
    save_mistakes(folder / "mistakes.png", found)
    save_curves(folder / "curves.png", run.metrics)
    return folder


def _wilson(right: int, of: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    interval: Any = binomtest(right, of).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def interval(results: Sequence[Result]) -> tuple[float, float] | None:
    """The 95% bootstrap interval of the mean accuracy over runs with several seeds; None for one run."""
    import numpy as np

    from zoo.comparing.resampling import mean_interval

    return mean_interval(np.array([each.accuracy for each in results]))


def predictions(run: Run, images: Tensor) -> list[Mapping[str, Any]]:
    """What a run's classifier says of images `(N, C, H, W)` in [-1, 1]: the class, and how sure it is of each."""
    classifier, names = classifier_of(run), run.composition.dataset.class_names
    shares = torch.softmax(outputs(classifier, classifier, images, run.composition.device).double(), dim=1)
    found: list[Mapping[str, Any]] = []
    for share in shares:
        label = int(share.argmax())
        named = {"class": names[label] if names else str(label), "label": label}
        found.append({**named, "probability": float(share[label]), "probabilities": share.tolist()})
    return found
