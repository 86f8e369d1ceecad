"""Measures the samples of a run, or any two samples, by metrics, each figure beside its real-against-real floor."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from zoo.components import ArrayDataset, Dataset, Density, as_floats, is_conditional
from zoo.compose import Composition
from zoo.draws import Draws
from zoo.errors import BadData, BrokenPlugin, IncompatibleParts, MissingPackage
from zoo.faults import kind_of
from zoo.metrics import Better, Evidence, Metric, Sample
from zoo.mistakes import broken
from zoo.run import Run

FLOORS = 5
"""How often the floor is measured, for its spread."""


@dataclass(frozen=True)
class Floor:
    """A figure of real samples against other real ones: what a perfect generator would get.

    Attributes:
        mean: The mean over several splits.
        spread: The standard deviation over them.
        size: How many samples were on each side; halves of a data set are smaller than what is judged.
    """

    mean: float
    spread: float
    size: int


@dataclass(frozen=True)
class Figure:
    """One figure of one metric.

    Attributes:
        metric: The metric's name.
        name: The figure's name.
        value: What was measured.
        better: Which way it is better.
        size: How many samples of each kind were measured.
        floor: The same figure between real samples; None for one that compares nothing.
        aim: What it should come to, such as a constraint's C; None where nothing says so.
    """

    metric: str
    name: str
    value: float
    better: Better
    size: int
    floor: Floor | None
    aim: float | None = None


def key_of(metric: str, figure: str) -> str:
    """What a figure is called among those of several metrics: `frechet:classifier`, `prdc coverage`."""
    return metric if figure == metric.partition(":")[0] else f"{metric} {figure}"


def evidence_of(run: Run, n: int, seed: int = 0) -> Evidence:
    """What metrics may look at in a run, with `n` samples of each kind; of a data set no more than it has.

    Raises:
        BadData: The data are not there any more, or there are too few.
    """
    dataset = run.dataset
    size = n if dataset.size is None else min(n, dataset.size)
    networks = run.composition.networks
    # A critic that the caller made has the weights that the caller has given it, not those of the checkpoint.
    own = "critic" in run.components.given or not run.composition.scores_samples
    critic = None if own else networks.get("critic")
    return Evidence(
        shape=tuple(dataset.shape),
        classes=dataset.classes,
        size=size,
        draw_real=lambda: real_sample(dataset, size, Draws(seed)),
        draw_fake=lambda: fake_sample(run, size, seed + 1),
        dataset=dataset,
        conditional="generator" in networks and is_conditional(networks["generator"]),
        critic=None if critic is None else critic.cpu().eval(),
        constraints=run.composition.parts.constraints,
        draws=Draws(seed + 2),
        generates="generator" in networks,
        backbone=backbone_of(run.composition),
        test=functools.cache(lambda: run.composition.procedure.test(run.composition.parts, dataset)),
    )


def backbone_of(composition: Composition) -> dict[str, Any] | None:
    """The name and the settings of the backbone that a composition's critic stands on; None if it stands on none."""
    choice = composition.recipe.axes.get("backbone")
    return choice.table() if choice is not None and "critic" in composition.networks else None


def flattery(metrics: Mapping[str, Metric], evidence: Evidence) -> list[str]:
    """What to know of metrics that look at samples as the critic did, a sentence each."""
    backbone = (evidence.backbone or {}).get("name")
    return [
        f"the critic was trained on features of the network that {name} measures by (the backbone {backbone}): its "
        "figures flatter these samples. Measure with other features too."
        for name, metric in metrics.items()
        if evidence.backbone is not None and metric.flatters(evidence)
    ]


def real_evidence(dataset: Dataset, n: int, seed: int = 0) -> Evidence:
    """What is known of a data set without any run: real samples, judged by themselves. Enough for floors."""
    size = n if dataset.size is None else min(n, dataset.size)

    def draw() -> Sample:
        return real_sample(dataset, size, Draws(seed))

    return Evidence(tuple(dataset.shape), dataset.classes, size, draw, draw, dataset, draws=Draws(seed + 2))


def real_sample(dataset: Dataset, n: int, draws: Draws) -> Sample:
    """`n` samples of a data set, each at most once, or of a density."""
    if isinstance(dataset, Density):
        return Sample(dataset.sample(n, draws).float().cpu())
    if not isinstance(dataset, ArrayDataset):
        raise BadData("only densities and data sets in memory can be measured against.")
    chosen = draws.randperm(len(dataset.samples))[:n]
    labels = None if dataset.labels is None else dataset.labels[chosen]
    return Sample(as_floats(dataset.samples[chosen]), labels)


def fake_sample(run: Run, n: int, seed: int) -> Sample:
    """`n` samples of a run; of a conditional one with the labels that they were made for."""
    if not is_conditional(run.composition.networks["generator"]) or run.dataset.classes is None:
        return Sample(run.sample(n, seed))
    labels = Draws(seed).randint(run.dataset.classes, n)
    return Sample(run.sample(n, seed, labels.tolist()), labels)


