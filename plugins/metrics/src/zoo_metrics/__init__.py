"""Metrics: distances between samples, coverage of modes, copies of the data, and slopes of the critic."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Metric, hookimpl
from zoo_metrics.accuracy import ClassAgreement, ClassifierAccuracy
from zoo_metrics.copies import Memorisation
from zoo_metrics.coverage import ClassCoverage
from zoo_metrics.discrepancies import Energy, Mmd
from zoo_metrics.frechet import Frechet
from zoo_metrics.histogram import HistogramJs
from zoo_metrics.kid import Kid
from zoo_metrics.modes import ModeCoverage
from zoo_metrics.prdc import Prdc
from zoo_metrics.slopes import Slopes
from zoo_metrics.transport import SlicedWasserstein, Wasserstein


@hookimpl
def metric() -> Mapping[str, Callable[..., Metric]]:
    """The metrics of this plugin."""
    return {
        "class-agreement": ClassAgreement,
        "class-coverage": ClassCoverage,
        "classifier-accuracy": ClassifierAccuracy,
        "energy": Energy,
        "frechet": Frechet,
        "histogram-js": HistogramJs,
        "kid": Kid,
        "lipschitz": Slopes,
        "memorisation": Memorisation,
        "mmd": Mmd,
        "mode-coverage": ModeCoverage,
        "prdc": Prdc,
        "sliced-wasserstein": SlicedWasserstein,
        "wasserstein": Wasserstein,
    }
