"""The conformance kit's checks of backbones: each catches what it is for, and correct ones pass."""

from typing import Annotated

import pytest
import torch
from torch import nn

from zoo import (
    Backbone,
    IncompatibleParts,
    Setting,
    Stage,
)
from zoo.testing import cases_of, check_component


class Bone(Backbone):
    """A small one."""

    stages = (Stage("low", 4, 2), Stage("high", 6, 4))

    def __init__(self, shape):
        super().__init__()
        if len(shape) != 3:
            raise IncompatibleParts("it takes images.")
        self.low = nn.Sequential(nn.Conv2d(shape[0], 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.high = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, images):
        low = self.low(images).relu()
        return [low, self.high(low)]


class Frozen(Bone):
    """Its first stage is frozen."""

    def __init__(self, shape):
        super().__init__(shape)
        self.low.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.low.eval()
        return self


class ByASetting(Frozen):
    """All of it can be frozen."""

    def __init__(self, shape, *, freeze: Annotated[bool, Setting("all of it")] = False):
        super().__init__(shape)
        self.requires_grad_(not freeze)


class WrongChannels(Bone):
    stages = (Stage("low", 4, 2), Stage("high", 7, 4))


class WrongStride(Bone):
    stages = (Stage("low", 4, 2), Stage("high", 6, 8))


class TooManyStages(Bone):
    stages = (*Bone.stages, Stage("top", 6, 8))


class StatisticsMove(Frozen):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


class Thaws(Frozen):
    def train(self, mode=True):
        super().train(mode)
        return self.requires_grad_(True)


class Blocks(Frozen):
    def forward(self, images):
        with torch.no_grad():
            low = self.low(images).relu()
        return [low, self.high(low)]


class Flat(Bone):
    """Divides by the contrast of each image."""

    def forward(self, images):
        return super().forward(images / images.std((1, 2, 3), keepdim=True))


class Coloured(Bone):
    """The same network for grey images as for colour ones."""

    def __init__(self, shape):
        super().__init__((3, *shape[1:]))

    def forward(self, images):
        return super().forward(images.expand(-1, 3, -1, -1))


class RedOnly(Coloured):
    """A grey image is taken for a red one."""

    def forward(self, images):
        rest = images.new_zeros(len(images), 3 - images.shape[1], *images.shape[2:])
        return Bone.forward(self, torch.cat([images, rest], dim=1))


class ListsTwice(Bone):
    def parameters_by_stage(self, shape):
        return [list(self.low.parameters()), list(self.parameters())]


class LeavesOut(Bone):
    def parameters_by_stage(self, shape):
        return [[self.low[0].weight], list(self.high.parameters())]


class TooLate(Bone):
    def parameters_by_stage(self, shape):
        return [[], list(self.parameters())]


class ListsIdle(Bone):
    """It lists parameters that only a classifier would use."""

    def __init__(self, shape):
        super().__init__(shape)
        self.spare = nn.Linear(6, 2)

    def parameters_by_stage(self, shape):
        return [list(self.low.parameters()), [*self.high.parameters(), *self.spare.parameters()]]


class LeavesThawed(Bone):
    def parameters_by_stage(self, shape):
        found = super().parameters_by_stage(shape)
        self.eval()
        return found


class NeverStill(Bone):
    """What is frozen later than it is built is not kept in evaluation mode."""

    def train(self, mode=True):
        return nn.Module.train(self, mode)


class StaysStill(Bone):
    """What was once in evaluation mode stays so."""

    def train(self, mode=True):
        was = self.low.training
        super().train(mode)
        self.low.train(mode and was)
        return self


BACKBONES = [
    (RedOnly, "grey-is-colour"),
    (ListsTwice, "parameters-by-stage"),
    (LeavesOut, "parameters-by-stage"),
    (TooLate, "parameters-by-stage"),
    (ListsIdle, "parameters-by-stage"),
    (LeavesThawed, "parameters-by-stage"),
    (NeverStill, "freezes-by-stage"),
    (StaysStill, "freezes-by-stage"),
    (WrongChannels, "taps"),
    (WrongStride, "taps"),
    (TooManyStages, "taps"),
    (StatisticsMove, "freeze"),
    (Thaws, "freeze"),
    (Blocks, "freeze"),
    (Flat, "extremes"),
]


@pytest.mark.parametrize("component", [Bone, Frozen, ByASetting, Coloured])
def test_a_correct_one_passes(component):
    check_component("backbone", component)


@pytest.mark.parametrize(("component", "check"), BACKBONES)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("backbone", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]
