"""Checks of metrics: their figures, what they say of right and wrong samples, and what they leave alone."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn, get_args

import torch
from torch import Tensor

from zoo.components import ArrayDataset
from zoo.errors import IncompatibleParts, MissingPackage, ZooError
from zoo.metrics import Better, Evidence, Metric, Sample
from zoo.testing.checks import Failed, Skipped, Subject, check, require
from zoo.testing.evidence import KINDS, SOME, Kind, shuffled
from zoo.testing.networks import changed, drawn_globally, states_of

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CLOSE = 1e-4
"""How much figures may change with the order of samples, relative to their size."""


class _Drawn(Exception):
    """Samples were made that nobody was to ask for."""


def _metric(subject: Subject) -> Metric:
    try:
        made = subject.make()
    except MissingPackage as error:
        raise Skipped(f"it needs a package: {error}") from error
    require(isinstance(made, Metric), f"it makes a {type(made).__name__}, and not a zoo.Metric.")
    metric: Metric = made
    return metric


def _size(metric: Metric) -> int:
    return max(SOME, metric.least)


@functools.lru_cache(maxsize=16)
def _refusals(subject: Subject) -> Mapping[Kind, str]:
    """Why it refuses each kind of data; empty where it does not."""
    found = {}
    for kind in KINDS:
        metric = _metric(subject)
        try:
            metric.refuse(_evidence(kind, metric))
        except IncompatibleParts as error:
            found[kind] = str(error) or "without a reason"
        else:
            found[kind] = ""
    return found


def _kinds(subject: Subject) -> list[Kind]:
    """The kinds of data that it fits."""
    kinds = [kind for kind, reason in _refusals(subject).items() if not reason]
    if not kinds:
        raise Skipped("it refuses all of the kit's kinds of data; see the check 'finite'.")
    return kinds


def _evidence(kind: Kind, metric: Metric) -> Evidence:
    """Real samples judged by others: both are right."""
    size = _size(metric)
    return kind.evidence(kind.sample(size, 1), kind.sample(size, 2))


@functools.lru_cache(maxsize=64)
def _ordinary(subject: Subject, kind: Kind) -> Mapping[str, float]:
    """Its figures of right samples."""
    metric = _metric(subject)
    return _measured(metric, _evidence(kind, metric), f"of {kind}")


def _measured(metric: Metric, evidence: Evidence, where: str) -> dict[str, float]:
    found = {name: float(value) for name, value in metric.measure(evidence).items()}
    declared, names = sorted(metric.figures), sorted(found)
    require(names == declared, f"{where} it measures {names}, and declares {declared}.")
    wrong = [name for name, value in found.items() if not math.isfinite(value)]
    require(not wrong, f"{where} {wrong[:1]} is {found[wrong[0]] if wrong else 0}; raise BadData with the reason.")
    return found


@check("metric")
def figures(subject: Subject) -> None:
    """It declares figures by name, each with the way it is better, and how many samples it needs."""
    metric = _metric(subject)
    declared = getattr(metric, "figures", None)
    require(isinstance(declared, Mapping) and declared, f"its figures are {declared!r}; declare one or more by name.")
    assert declared is not None
    for name, better in declared.items():
        require(
            isinstance(name, str) and NAME.fullmatch(name), f"'{name}' cannot be a figure: lower-case, with hyphens."
        )
        ways = get_args(Better)
        require(better in ways, f"the figure '{name}' is better {better!r}; it must be one of {ways}.")
    least = metric.least
    require(type(least) is int and least >= 1, f"it needs at least {least!r} samples; that must be a whole number.")
    require(type(metric.compares) is bool, f"its `compares` is {metric.compares!r}, and not true or false.")


@check("metric")
def finite(subject: Subject) -> None:
    """It measures the figures that it declares, all finite, for points of densities, labelled vectors or images."""
    reasons = _refusals(subject)
    require(not all(reasons.values()), f"it refuses all of the kit's data: {'; '.join(reasons.values())}")
    for kind in _kinds(subject):
        _ordinary(subject, kind)


@check("metric")
def refuses_first(subject: Subject) -> None:
    """What it refuses, it refuses with a reason, before a sample is made."""

    def drawn() -> NoReturn:
        raise _Drawn

    for kind in KINDS:
        metric = _metric(subject)
        known = _evidence(kind, metric)
        for bare in (False, True):
            without = {"critic": None, "dataset": None, "conditional": False} if bare else {}
            evidence = kind.evidence(known.real, known.fake, draw_real=drawn, draw_fake=drawn, **without)
            try:
                metric.refuse(evidence)
            except IncompatibleParts as error:
                require(str(error).strip(), f"it refuses {kind} without a reason; say in IncompatibleParts what fits.")
            except _Drawn as error:
                raise Failed("refuse() asks for samples, which take long to make; look at what is known.") from error


@check("metric")
def better_for_real(subject: Subject) -> None:
    """Real samples are better, by each figure with a direction, than some wrong ones: far away, or one repeated."""
    if not _metric(subject).compares:
        raise Skipped("it does not compare samples with real ones.")
    directed = {name: better for name, better in _metric(subject).figures.items() if better}
    if not directed:
        raise Skipped("no figure of it has a direction.")
    for kind in _kinds(subject):
        found = _ordinary(subject, kind)
        wrong = list(_wrong(subject, kind))
        for name, better in directed.items():
            sign = 1 if better == "lower" else -1
            others = [each[name] for each in wrong]
            require(
                not others or any(sign * found[name] < sign * other for other in others),
                f"{name} of {kind} is better {better}, but {found[name]:.4g} for real samples, and "
                f"{' and '.join(f'{other:.4g}' for other in others)} for wrong ones: is the direction right?",
            )


def _wrong(subject: Subject, kind: Kind) -> Iterator[dict[str, float]]:
    """Its figures of samples far from real ones, and of one sample repeated, where it has some; see 'degenerate'."""
    metric = _metric(subject)
    size = _size(metric)
    for fake in (kind.far(size), kind.collapsed(kind.sample(size, 1))):
        try:
            yield _measured(metric, kind.evidence(kind.sample(size, 1), fake), f"of wrong {kind}")
        except (ZooError, Failed):
            continue


@check("metric")
def repeatable(subject: Subject) -> None:
    """The same samples give the same figures, from the metric's own random numbers only."""
    metric = _metric(subject)
    for kind in _kinds(subject):
        with drawn_globally() as names:
            first = _measured(metric, _evidence(kind, metric), f"of {kind}")
        require(not names, f"it draws from the global generators of {', '.join(sorted(names))}; use evidence.draws.")
        with drawn_globally(seed=1):
            again = _measured(metric, _evidence(kind, metric), f"of {kind}")
        other = [f"{name} is {first[name]:.8g} and {again[name]:.8g}" for name in first if first[name] != again[name]]
        require(not other, f"the same {kind} are measured twice, and {'; '.join(other)}.")


