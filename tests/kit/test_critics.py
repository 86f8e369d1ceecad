"""The conformance kit's checks of critics: each catches what it is for, and correct ones pass."""

import re

import pytest
import torch
from torch import nn

from zoo import (
    Critic,
    Scores,
)
from zoo.testing import cases_of, check_component


class Scorer(Critic):
    """A small one."""

    def __init__(self, shape):
        super().__init__()
        self.hidden = nn.Linear(torch.Size(shape).numel(), 8)
        self.out = nn.Linear(8, 1)

    def forward(self, samples, condition=None):
        return self.out(self.hidden(samples.flatten(1)).tanh()).squeeze(1)


class OnABackbone(Critic):
    """Uses the first stage only, so that the rest of the kit's backbone gets no gradient."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.stages[0].channels, 1, 1)

    def forward(self, samples, condition=None):
        patches = self.head(self.backbone(samples)[0]).squeeze(1)
        return Scores((patches, patches.mean((1, 2))), features=patches)


class Column(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(samples)[:, None]


class FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * (1 - x.tanh().square())


class NoSecondDerivative(Scorer):
    def forward(self, samples, condition=None):
        return self.out(FirstOrder.apply(self.hidden(samples.flatten(1)))).squeeze(1)


class SlopeWithoutGradient(Scorer):
    """A slope that autograd cannot differentiate at all."""

    def forward(self, samples, condition=None):
        return FirstOrder.apply(samples.flatten(1)).sum(1) + 0 * super().forward(samples).detach() + self.out.bias


class SpreadAtTies(Scorer):
    """The batch's standard deviation has an infinite derivative where all samples are equal."""

    def forward(self, samples, condition=None):
        spread = (samples - samples.mean(0)).square().mean().sqrt()
        return super().forward(samples) + spread


class LengthAtZero(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(samples) + samples.flatten(1).square().sum(1).sqrt()


class ScoresNothing(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(0 * samples)


CRITICS = [
    (Column, "shapes"),
    (NoSecondDerivative, "second-derivatives"),
    (SlopeWithoutGradient, "slopes"),
    (SpreadAtTies, "slopes-at-ties"),
    (LengthAtZero, "slopes-at-ties"),
    (ScoresNothing, "uses-samples"),
]


@pytest.mark.parametrize("component", [Scorer, OnABackbone])
def test_a_correct_one_passes(component):
    check_component("critic", component)


@pytest.mark.parametrize(("component", "check"), CRITICS)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("critic", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (Column, r"\(1, 1\); it must be \(1,\)"),
    ],
)
def test_the_message_says_what_is_wrong(component, text, failures):
    assert any(re.search(text, detail) for detail in failures("critic", component).values())
