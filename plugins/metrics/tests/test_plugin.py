"""The plugin as a whole: its metadata, its defaults, what every metric promises."""

import math
from importlib.metadata import distribution

import pytest
import torch
import zoo_metrics

from zoo import BadData, Draws, Evidence, IncompatibleParts, Metric, Sample, create

METRICS = zoo_metrics.metric()
MINE = ["energy", "frechet", "histogram-js", "kid", "mmd", "prdc", "sliced-wasserstein", "wasserstein"]


def evidence(real, fake, seed=0):
    draws = Draws(seed)
    return Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake), draws=draws)


def shape_of(name):
    return (1,) if name == "histogram-js" else (40,)


def test_the_metadata_declare_what_the_hook_returns():
    declared = {e.name: e.value for e in distribution("zoo-metrics").entry_points if e.group == "zoo.v1.metric"}
    assert declared == dict.fromkeys(METRICS, "zoo_metrics")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_the_defaults_give_a_metric(name):
    metric = create("metric", name)
    assert isinstance(metric, Metric)
    assert metric.figures
    assert set(metric.figures.values()) <= {"lower", "higher", ""}


@pytest.mark.parametrize("name", MINE)
def test_a_metric_gives_the_same_figures_twice_and_changes_nothing(name):
    real, fake = Draws(0).randn(60, *shape_of(name)), Draws(1).randn(60, *shape_of(name))
    kept = real.clone(), fake.clone()
    one = evidence(real, fake)
    state = one.draws.state_dict()["state"].clone()
    metric = create("metric", name)
    metric.refuse(one)
    first = metric.measure(one)
    assert first.keys() == metric.figures.keys()
    assert metric.measure(one) == first == create("metric", name).measure(evidence(real, fake))
    assert torch.equal(real, kept[0])
    assert torch.equal(fake, kept[1])
    assert torch.equal(one.draws.state_dict()["state"], state)


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25])
def test_degenerate_samples_have_finite_figures_or_a_reason(name, scale):
    real = scale * Draws(0).randn(30, *shape_of(name)) + 1
    for one, other in [(real, real), (real, real + 1), (torch.ones_like(real), real), (real, torch.zeros_like(real))]:
        metric, both = create("metric", name), evidence(one, other)
        if name == "mmd" and bool((one == one[0]).all()):
            with pytest.raises(BadData, match="all equal"):
                metric.measure(both)
        else:
            assert all(map(math.isfinite, metric.measure(both).values()))


@pytest.mark.parametrize("name", MINE)
def test_the_least_number_of_samples_is_enough_for_a_figure_and_for_its_floor(name):
    metric = create("metric", name)
    for size in (metric.least, metric.least // 2):
        real, fake = Draws(0).randn(size, *shape_of(name)), Draws(1).randn(size, *shape_of(name))
        assert all(map(math.isfinite, metric.measure(evidence(real, fake)).values()))


def test_all_but_the_histogram_take_images():
    unfit = []
    for name in MINE:
        try:
            create("metric", name).refuse(evidence(torch.zeros(50, 1, 28, 28), torch.zeros(50, 1, 28, 28)))
        except IncompatibleParts:
            unfit.append(name)
    assert unfit == ["histogram-js"]
