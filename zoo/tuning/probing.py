"""How good features are for telling classes apart, and for finding images of the same class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEIGHBOURS = 5
"""A sample is of the class that most of so many nearest ones are of."""
ROUNDS = 2000
"""The solver of the linear probe ends after so many iterations at the latest; it takes some hundred."""
QUERIES = 256
"""So many images are queried with at a time."""


def linear_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """The accuracy on test samples of a logistic regression, L2-regularised with C = 1, on standardised features.

    Args:
        train: Features `(N, D)` that it is fitted to.
        train_labels: Their classes `(N,)`.
        test: Features `(M, D)`.
        test_labels: Their classes `(M,)`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=ROUNDS))
    model.fit(train.double().numpy(), train_labels.numpy())
    return float(model.score(test.double().numpy(), test_labels.numpy()))


def nearest_neighbours(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """The accuracy of the vote of the `NEIGHBOURS` training samples of the highest cosine similarity.

    See `linear_probe` for the arguments; there may be fewer training samples than neighbours.
    """
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(NEIGHBOURS, len(train)), metric="cosine")
    model.fit(train.double().numpy(), train_labels.numpy())
    return float(model.score(test.double().numpy(), test_labels.numpy()))


def retrieval_map(features: Tensor, labels: Tensor) -> float:
    """The mean average precision of searching for images of the same class by cosine similarity.

    Each sample queries all others; those of its class are relevant. One that is alone in its class queries nothing.

    Args:
        features: `(N, D)`.
        labels: `(N,)`.
    """
    directions = F.normalize(features.double(), dim=1)
    found = []
    for numbers in torch.split(torch.arange(len(features)), QUERIES):
        others = torch.ones(len(numbers), len(features), dtype=torch.bool)
        others[torch.arange(len(numbers)), numbers] = False
        similarities = (directions[numbers] @ directions.T)[others].view(len(numbers), -1)
        relevant = (labels[numbers, None] == labels)[others].view(len(numbers), -1)
        asked = relevant.any(dim=1)
        found.append(average_precision(similarities[asked], relevant[asked]))
    return float(torch.cat(found).mean())


def average_precision(scores: Tensor, relevant: Tensor) -> Tensor:
    """The average precision of rankings: the mean, over what is relevant, of the precision down to it, `(N,)`.

    What has the same score is found at once, as in `sklearn.metrics.average_precision_score`.

    Args:
        scores: `(N, M)`, high for what comes first.
        relevant: `(N, M)`; one at least in each row.
    """
    ranked, order = scores.sort(dim=1, descending=True)
    hits = relevant.gather(1, order)
    until = _last_of_equals(ranked)
    precision = hits.cumsum(1).gather(1, until).double() / (until + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def chance(labels: Tensor) -> tuple[float, float]:
    """What features that say nothing get on samples with these labels `(N,)`: accuracy, and retrieval mAP.

    The accuracy of naming the largest class, and the expectation of the average precision over random orders: of n
    others of which r are relevant (H(n) + (r - 1) (n - H(n)) / (n - 1)) / n, H(n) = 1 + 1/2 + ... + 1/n.
    """
    counts = torch.bincount(labels).double()
    others = len(labels) - 1
    harmonic = float((1 / torch.arange(1, others + 1).double()).sum())
    asked = counts[counts > 1]
    expected = (harmonic + (asked - 2) * (others - harmonic) / max(1, others - 1)) / others
    return float(counts.max() / len(labels)), float((expected * asked).sum() / asked.sum())


def _last_of_equals(ranked: Tensor) -> Tensor:
    """For each place in sorted rows, the last place of the same value."""
    width = ranked.shape[1]
    places = torch.arange(width).expand_as(ranked)
    ends = torch.ones_like(ranked, dtype=torch.bool)
    ends[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    following = torch.where(ends, places, width).flip(1).cummin(1).values
    return following.flip(1)
