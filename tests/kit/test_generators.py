"""The conformance kit's checks of generators: each catches what it is for, and correct ones pass."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from zoo import (
    Generator,
    IncompatibleParts,
)
from zoo.testing import cases_of, check_component


class Good(Generator):
    """A small one."""

    latent_dim = 6

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, torch.Size(shape).numel())

    def forward(self, z, condition=None):
        samples = self.out(torch.relu(self.norm(self.hidden(z)))).view(-1, *self.shape)
        return samples.tanh() if len(self.shape) == 3 else samples


class Labelled(Good):
    """For labelled data only."""

    conditional = True

    def __init__(self, shape, classes):
        if classes is None:
            raise IncompatibleParts("labels are needed; use another generator.")
        super().__init__(shape)
        self.embedding = nn.Embedding(classes, 6)

    def forward(self, z, condition=None):
        return super().forward(z + self.embedding(condition))


class WrongShape(Good):
    def forward(self, z, condition=None):
        return super().forward(z).flatten(1)


class OutOfRange(Good):
    def forward(self, z, condition=None):
        return self.out(self.hidden(z)).view(-1, *self.shape)


class Waits(Good):
    def forward(self, z, condition=None):
        samples = super().forward(z)
        return samples / max(1.0, samples.abs().max().item())


class WaitsBackwards(Good):
    def forward(self, z, condition=None):
        samples = super().forward(z)
        if samples.requires_grad:
            samples.register_hook(lambda gradient: gradient if gradient.sum() > -1e9 else 0 * gradient)
        return samples


class NumPyWeights(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.out.bias.data += torch.from_numpy(np.random.randn(*self.out.bias.shape)).float()


class PythonWeights(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.out.bias.data += random.random()


class GlobalLatent(Good):
    def latent(self, n, draws):
        return torch.randn(n, self.latent_dim)


class ConstantLatent(Good):
    def latent(self, n, draws):
        return torch.ones(n, self.latent_dim)


class WrongLatent(Good):
    def latent(self, n, draws):
        return draws.randn(n, 6, 1)[..., 0].T.contiguous().T[:, :5]


class PlainState(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.shift = torch.randn(torch.Size(shape).numel())

    def forward(self, z, condition=None):
        return super().forward(z) * 0.5 * self.shift.sigmoid().view(self.shape)


class StateInEvaluation(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, z, condition=None):
        self.calls += 1
        return super().forward(z)


class Unused(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.spare = nn.Linear(3, 3)


class Detached(Good):
    def forward(self, z, condition=None):
        return super().forward(z).detach()


class ChangesInput(Good):
    def forward(self, z, condition=None):
        if not z.requires_grad:
            z.mul_(1.001)
        return super().forward(z)


class Noisy(Good):
    def forward(self, z, condition=None):
        return super().forward(z + 0.1 * torch.randn_like(z))


class Mixed(Good):
    def forward(self, z, condition=None):
        return super().forward(z - z.mean(0))


class ForgetsLatent(Good):
    def forward(self, z, condition=None):
        return super().forward(0 * z)


class SinglePrecision(Good):
    def forward(self, z, condition=None):
        return super().forward(z + torch.ones(6, dtype=torch.float32)).float()


class Unpicklable(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.activation = lambda x: x


class BadRefusal(Good):
    def __init__(self, shape):
        if len(shape) == 1:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        super().__init__(shape)


class Nowhere(Good):
    def __init__(self, shape):
        raise IncompatibleParts("it takes nothing; use another.")


class WantsMore(Good):
    def __init__(self, shape, discriminator):
        super().__init__(shape)


class NotANumber(Good):
    def forward(self, z, condition=None):
        return super().forward(z) + (z[:, :1].sum() * 0).log().exp().log() * 0


GENERATORS = [
    (WrongShape, "shapes"),
    (OutOfRange, "images-in-range"),
    (Waits, "no-synchronisation"),
    (WaitsBackwards, "no-synchronisation"),
    (NumPyWeights, "repeatable"),
    (PythonWeights, "repeatable"),
    (GlobalLatent, "latent"),
    (ConstantLatent, "latent"),
    (WrongLatent, "latent"),
    (PlainState, "state"),
    (StateInEvaluation, "state"),
    (Unused, "gradients"),
    (Detached, "gradients"),
    (ChangesInput, "does-not-change-its-inputs"),
    (Noisy, "deterministic"),
    (Mixed, "sample-independence"),
    (ForgetsLatent, "uses-latent-points"),
    (SinglePrecision, "precision"),
    (Unpicklable, "copies"),
    (BadRefusal, "builds"),
    (Nowhere, "builds"),
    (WantsMore, "builds"),
    (NotANumber, "shapes"),
]


@pytest.mark.parametrize("component", [Good, Labelled])
def test_a_correct_one_passes(component):
    check_component("generator", component)


@pytest.mark.parametrize(("component", "check"), GENERATORS)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("generator", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (Waits, r"item\(\) at .*test_generators.py:\d+ \(return samples / max"),
        (Unused, "2 parameters get no gradient, such as spare"),
        (BadRefusal, "RuntimeError: mat1.*IncompatibleParts"),
        (WantsMore, "'discriminator', which the core does not give to a generator"),
    ],
)
def test_the_message_says_what_is_wrong(component, text, failures):
    assert any(re.search(text, detail) for detail in failures("generator", component).values())