@check("metric")
def does_not_change_evidence(subject: Subject) -> None:
    """Samples, labels, the data set and the critic are the same after it has measured."""
    metric = _metric(subject)
    for kind in _kinds(subject):
        evidence = _evidence(kind, metric)
        before = [tensor.clone() for tensor in _tensors(evidence)]
        critic = evidence.critic
        assert critic is not None
        state = states_of(critic)
        metric.measure(evidence)
        same = all(torch.equal(one, two) for one, two in zip(before, _tensors(evidence), strict=True))
        require(same, f"it changes the samples of {kind}; work on a copy.")
        require(not changed(state, critic), "it changes the critic's parameters or buffers.")
        untouched = all(parameter.grad is None and parameter.requires_grad for parameter in critic.parameters())
        require(
            untouched and not critic.training,
            "it leaves gradients in the critic, or another mode; use torch.autograd.grad by the samples.",
        )


def _tensors(evidence: Evidence) -> list[Tensor]:
    samples = [evidence.real, evidence.fake]
    if isinstance(evidence.dataset, ArrayDataset):
        samples.append(Sample(evidence.dataset.samples, evidence.dataset.labels))
    return [tensor for sample in samples for tensor in (sample.values, sample.labels) if tensor is not None]


@check("metric")
def order(subject: Subject) -> None:
    """Samples in another order give the same figures, where it draws no random numbers."""
    metric = _metric(subject)
    for kind in _kinds(subject):
        if _draws(metric, _evidence(kind, metric)):
            raise Skipped("it draws random numbers, which fall to other samples in another order.")
        evidence = _evidence(kind, metric)
        moved = kind.evidence(shuffled(evidence.real, 11), shuffled(evidence.fake, 12))
        found, other = _ordinary(subject, kind), _measured(metric, moved, f"of {kind}")
        for name, value in found.items():
            near = math.isclose(value, other[name], rel_tol=CLOSE, abs_tol=CLOSE)
            require(near, f"{name} of {kind} is {value:.6g}, and {other[name]:.6g} when they are in another order.")


def _draws(metric: Metric, evidence: Evidence) -> bool:
    before = evidence.draws.state_dict()["state"]
    metric.measure(evidence)
    return not torch.equal(before, evidence.draws.state_dict()["state"])


@check("metric")
def degenerate(subject: Subject) -> None:
    """Samples all the same, far from real ones, or as few as it takes: finite figures, or a refusal with a reason."""
    metric = _metric(subject)
    for kind in _kinds(subject):
        for where, real, fake in _extremes(kind, metric):
            try:
                _measured(metric, kind.evidence(real, fake), f"for {where} ({kind})")
            except ZooError as error:
                require(str(error).strip(), f"{where} ({kind}) are refused without a reason; say it in BadData.")


def _extremes(kind: Kind, metric: Metric) -> Iterator[tuple[str, Sample, Sample]]:
    size = _size(metric)
    real, fake = kind.sample(size, 1), kind.sample(size, 2)
    yield "judged samples that are all the same", real, kind.collapsed(real)
    yield "real samples that are all the same", kind.collapsed(real), fake
    yield "samples that are all one and the same", kind.collapsed(real), kind.collapsed(real)
    yield "judged samples that are the real ones", real, real
    yield "judged samples far from the real ones", real, kind.far(size)
    yield f"{metric.least} samples, the least", kind.sample(metric.least, 1), kind.sample(metric.least, 2)
