"""Checks of data sets: arrays and densities."""

from __future__ import annotations

import functools

import torch

from zoo.components import ArrayDataset, Dataset, Density, Translations, as_floats
from zoo.data import Batches
from zoo.draws import Draws
from zoo.errors import BadData, MissingPackage
from zoo.testing.checks import Skipped, Subject, check, require
from zoo.testing.networks import drawn_globally, require_finite
from zoo.testing.quadrature import Quadrature, integrated
from zoo.testing.synchronisation import Watch

MANY, SOME = 20_000, 4_000
"""Samples that statistics are taken of, and that log densities are computed at."""
DEVIATIONS = 5.0
"""Statistics may be so many standard errors from what they estimate."""


@functools.lru_cache(maxsize=16)
def _loaded(subject: Subject) -> Dataset | str:
    try:
        dataset: Dataset = subject.make()
    except (BadData, MissingPackage) as error:
        return str(error)
    return dataset


def _dataset(subject: Subject) -> Dataset:
    dataset = _loaded(subject)
    if isinstance(dataset, str):
        raise Skipped("it needs more than its default settings; see the check 'builds'.")
    return dataset


def _density(subject: Subject) -> Density:
    dataset = _dataset(subject)
    if not isinstance(dataset, Density):
        raise Skipped("it is no density.")
    return dataset


@check("dataset")
def builds(subject: Subject) -> None:
    """It loads with its default settings, or says what it needs; its shape, classes and size are legal."""
    found = _loaded(subject)
    require(found != "", "it refuses its default settings without a reason; say in BadData what to give.")
    if isinstance(found, str):
        raise Skipped(f"it needs more than its default settings: {found}")
    dataset = found
    require(isinstance(dataset, (ArrayDataset, Density)), "it is neither a zoo.ArrayDataset nor a zoo.Density.")
    shape = getattr(dataset, "shape", None)
    legal = isinstance(shape, tuple) and len(shape) > 0 and all(type(side) is int and side > 0 for side in shape)
    require(legal, f"its shape is {shape!r}; it must be a tuple of whole numbers, without N.")
    classes = dataset.classes
    require(classes is None or (type(classes) is int and classes > 0), f"its classes are {classes!r}, not a number.")
    endless = isinstance(dataset, Density)
    require((dataset.size is None) == endless, f"its size is {dataset.size!r}: None for a density, else a number.")


@check("dataset")
def samples(subject: Subject) -> None:
    """An array's samples are finite, of its shape and size, images uint8 or in [-1, 1]; labels are class indices."""
    dataset = _dataset(subject)
    if not isinstance(dataset, ArrayDataset):
        raise Skipped("it is a density; see 'draws'.")
    values = dataset.samples
    expected = (dataset.size, *dataset.shape)
    require(tuple(values.shape) == expected, f"its samples are {tuple(values.shape)}, and it declares {expected}.")
    require(values.dtype in (torch.uint8, torch.float32), f"its samples are {values.dtype}, not uint8 or float32.")
    if values.dtype == torch.uint8:
        require(dataset.kind == "image", "its samples are uint8, which is for images; convert vectors to float32.")
    else:
        require_finite([values], "its samples")
        _require_range(dataset, values)
    _require_labels(dataset)


def _require_range(dataset: Dataset, values: torch.Tensor) -> None:
    if dataset.kind == "image":
        low, high = float(values.min()), float(values.max())
        require(low >= -1 and high <= 1, f"images have values from {low:g} to {high:g}; rescale them to [-1, 1].")


def _require_labels(dataset: ArrayDataset) -> None:
    labels, classes = dataset.labels, dataset.classes
    require(
        (labels is None) == (classes is None), f"it declares {classes} classes, and has labels: {labels is not None}."
    )
    if labels is not None and classes is not None:
        require(
            tuple(labels.shape) == (dataset.size,), f"its labels have shape {tuple(labels.shape)}, not one a sample."
        )
        require(labels.dtype == torch.int64, f"its labels are {labels.dtype}, and not torch.int64.")
        low, high = int(labels.min()), int(labels.max())
        require(
            low >= 0 and high < classes,
            f"labels run from {low} to {high}, but it declares {classes} classes, 0 to {classes - 1}.",
        )


@check("dataset")
def sources(subject: Subject) -> None:
    """Sources, where samples are made from some, are as samples themselves; pairs stay together in batches."""
    dataset = _dataset(subject)
    if not isinstance(dataset, Translations):
        require(dataset.source is None, "it declares a source and is no zoo.Translations.")
        raise Skipped("its samples are made from no others.")
    values, shape = dataset.sources, dataset.source
    require(shape is not None and tuple(values.shape[1:]) == shape, f"its sources are {tuple(values.shape)}: {shape}.")
    require(values.dtype in (torch.uint8, torch.float32), f"its sources are {values.dtype}, not uint8 or float32.")
    if values.dtype == torch.float32:
        require_finite([values], "its sources")
    if len(dataset.source or ()) == 3:
        floats = as_floats(values)
        require(float(floats.abs().max()) <= 1, "sources that are images have values beyond [-1, 1].")
    if dataset.paired:
        samples, given = Batches(dataset, torch.device("cpu"), 1).draw(min(7, len(values)))
        pairs = {(s.numpy().tobytes(), g.numpy().tobytes()) for s, g in _pairs(dataset)}
        assert given is not None
        together = [(s.numpy().tobytes(), g.numpy().tobytes()) in pairs for s, g in zip(samples, given, strict=True)]
        require(all(together), "a batch holds a sample beside the source of another one.")


