"""Carries out a comparison: what is done is not done again, and one failing cell never stops the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from tqdm import tqdm

from zoo.comparing.cell import CellTask, Shared
from zoo.comparing.jobs import Executor, executor_of
from zoo.comparing.place import Place, missing
from zoo.comparing.plan import DEFAULT_POINTS, DEFAULT_SAMPLES, DEFAULT_SEEDS, Plan, Request, cores, plan, with_steps
from zoo.comparing.rates import rates
from zoo.comparing.results import Comparison, Contender
from zoo.comparing.verdict import fewest_seeds
from zoo.devices import resolve_device
from zoo.errors import UsageError
from zoo.plugins import installed

Before: TypeAlias = Callable[[Sequence[Contender], Shared, Executor], None]
"""Is given the contender of each run that is still to be made, and what runs are made with."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a comparison is carried out, which does not change what is compared.

    Attributes:
        jobs: How many cells at once; as many as there are cores if None, or one on a GPU.
        executor: Empty for this machine, or `dask://HOST:PORT`.
        files: Plugins that are local files.
        retry_failed: Makes failed cells anew.
        progress: Draws a progress bar on stderr.
        keep: How many checkpoints of each run are kept when it has been measured.
        before: Called before the first run begins.
    """

    jobs: int | None = None
    executor: str = ""
    files: Sequence[Path] = ()
    retry_failed: bool = False
    progress: bool = False
    keep: int = 1
    before: Before | None = None


def compare(
    *contenders: str | Path,
    dataset: str = "",
    seeds: int = DEFAULT_SEEDS,
    steps: int | None = None,
    critic_updates: int | None = None,
    seconds: float | None = None,
    metrics: Sequence[str] = (),
    samples: int = DEFAULT_SAMPLES,
    points: int = DEFAULT_POINTS,
    networks: Literal["same", "own"] = "same",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path = "",
    jobs: int | None = None,
    executor: str = "",
    retry_failed: bool = False,
    progress: bool = False,
) -> Comparison:
    """Trains several contenders with several seeds within one budget, measures them, and writes a report.

    Args:
        contenders: Variants, recipe files (`.toml`), and run folders, which are measured only.
        dataset: The data set; that of the first run or recipe file if empty.
        seeds: How many, from 0.
        steps: The budget in iterations; that of the first contender if no budget is given.
        critic_updates: The budget in optimiser steps of the critic.
        seconds: The budget in time of training: how many steps fit is measured once.
        metrics: Metrics, `NAME` or `NAME:VALUE`, the main one first; if none, those that tell something of the data.
        samples: How many samples each figure is measured on.
        points: How many times a run is measured in the course of its training, about.
        networks: `same`: variants have the generator and the critic of the first one; `own`: each has its own.
        settings: Single settings of all contenders by path: `{"generator.width": 32}`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        out: The comparison's folder; made from data set and contenders if empty.
        jobs: How many runs at once; as many as there are cores if None, or one on a GPU.
        executor: `dask://HOST:PORT` for a Dask cluster, whose workers see the same folder.
        retry_failed: Makes anew what failed before.
        progress: Draws a progress bar on stderr.

    Returns:
        The comparison with its cells; `report.html` lies in its folder.

    Raises:
        UsageError: Something is wrong with what is asked for; nothing is written.

    >>> import tempfile, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     comparison = zoo.compare(
    ...         "vanilla", "wgan", dataset="ring", seeds=1, steps=2, samples=50, out=folder, device="cpu", jobs=1,
    ...         settings={"generator.width": 8, "critic.width": 8, "train.batch_size": 8},
    ...     )
    ...     [(cell.contender, cell.seed, cell.state) for cell in comparison.cells]
    [('vanilla', 0, 'finished'), ('wgan', 0, 'finished')]
    """
    request = Request(
        contenders=tuple(map(str, contenders)),
        dataset=dataset,
        seeds=seeds,
        steps=steps,
        critic_updates=critic_updates,
        seconds=seconds,
        metrics=tuple(metrics),
        samples=samples,
        points=points,
        networks=networks,
        assignments=[(key.split("."), value) for key, value in (settings or {}).items()],
        device=device,
    )
    way = Way(jobs=jobs, executor=executor, retry_failed=retry_failed, progress=progress)
    place, comparison = carry_out(request, Path(out) if out else None, way, lambda text: print(text, file=sys.stderr))
    from zoo.comparing.report import write_report

    write_report(comparison, place.path)
    return comparison


def carry_out(request: Request, out: Path | None, way: Way, say: Callable[[str], None]) -> tuple[Place, Comparison]:
    """Makes the cells that are missing, and returns the folder and the comparison with all cells that there are.

    Args:
        request: What is compared.
        out: The comparison's folder; made from data set and contenders if None.
        way: How it is done.
        say: Told of what is left out.

    Raises:
        UsageError: Something is wrong with what is asked for; nothing is written.
    """
    for file in way.files:
        installed().add_file(file)
    if way.jobs is not None and way.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {way.jobs}.")
    planned = plan(request, say)
    _warn_of_few_seeds(planned.comparison, say)
    place = Place(out or _default_folder(planned.comparison))
    comparison = place.united(planned.comparison)
    jobs = way.jobs or (1 if resolve_device(request.device).type == "cuda" else cores())
    # What the user has limited (OMP_NUM_THREADS) stays so: threads in each other's way cost much.
    threads = max(1, min(cores() // jobs, torch.get_num_threads()))
    executor = executor_of(way.executor, jobs, threads, place.running)
    try:
        with executor.stop.listening():
            _Carrier(place, planned, request, way, executor).make(comparison)
    finally:
        executor.close()
    return place, place.read() or comparison


def _warn_of_few_seeds(comparison: Comparison, say: Callable[[str], None]) -> None:
    """Says before hours of training what they cannot show."""
    trained = [contender for contender in comparison.contenders if contender.run is None]
    if len(trained) < 2:
        return
    needed = fewest_seeds(len(trained))
    if len(comparison.seeds) < needed:
        seeds = len(comparison.seeds)
        say(f"Seeds: {seeds} cannot decide between {len(trained)} contenders; {needed} are the least that can.")


class _Carrier:
    def __init__(self, place: Place, planned: Plan, request: Request, way: Way, executor: Executor) -> None:
        self._place = place
        self._updates = planned.updates
        self._executor = executor
        self._progress = way.progress
        self._retry = way.retry_failed
        self._keep = way.keep
        self._before = way.before
        self._about = {
            "device": str(resolve_device(request.device)),
            "executor": way.executor or ("processes of this machine" if executor.jobs > 1 else "one process"),
            "jobs": f"{executor.jobs} at once" + (f", {executor.threads} threads each" if executor.threads else ""),
        }
        self._device = request.device
        self._files = tuple(str(Path(file).resolve()) for file in way.files)

    def make(self, comparison: Comparison) -> None:
        """Makes what is missing."""
        self._place.forget_notes()
        if self._retry:
            comparison = self._without_failed(comparison)
        comparison = replace(comparison, about={**self._about, **comparison.about})
        comparison, wrong = self._with_steps(comparison)
        if self._executor.stop.wanted:
            return
        self._place.write(comparison)
        tasks = [CellTask(self._shared(comparison), contender, seed) for contender, seed in missing(comparison)]
        for task in tasks:
            if task.contender.label in wrong:
                task.failed(wrong[task.contender.label])
        tasks = [task for task in tasks if task.contender.label not in wrong]
        if self._before is not None:
            self._before([task.contender for task in tasks], self._shared(comparison), self._executor)
        self._work(tasks, comparison)

    def _without_failed(self, comparison: Comparison) -> Comparison:
        failed = [cell for cell in comparison.cells if cell.state == "failed"]
        for cell in failed:
            self._place.forget(cell)
        return replace(comparison, cells=tuple(cell for cell in comparison.cells if cell not in failed))

    def _with_steps(self, comparison: Comparison) -> tuple[Comparison, dict[str, str]]:
        """The comparison with the steps that fit into its time, and the contenders that could not be timed."""
        labels = {contender.label for contender, _ in missing(comparison) if not contender.steps}
        timed = [contender for contender in comparison.contenders if contender.label in labels]
        found = rates(timed, self._shared(comparison), comparison.budget.amount, self._executor)
        steps = {
            label: max(1, int(rate * comparison.budget.amount))
            for label, rate in found.items()
            if not isinstance(rate, str)
        }
        contenders = (
            with_steps(each, steps[each.label], self._updates[each.label]) if each.label in steps else each
            for each in comparison.contenders
        )
        wrong = {label: rate for label, rate in found.items() if isinstance(rate, str)}
        return replace(comparison, contenders=tuple(contenders)), wrong

    def _shared(self, comparison: Comparison) -> Shared:
        metrics = tuple(dict.fromkeys(scale.metric for scale in comparison.scales.values()))
        return Shared(
            str(self._place.path),
            metrics,
            comparison.samples,
            comparison.points,
            self._device,
            self._files,
            self._executor.threads,
            self._keep,
        )

    def _work(self, tasks: Sequence[CellTask], comparison: Comparison) -> None:
        running: list[str] = []
        done = len(comparison.cells)
        with tqdm(
            total=done + len(tasks), initial=done, desc="Runs", unit="run", disable=not self._progress, file=sys.stderr
        ) as bar:

            def begun(name: str) -> None:
                running.append(name)
                show()

            def show() -> None:
                # Joblib takes some tasks before their turn.
                bar.set_postfix_str(", ".join(running[: self._executor.jobs]))

            for task, cell in self._executor.results(tasks, begun):
                running.remove(task.name)
                bar.update()
                show()
                if cell.state == "failed" and self._progress:
                    tqdm.write(f"{task.name} failed: {cell.error}", file=sys.stderr)


def _default_folder(comparison: Comparison) -> Path:
    labels = "-".join(contender.label for contender in comparison.contenders)
    dataset = comparison.dataset.partition(":")[0].replace("/", "-")
    return Path("comparisons") / f"{dataset}-{labels}"[:120]
