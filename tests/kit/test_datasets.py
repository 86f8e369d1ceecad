"""The conformance kit's checks of data sets: each catches what it is for, and correct ones pass."""

import re

import pytest
import torch

from zoo import (
    ArrayDataset,
    BadData,
    Density,
)
from zoo.testing import cases_of, check_component


class Pair(Density):
    """Two Gaussians in the plane."""

    sigma = 0.2

    def __init__(self):
        self.shape = (2,)
        self.centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])

    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + self.sigma * draws.randn(n, 2)

    def log_density(self, points):
        squares = (points[:, None] - self.centres).square().sum(2)
        peak = torch.tensor(2 * torch.pi * self.sigma**2 * 2).log()
        return torch.logsumexp(-squares / (2 * self.sigma**2), dim=1) - peak


class OffByAConstant(Pair):
    def log_density(self, points):
        return super().log_density(points) + 0.1


class OtherDensity(Pair):
    """Its samples lean to one centre, its log density does not know."""

    def sample(self, n, draws):
        return self.centres[(draws.rand(n) < 0.95).long()] + self.sigma * draws.randn(n, 2) * draws.rand(n, 1)


class GlobalNumbers(Pair):
    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + self.sigma * torch.randn(n, 2)


class MissesACentre(Pair):
    def sample(self, n, draws):
        return self.centres[1] + self.sigma * draws.randn(n, 2)


class WrongSigma(Pair):
    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + 1.1 * self.sigma * draws.randn(n, 2)


class WaitsForEach(Pair):
    def sample(self, n, draws):
        modes = draws.randint(2, n).tolist()
        return self.centres[modes] + self.sigma * draws.randn(n, 2)


class DoublePrecision(Pair):
    def sample(self, n, draws):
        return super().sample(n, draws).double()


def images():
    """Four images."""
    return ArrayDataset(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 2, 1, 2]))


def too_bright():
    return ArrayDataset(torch.rand(4, 1, 8, 8) * 3)


def wrong_labels():
    dataset = images()
    dataset.classes = 2
    return dataset


def wrong_size():
    dataset = images()
    dataset.size = 5
    return dataset


def refuses_without_reason():
    raise BadData("")


DATASETS = [
    (OffByAConstant, "log-density"),
    (OtherDensity, "log-density"),
    (GlobalNumbers, "draws"),
    (MissesACentre, "modes"),
    (WrongSigma, "modes"),
    (WaitsForEach, "no-synchronisation"),
    (DoublePrecision, "draws"),
    (too_bright, "samples"),
    (wrong_labels, "samples"),
    (wrong_size, "samples"),
    (refuses_without_reason, "builds"),
]


@pytest.mark.parametrize("component", [Pair, images])
def test_a_correct_one_passes(component):
    check_component("dataset", component)


@pytest.mark.parametrize(("component", "check"), DATASETS)
def test_a_broken_one_is_caught_by_the_check_for_it(component, check):
    results = [case.result() for case in cases_of("dataset", component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (OffByAConstant, r"integrates to 1\.10"),
    ],
)
def test_the_message_says_what_is_wrong(component, text, failures):
    assert any(re.search(text, detail) for detail in failures("dataset", component).values())


def test_a_density_in_need_of_a_path_is_skipped():
    def wants_a_path():
        """What a path leads to."""
        raise BadData("give a path.")

    statuses = {case.result().status for case in cases_of("dataset", wants_a_path)}
    assert "failed" not in statuses
    assert "skipped" in statuses
