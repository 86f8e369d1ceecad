"""Memorisation: copies are seen, held-out samples are not, and distances are scikit-learn's."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from zoo_metrics import copies
from zoo_metrics.copies import Memorisation, nearest

from zoo import BadData, Density, Draws, Evidence, IncompatibleParts, Sample, Translations


def gaussian(n, seed=0, dimensions=5):
    return Draws(seed).randn(n, dimensions)


def digits(seed=0):
    """Two random halves, as images in [-1, 1]."""
    images = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    order = Draws(seed).randperm(len(images))
    return images[order[:898]], images[order[898:1796]]


def measured(real, fake, **settings):
    samples = Sample(real), Sample(fake)
    evidence = Evidence(tuple(real.shape[1:]), None, len(fake), lambda: samples[0], lambda: samples[1])
    return Memorisation(**settings).measure(evidence)


def halves(kind, seed):
    return digits(seed) if kind == "digits" else (gaussian(900, seed), gaussian(900, 100 + seed))


@pytest.mark.parametrize("kind", ["digits", "gaussian"])
@pytest.mark.parametrize("quantile", [0.01, 0.1])
def test_held_out_samples_are_not_flagged(kind, quantile):
    found = [measured(*halves(kind, seed), quantile=quantile) for seed in range(5)]
    error = math.sqrt(quantile * (1 - quantile) / 900)
    # The threshold and the share are each uncertain by one standard error.
    assert all(abs(each["copies"]) < 4 * math.sqrt(2) * error + 2 / 900 for each in found)
    assert all(abs(each["neighbour-ratio"] - 1) < 0.1 for each in found)


@pytest.mark.parametrize("kind", ["digits", "gaussian"])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.01])
def test_copies_are_flagged_with_and_without_tiny_noise(kind, noise):
    real, _ = halves(kind, 0)
    found = measured(real, real + noise * Draws(9).randn(*real.shape))
    assert found["copies"] == pytest.approx(0.99, abs=0.002)
    assert found["neighbour-ratio"] <= 0.1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_the_share_of_copies_is_found_among_new_samples(share):
    real, new = digits()
    count = int(share * len(new))
    found = measured(real, torch.cat([real[:count], new[count:]]))
    assert found["copies"] == pytest.approx(count / len(new), abs=0.02)


def test_samples_far_from_all_real_ones_are_no_copies():
    real = gaussian(500)
    found = measured(real, real + 50)
    assert found["copies"] == pytest.approx(-0.012)  # 6 of 500 real samples lie at or within the 1 % quantile.
    assert found["neighbour-ratio"] > 30


@pytest.mark.parametrize("at_once", [1, 1000, 4_000_000])
def test_distances_are_those_of_scikit_learn(at_once, monkeypatch):
    monkeypatch.setattr(copies, "_NUMBERS_AT_ONCE", at_once)
    real, fake = gaussian(200).double(), gaussian(150, 1).double()
    tree = NearestNeighbors(n_neighbors=2).fit(real.numpy())
    among, _ = tree.kneighbors(real.numpy())
    found, _ = tree.kneighbors(fake.numpy())
    assert torch.allclose(nearest(real), torch.from_numpy(among[:, 1]))
    assert torch.allclose(nearest(fake, real), torch.from_numpy(found[:, 0]))


def test_a_few_twins_among_real_samples_do_no_harm():
    real = gaussian(500)
    real[:20] = real[20:40]
    assert abs(measured(real, gaussian(500, 1))["copies"] + 40 / 500) < 1e-9
    assert measured(real, real)["copies"] == pytest.approx(1 - 40 / 500)


def test_real_samples_that_are_all_the_same_are_refused():
    with pytest.raises(BadData, match="twice"):
        measured(torch.zeros(10, 2), gaussian(10, dimensions=2))


def test_a_density_has_nothing_to_copy():
    class Line(Density):
        shape = (1,)

        def sample(self, n, draws):
            return draws.randn(n, 1)

    evidence = Evidence((1,), None, 5, pytest.fail, pytest.fail, Line())
    with pytest.raises(IncompatibleParts, match="training samples"):
        Memorisation().refuse(evidence)


def test_what_is_to_be_made_of_its_pair_is_no_copy():
    images = gaussian(6)
    for paired in (True, False):
        data = Translations(images, images, paired=paired)
        evidence = Evidence((5,), None, 5, pytest.fail, pytest.fail, data)
        if paired:
            with pytest.raises(IncompatibleParts, match="the real half is what is to be made"):
                Memorisation().refuse(evidence)
        else:
            Memorisation().refuse(evidence)