def _pairs(dataset: Translations) -> zip[tuple[torch.Tensor, torch.Tensor]]:
    return zip(as_floats(dataset.samples), as_floats(dataset.sources), strict=True)


@check("dataset")
def draws(subject: Subject) -> None:
    """Batches are finite float32 of its shape, the same for the same seed, drawn from the run's numbers only."""
    dataset = _dataset(subject)
    n = min(7, dataset.size or 7)
    device = torch.device("cpu")
    with drawn_globally() as names:
        first, labels = Batches(dataset, device, 1).draw(n)
    again, other = (Batches(dataset, device, seed).draw(n)[0] for seed in (1, 2))
    expected = (n, *dataset.shape)
    require(tuple(first.shape) == expected, f"a batch of {n} has shape {tuple(first.shape)}, and not {expected}.")
    require(first.dtype == torch.float32, f"a batch is {first.dtype}, and not torch.float32.")
    conditions = dataset.classes is not None or dataset.source is not None
    require((labels is not None) == conditions, "a batch has labels where it declares no classes, or none.")
    require_finite([first], "a batch")
    _require_range(dataset, first)
    require(not names, f"it draws from the global generators of {', '.join(sorted(names))}; use `draws` only.")
    require(torch.equal(first, again), "the same seed gives other samples; take all random numbers from `draws`.")
    require(n == dataset.size or not torch.equal(first, other), "another seed gives the same samples; use `draws`.")


@check("dataset")
def no_synchronisation(subject: Subject) -> None:
    """Drawing from a density never waits for the device."""
    density = _density(subject)
    with Watch() as watch:
        density.sample(5, Draws(1))
    require(not watch.seen, f"it waits for the device in every batch: {'; '.join(watch.seen[:3])}.")


@check("dataset")
def log_density(subject: Subject) -> None:
    """A log density integrates to 1, and has the mean at its samples that it should."""
    density = _density(subject)
    points = density.sample(MANY, Draws(1))
    if len(density.shape) != 1 or density.shape[0] > 2 or density.log_density(points[:1]) is None:
        raise Skipped("it has no log density, or more than two dimensions.")
    values = density.log_density(points[:SOME])
    assert values is not None
    require(tuple(values.shape) == (SOME,), f"log_density of {SOME} points is {tuple(values.shape)}, not ({SOME},).")
    require_finite([values], "log densities at its own samples")
    found = integrated(density, points)
    if not isinstance(found, Quadrature):
        raise Skipped(found)
    require(
        abs(found.mass - 1) < 0.02,
        f"its density integrates to {found.mass:.4f} around its samples, and not to 1: a constant of the log density, "
        "or samples of another distribution?",
    )
    mean, error = float(values.double().mean()), float(values.double().std()) / SOME**0.5
    allowed = DEVIATIONS * error + 0.02
    require(
        abs(mean - found.mean_log) < allowed,
        f"the mean log density of {SOME} samples is {mean:.4f}, and of the density itself {found.mean_log:.4f} "
        f"(+- {allowed:.2g}): the samples follow another distribution.",
    )


@check("dataset")
def modes(subject: Subject) -> None:
    """Samples lie around the centres that it declares, at all of them, with the standard deviation `sigma`."""
    density = _density(subject)
    centres, sigma = density.centres, density.sigma
    if centres is None:
        raise Skipped("it declares no centres.")
    require(isinstance(sigma, float) and sigma > 0, f"it declares centres, and sigma = {sigma!r}.")
    require(tuple(centres.shape[1:]) == density.shape, f"its centres are {tuple(centres.shape)}, not (K, D).")
    points = density.sample(max(MANY, 100 * len(centres)), Draws(1))
    nearest = torch.cdist(points, centres.to(points), compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    counts = torch.bincount(nearest, minlength=len(centres))
    missed = int((counts == 0).sum())
    require(not missed, f"no one of {len(points)} samples is nearest to {missed} of its {len(centres)} centres.")
    if len(centres) == 1 or float(torch.pdist(centres).min()) > 8 * float(sigma or 0):
        _require_sigma((points - centres.to(points)[nearest]).double(), counts, nearest, float(sigma or 0))


def _require_sigma(offsets: torch.Tensor, counts: torch.Tensor, nearest: torch.Tensor, sigma: float) -> None:
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add(0, nearest, offsets.square().sum(1))
    numbers = (counts * offsets.shape[1]).double()
    ratios = (sums / numbers).sqrt() / sigma
    errors = DEVIATIONS / (2 * numbers).sqrt() + 1e-3
    worst = int(((ratios - 1).abs() - errors).argmax())
    require(
        abs(float(ratios[worst]) - 1) <= float(errors[worst]),
        f"around centre {worst} the standard deviation of samples is {float(ratios[worst]):.3f} of the declared sigma "
        f"{sigma:g} (+- {float(errors[worst]):.2g}).",
    )
