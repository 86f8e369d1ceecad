"""Class coverage against what theory says of perfect samples, and of known faults."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from zoo_metrics import classifier, coverage
from zoo_metrics.coverage import ClassCoverage

from zoo import ArrayDataset, Draws, Evidence, IncompatibleParts, Sample

BUNCH = load_digits()
IMAGES, LABELS = torch.from_numpy(BUNCH.images).float() / 8 - 1, torch.from_numpy(BUNCH.target).long()


class Stacks(ArrayDataset):
    """Three digits each, drawn independently."""

    channel_classes = 10

    def __init__(self, size):
        self.chosen = Draws(0).randint(len(IMAGES), size, 3)
        super().__init__(IMAGES[self.chosen], (LABELS[self.chosen] * torch.tensor([100, 10, 1])).sum(1))
        self.classes = 1000


@pytest.fixture(scope="module", autouse=True)
def _quick(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(classifier, "STEPS", 1000)
        yield


@pytest.fixture(scope="module")
def stacks():
    return Stacks(25_600)


@pytest.fixture(scope="module")
def digits():
    return ArrayDataset(IMAGES[:, None], LABELS)


def evidence(data, values):
    sample = Sample(values)
    return Evidence(data.shape, data.classes, len(sample), lambda: sample, lambda: sample, data)


def measured(data, values, **settings):
    return ClassCoverage(**settings).measure(evidence(data, values))


def test_digits_that_were_not_seen_are_classified():
    half = ArrayDataset(IMAGES[::2, None], LABELS[::2])
    found = coverage._classes(half, IMAGES[1::2].double().flatten(1))
    assert (found == LABELS[1::2]).double().mean() > 0.95


def test_stacks_have_the_class_of_their_channels(stacks):
    found = coverage._classes(stacks, stacks.samples[:3000].double().flatten(1))
    assert (found == stacks.labels[:3000]).double().mean() > 0.98


@pytest.mark.parametrize("n", [2_500, 10_000, 25_600])
def test_perfect_stacks_have_the_figures_of_theory(stacks, n):
    draws = Draws(3)
    values = torch.stack([IMAGES[draws.randint(len(IMAGES), n)] for _ in range(3)], dim=1)
    found = measured(stacks, values)
    hit = 1000 * (1 - (1 - 1 / 1000) ** n)
    assert abs(found["classes"] - hit) < 5 * math.sqrt(1000 - hit + 1) + 1
    if n >= 10_000:  # 2 N KL is nearly chi-squared with K - 1 degrees of freedom.
        assert found["reverse-kl"] == pytest.approx(999 / (2 * n), rel=5 * math.sqrt(2 / 999))


def test_the_floor_of_whole_digits_is_9_over_2n(digits):
    chosen = [Draws(seed).randint(1797, 600) for seed in range(20)]
    found = [measured(digits, digits.samples[rows])["reverse-kl"] for rows in chosen]
    mean = 9 / (2 * 600)
    assert sum(found) / 20 == pytest.approx(mean, abs=5 * mean * math.sqrt(2 / 9 / 20))


def test_a_collapse_to_one_sample_is_one_class_and_as_far_as_can_be(stacks):
    found = measured(stacks, stacks.samples[:1].expand(500, -1, -1, -1))
    assert found["classes"] == 1
    assert found["reverse-kl"] == pytest.approx(math.log(1000), rel=0.02)


def test_a_channel_that_stands_still_leaves_a_hundred_classes(stacks):
    values = stacks.samples.clone()
    values[:, 1] = values[0, 1]
    found = measured(stacks, values)
    assert 100 <= found["classes"] <= 130  # Now and then a digit is mistaken.
    assert found["reverse-kl"] == pytest.approx(math.log(10), rel=0.05)


def test_missing_digits_have_the_divergence_of_those_that_are_left(digits):
    found = measured(digits, digits.samples[LABELS < 5])
    left = (LABELS < 5).double().mean()
    assert 5 <= found["classes"] <= 7
    assert found["reverse-kl"] == pytest.approx(-math.log(left), rel=0.05)


def test_a_class_needs_as_many_samples_as_are_asked_for(digits):
    rows = torch.cat([(label == LABELS).nonzero()[:count, 0] for label, count in ((0, 1), (1, 4), (2, 9))])
    assert [measured(digits, digits.samples[rows], at_least=n)["classes"] for n in (1, 4, 9, 10)] == [3, 2, 1, 0]


def test_classes_that_the_data_do_not_have_are_never_found(monkeypatch):
    data = ArrayDataset(IMAGES[:, None], 2 * LABELS)  # even ones only, and a classifier that likes 5 best
    zeros = torch.zeros(64, 64, dtype=torch.float64)
    likes = (torch.arange(19) == 5).double() + (torch.arange(19) == 8).double() / 2
    fond = classifier.Classifier(torch.tensor(-1.0), torch.tensor(2.0), zeros, zeros[0], zeros[:, :19], likes)
    monkeypatch.setattr(coverage, "classifier_of", lambda pictures: fond)
    assert coverage._classes(data, IMAGES[:9].double().flatten(1)).tolist() == [8] * 9


def test_uneven_data_are_what_samples_are_held_against(digits):
    rows = torch.cat([(LABELS == 0).nonzero()[:, 0], (LABELS == 1).nonzero()[:18, 0]])
    uneven = ArrayDataset(digits.samples[rows], LABELS[rows])
    assert measured(uneven, uneven.samples)["reverse-kl"] == pytest.approx(0, abs=1e-3)


def test_it_is_told_of_first_where_the_data_are_stacks(stacks, digits):
    assert ClassCoverage().telling(stacks)
    assert not ClassCoverage().telling(digits)


@pytest.mark.parametrize(
    "data", [None, ArrayDataset(torch.zeros(3, 2)), ArrayDataset(torch.ones(3, 2), torch.zeros(3))]
)
def test_it_needs_labelled_data(data):
    given = Evidence((2,), None, 3, pytest.fail, pytest.fail, data)
    with pytest.raises(IncompatibleParts, match="labelled data"):
        ClassCoverage().refuse(given)