def evaluate(metrics: Mapping[str, Metric], evidence: Evidence, floors: int = FLOORS) -> Iterator[Figure]:
    """Every figure of every metric, as it is measured.

    Args:
        metrics: By name.
        evidence: What they look at.
        floors: How often each floor is measured; 0 for no floor.

    Raises:
        IncompatibleParts: A metric does not fit; said of all of them before a sample is made.
        BadData: Samples are NaN or infinite, or a metric has no finite figure for them.
    """
    for name, metric in metrics.items():
        refuse(name, metric, evidence)
    for name, metric in metrics.items():
        yield from _figures(name, metric, evidence, floors)


def refuse(name: str, metric: Metric, evidence: Evidence) -> None:
    """Raises IncompatibleParts if a metric does not fit, before a sample is made."""
    if metric.compares and not evidence.generates:
        raise IncompatibleParts(f"{name} compares generated samples with real ones, and this run generates none.")
    if evidence.size < metric.least:
        raise IncompatibleParts(f"{name} needs {metric.least} samples of each kind; there are {evidence.size}.")
    try:
        metric.refuse(evidence)
    except IncompatibleParts as error:
        raise IncompatibleParts(f"{name} does not fit: {error}") from error


def _figures(name: str, metric: Metric, evidence: Evidence, floors: int) -> Iterator[Figure]:
    evidence = replace(evidence, draws=_copied(evidence.draws))
    if metric.compares:
        _refuse_infinite(evidence)
    values = measured(name, metric, evidence)
    below = floors_of(name, metric, evidence, floors)
    aims = metric.aims(evidence)
    for figure, better in metric.figures.items():
        yield Figure(name, figure, values[figure], better, metric.size(evidence), below.get(figure), aims.get(figure))


def _refuse_infinite(evidence: Evidence) -> None:
    for sample, what in ((evidence.real, "real"), (evidence.fake, "judged")):
        if not bool(sample.values.isfinite().all()):
            raise BadData(f"the {what} samples have values that are NaN or infinite; they cannot be measured.")


def _copied(draws: Draws) -> Draws:
    """The same random numbers for each metric, whichever were measured before it."""
    copied = Draws(0, draws.device)
    copied.load_state_dict(draws.state_dict())
    return copied


def measured(name: str, metric: Metric, evidence: Evidence) -> dict[str, float]:
    """A metric's figures. Raises BrokenPlugin if one is missing; BadData if one is not finite."""
    found = metric.measure(evidence)
    if not isinstance(found, Mapping):
        raise broken(metric, f"measure returns {kind_of(found)}, and not a dict of numbers by figure.", "measure")
    try:
        values = {figure: float(value) for figure, value in found.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise broken(metric, f"measure returns {kind_of(found)}, and not of numbers.", "measure") from error
    if values.keys() != metric.figures.keys():
        raise BrokenPlugin(f"the metric {name} declares {sorted(metric.figures)}, but measures {sorted(values)}.")
    wrong = [figure for figure, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise BadData(f"{name}: {wrong[0]} is {values[wrong[0]]} for these samples; they are degenerate.")
    return values


def floors_of(name: str, metric: Metric, evidence: Evidence, count: int = FLOORS) -> dict[str, Floor]:
    """The floors of a metric's figures, by name, which depend on the real samples only.

    Args:
        name: The metric's name.
        metric: The metric.
        evidence: Where real samples come from, and how many are judged.
        count: How often they are measured.

    Returns:
        Nothing for a metric that compares nothing, or if `count` is 0.

    Raises:
        BadData: The metric has no finite figure for real samples.
    """
    if not (metric.compares and count):
        return {}
    found = [measured(name, metric, evidence.between(*pair)) for pair in _real_pairs(evidence, count)]
    size = _floor_size(evidence)
    floors = {}
    for figure in metric.figures:
        values = torch.tensor([each[figure] for each in found], dtype=torch.float64)
        spread = values.std().item() if len(values) > 1 else 0.0
        floors[figure] = Floor(values.mean().item(), spread, size)
    return floors


def _real_pairs(evidence: Evidence, count: int) -> Iterator[tuple[Sample, Sample]]:
    """Real samples against others: new draws of a density, random halves of anything else."""
    size = _floor_size(evidence)
    for number in range(count):
        draws = Draws(1000 + number)
        if isinstance(evidence.dataset, Density):
            yield real_sample(evidence.dataset, size, draws), real_sample(evidence.dataset, size, draws)
        else:
            order = draws.randperm(len(evidence.real))
            yield _part(evidence.real, order[:size]), _part(evidence.real, order[size : 2 * size])


def _floor_size(evidence: Evidence) -> int:
    return evidence.size if isinstance(evidence.dataset, Density) else len(evidence.real) // 2


def _part(sample: Sample, chosen: torch.Tensor) -> Sample:
    labels = None if sample.labels is None else sample.labels[chosen]
    return replace(sample, values=sample.values[chosen], labels=labels)


def fitting(metrics: Mapping[str, Metric], evidence: Evidence) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics that fit, and why the others do not, both by name."""
    fit, unfit = {}, {}
    for name, metric in metrics.items():
        try:
            refuse(name, metric, evidence)
        except (IncompatibleParts, BadData, MissingPackage) as error:
            unfit[name] = str(error)
        else:
            fit[name] = metric
    return fit, unfit
