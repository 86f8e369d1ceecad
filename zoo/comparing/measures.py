"""What a comparison measures: the metrics, and the scale of each of their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zoo.comparing.results import Scale
from zoo.components import Dataset
from zoo.errors import BadData, IncompatibleParts, UsageError, ZooError
from zoo.measuring import evaluate, evidence_of, fitting, floors_of, key_of, real_evidence, refuse
from zoo.metrics import Evidence, Metric
from zoo.plugins import Plugins
from zoo.recipe import Choice, choice_table
from zoo.resolve import Components
from zoo.run import Run


def made(names: Sequence[str], plugins: Plugins) -> dict[str, Metric]:
    """Metrics by what they are asked for as: `NAME`, or `NAME:VALUE` of the first setting."""
    components = Components(plugins)
    return {name: components.metric(Choice.of(choice_table(name, "--metric")))[1] for name in names}


def chosen(
    asked: Sequence[str],
    dataset: Dataset,
    contenders: Mapping[str, Evidence],
    plugins: Plugins,
    say: Callable[[str], None],
) -> dict[str, Metric]:
    """The metrics that are asked for, or else those that tell something of these data, the main one first.

    Args:
        asked: What is asked for.
        dataset: What is compared on.
        contenders: What is known of each contender before it is trained.
        plugins: Where metrics are looked up.
        say: Told of each metric that is left out because it does not work.

    Raises:
        UsageError: One that is asked for does not fit a contender, or none is left.
    """
    if asked:
        metrics = made(asked, plugins)
        for label, evidence in contenders.items():
            _refuse(metrics, label, evidence)
        return metrics
    metrics = made(_telling(dataset, plugins, say), plugins)
    for evidence in contenders.values():
        metrics, _ = fitting(metrics, evidence)
    if not metrics:
        raise UsageError("no installed metric says that it tells anything of these data; name one with --metric.")
    return metrics


def _refuse(metrics: Mapping[str, Metric], label: str, evidence: Evidence) -> None:
    for name, metric in metrics.items():
        try:
            refuse(name, metric, evidence)
        except IncompatibleParts as error:
            raise IncompatibleParts(f"{label}: {error}") from error


def _telling(dataset: Dataset, plugins: Plugins, say: Callable[[str], None]) -> list[str]:
    """The names of the metrics that tell something of these data, the most telling one first."""
    found: dict[str, float] = {}
    for entry in plugins.index.select("metric"):
        try:
            metric = made([entry.name], plugins)[entry.name]
        except ZooError as error:
            say(f"Left out: {entry}: {error}")
            continue
        for value, weight in metric.telling(dataset).items():
            found[f"{entry.name}:{value}" if value else entry.name] = weight
    return sorted(found, key=lambda name: -found[name])


def scales_of(metrics: Mapping[str, Metric], dataset: Dataset, samples: int) -> dict[str, Scale]:
    """The scale of every figure, by its key, with its floor: measured once, for it depends on no contender."""
    evidence = real_evidence(dataset, samples)
    scales = {}
    for name, metric in metrics.items():
        floors = floors_of(name, metric, evidence)
        for figure, better in metric.figures.items():
            floor = floors.get(figure)
            known = (floor.mean, floor.spread) if floor else (None, None)
            scales[key_of(name, figure)] = Scale(name, figure, better, *known)
    return scales


def figures_of(metrics: Mapping[str, Metric], run: Run, samples: int, strict: bool = True) -> dict[str, float]:
    """Figures of a run's samples, by key: of every run beside the same real ones, from the same random numbers.

    Raises:
        BadData: A metric has no figure for these samples; if it is not `strict`, its figures are left out.
    """
    evidence = evidence_of(run, samples)
    found: dict[str, float] = {}
    for name, metric in metrics.items():
        try:
            found |= {key_of(name, each.name): each.value for each in evaluate({name: metric}, evidence, floors=0)}
        except BadData:
            if strict:
                raise
    return found
