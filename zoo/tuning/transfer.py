"""The transfer study: accuracy against the number of labelled samples for each way of tuning, by `zoo compare`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from zoo.api import compose_table
from zoo.comparing.cell import Shared
from zoo.comparing.jobs import Executor
from zoo.comparing.place import Place
from zoo.comparing.plan import Request
from zoo.comparing.rates import rates
from zoo.comparing.report import write_report
from zoo.comparing.results import Contender
from zoo.comparing.run import Way, carry_out
from zoo.components import Dataset
from zoo.errors import BadData, BadSetting, UsageError
from zoo.layering import assign
from zoo.plugins import installed
from zoo.recipe import Choice, Recipe, Table, normalized
from zoo.resolve import Assignments, Components
from zoo.tuning.amounts import ALL, SCRATCH, Study, label_of, study_of, write_study
from zoo.tuning.splits import Split
from zoo.tuning.supervised import Supervised
from zoo.tuning.tune import FRESH, tuning_table
from zoo.tuning.ways import HEAD, WAYS

WHOLE = ("all", "gradual", "lp-ft")
"""The ways in which everything is trained, at the end at least."""
DEFAULT_SHOTS = (1, 2, 5, 10, 20, 50, ALL)
DEFAULT_WAYS = (SCRATCH, HEAD, "last-1", "last-2", "all", "lp-ft")
DEFAULT_SEEDS = 5
VARIED = {"procedure.tune": "--tune", "procedure.shots": "--shots", "train.seed": "--seeds"}
"""What differs between the runs of a study, and what says how."""
TIMED = 20.0
"""A way is timed as if it had a budget of so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is studied.

    Attributes:
        backbone: By name, or a run of which a network stands on one.
        dataset: With labels, by name.
        shots: Numbers of labelled samples of each class; `ALL` for all that neither validate nor test.
        ways: Ways of tuning, and `scratch`: the same network with random weights, everything trained.
        seeds: How many seeds, from 0; which samples the shots are follows from them as well.
        options: As those of `tuning_table`: `steps`, `lr`, `batch_size`.
        assignments: Single settings of all runs.
        device: Where they are trained.
    """

    backbone: str
    dataset: str
    shots: tuple[int, ...] = DEFAULT_SHOTS
    ways: tuple[str, ...] = DEFAULT_WAYS
    seeds: int = DEFAULT_SEEDS
    options: Mapping[str, Any] = field(default_factory=dict)
    assignments: Assignments = ()
    device: str = "auto"


def transfer(
    backbone: str,
    dataset: str,
    *,
    shots: Sequence[int | str] = DEFAULT_SHOTS,
    tune: Sequence[str] = DEFAULT_WAYS,
    seeds: int = DEFAULT_SEEDS,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path = "",
    jobs: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Study:
    """Tunes a backbone in several ways to a few labelled samples, and to more, and writes what came of it.

    Args:
        backbone: Its name, such as `timm:resnet18`, or a run folder whose critic or classifier stands on one.
        dataset: A data set with labels, by name.
        shots: Numbers of labelled samples of each class, and `"all"`.
        tune: Ways of tuning, and `scratch`: the same network with random weights, everything trained.
        seeds: How many, from 0; which samples the shots are follows from them as well.
        settings: Single settings of all runs by path: `{"backbone.checkpoint": "weights.safetensors"}`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        out: The study's folder; made from backbone and data set if empty.
        jobs: How many runs at once; as many as there are cores if None, or one on a GPU.
        progress: Draws a progress bar on stderr.
        options: As those of `zoo.finetune`: `steps=100`, `lr=0.01`.

    Raises:
        UsageError: What was asked for is wrong; nothing is written.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = zoo.transfer(
    ...         "timm:test_resnet", "digits", shots=[2], tune=["scratch", "head"], seeds=1, steps=2, out=folder,
    ...         device="cpu", jobs=1,
    ...     )
    ...     [(each.way, each.shots, each.runs) for each in study.amounts]
    [('scratch', '2', 1), ('head', '2', 1)]
    """
    asked = Asked(
        backbone=backbone,
        dataset=dataset,
        shots=shots_of(",".join(map(str, shots))),
        ways=ways_of(",".join(tune)),
        seeds=seeds,
        options=options,
        assignments=[(key.split("."), value) for key, value in (settings or {}).items()],
        device=device,
    )
    way = Way(jobs=jobs, progress=progress, keep=0)
    return studied(asked, Path(out) if out else None, way, lambda text: print(text, file=sys.stderr))[1]


def shots_of(text: str) -> tuple[int, ...]:
    """Numbers of shots, ascending, `all` last: `1,5,all`. Raises UsageError."""
    words = [word.strip() for word in text.split(",")]
    wrong = [word for word in words if word != "all" and not (word.isdecimal() and int(word) > 0)]
    if wrong:
        raise UsageError(f"--shots are whole numbers from 1, and all, such as 1,5,20,all; '{wrong[0]}' is neither.")
    found = {ALL if word == "all" else int(word) for word in words}
    return (*sorted(found - {ALL}), *sorted(found & {ALL}))


def ways_of(text: str) -> tuple[str, ...]:
    """Ways of tuning, in their order. Raises UsageError."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in words:
        if word not in (SCRATCH, HEAD, *WHOLE) and not re.fullmatch(r"last-\d+", word):
            raise UsageError(f"--tune: '{word}' is no way of tuning; they are {SCRATCH}, {WAYS}.")
    return words


