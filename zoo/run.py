"""A run: resolved and built, new or reopened; what samples are drawn from."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.authors import LOCAL
from zoo.components import Dataset, Described, Translations, as_floats, is_conditional
from zoo.compose import Composition, compose
from zoo.devices import refuse_beyond_memory, resolve_device
from zoo.draws import Draws
from zoo.errors import BadCheckpoint, BadRun, IncompatibleParts, UsageError
from zoo.folder import Folder
from zoo.plugins import Plugins, installed
from zoo.processes import ALONE, Group
from zoo.recipe import CHECKPOINT, DOWNLOAD, PRETRAINED, Recipe, normalized
from zoo.resolve import GIVEN, Components, split_given

CHUNK = 256
"""Samples are generated so many at a time."""


@dataclass(repr=False)
class Run:
    """A finished or unfinished run, ready to be sampled.

    Attributes:
        folder: Where it lies.
        composition: Its parts, with the weights of the checkpoint.
        step: The iteration of the checkpoint.
        averaged: Whether samples come from the averaged generator.
        components: Where its components were looked up.
        seconds: The time of training until then, without pictures and checkpoints; 0 if the checkpoint does not say.
    """

    folder: Folder
    composition: Composition
    step: int
    averaged: bool
    components: Components
    seconds: float = 0.0

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r}, step {self.step})"

    def sample(self, n: int = 64, seed: int = 0, labels: Sequence[int] | None = None) -> Tensor:
        """Draws `n` samples `(n, *shape)` on the CPU, in the range of the data: images in [-1, 1].

        Args:
            n: How many, from 1.
            seed: The same seed gives the same samples.
            labels: Class indices for a conditional generator, repeated until there are `n`; random if None.

        Raises:
            UsageError: There is no generator, `n` is below 1, or labels are given that it or the data does not have.
            OutOfMemory: So many samples do not fit in memory.
        """
        if n < 1:
            raise UsageError(f"the number of samples must be at least 1, not {n}.")
        if "generator" not in self.composition.networks:
            raise UsageError(f"{self.folder.path} has no generator to draw samples from.")
        shape = self.composition.dataset.shape
        refuse_beyond_memory(n, shape)
        samples = torch.empty(n, *shape)
        draws = Draws(seed, self.composition.device)
        condition = self.condition(n, draws, labels)
        generator: Any = self.composition.networks["generator"]
        with torch.no_grad():
            for start in range(0, n, CHUNK):
                size = min(CHUNK, n - start)
                z = generator.latent(size, draws)
                given = () if condition is None else (condition[start : start + size],)
                samples[start : start + size] = generator(z, *given)
        return samples

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The real samples, loaded when they are first asked for; sampling needs only their shape.

        Raises:
            BadData: They are not there any more.
            BadRun: They were made in Python, and not given.
        """
        choice = self.folder.recipe().axes["dataset"]
        if "dataset" in self.components.given:
            given: Dataset = self.components.given["dataset"]
            return given
        if choice.name.startswith(GIVEN):
            raise BadRun(
                f"the data of {self.folder.path} were made in Python; reopen it from Python and give them again."
            )
        return self.components.dataset(choice)[1]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        return list(self.folder.rows())

    def condition(self, n: int, draws: Draws, labels: Sequence[int] | None) -> Tensor | None:
        """What `n` samples are conditioned on; None for a generator that is not.

        Args:
            n: How many.
            draws: Where random labels or sources come from.
            labels: As of `sample`.

        Raises:
            UsageError: Labels are given that the generator or the data does not have.
        """
        classes = self.composition.dataset.classes
        if not is_conditional(self.composition.networks["generator"]):
            if labels is not None:
                raise UsageError("this run's generator is not conditional; sample it without --labels.")
            return None
        if self.composition.dataset.source is not None:
            if labels is not None:
                raise UsageError("this run's samples are made from others, and not from labels; see zoo translate.")
            return self._sources(n, draws)
        if classes is None:
            raise IncompatibleParts("the generator is conditional, but the data set has no labels.")
        if labels is None:
            return draws.randint(classes, n)
        numbers = [int(label) for label in labels]
        wrong = sorted({number for number in numbers if not 0 <= number < classes})
        if wrong or not numbers:
            raise UsageError(f"labels must be from 0 to {classes - 1}, not {', '.join(map(str, wrong)) or 'empty'}.")
        return torch.tensor(numbers, device=draws.device).repeat(-(-n // len(numbers)))[:n]

    def _sources(self, n: int, draws: Draws) -> Tensor:
        """Sources of the data set, each once before one comes again."""
        assert isinstance(self.dataset, Translations)
        sources = self.dataset.sources
        rounds = [draws.randperm(len(sources)) for _ in range(-(-n // len(sources)))]
        chosen = torch.cat(rounds)[:n]
        return as_floats(sources[chosen.to(sources.device)]).to(draws.device)


def load(
    path: str | Path,
    *,
    device: str = "auto",
    step: int | None = None,
    plugins: Plugins | None = None,
    given: Mapping[str, Any] | None = None,
) -> Run:
    """Reopens a run for sampling.

    Args:
        path: The run folder.
        device: Where it is put: `auto`, `cpu`, `cuda`, `mps`.
        step: Which checkpoint; the best by validation if None, the newest where there is no validation.
        plugins: Where components are looked up; the installed ones if None.
        given: Parts that are no plugins, by axis, as they were given to `zoo.train`.

    Returns:
        The run; `load(path).sample(n)` draws samples.

    Raises:
        BadRun: The folder is no run, or has no checkpoint.
        BadCheckpoint: The checkpoint is truncated, foreign, or does not fit the recipe.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = zoo.train("wgan", dataset="ring", steps=2, batch_size=8, out=folder, name="run", device="cpu")
    ...     tuple(zoo.load(f"{folder}/run", device="cpu").sample(3).shape)
    (3, 2)
    """
    folder = Folder.open(Path(path))
    state = folder.load_best() if step is None else folder.load(step)
    mine = split_given(given or {})[1]
    if "generator" in mine:
        # The checkpoint's weights are loaded into a copy: the caller's own generator stays as it is.
        mine["generator"] = copy.deepcopy(mine["generator"])
    components = Components(plugins or installed(), mine)
    about = state["data"]
    data = Described(
        about["shape"], about["classes"], about.get("class_names"), about.get("source"), about.get("paired")
    )
    with_data = Components(components.plugins, {"dataset": data, **components.given})
    composition = replace(rebuild(folder, with_data, resolve_device(device)), recipe=folder.recipe())
    averaged = state.get("average") is not None
    weights = {**state["networks"], "generator": state["average"]} if averaged else state["networks"]
    load_weights({n: each for n, each in composition.networks.items() if n not in mine or n == "generator"}, weights)
    return Run(folder, composition, state["iteration"], averaged, components, state.get("seconds", 0.0))


def load_weights(networks: Mapping[str, nn.Module], weights: Mapping[str, Any]) -> None:
    """Gives networks their weights by name, and puts them in evaluation mode. Raises BadCheckpoint."""
    try:
        for name, network in networks.items():
            network.load_state_dict(weights[name])
            network.eval()
    except (RuntimeError, TypeError, KeyError) as error:
        raise BadCheckpoint(f"the checkpoint does not fit the recipe beside it: {error}") from error


def rebuild(
    folder: Folder,
    components: Components,
    device: torch.device,
    change: Mapping[str, Any] | None = None,
    download: bool = False,
    group: Group = ALONE,
) -> Composition:
    """The composition of a run folder, newly built.

    Args:
        folder: Where it lies.
        components: Where components are looked up.
        device: Where the composition is put.
        change: Training settings that are replaced, such as `steps`.
        download: Lets the data set download its files.

    Raises:
        BadRun: The run used parts that are no plugins, or a local file, and they are not given.
    """
    recipe = folder.recipe()
    _refuse_missing_files(folder, recipe, components.plugins)
    used = [*recipe.axes.items(), *((axis, choice) for axis, each in recipe.lists.items() for choice in each)]
    for axis, choice in used:
        if choice.name.startswith(GIVEN) and axis not in components.given:
            raise BadRun(
                f"{folder.path} was trained with a {axis} made in Python ({choice.name.removeprefix(GIVEN)}); "
                f"reopen it from Python and give the {axis} again."
            )
    named = replace(
        recipe,
        axes={axis: choice for axis, choice in recipe.axes.items() if axis not in components.given},
        lists={
            axis: tuple(choice for choice in choices if choice.name not in components.given_of(axis))
            for axis, choices in recipe.lists.items()
        },
        train={**recipe.train, **(change or {})},
    )
    allowed = [(["dataset", DOWNLOAD], True)] if download else []
    resolved, dataset = components.recipe(normalized(_without_weights(named).table()), allowed)
    composition = compose(components, resolved, dataset, device, group)
    if "backbone" in named.axes:
        return replace(composition, recipe=resolved.with_axis("backbone", recipe.axes["backbone"]))
    return composition


def _without_weights(recipe: Recipe) -> Recipe:
    """The recipe with a backbone that neither downloads nor reads weights: a checkpoint holds those that it has now."""
    backbone = recipe.axes.get("backbone")
    if backbone is None:
        return recipe
    none = {PRETRAINED: False, CHECKPOINT: ""}
    settings = {key: none.get(key, value) for key, value in backbone.settings.items()}
    return recipe.with_axis("backbone", replace(backbone, settings=settings))


def _refuse_missing_files(folder: Folder, recipe: Recipe, plugins: Plugins) -> None:
    there = {Path(entry.dist).name for entry in plugins.index.entries if entry.version == LOCAL}
    for file in (dist for dist, version in recipe.versions.items() if version == LOCAL):
        if Path(file).name not in there:
            raise BadRun(f"{folder.path} was trained with a file of your own, {file}; give it again: --plugin {file}")
