"""Classifier accuracy: what a classifier learns from labelled samples, tried on real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from zoo import BadData, Better, Draws, Evidence, IncompatibleParts, Metric, Sample, Setting

_BATCH = 128


class ClassifierAccuracy(Metric):
    """The accuracy on real samples of a classifier that is trained on the judged ones and their labels.

    The classification accuracy score of Ravuri and Vinyals (2019), with a perceptron of one hidden layer in the place
    of a ResNet. It sees what is missing from a class as well as what is wrong in it; the floor is the accuracy of
    training on real samples.

    - `accuracy`: the share of real samples whose class is found.
    - `worst-class`: that share in the class where it is least.

    Initial weights and batches are drawn from the metric's own random numbers.
    """

    figures: ClassVar[Mapping[str, Better]] = {"accuracy": "higher", "worst-class": "higher"}

    def __init__(
        self,
        *,
        width: Annotated[int, Setting("units of the hidden layer", ge=1)] = 128,
        steps: Annotated[int, Setting(f"steps of Adam, on {_BATCH} samples each", ge=1)] = 300,
        lr: Annotated[float, Setting("step size of Adam", gt=0)] = 3e-3,
    ) -> None:
        self.width = width
        self.steps = steps
        self.lr = lr

    def refuse(self, evidence: Evidence) -> None:
        """It needs labels: those of the data, and those that the judged samples were made for."""
        if evidence.classes is None or evidence.classes < 2:
            raise IncompatibleParts("it needs data with two classes or more.")
        if not evidence.conditional:
            raise IncompatibleParts("it needs samples that were made for given labels, of a conditional generator.")

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures. Raises BadData for samples without labels."""
        accuracy, worst = self._learnt(evidence.fake, evidence.real, evidence)
        return {"accuracy": accuracy, "worst-class": worst}

    def _learnt(self, taught: Sample, tried: Sample, evidence: Evidence) -> tuple[float, float]:
        """The share of tried samples whose class a classifier taught by others finds; and of the worst class."""
        truth, labels = _labels(tried), _labels(taught)
        centre, scale = _standard(taught.values.flatten(1))
        inputs, tests = ((sample.values.flatten(1) - centre) / scale for sample in (taught, tried))
        classes = max(evidence.classes or 0, int(truth.max()) + 1, int(labels.max()) + 1)
        right = (self._trained(inputs, labels, classes, evidence.draws)(tests) == truth).double()
        shares = [float(right[truth == label].mean()) for label in truth.unique()]
        return float(right.mean()), min(shares)

    def _trained(self, inputs: Tensor, labels: Tensor, classes: int, draws: Draws) -> _Perceptron:
        network = _Perceptron(inputs.shape[1], self.width, classes, draws)
        optimizer = torch.optim.Adam(network.parameters, lr=self.lr, betas=(0.9, 0.99))
        with torch.enable_grad():
            for _ in range(self.steps):
                rows = draws.randint(len(inputs), min(_BATCH, len(inputs)))
                optimizer.zero_grad()
                loss = functional.cross_entropy(network.logits(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        return network


class ClassAgreement(ClassifierAccuracy):
    """How often a classifier that is trained on real samples finds the class that a judged one was made for.

    GAN-test of Shmelkov, Schmid and Alahari (2018, arXiv 1807.09499), with a perceptron of one hidden layer in the
    place of a ResNet. It sees samples of the wrong class or of none; not what is missing from a class, which
    `classifier-accuracy` sees. The floor is the accuracy on real samples that the classifier was not trained on, and
    samples that are plainer than real ones come out better than it.

    - `agreement`: the share of judged samples whose class is found.
    - `worst-class`: that share in the class where it is least.
    """

    figures: ClassVar[Mapping[str, Better]] = {"agreement": "higher", "worst-class": "higher"}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures. Raises BadData for samples without labels."""
        agreement, worst = self._learnt(evidence.real, evidence.fake, evidence)
        return {"agreement": agreement, "worst-class": worst}


class _Perceptron:
    """One hidden layer of rectifiers, with weights from given random numbers."""

    def __init__(self, inputs: int, width: int, classes: int, draws: Draws) -> None:
        weights = [draws.randn(inputs, width) * (2 / inputs) ** 0.5, draws.randn(width, classes) * width**-0.5]
        self.parameters = [each.requires_grad_() for each in (*weights, torch.zeros(width), torch.zeros(classes))]

    def logits(self, inputs: Tensor) -> Tensor:
        """`(N, classes)`."""
        first, last, offset, bias = self.parameters
        return (inputs @ first + offset).relu() @ last + bias

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """The most likely class of each, `(N,)`."""
        return torch.cat([self.logits(some).argmax(1) for some in inputs.split(4096)])


def _labels(sample: Sample) -> Tensor:
    if sample.labels is None:
        raise BadData("some of the samples have no labels.")
    return sample.labels


def _standard(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the scale of each input; inputs that hardly vary are not blown up."""
    scale = values.std(0, correction=0)
    usual = scale.square().mean().sqrt()
    return values.mean(0), torch.maximum(scale, 0.1 * usual).clamp(min=1e-6)