def studied(asked: Asked, out: Path | None, way: Way, say: Callable[[str], None] | None) -> tuple[Place, Study]:
    """Makes the runs that are missing; the study, with its report, of all that there are.

    Args:
        asked: What is studied.
        out: The study's folder; made from backbone and data set if None.
        way: How it is done.
        say: Told of what is to be done, and how long that will take; nothing is timed if None.

    Raises:
        UsageError: Something is wrong with what is asked for; nothing is written.
    """
    for file in way.files:
        installed().add_file(file)
    _refuse_nonsense(asked)
    choice, dataset = _dataset(asked)
    split = _split(asked, dataset)
    tables = _tables(asked, choice, dataset, split)
    _refuse_weights_that_do_not_fit(tables)
    request = Request(
        contenders=(),
        recipes=tables,
        dataset=asked.dataset,
        assignments=[each for each in asked.assignments if each[0][0] == "dataset"],
        seeds=asked.seeds,
        steps=next(iter(tables.values()))["train"]["steps"],
        metrics=("accuracy",),
        samples=len(split.test),
        points=1,
        device=asked.device,
    )

    def before(contenders: Sequence[Contender], shared: Shared, executor: Executor) -> None:
        if say is not None:
            say(_told(asked, contenders, shared, executor))

    # Which contender is the best of all is not what is asked here, and how many seeds that would need neither.
    place, comparison = carry_out(
        request, out or _default_folder(asked), replace(way, before=before), lambda text: None
    )
    study = study_of(comparison, len(split.trained) / (dataset.classes or 1))
    if comparison.cells:
        write_study(study, place.path)
        write_report(comparison, place.path)
    return place, study


def _refuse_nonsense(asked: Asked) -> None:
    if asked.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, not {asked.seeds}.")
    for path, _ in asked.assignments:
        if ".".join(path) in VARIED:
            raise UsageError(f"{'.'.join(path)} is what a study varies; say it with {VARIED['.'.join(path)]}.")


def _dataset(asked: Asked) -> tuple[Choice, Dataset]:
    table = normalized({"dataset": asked.dataset}, "--dataset")
    for path, value in asked.assignments:
        table = assign(table, path, value) if path[0] == "dataset" else table
    return Components(installed()).dataset(Choice.of(table["dataset"], "--dataset"))


def _recipe(asked: Asked, dataset: Dataset, **options: Any) -> Recipe:
    """The recipe of one way; without validation, whose labels would be more than the shots."""
    named = str(Path(asked.backbone).resolve()) if (Path(asked.backbone) / "recipe.toml").is_file() else asked.backbone
    table = tuning_table(named, {}, {"validate_every": 0, **asked.options, **options})
    others = [each for each in asked.assignments if each[0][0] != "dataset"]
    return Components(installed(), {"dataset": dataset}).recipe(table, others)[0]


