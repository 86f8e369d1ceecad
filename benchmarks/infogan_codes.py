"""How well the categories of runs of `infogan` match the digits' classes, which nothing told them.

    python benchmarks/infogan_codes.py runs/infogan-digits-seed0 ...

Each category is assigned to one class, so that as many as possible agree. Of samples, the class is what a classifier of
real digits says; of real digits, the category is what Q says. The chance is the same with the categories shuffled.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.svm import SVC

import zoo
from zoo import Run
from zoo.draws import Draws

SAMPLES = 2000


def matched(codes: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> float:
    """The share that agrees under the best assignment of categories to classes, one to one."""
    counts = np.zeros((codes.max() + 1, classes.max() + 1))
    np.add.at(counts, (codes, classes), 1)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(codes))


def of_samples(run: Run) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The categories of samples, and what a classifier of real digits says of them."""
    generator: Any = run.composition.networks["generator"].eval()
    dataset: Any = run.dataset
    judge = SVC(gamma="scale").fit(dataset.samples.flatten(1).numpy(), dataset.labels.numpy())
    z = generator.latent(SAMPLES, Draws(1))
    with torch.no_grad():
        samples = generator(z)
    return z[:, : generator.categories].argmax(1).numpy(), judge.predict(samples.flatten(1).numpy())


def of_real(run: Run) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What Q says of real digits, and their labels."""
    networks: Any = {name: network.eval() for name, network in run.composition.networks.items()}
    dataset: Any = run.dataset
    with torch.no_grad():
        told = networks["mutual-information"].network(networks["critic"](dataset.samples).features)
    return told[:, : networks["generator"].categories].argmax(1).numpy(), dataset.labels.numpy()


def main(paths: list[str]) -> None:
    """A line a run."""
    print("| run | samples | chance | real digits | chance |\n|---|---|---|---|---|")
    shuffled = np.random.default_rng(0)
    for path in paths:
        run = zoo.load(path, device="cpu")
        found = []
        for codes, classes in (of_samples(run), of_real(run)):
            found += [matched(codes, classes), matched(shuffled.permutation(codes), classes)]
        print(f"| {run.folder.path.name} | {' | '.join(f'{value:.3f}' for value in found)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
