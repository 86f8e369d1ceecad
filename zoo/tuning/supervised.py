"""The procedure of fine-tuning: one phase, in which a classifier learns the labels of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.batch import Batch
from zoo.classifiers import Classifier
from zoo.components import ArrayDataset, Dataset
from zoo.errors import IncompatibleParts
from zoo.hookspecs import hookimpl
from zoo.procedures import About, Parts, Phase, Procedure, Want
from zoo.settings import Setting
from zoo.tuning.augmenting import Augmentation, augmentation
from zoo.tuning.judging import accuracy, cross_entropy, outputs
from zoo.tuning.splits import Split, Splitting
from zoo.tuning.ways import HEAD, layers_of

Weights: TypeAlias = Literal["none", "balanced"]
PART = "classifier"
Look: TypeAlias = Callable[[Tensor], Tensor]


class Supervised(Procedure):
    """A classifier learns the labels of samples, by cross-entropy.

    Args:
        tune: What of the backbone is trained: see `zoo.tuning.ways.layers_of`.
        layer_decay: What the learning rate of a stage is multiplied by, for each step down from the head.
        probe: The share of the iterations in which lp-ft trains the head alone.
        shots: Labelled samples of each class that are trained on; 0 for all that neither validate nor test. Which ones
            follows from the run's seed.
        validation: The share of each class that validates.
        test: The share of each class that is kept for the end.
        split_seed: Which samples validate and test.
        augment: What is done to images before they are learnt from; see `zoo.tuning.augmenting.augmentation`.
        smoothing: The share of each label that is spread over all classes (Szegedy et al., 2016, arXiv 1512.00567,
            section 7).
        class_weights: `balanced` weights a sample by N / (classes * N of its class), so that each class counts alike.
        cache: Whether features of a backbone in which nothing is trained are computed once, and kept in memory.
    """

    distance = False

    def __init__(
        self,
        *,
        tune: Annotated[str, Setting("head, last-K, all, gradual or lp-ft")] = "all",
        layer_decay: Annotated[
            float, Setting("a stage's learning rate is this times the next one's", gt=0, le=1)
        ] = 1.0,
        probe: Annotated[float, Setting("share of lp-ft in which the head is trained alone", gt=0, lt=1)] = 0.5,
        shots: Annotated[int, Setting("labelled samples per class; 0 for all", ge=0)] = 0,
        validation: Annotated[float, Setting("share of samples that validate", ge=0, lt=1)] = 0.1,
        test: Annotated[float, Setting("share of samples that test", ge=0, lt=1)] = 0.2,
        split_seed: Annotated[int, Setting("decides which samples validate and test", ge=0)] = 0,
        augment: Annotated[Sequence[Augmentation], Setting("torchvision's transforms of training images")] = (),
        smoothing: Annotated[float, Setting("label smoothing", ge=0, lt=1)] = 0.0,
        class_weights: Annotated[Weights, Setting("balanced counts each class alike")] = "none",
        cache: Annotated[bool, Setting("compute features once where only the head is tuned")] = True,
    ) -> None:
        self.splitting = Splitting(validation, test, split_seed, shots)
        self._tune, self._decay, self._probe = tune, layer_decay, probe
        self._augment, self._smoothing, self._balanced = tuple(augment), smoothing, class_weights == "balanced"
        self.caches = cache and tune == HEAD and not augment
        """Whether batches are features of the backbone, and no images."""
        self._shape: tuple[int, ...] = ()
        self._weights: Tensor | None = None
        self._validation: tuple[Tensor, Tensor] | None = None

    def wants(self, about: About) -> Mapping[str, Want]:
        """A classifier."""
        self._shape = about.shape
        return {PART: Want("network", default="backbone-classifier")}

    def phases(self, parts: Parts) -> list[Phase]:
        """One step of what is tuned of the classifier."""
        classifier = _classifier(parts)
        layers = layers_of(classifier, self._shape, self._tune, self._decay, self._probe)
        look = self._look(classifier)
        augment = augmentation(self._augment, self._shape)

        def loss(batch: Batch) -> Mapping[str, Tensor]:
            samples = cast(Tensor, batch.real) if augment is None else augment(cast(Tensor, batch.real))
            logits, labels = look(samples), batch.real_condition
            assert labels is not None
            batch.record(training_accuracy=(logits.detach().argmax(dim=1) == labels).float().mean())
            return {"classification_loss": self._loss(logits, labels)}

        return [Phase("tuning", (PART,), loss, layers=layers)]

    def drawn(self, parts: Parts, dataset: Dataset) -> Dataset:
        """The samples that are trained on; features of them where nothing else is needed."""
        split = self.split(dataset, parts.seed)
        trained = split.subset(split.trained)
        self._weights = _balance(trained, dataset.classes or 0) if self._balanced else None
        if not self.caches:
            return trained
        classifier = _classifier(parts)
        return ArrayDataset(_features(classifier, trained.samples), trained.labels)

    def validate(self, parts: Parts, dataset: Dataset) -> Mapping[str, float]:
        """The accuracy on the samples that validate, and the mean cross-entropy."""
        if not self.splitting.validation:
            return {}
        classifier = _classifier(parts)
        if self._validation is None:
            split = self.split(dataset)
            samples = split.dataset.samples[split.validation]
            held = _features(classifier, samples) if self.caches else samples
            self._validation = held, split.labels(split.validation)
        held, labels = self._validation
        logits = outputs(classifier, self._look(classifier), held, _device(classifier))
        return _figures(logits, labels)

    def test(self, parts: Parts, dataset: Dataset) -> Mapping[str, float]:
        """The accuracy on the samples that were kept for the end, the mean cross-entropy, and how many `samples`."""
        if not self.splitting.test:
            return {}
        classifier, split = _classifier(parts), self.split(dataset)
        logits = outputs(classifier, classifier, split.dataset.samples[split.test], _device(classifier))
        return {**_figures(logits, split.labels(split.test)), "samples": len(split.test)}

    def split(self, dataset: Dataset, seed: int = 0) -> Split:
        """How a data set is split. See `Splitting.of`."""
        return self.splitting.of(dataset, seed)

    def _look(self, classifier: Classifier) -> Look:
        """What logits are made by, of samples as they are drawn."""
        return classifier.head if self.caches else classifier

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = None if self._weights is None else self._weights.to(logits.device)
        # The mean over samples, not over weights, so that parts of a batch add up to it.
        each = F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=self._smoothing)
        return each.mean()


def _classifier(parts: Parts) -> Classifier:
    network = parts[PART]
    wrapped = getattr(network, "network", network)
    if not isinstance(network, Classifier) and not isinstance(wrapped, Classifier):
        raise IncompatibleParts(f"parts.{PART} is a {type(wrapped).__name__}, and no zoo.Classifier.")
    return cast(Classifier, network)


def _figures(logits: Tensor, labels: Tensor) -> Mapping[str, float]:
    return {"accuracy": accuracy(logits, labels), "cross_entropy": cross_entropy(logits, labels)}


def _device(classifier: Classifier) -> torch.device:
    return next(classifier.parameters()).device


def _features(classifier: Classifier, samples: Tensor) -> Tensor:
    return outputs(classifier, classifier.features, samples, _device(classifier))


def _balance(trained: ArrayDataset, classes: int) -> Tensor:
    assert trained.labels is not None
    counts = torch.bincount(trained.labels, minlength=classes)
    return len(trained.labels) / (classes * counts.clamp(min=1))


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """The procedure of fine-tuning."""
    return {"supervised": Supervised}