def _split(asked: Asked, dataset: Dataset) -> Split:
    """All samples that may be trained on, and those that test. Raises BadData for more shots than a class has."""
    procedure = Components(installed()).make("procedure", _recipe(asked, dataset).axes["procedure"])
    assert isinstance(procedure, Supervised)
    split = procedure.split(dataset)
    if not len(split.test):
        raise BadSetting("procedure.test is 0, and accuracy is that on the samples that it keeps; leave it above 0.")
    counts = torch.bincount(split.labels(split.trained), minlength=dataset.classes or 0).tolist()
    least, most = counts.index(min(counts)), max(asked.shots)
    if most > counts[least]:
        name = dataset.class_names[least] if dataset.class_names else str(least)
        raise BadData(
            f"--shots {most}: class {name} has {counts[least]} samples that neither validate nor test. Take no more "
            "than that; or set procedure.validation, of which a study makes no use, to 0."
        )
    return split


def _tables(asked: Asked, choice: Choice, dataset: Dataset, split: Split) -> dict[str, Table]:
    """A recipe for each number of shots and way, by label."""
    found = {}
    for shots in asked.shots:
        count = shots * (dataset.classes or 0) or len(split.trained)
        for way in asked.ways:
            recipe = _recipe(asked, dataset, tune="all" if way == SCRATCH else way, shots=shots)
            recipe = _without_weights(recipe) if way == SCRATCH else recipe
            train = {**recipe.train, "batch_size": min(recipe.train["batch_size"], count)}
            recipe = replace(recipe.with_axis("dataset", choice), train=train)
            found[label_of(way, shots)] = {key: each for key, each in recipe.table().items() if key != "versions"}
    return found


def _without_weights(recipe: Recipe) -> Recipe:
    """The same network as it is without what it has learnt."""
    backbone = recipe.axes["backbone"]
    fresh = {key: FRESH.get(key, value) for key, value in backbone.settings.items()}
    return replace(recipe.with_axis("backbone", Choice(backbone.name, fresh)), train={**recipe.train, "init_from": ""})


def _refuse_weights_that_do_not_fit(tables: Mapping[str, Table]) -> None:
    """Composes one network with what it begins from, which drafts of contenders do not read."""
    table = next((table for table in tables.values() if table["train"]["init_from"]), None)
    if table is not None:
        compose_table(normalized(table), device="cpu")


def _told(asked: Asked, contenders: Sequence[Contender], shared: Shared, executor: Executor) -> str:
    """How many runs there are to make, and how long that will take at most."""
    total = len(asked.ways) * len(asked.shots) * asked.seeds
    shape = f"{len(asked.ways)} ways x {len(asked.shots)} numbers of shots x {asked.seeds} seeds"
    if not contenders:
        return f"Runs: {total} ({shape}); all of them have been made."
    seconds = _seconds(contenders, shared, executor)
    time = "" if seconds is None else f", at most about {_duration(seconds)} of training"
    return f"Runs: {total} ({shape}), {len(contenders)} to make, {executor.jobs} at once{time}."


def _seconds(contenders: Sequence[Contender], shared: Shared, executor: Executor) -> float | None:
    """How long the runs train, if each way is as slow as with its largest batch and everything it will train."""
    slowest: dict[str, Contender] = {}
    for each in contenders:
        way = each.label.rpartition("-")[0]
        if way not in slowest or _batch(each) > _batch(slowest[way]):
            slowest[way] = each
    found = rates([_thawed(each) for each in slowest.values()], shared, TIMED, executor, rounds=1)
    rate = {way: found.get(each.label) for way, each in slowest.items()}
    each_run = [(each.steps, rate[each.label.rpartition("-")[0]]) for each in contenders]
    timed = [steps / speed for steps, speed in each_run if isinstance(speed, float)]
    return sum(timed) / executor.jobs if len(timed) == len(each_run) else None


def _batch(contender: Contender) -> int:
    return int(contender.table["train"]["batch_size"])


def _thawed(contender: Contender) -> Contender:
    procedure = contender.table["procedure"]
    tune = "all" if procedure["tune"] in WHOLE else procedure["tune"]
    return replace(contender, table={**contender.table, "procedure": {**procedure, "tune": tune}})


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _default_folder(asked: Asked) -> Path:
    named = f"{Path(asked.backbone).name}-{asked.dataset.partition(':')[0]}"
    return Path("comparisons") / re.sub(r"[^\w+.=-]", "-", f"transfer-{named}")[:120]
