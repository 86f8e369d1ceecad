"""The metric of classifiers: how often they are right about samples that they never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from zoo.errors import IncompatibleParts
from zoo.hookspecs import hookimpl
from zoo.metrics import Better, Evidence, Metric

FIGURES = {"accuracy": "accuracy", "cross-entropy": "cross_entropy"}
"""What the procedure calls each figure."""
expected_failures = {"accuracy:finite": "it measures what was tuned, and the conformance kit tunes nothing"}


class Accuracy(Metric):
    """The share of the samples that a fine-tuned classifier is right about, of those that it was not trained on."""

    figures: ClassVar[Mapping[str, Better]] = {"accuracy": "higher", "cross-entropy": "lower"}
    compares = False
    least = 1

    def refuse(self, evidence: Evidence) -> None:
        """Raises IncompatibleParts for anything but a classifier with samples that it kept for the end."""
        if evidence.test is None or evidence.generates:
            raise IncompatibleParts("here is no classifier that was tuned; zoo finetune makes one.")

    def size(self, evidence: Evidence) -> int:
        """How many samples were kept for the end."""
        return int(evidence.test()["samples"]) if evidence.test is not None else 0

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        """The figures of the samples that were kept for the end."""
        figures = evidence.test() if evidence.test is not None else {}
        if not set(FIGURES.values()) <= set(figures):
            raise IncompatibleParts("no sample was kept to test with; set procedure.test above 0.")
        return {name: figures[its] for name, its in FIGURES.items()}


@hookimpl
def metric() -> Mapping[str, Callable[..., Metric]]:
    """The metric of classifiers."""
    return {"accuracy": Accuracy}
