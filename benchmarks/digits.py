"""How good the digits of a run are: Frechet distance in a small classifier's features, and coverage.

Usage: python benchmarks/digits.py RUN...

Beside the runs' figures stand two that give them a meaning: a Gaussian with the data's full covariance, clipped to
the pixel range, and one half of the data against the other. Features are the 64 hidden units of scikit-learn's
MLPClassifier (one layer, ReLU) trained on all digits. As many samples as digits are drawn; the floor compares halves,
so it is biased upwards by its smaller samples. Coverage (Naeem et al., 2020) has k = 5, in pixels.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

import zoo

Array = NDArray[np.float64]
NEIGHBOURS = 5


def frechet(one: Array, other: Array) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) of two sets of features `(N, D)`."""
    difference = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    # Hidden units that are never active make the product singular, which the eigenvalues do not mind.
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0))
    return float(difference @ difference + np.trace(first + second) - 2 * roots.sum())


def coverage(real: Array, fake: Array) -> float:
    """The share of real samples that have a fake within the distance of their k-th real neighbour."""
    radius = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(real).kneighbors(real)[0][:, -1]
    nearest = NearestNeighbors(n_neighbors=1).fit(fake).kneighbors(real)[0][:, 0]
    return float((nearest <= radius).mean())


def features(classifier: MLPClassifier, pixels: Array) -> Array:
    """The hidden layer's activations, `(N, 64)`."""
    hidden: Array = np.maximum(pixels @ classifier.coefs_[0] + classifier.intercepts_[0], 0)
    return hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*")
    runs = parser.parse_args().runs
    digits = load_digits()
    real = digits.data / 16.0
    rng = np.random.default_rng(0)
    classifier = MLPClassifier((64,), max_iter=400, random_state=0).fit(real, digits.target)
    gaussian = rng.multivariate_normal(real.mean(0), np.cov(real, rowvar=False), len(real)).clip(0, 1)
    order = rng.permutation(len(real))
    one, other = real[order[::2]], real[order[1::2]]
    rows = {"real, half against half": (one, other), "clipped full-covariance Gaussian": (real, gaussian)}
    for path in runs:
        samples = zoo.load(path, device="cpu").sample(len(real), seed=1).flatten(1).double().numpy()
        rows[path] = (real, (samples + 1) / 2)
    print(f"classifier accuracy on its own data {classifier.score(real, digits.target):.3f}")
    print("| samples | Frechet distance | coverage |\n|---|---|---|")
    for name, (a, b) in rows.items():
        print(f"| {name} | {frechet(features(classifier, a), features(classifier, b)):.3f} | {coverage(a, b):.3f} |")


if __name__ == "__main__":
    main()
