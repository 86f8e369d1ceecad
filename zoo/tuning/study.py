"""What was found out about the layers of a backbone, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

FIGURES = ("linear_probe", "k_nn", "retrieval_map")
GIVEN, BEFORE, AFTER = "as given", "before", "after"
"""Which weights a backbone has: those that it was given; or those that its run began with, and has learnt."""


@dataclass(frozen=True)
class LayerFigures:
    """What features of a layer are good for, each figure once a split.

    Attributes:
        layer: The stage, or the block inside it.
        stage: The number of the stage.
        weights: `as given`; or `before` and `after`, of a run.
        channels: So many features there are.
        size: Height and width of the feature map that they were pooled from.
        linear_probe: The accuracy of a logistic regression on them.
        k_nn: The accuracy of the vote of the five nearest training samples.
        retrieval_map: The mean average precision of searching for images of the same class.
    """

    layer: str
    stage: int
    weights: str
    channels: int
    size: tuple[int, int]
    linear_probe: tuple[float, ...]
    k_nn: tuple[float, ...]
    retrieval_map: tuple[float, ...]

    def mean(self, figure: str) -> float:
        """The mean of a figure over splits."""
        return float(mean(getattr(self, figure)))

    def spread(self, figure: str) -> float | None:
        """The standard deviation of a figure over splits; None for one split."""
        values = getattr(self, figure)
        return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Study:
    """The layers of a backbone on labelled images.

    Attributes:
        backbone: What was looked at.
        dataset: The data set.
        which: Which of its samples.
        train: How many samples figures were fitted to, in each split.
        test: How many they were taken of.
        pool: How feature maps were pooled.
        seeds: How many splits.
        chance: What features that say nothing get: accuracy, and retrieval mAP.
        layers: The layers, from the first to the last, those `before` first.
        learnt: Whether the weights that the backbone has now have learnt anything; else they are random.
    """

    backbone: str
    dataset: str
    which: str
    train: int
    test: int
    pool: str
    seeds: int
    chance: tuple[float, float]
    layers: list[LayerFigures]
    learnt: bool = True

    def of(self, weights: str, *, stages_only: bool = False) -> list[LayerFigures]:
        """The layers with one kind of weights; only the stages, without blocks, if asked for."""
        found = [each for each in self.layers if each.weights == weights]
        # A stage comes behind the blocks inside it.
        last = {each.stage: each for each in found}
        return list(last.values()) if stages_only else found

    @property
    def now(self) -> str:
        """The weights that the backbone has now."""
        return self.layers[-1].weights

    @property
    def search_by(self) -> LayerFigures:
        """The layer with the highest mean retrieval mAP of the weights that the backbone has now."""
        return max(self.of(self.now), key=lambda each: each.mean("retrieval_map"))

    @property
    def kept(self) -> LayerFigures:
        """The last stage that need not be tuned: the first one that no later one is better than.

        Better means that the mean accuracy of the linear probe is higher by more than one standard error, which is
        sqrt(a (1 - a) / n) for an accuracy a on n test samples, both counted with two further samples of which one is
        wrong. Where a run has tuned the backbone, the stages as it began are asked.
        """
        stages = self.of(self.layers[0].weights, stages_only=True)
        accuracies = [each.mean("linear_probe") for each in stages]
        for number, (each, accuracy) in enumerate(zip(stages, accuracies, strict=True)):
            if max(accuracies[number:]) - accuracy <= standard_error(accuracy, self.test):
                return each
        raise AssertionError("the last stage is as good as itself")

    def table(self) -> dict[str, Any]:
        """All of it as plain lists and numbers, with what follows from it."""
        rows = [{**asdict(each), "means": {f: each.mean(f) for f in FIGURES}} for each in self.layers]
        chance = {"accuracy": self.chance[0], "retrieval_map": self.chance[1]}
        follows = {"search_by": self.search_by.layer, "keep_until": self.kept.layer, "tune": self.way}
        return {**vars(self), "chance": chance, "layers": rows, **follows}

    @property
    def tuned(self) -> list[str]:
        """The stages behind `kept`, which are to be tuned."""
        return [
            each.layer for each in self.of(self.layers[0].weights, stages_only=True) if each.stage > self.kept.stage
        ]

    @property
    def way(self) -> str:
        """What to say to `zoo finetune --tune`."""
        return f"last-{len(self.tuned)}" if self.tuned else "head"


def standard_error(accuracy: float, samples: int) -> float:
    """The standard error of an accuracy; two further samples, one of them wrong, keep it from being 0."""
    share = (accuracy * samples + 1) / (samples + 2)
    return float((share * (1 - share) / (samples + 2)) ** 0.5)
