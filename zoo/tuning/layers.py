"""What each layer of a backbone is good for: telling classes apart, and finding images of the same class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.backbones import Backbone
from zoo.components import ArrayDataset, Dataset
from zoo.devices import derived
from zoo.draws import Draws
from zoo.errors import BadData, BadRun, IncompatibleParts, UsageError
from zoo.fingerprints import CONTENT, fingerprint
from zoo.folder import Folder
from zoo.layering import assign
from zoo.plugins import installed
from zoo.recipe import Choice, choice_table
from zoo.resolve import GIVEN as GIVEN_IN_PYTHON
from zoo.resolve import Assignments, Components, given_choice
from zoo.run import Run
from zoo.tuning.classifier import Pool
from zoo.tuning.places import Place, features_of, places_of
from zoo.tuning.probing import chance, linear_probe, nearest_neighbours, retrieval_map
from zoo.tuning.splits import Split, Splitting
from zoo.tuning.standing import Standing, is_run, standing
from zoo.tuning.study import AFTER, BEFORE, GIVEN, LayerFigures, Study
from zoo.tuning.supervised import Supervised

SAMPLES = 5000
"""Of more samples so many are looked at: a linear probe of many samples takes long."""
LEAST = 4
"""Samples of each class: two to learn from, and two to test with, of which one finds the other."""


def study_layers(
    named: str | Backbone,
    dataset: str | Dataset | None = None,
    *,
    pool: Pool = "average",
    blocks: bool = False,
    seeds: int = 3,
    samples: int = SAMPLES,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    began: bool = True,
    allow_download: bool = False,
) -> Study:
    """Measures what features of each layer of a backbone say about the classes of images.

    The samples are halved in so many ways, each class alike: one half is learnt from, the other one tested with. Of the
    data that a run of `zoo finetune` was trained on, only those that it kept for its test are looked at.

    Args:
        named: The name of a backbone, such as `timm:resnet18`; a run folder, which is looked at as it began and as it
            is; or a backbone, which is left as it is.
        dataset: Images with labels, by name, or at hand; those of a run if None.
        pool: How feature maps become features: `average`, `max` or `gem`.
        blocks: Whether blocks inside the stages are looked at, too.
        seeds: In how many ways the samples are halved.
        samples: Of more samples so many are looked at, each class alike.
        settings: Of a backbone or a data set by name, such as `{"backbone.checkpoint": "weights.safetensors"}`.
        device: Where features are computed: `auto`, `cpu`, `cuda` or `mps`.
        began: Whether a run is looked at as it began, too.
        allow_download: Whether the weights that a run began with may be downloaded.

    Raises:
        UsageError: What was asked for is wrong: no labels, one class, no images, no such backbone, no blocks in it.

    >>> import zoo
    >>> from zoo.tuning.layers import study_layers
    >>> study = study_layers("timm:test_resnet", "digits", samples=200, seeds=1, device="cpu")
    >>> [each.layer for each in study.layers]
    ['act1', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    if seeds < 1:
        raise UsageError(f"samples are halved in one way at least, not {seeds}.")
    pairs = [(key.split("."), value) for key, value in (settings or {}).items()]
    choice, data = _data(named, dataset, [pair for pair in pairs if pair[0][0] == "dataset"])
    own = [pair for pair in pairs if pair[0][0] != "dataset"]
    stand = standing(named, data.shape, own, device, began=began, allow_download=allow_download)
    _refuse_other_shape(stand, data, choice)
    kept, which = _looked_at(data, choice, stand.run, samples)
    splits = [Splitting(0, 0.5, seed).of(kept) for seed in range(seeds)]
    return Study(
        backbone=named if isinstance(named, str) else type(named).__name__,
        dataset=choice.name,
        which=which,
        train=len(splits[0].trained),
        test=len(splits[0].test),
        pool=pool,
        seeds=seeds,
        chance=chance(splits[0].labels(splits[0].test)),
        layers=_measured(stand, splits, pool, blocks),
        learnt=stand.run is not None or not stand.backbone.random,
    )


def _data(named: str | Backbone, dataset: str | Dataset | None, settings: Assignments) -> tuple[Choice, ArrayDataset]:
    """The data and what they are called: those of a run if none are named."""
    if isinstance(dataset, Dataset):
        choice = given_choice(dataset)
        return choice, labelled_images(dataset, choice.name)
    if dataset is None and not (isinstance(named, str) and is_run(named)):
        raise UsageError("say which labelled images to look at: --dataset NAME, such as digits, image-folder:PATH.")
    table = {"dataset": choice_table(dataset, "dataset") if dataset else _own(str(named)).table()}
    for path, value in settings:
        table = assign(table, path, value)
    choice, data = Components(installed()).dataset(Choice.of(table["dataset"], "dataset"))
    return choice, labelled_images(data, choice.name)


def _own(run: str) -> Choice:
    choice = Folder.open(Path(run)).recipe().axes["dataset"]
    if choice.name.startswith(GIVEN_IN_PYTHON):
        raise BadRun(f"the data of {run} were made in Python; call study_layers from Python and give them again.")
    return choice


def _refuse_other_shape(stand: Standing, data: ArrayDataset, choice: Choice) -> None:
    if stand.run is not None and tuple(stand.shape) != tuple(data.shape):
        raise IncompatibleParts(
            f"the run {stand.run.folder.path} is of images {tuple(stand.shape)}, and those of {choice.name} are "
            f"{tuple(data.shape)}: channels, height and width must be the same."
        )


def _measured(stand: Standing, splits: Sequence[Split], pool: Pool, blocks: bool) -> list[LayerFigures]:
    places = places_of(stand.backbone, stand.shape, blocks)
    if blocks and not any(place.path for place in places):
        raise UsageError("no blocks were found inside this backbone's stages; leave --blocks out.")
    now = {AFTER if stand.run else GIVEN: stand.backbone}
    backbones = {BEFORE: stand.before, **now} if stand.before else now
    layers = []
    for weights, backbone in backbones.items():
        assert backbone is not None
        features = features_of(backbone, places, splits[0].dataset.samples, pool, stand.device)
        layers += [_layer(*each, weights, splits) for each in zip(places, features, strict=True)]
    return layers


def labelled_images(dataset: Dataset, name: str) -> ArrayDataset:
    """A data set if it is of images of several classes.

    Raises:
        IncompatibleParts: It is not; the message says why.
    """
    if dataset.kind != "image":
        raise IncompatibleParts(f"{name} has vectors {tuple(dataset.shape)}; layers are looked at with images.")
    if not isinstance(dataset, ArrayDataset) or dataset.labels is None:
        hint = " Give each class a sub-folder of its own." if name == "image-folder" else ""
        raise IncompatibleParts(f"the images of {name} have no labels, by which layers are judged.{hint}")
    if int(dataset.labels.min()) == int(dataset.labels.max()):
        raise IncompatibleParts(f"the images of {name} are all of one class; layers are judged by how they tell two.")
    return dataset


def _looked_at(data: ArrayDataset, choice: Choice, run: Run | None, limit: int) -> tuple[ArrayDataset, str]:
    """The samples that are looked at, and which ones they are, in words."""
    numbers, which = torch.arange(len(data.samples)), "all"
    if run is not None and _was_trained_on(run, fingerprint(data, choice)):
        procedure = run.composition.procedure
        if isinstance(procedure, Supervised):
            numbers, which = procedure.split(data).test, "those that its run kept to test with"
        else:
            which = "all, and its run was trained on them"
    assert data.labels is not None
    _refuse_small_classes(data, numbers, which)
    if len(numbers) > limit:
        some = _some(data.labels[numbers], limit)
        numbers, which = numbers[some], f"{len(some)} of {len(numbers)} samples, each class alike, of {which}"
    return ArrayDataset(data.samples[numbers], data.labels[numbers]), which


def _some(labels: Tensor, limit: int) -> Tensor:
    """The numbers of about so many samples, at random and of each class the same share, but `LEAST` of each."""
    draws, found = Draws(derived(0, "layers"), torch.device("cpu")), []
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().squeeze(1)
        count = max(LEAST, len(members) * limit // len(labels))
        found.append(members[draws.randperm(len(members))[:count]])
    return torch.cat(found).sort().values


def _was_trained_on(run: Run, found: str) -> bool:
    """Whether a run was trained on data with a fingerprint; one whose checkpoint does not say is taken to be."""
    return bool(run.folder.load_best()["data"].get(CONTENT, found) == found)


def _refuse_small_classes(data: ArrayDataset, numbers: Tensor, which: str) -> None:
    assert data.labels is not None
    counts = torch.bincount(data.labels[numbers], minlength=data.classes or 0)
    label = int(counts.argmin())
    if counts[label] < LEAST:
        named = f"{label} ({data.class_names[label]})" if data.class_names else f"{label}"
        raise BadData(
            f"class {named} has {int(counts[label])} samples among {which}; it needs {LEAST}: two to learn from, and "
            "two to test with, of which one finds the other."
        )


def _layer(place: Place, features: Tensor, weights: str, splits: Sequence[Split]) -> LayerFigures:
    probe, neighbours, retrieval = zip(*(_figures(features, split) for split in splits), strict=True)
    return LayerFigures(place.name, place.stage, weights, place.channels, place.size, probe, neighbours, retrieval)


def _figures(features: Tensor, split: Split) -> tuple[float, float, float]:
    known, asked = ((features[numbers], split.labels(numbers)) for numbers in (split.trained, split.test))
    return linear_probe(*known, *asked), nearest_neighbours(*known, *asked), retrieval_map(*asked)
