"""Fine-tuning from Python: a recipe for the trainer, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.api import compose_recipe, run_path, start
from zoo.components import Dataset
from zoo.compose import Composition
from zoo.devices import joined
from zoo.errors import BadRun, UsageError
from zoo.folder import Folder
from zoo.layering import layered
from zoo.plugins import Plugins, installed
from zoo.procedures import Procedure
from zoo.recipe import CHECKPOINT, PRETRAINED, Choice, Table, normalized
from zoo.resolve import Assignments, Components
from zoo.run import Run, load
from zoo.tuning.supervised import PART, Supervised

PROCEDURE = "supervised"
BATCH, STEPS = 32, 500
DEFAULTS: Table = {
    "train": {
        "steps": STEPS,
        "batch_size": BATCH,
        "schedule": "cosine",
        "optimizer": {"name": "AdamW", "lr": 1e-3, "weight_decay": 0.01},
        "average": 0.0,
        "sample_every": 0,
    }
}
FRESH = {"freeze": "none", CHECKPOINT: "", PRETRAINED: False}
"""What a backbone that a run has trained is built with: its weights come from the run."""


def finetune(
    backbone: str,
    dataset: Any,
    *,
    out: str | Path = "runs",
    name: str = "",
    device: str = "auto",
    epochs: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
    **options: Any,
) -> Run:
    """Tunes a backbone to labelled images, and returns the run.

    Args:
        backbone: Its name, such as `timm:resnet18`, or a run folder whose critic or classifier stands on one.
        dataset: A data set with labels, by name.
        out: The folder of runs.
        name: The run's name in it; made from backbone, data set, way and seed if empty.
        device: `auto`, `cpu`, `cuda` or `mps`.
        epochs: How often each sample is trained on; `steps` counts iterations instead.
        settings: Single settings by path: `{"backbone.checkpoint": "weights.safetensors"}`.
        progress: Draws a progress bar on stderr.
        options: Settings of the procedure `supervised`, such as `tune="last-2"` and `shots=10`; `lr`, `classifier`; and
            training settings, such as `steps=100` and `seed=1`.

    Raises:
        UsageError: What was asked for is wrong; nothing is written.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = zoo.finetune("timm:test_resnet", "digits", tune="head", shots=5, steps=3, out=folder, device="cpu")
    ...     run.step
    3
    """
    pairs = [(key.split("."), value) for key, value in (settings or {}).items()]
    table = tuning_table(backbone, dataset, options)
    composition = composed(table, pairs, device=device, epochs=epochs)
    path = tuned_path(out, name, composition)
    start(composition, path, progress=progress)
    return load(path, device=device)


def tuning_table(backbone: str, dataset: Any, options: Mapping[str, Any]) -> Table:
    """A fine-tuning's recipe.

    Args:
        backbone, dataset: See `finetune`.
        options: Settings of the procedure, `lr`, `classifier`, and training settings.

    Raises:
        UsageError: Something of it is wrong.
    """
    own = {key: value for key, value in options.items() if value is not None}
    known = _procedure_settings()
    train = {key: own.pop(key) for key in list(own) if key not in (*known, "lr", "classifier")}
    table: Table = {
        **_backbone(backbone, train),
        "dataset": dataset,
        "procedure": {"name": PROCEDURE, **{key: own[key] for key in own if key in known}},
    }
    if "classifier" in own:
        table["parts"] = {PART: own["classifier"]}
    if "lr" in own:
        train["optimizer"] = {"lr": own["lr"]}
    return layered([normalized(DEFAULTS), normalized({**table, "train": train}, "the command line")])


def composed(
    table: Table,
    assignments: Assignments = (),
    *,
    device: str = "auto",
    epochs: float | None = None,
    plugins: Plugins | None = None,
) -> Composition:
    """A fine-tuning's composition; its batches are no larger than what is trained on, and `epochs` become steps.

    Raises:
        UsageError: Something of it is wrong, or both steps and epochs are given.
    """
    components = Components(plugins or installed())
    target, group = joined(device)
    recipe, dataset = components.recipe(table, assignments)
    count = _trained(components, recipe.axes["procedure"], dataset, recipe.train["seed"])
    train = {**recipe.train, "batch_size": min(recipe.train["batch_size"], count)}
    if epochs is not None:
        train["steps"] = max(1, math.ceil(epochs * count / train["batch_size"]))
    return compose_recipe(components, replace(recipe, train=train), dataset, target, group)


def _trained(components: Components, choice: Choice, dataset: Dataset, seed: int) -> int:
    """How many samples are trained on."""
    procedure: Procedure = components.make("procedure", choice)
    if not isinstance(procedure, Supervised):
        raise UsageError(f"procedure '{choice.name}' does not fine-tune; leave --procedure out.")
    return len(procedure.split(dataset, seed).trained)


def tuned_path(out: str | Path, name: str, composition: Composition) -> Path:
    """The folder of a fine-tuning's run."""
    recipe = composition.recipe
    settings = recipe.axes["procedure"].settings
    backbone = recipe.axes["backbone"]
    shots = f"-{settings['shots']}shots" if settings["shots"] else ""
    model = str(next(iter(backbone.settings.values()), backbone.name))
    made = f"{model}-{recipe.axes['dataset'].name}-{settings['tune']}{shots}-seed{recipe.train['seed']}"
    return run_path(out, name or made.replace("/", "-"), recipe)


def _backbone(named: str, train: dict[str, Any]) -> Table:
    """A backbone by name; or that of a run, whose weights the networks then have first."""
    if not (Path(named) / "recipe.toml").is_file():
        return {"backbone": named}
    recipe = Folder.open(Path(named)).recipe()
    if "backbone" not in recipe.axes:
        raise BadRun(
            f"nothing in the run {named} stands on a backbone; name a run of which a critic or classifier does."
        )
    train["init_from"] = named
    choice = recipe.axes["backbone"].table()
    return {"backbone": {**choice, **{key: value for key, value in FRESH.items() if key in choice}}}


def _procedure_settings() -> list[str]:
    from zoo.settings import settings_of

    return list(settings_of(Supervised))
