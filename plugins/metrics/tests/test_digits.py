"""The table of digits: real ones against real ones and against a Gaussian, beside scikit-learn's own figures."""

import functools

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from zoo_metrics import metric
from zoo_metrics.classifier import train

from zoo import ArrayDataset, Evidence, Sample


def frechet(one, other):
    """By the roots of the eigenvalues of the covariances' product."""
    difference = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0))
    return float(difference @ difference + np.trace(first + second) - 2 * roots.sum())


def inside(balls_of, others):
    """Whether each of `others` is in the ball of each of `balls_of`, `(N, M)`, by scikit-learn's neighbours."""
    radii = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(balls_of).kneighbors(balls_of)[0][:, -1]
    return cdist(balls_of, others) <= radii[:, None] * (1 + 1e-7)


@functools.cache
def table():
    """Pixels in [0, 1] by row: the real ones, and those that are judged."""
    data = load_digits()
    real = data.data / 16.0
    rng = np.random.default_rng(0)
    gaussian = rng.multivariate_normal(real.mean(0), np.cov(real, rowvar=False), len(real)).clip(0, 1)
    order = rng.permutation(len(real))
    return {"half": (real[order[:898]], real[order[898:1796]]), "gaussian": (real[order[:898]], gaussian[:898])}


def images(pixels):
    return torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * 2 - 1


@functools.cache
def digits():
    data = load_digits()
    return ArrayDataset(images(data.data / 16), torch.from_numpy(data.target))


def measured(name, row, **settings):
    real, fake = (Sample(images(pixels)) for pixels in table()[row])
    evidence = Evidence((1, 8, 8), 10, len(fake), lambda: real, lambda: fake, digits())
    component = metric()[name](**settings)
    component.refuse(evidence)
    return component.measure(evidence)


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("row", ["half", "gaussian"])
def test_the_frechet_distance_of_pixels_is_that_by_eigenvalues(row):
    expected = frechet(*(2 * pixels - 1 for pixels in table()[row]))
    assert measured("frechet", row)["frechet"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("row", ["half", "gaussian"])
def test_the_frechet_distance_of_a_classifier_is_that_by_eigenvalues_of_its_hidden_layer(row):
    layer = train(digits())
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    hidden = [np.maximum(pixels @ weight + bias, 0) for pixels in table()[row]]
    assert measured("frechet", row, features="classifier")["frechet"] == pytest.approx(frechet(*hidden), rel=1e-4)


def test_a_classifier_tells_as_much_as_scikit_learns():
    """Another network of the same size has other features: the Gaussian is many floors away in both."""
    data = load_digits()
    other = MLPClassifier((64,), max_iter=400, random_state=0).fit(data.data / 16, data.target)
    ratios = {}
    for row in table():
        theirs = [np.maximum(x @ other.coefs_[0] + other.intercepts_[0], 0) for x in table()[row]]
        ratios[row] = measured("frechet", row, features="classifier")["frechet"], frechet(*theirs)
    ours, theirs = (ratios["gaussian"][which] / ratios["half"][which] for which in (0, 1))
    assert 0.6 * theirs < ours < 1.7 * theirs
    assert ours > 4


@pytest.mark.parametrize("row", ["half", "gaussian"])
def test_precision_recall_density_and_coverage_are_scikit_learns_neighbours(row):
    real, fake = table()[row]
    of_real, of_fake = inside(real, fake), inside(fake, real)
    assert measured("prdc", row) == pytest.approx(
        {
            "coverage": of_real.any(1).mean(),
            "density": of_real.sum() / (5 * len(fake)),
            "precision": of_real.any(0).mean(),
            "recall": of_fake.any(0).mean(),
        },
        abs=2e-3,  # Ties of distances that single precision does not keep.
    )


def test_a_gaussian_is_told_from_digits():
    for name, figure in [("frechet", "frechet"), ("wasserstein", "w2"), ("sliced-wasserstein", "sliced")]:
        assert measured(name, "gaussian")[figure] > 1.2 * measured(name, "half")[figure]
    for name in ("energy", "mmd", "kid"):
        (floor,), (figure,) = measured(name, "half").values(), measured(name, "gaussian").values()
        assert figure > 2 * abs(floor)
    assert measured("prdc", "gaussian")["coverage"] < 0.3 < 0.9 < measured("prdc", "half")["coverage"]
