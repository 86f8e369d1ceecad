"""The conformance kit's checks of classifiers: each catches what it is for, and a correct one passes."""

import re

import pytest
import torch
from torch import nn

from zoo import Classifier, IncompatibleParts
from zoo.testing import cases_of, check_network
from zoo.tuning.classifier import BackboneClassifier


class Plain(Classifier):
    """The mean of the last stage, and a linear layer."""

    def __init__(self, shape, classes, backbone):
        super().__init__()
        if classes is None:
            raise IncompatibleParts("no labels; label them.")
        self.backbone = backbone
        self.head = nn.Linear(backbone.stages[-1].channels, classes)

    def features(self, images):
        return self.backbone(images)[-1].mean(dim=(2, 3))


class Blind(Plain):
    def __init__(self, shape, classes, backbone):
        super().__init__(shape, classes or 2, backbone)


class OneLogit(Plain):
    def __init__(self, shape, classes, backbone):
        super().__init__(shape, classes, backbone)
        self.head = nn.Linear(backbone.stages[-1].channels, 1)


class Between(Plain):
    def __init__(self, shape, classes, backbone):
        super().__init__(shape, classes, backbone)
        self.scale = nn.Parameter(torch.ones(1))

    def features(self, images):
        return super().features(images) * self.scale


class OtherForward(Plain):
    def forward(self, images):
        return self.head(self.features(images) + 1)


class Maps(Plain):
    def features(self, images):
        return self.backbone(images)[-1]

    def forward(self, images):
        return self.head(self.features(images).mean(dim=(2, 3)))


@pytest.mark.parametrize("component", [Plain, BackboneClassifier])
def test_a_correct_classifier_passes(component):
    check_network(component)


@pytest.mark.parametrize(
    ("component", "check", "text"),
    [
        (Blind, "needs-labels", "raise zoo.IncompatibleParts"),
        (OneLogit, "logits", r"it must be \(3, 3\)"),
        (Between, "only-the-head-is-its-own", "scale is neither"),
        (OtherForward, "logits", "leave forward as it is"),
        (Maps, "logits", "features of 3 images have shape"),
    ],
)
def test_what_is_wrong_is_found(component, check, text):
    results = [case.result() for case in cases_of("network", component) if case.what.name == check]
    assert [result.bad for result in results] == [True]
    assert re.search(text, results[0].detail)
