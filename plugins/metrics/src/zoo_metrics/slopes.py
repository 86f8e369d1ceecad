"""Slopes of the trained critic: how steep it is, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from zoo import (
    BadData,
    Batch,
    Better,
    Evidence,
    IncompatibleParts,
    Metric,
    Sample,
    Setting,
    is_conditional,
    mean_over_patches,
)

_AT_ONCE = 256
"""Samples that are scored at a time."""
_PAIRS_AT_ONCE = 2_000_000
_ROUNDING = 32 * torch.finfo(torch.float32).eps
"""Of a score, relative to the largest score."""


class Slopes(Metric):
    """How steep the critic is: what its Lipschitz constraint has come to.

    The slope at a sample is the norm of the gradient of its score by all of its values; a score is the mean over
    patches, and of several heads the steepest counts.

    - `max`: the greatest slope at real samples, at judged ones and between them.
    - `pairwise-max`: the greatest |f(x) - f(y)| / |x - y| over pairs of samples, less what rounding may add; 0 if all
      are the same. The critic's Lipschitz constant is at least this, and at least `max`.
    - `mean-real`, `median-real`, `q95-real`: the mean slope at real samples, the median, and what 95 % are below.
    - the same of `fake`, the judged samples, and of `between`: a uniformly random point between each real sample and a
      judged one, where WGAN-GP looks.

    A conditional critic is given the samples' labels, and two samples are compared under the same label only. It tells
    about the critic, so that there is no floor; the constraints' C stands beside the figures as their aim, if any
    constraint has one: the least, if several have.
    """

    figures: ClassVar[Mapping[str, Better]] = {
        "max": "",
        "pairwise-max": "",
        **{f"{what}-{where}": "" for where in ("real", "fake", "between") for what in ("mean", "median", "q95")},
    }
    least = 1
    compares = False

    def __init__(
        self,
        *,
        pairs: Annotated[int, Setting("samples of each kind whose pairs are looked at", ge=1)] = 1000,
    ) -> None:
        self.pairs = pairs

    def refuse(self, evidence: Evidence) -> None:
        """It needs a critic, and labels for a conditional one."""
        if evidence.critic is None:
            raise IncompatibleParts("it measures a critic of samples, and there is none.")
        if is_conditional(evidence.critic) and getattr(evidence.dataset, "source", None) is not None:
            raise IncompatibleParts("the critic is given the sources of samples, and it looks at labels only.")
        if is_conditional(evidence.critic) and not evidence.conditional:
            raise IncompatibleParts("the critic is conditional, and the judged samples have no labels.")

    def aims(self, evidence: Evidence) -> dict[str, float]:
        """The least C of the critic's constraints, for every figure; nothing without one."""
        constants = [c.constant for c in evidence.constraints.values() if c.constant is not None]
        return dict.fromkeys(self.figures, min(constants)) if constants else {}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Its figures. Raises BadData if a score or a slope is not finite."""
        critic = evidence.critic
        assert critic is not None
        real, fake = evidence.real, evidence.fake
        between = _between(evidence, is_conditional(critic))
        at_real, at_fake, at_between = (_scored(critic, sample) for sample in (real, fake, between))
        every = torch.cat([at_real.slopes, at_fake.slopes, at_between.slopes])
        first = self.pairs
        both = Sample(torch.cat([real.values[:first], fake.values[:first]]), _joined(critic, real, fake, first))
        scores = torch.cat([at_real.scores[:first], at_fake.scores[:first]])
        if not bool(every.isfinite().all() and scores.isfinite().all()):
            raise BadData("the critic's scores or slopes are NaN or infinite at some of the samples.")
        return {
            "max": float(every.max()),
            "pairwise-max": steepest_pair(both, scores),
            **_spread("real", at_real.slopes),
            **_spread("fake", at_fake.slopes),
            **_spread("between", at_between.slopes),
        }


def _spread(where: str, slopes: Tensor) -> dict[str, float]:
    middle, high = slopes.quantile(torch.tensor([0.5, 0.95])).tolist()
    return {f"mean-{where}": float(slopes.mean()), f"median-{where}": middle, f"q95-{where}": high}


@dataclass(frozen=True)
class _Scored:
    """Slopes `(N,)`, and scores `(N, heads)`."""

    slopes: Tensor
    scores: Tensor


def _scored(critic: nn.Module, sample: Sample) -> _Scored:
    slopes, scores = [], []
    for start in range(0, len(sample), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        labels = None if sample.labels is None else sample.labels[rows]
        with torch.enable_grad():
            heads = list(Batch(critic=critic, fake=sample.values[rows], fake_condition=labels).heads())
            slopes.append(torch.stack([head.slopes("fake").detach() for head in heads]).amax(0))
        scores.append(torch.stack([mean_over_patches(head.fake_scores.detach()) for head in heads], dim=1).double())
    return _Scored(torch.cat(slopes), torch.cat(scores))


def _between(evidence: Evidence, conditional: bool) -> Sample:
    """A random point between each real sample and a judged one, under a condition between two of the same label."""
    real, fake = evidence.real, evidence.fake
    if conditional:
        real, fake = _matched(real, fake)
    n = min(len(real), len(fake))
    share = evidence.draws.rand(n).view(-1, *[1] * len(evidence.shape))
    labels = None if real.labels is None else real.labels[:n]
    return Sample(torch.lerp(fake.values[:n], real.values[:n], share), labels)


def _matched(real: Sample, fake: Sample) -> tuple[Sample, Sample]:
    """As many samples of each label from both, in the order of labels."""
    if real.labels is None or fake.labels is None:
        raise BadData("the critic is conditional, and some of the samples have no labels.")
    ours, theirs = [], []
    for label in real.labels.unique():
        mine, other = (torch.nonzero(labels == label).flatten() for labels in (real.labels, fake.labels))
        n = min(len(mine), len(other))
        ours.append(mine[:n])
        theirs.append(other[:n])
    one, two = torch.cat(ours), torch.cat(theirs)
    if len(one) == 0:
        raise BadData("the critic is conditional, and no real sample has the label of a judged one.")
    return Sample(real.values[one], real.labels[one]), Sample(fake.values[two], fake.labels[two])


def _joined(critic: nn.Module, real: Sample, fake: Sample, first: int) -> Tensor | None:
    if not is_conditional(critic) or real.labels is None or fake.labels is None:
        return None
    return torch.cat([real.labels[:first], fake.labels[:first]])


def steepest_pair(sample: Sample, scores: Tensor) -> float:
    """The greatest slope between two samples of scores `(N, heads)`, with labels between two of the same."""
    points, steepest = sample.values.flatten(1).double(), 0.0
    allowance = _ROUNDING * float(scores.abs().max())
    size = max(1, _PAIRS_AT_ONCE // len(points))
    for start in range(0, len(points), size):
        rows = slice(start, start + size)
        distances = torch.cdist(points[rows], points, compute_mode="donot_use_mm_for_euclid_dist")
        gaps = (scores[rows, None] - scores).abs().amax(2).sub(allowance).clamp(min=0)
        compared = distances > 0
        if sample.labels is not None:
            compared &= sample.labels[rows, None] == sample.labels
        slopes = (gaps / distances)[compared]
        steepest = max(steepest, float(slopes.max()) if len(slopes) else 0.0)
    return steepest
