"""Classifier accuracy: near the real one for perfect samples, chance for shuffled labels."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from zoo_metrics.accuracy import ClassAgreement, ClassifierAccuracy

from zoo import BadData, Draws, Evidence, IncompatibleParts, Sample


def digits():
    """Two random halves, as images in [-1, 1]."""
    bunch = load_digits()
    images, labels = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target).long()
    order = Draws(0).randperm(len(images))
    return [Sample(images[rows], labels[rows]) for rows in (order[:898], order[898:1796])]


def blobs(n, seed, apart):
    """Two Gaussians at -apart and apart on the first axis: the best accuracy is Phi(apart)."""
    draws = Draws(seed)
    labels = draws.randint(2, n)
    values = draws.randn(n, 3)
    values[:, 0] += apart * (2 * labels - 1)
    return Sample(values, labels)


def evidence(real, fake, classes=10, **fields):
    fields = {"conditional": True, **fields}
    return Evidence(tuple(real.values.shape[1:]), classes, len(fake), lambda: real, lambda: fake, **fields)


def measured(real, fake, classes=10, **settings):
    return ClassifierAccuracy(**settings).measure(evidence(real, fake, classes))


def test_real_digits_teach_what_perceptrons_learn_from_them():
    found = measured(*digits())
    assert found["accuracy"] > 0.955
    assert 0.85 < found["worst-class"] <= found["accuracy"]


def test_shuffled_labels_teach_nothing():
    real, fake = digits()
    shuffled = Sample(fake.values, fake.labels[Draws(1).randperm(len(fake))])
    assert measured(real, shuffled)["accuracy"] < 0.1 + 5 * math.sqrt(0.09 / len(real))


def test_a_class_that_is_missing_is_the_worst():
    real, fake = digits()
    there = fake.labels != 3
    found = measured(real, Sample(fake.values[there], fake.labels[there]))
    assert found["worst-class"] == 0
    assert found["accuracy"] == pytest.approx(0.97 * 0.9, abs=0.03)


@pytest.mark.parametrize("apart", [0.5, 1.0, 2.0])
def test_it_is_the_best_accuracy_where_that_is_known(apart):
    best = 0.5 * (1 + math.erf(apart / math.sqrt(2)))
    found = measured(blobs(4000, 0, apart), blobs(4000, 1, apart), classes=2, width=16)
    assert best - 0.05 < found["accuracy"] < best + 5 * math.sqrt(best * (1 - best) / 4000)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_inputs_of_any_scale_are_learnt(scale):
    pair = blobs(2000, 0, 2), blobs(2000, 1, 2)
    real, fake = (Sample(scale * (each.values + 10), each.labels) for each in pair)
    assert measured(real, fake, classes=2)["accuracy"] > 0.93


def test_it_is_repeatable_and_draws_nothing_else():
    real, fake = digits()
    state = torch.get_rng_state()
    assert measured(real, fake, steps=20) == measured(real, fake, steps=20)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_that_are_all_the_same_have_a_finite_figure():
    real, fake = digits()
    found = measured(real, Sample(torch.zeros_like(fake.values), fake.labels), steps=20)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("fields", [{"conditional": False}, {"classes": None}, {"classes": 1}])
def test_it_needs_labels(fields):
    fields = {"classes": 10, **fields}
    with pytest.raises(IncompatibleParts):
        ClassifierAccuracy().refuse(evidence(*digits(), **fields))


def test_samples_without_labels_are_said():
    real, fake = digits()
    with pytest.raises(BadData, match="no labels"):
        measured(real, Sample(fake.values))


def agreement(real, fake, classes=10):
    return ClassAgreement().measure(evidence(real, fake, classes))


def test_real_digits_agree_as_far_as_a_perceptron_knows_those_that_it_has_not_seen():
    found = agreement(*digits())
    assert 0.94 < found["agreement"] < 0.99
    assert 0.8 < found["worst-class"] <= found["agreement"]


def test_the_classifier_learns_from_real_samples_alone():
    real, fake = digits()
    labels = torch.where(fake.labels == 3, 5, fake.labels)
    found = agreement(real, Sample(fake.values, labels))
    assert found["agreement"] == pytest.approx(0.97 * 0.9, abs=0.03)
    assert found["worst-class"] == pytest.approx(0.5, abs=0.07)


def test_labels_that_say_nothing_agree_by_chance_and_a_class_that_is_missing_is_not_missed():
    real, fake = digits()
    shuffled = Sample(fake.values, fake.labels[Draws(1).randperm(len(fake))])
    assert agreement(real, shuffled)["agreement"] < 0.1 + 5 * math.sqrt(0.09 / len(fake))
    there = fake.labels != 3
    assert agreement(real, Sample(fake.values[there], fake.labels[there]))["worst-class"] > 0.8


def test_agreement_of_blobs_is_the_best_classifiers():
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    found = agreement(blobs(4000, 0, 1.0), blobs(4000, 1, 1.0), classes=2)
    assert best - 0.05 < found["agreement"] < best + 5 * math.sqrt(best * (1 - best) / 4000)
