"""The same as the commands, from Python."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from zoo.checkpoints import VALIDATION
from zoo.checks import check
from zoo.components import Dataset
from zoo.compose import Composition, compose
from zoo.devices import joined
from zoo.dividing import check_split
from zoo.errors import BadRun, UsageError
from zoo.fit import Fit, Outcome, Row
from zoo.folder import Folder, Onlooker
from zoo.index import Entry
from zoo.inheriting import inherit
from zoo.layering import layered
from zoo.mistakes import mistakes_told
from zoo.plugins import Plugins, installed
from zoo.processes import Group
from zoo.profiling import refuse_short
from zoo.recipe import Recipe, Table, named_table, normalized
from zoo.remarks import remarks
from zoo.resolve import GIVEN, Assignments, Components, split_given
from zoo.run import Run, load, load_weights, rebuild
from zoo.settings import context_of, resolve
from zoo.trainer import Trainer
from zoo.training import Training

UNCONDITIONED = ("classes", "source", "paired")
"""Context that is None for samples without labels, which are made from nothing."""


def list_components(hook: str | None = None, pattern: str = "*") -> list[Entry]:
    """The installed components of a hook (all if None) whose names match a wildcard pattern.

    No plugin is imported.

    >>> import zoo
    >>> [entry.name for entry in zoo.list_components("backbone")]
    ['timm']
    """
    return installed().index.select(hook, pattern)


def create(hook: str, name: str, **settings: Any) -> Any:
    """Makes one component by name.

    Args:
        hook: Such as `"critic"`.
        name: Such as `"dcgan"`.
        settings: Its settings, and its context: `shape=(1, 32, 32)`, `classes=10`, `backbone=...`.

    Raises:
        UnknownName, BadSetting, BrokenPlugin: See the messages.
        UsageError: Context that it needs is missing.

    >>> import zoo
    >>> zoo.create("critic", "dcgan", shape=(1, 32, 32), width=8).conditional
    False
    """
    factory = installed().component(hook, name)
    wanted = context_of(factory)
    settings = {key: None for key in UNCONDITIONED if key in wanted} | settings
    missing = [key for key in wanted if key not in settings]
    if missing:
        raise UsageError(f"{hook} '{name}' needs {', '.join(missing)}, such as {missing[0]}=...")
    context = [settings.pop(key) for key in wanted]
    return factory(*context, **resolve(factory, settings, f"{hook} '{name}'"))


def compose_table(
    table: Table,
    assignments: Assignments = (),
    *,
    device: str = "auto",
    plugins: Plugins | None = None,
    given: Mapping[str, Any] | None = None,
    allow_incompatible: bool = False,
) -> Composition:
    """A checked composition from a recipe's table. See `train` for what is raised.

    In a process that torchrun has started, it meets the others, and is composed for them all.
    """
    components = Components(plugins or installed(), given or {})
    target, group = joined(device)
    with mistakes_told():
        recipe, dataset = components.recipe(table, assignments)
    return compose_recipe(components, recipe, dataset, target, group, allow_incompatible)


def compose_recipe(
    components: Components,
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device,
    group: Group,
    allow_incompatible: bool = False,
) -> Composition:
    """A checked composition from a resolved recipe and its data set. See `compose_table`."""
    with mistakes_told():
        composition = compose(components, recipe, dataset, device, group)
        if composition.training.train.init_from:
            inherit(composition, composition.training.train.init_from)
        check(composition, allow_incompatible)
    return composition


def train(
    variant: str | Path = "",
    *,
    out: str | Path = "runs",
    name: str = "",
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = False,
    allow_incompatible: bool = False,
    allow_download: bool = False,
    **recipe: Any,
) -> Run:
    """Composes a GAN by name, trains it, and returns the run.

    Args:
        variant: The name of a variant, or the path of a recipe file; empty when all parts are given.
        out: The folder of runs.
        name: The run's name in it; made from variant, data set and seed if empty.
        device: `auto`, `cpu`, `cuda` or `mps`.
        settings: Single settings by path: `{"train.steps": 100, "generator.width": 32}`.
        on_log: Called with each line of metrics, a dict with `step`, the loss terms and `estimate`.
        progress: Draws a progress bar on stderr.
        allow_incompatible: Goes on with parts that are measured not to work together.
        allow_download: Lets the backbone of a recipe file download its weights.
        recipe: Axes by name, as tables, or as objects that are no plugins: `dataset="ring"`,
            `generator={"name": "mlp", "width": 64}`, `critic=my_module`, `lipschitz_constraint=[my_constraint]`;
            and training settings such as `steps=100`.

    Raises:
        UnknownName, BadRecipe, BadSetting, BadData, IncompatibleParts: What was asked for is wrong; nothing is written.
        RunExists: The run folder is there already.
        Diverged: A loss became NaN or infinite.
        BrokenPlugin: The code of a plugin is wrong; what it raised is the cause.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = zoo.train("wgan", dataset="ring", steps=2, batch_size=8, out=folder, device="cpu")
    ...     tuple(run.sample(5).shape)
    (5, 2)

    With a critic of one's own and something that listens:

    >>> import torch
    >>> class Score(zoo.Critic):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(2, 1)
    ...     def forward(self, samples, condition=None):
    ...         return self.layer(samples).squeeze(1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = zoo.train(
    ...         "wgan", dataset="ring", critic=Score(), steps=2, batch_size=8, out=folder, device="cpu",
    ...         on_log=lambda row: print("step", row["step"]),
    ...     )
    step 2
    """
    table, given = split_given(recipe)
    table = layered([named_table(variant, allow_download), normalized(table)])
    pairs = [(key.split("."), value) for key, value in (settings or {}).items()]
    composition = compose_table(table, pairs, device=device, given=given, allow_incompatible=allow_incompatible)
    path = run_path(out, name, composition.recipe)
    start(composition, path, on_log=on_log, progress=progress)
    return load(path, device=device, given=recipe)


def start(
    composition: Composition,
    path: Path,
    *,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = False,
    profile: bool = False,
) -> Outcome:
    """Trains a composition in a new run folder. See `train` for what is raised.

    Args:
        composition: What is trained.
        path: The run folder.
        on_log: Called with each line of metrics.
        progress: Draws a progress bar on stderr.
        profile: Profiles ten iterations after the first twenty; `Outcome.profile` has what was found.
    """
    if profile:
        refuse_short(composition.training.train.steps)
    with mistakes_told():
        trainer = Trainer(composition)
        for remark in remarks(composition):
            trainer.say(remark)
        created = composition.group.alike(lambda: Folder.create(path, composition.recipe))
        return Fit(trainer, created or Onlooker(path), on_log, progress, profile).run()


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    on_divergence: Literal["stop", "rollback"] | None = None,
    download: bool = False,
    device: str = "auto",
    plugins: Plugins | None = None,
    given: Mapping[str, Any] | None = None,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = False,
    profile: bool = False,
) -> Outcome:
    """Goes on with a run where its newest checkpoint is; on the CPU to the same bits as if it had not stopped.

    Args:
        path: The run folder.
        steps: A new total of iterations, to extend the run; as before if None.
        on_divergence: What it does from now on if it diverges; as before if None.
        download: Lets the data set download its files.
        profile: Profiles ten iterations after the first twenty; `Outcome.profile` has what was found.

    Raises:
        BadRun: The folder is no run, has no checkpoint, is at its last step already, or is being trained.
        BadCheckpoint: The newest checkpoint is damaged or foreign; the message says how to go on without it.
        BadData: The data set has changed since the checkpoint.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = zoo.train("wgan", dataset="ring", steps=2, batch_size=8, out=folder, name="run", device="cpu")
    ...     zoo.resume(f"{folder}/run", steps=4, device="cpu").step
    4
    """
    target, group = joined(device)
    with mistakes_told(), _reopened(Path(path), group) as folder:
        state = folder.load()
        change = _changed(folder, state, steps, on_divergence)
        if profile:
            refuse_short(int(change["steps"]) - state["iteration"])
        components = Components(plugins or installed(), split_given(given or {})[1])
        composition = rebuild(folder, components, target, change, download, group)
        # What batches are drawn from may be made by what the networks have learnt.
        load_weights(composition.networks, state["networks"])
        check_split(composition)
        # Every process has read what is there before one of them writes.
        group.wait()
        return Fit(Trainer(composition), folder, on_log, progress, profile).run(state)


@contextlib.contextmanager
def _reopened(path: Path, group: Group) -> Iterator[Folder]:
    """A run folder that nobody else trains meanwhile; one process holds the lock for all. Raises BadRun."""
    folder = Folder.open(path)
    with contextlib.ExitStack() as held:
        group.alike(lambda: held.enter_context(folder.alone()))
        yield folder if group.first else Onlooker(path)


def _changed(
    folder: Folder, state: Mapping[str, Any], steps: int | None, on_divergence: str | None
) -> dict[str, int | str]:
    """The training settings of a resumed run that differ from its recipe. Raises BadRun if nothing is left to do."""
    total = Training.of(folder.recipe().train).train.steps if steps is None else steps
    if (ended := state.get(VALIDATION, {})).get("ended"):
        raise BadRun(
            f"{folder.path} ended at step {state['iteration']}, since its validation had not become better for so long "
            f"as train.patience allows; the best was at step {ended['best_step']}."
        )
    if state["iteration"] >= total:
        raise BadRun(f"{folder.path} is at step {state['iteration']} of {total} already; extend it with --steps.")
    change: dict[str, int | str] = {"steps": total, "schedule_steps": state["schedule_steps"]}
    return change if on_divergence is None else {**change, "on_divergence": on_divergence}


def run_path(out: str | Path, name: str, recipe: Recipe) -> Path:
    """The folder of a run. Raises UsageError for a name that is no single folder's."""
    if name and (Path(name).name != name or name in (".", "..")):
        raise UsageError(f"'{name}' cannot be a run's name, which is one folder in {out}; choose that with --out.")
    return Path(out) / (name or run_name(recipe))


def run_name(recipe: Recipe) -> str:
    """The name that a run gets: variant (or distance), data set and seed."""
    first = recipe.variant or next(recipe.axes[axis].name for axis in ("distance", "procedure") if axis in recipe.axes)
    parts = [Path(first).stem, recipe.axes["dataset"].name, f"seed{recipe.train['seed']}"]
    # One folder of the folder of runs, whatever a recipe calls itself.
    return re.sub(r"[^\w+.=-]", "-", "-".join(part.replace(GIVEN, "") for part in parts))
