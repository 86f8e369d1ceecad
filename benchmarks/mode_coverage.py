"""Mode coverage on the ring and the grid, beside the rows of PacGAN and VEEGAN.

Usage: python benchmarks/mode_coverage.py [--networks own pacgan small] [--only VARIANT...] [--data ring grid]
                                          [--seeds N] [--steps N] [--out FOLDER] [--write FILE] [--dry-run]

Three kinds of runs: the best variant as it comes (ten seeds), the same on PacGAN's networks, and every installed
variant on the same small networks and batches (three seeds, 10,000 generator steps; all else is its own). What it
will cost is timed and printed first. A run that is there is only measured, an interrupted one goes on.

A mode is covered by one sample within 3 sigma of its centre, of 2,500 as in both papers; so are the share of high
quality and the reverse KL. Widths are over those of perfect samples, from 100,000. Figures are means over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mode_tables import written

import zoo
from zoo.api import compose_table
from zoo.errors import BadRun, Diverged, IncompatibleParts
from zoo.folder import Folder
from zoo.layering import layered
from zoo.measuring import evaluate, evidence_of
from zoo.recipe import Table, named_table, normalized
from zoo.run import Run
from zoo.trainer import Trainer

BEST = "deligan"
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "mode_coverage.md"
SAMPLES, WIDTH_SAMPLES = 2_500, 100_000
TIMED = 30

SMALL: Table = {
    "generator": {"name": "mlp", "width": 128, "depth": 3, "latent_dim": 2},
    "critic": {"name": "mlp", "width": 128, "depth": 3, "activation": "leaky_relu", "waves": 0},
    "train": {"batch_size": 128},
}
# As in PacGAN's own code: config.py and pacgan_task.py of fjxmlzn/PacGAN@190853e.
PACGAN: Table = {
    "generator": {"name": "mlp", "width": 400, "depth": 4, "norm": "batch", "latent_dim": 2},
    "critic": {"name": "mlp", "width": 200, "depth": 3, "activation": "maxout", "waves": 0},
    "train": {"batch_size": 100},
}
NETWORKS: dict[str, Table] = {"own": {}, "pacgan": PACGAN, "small": SMALL}
SEEDS = {"own": 10, "pacgan": 3, "small": 3}
STEPS = {"own": None, "pacgan": 10_000, "small": 10_000}


@dataclass(frozen=True)
class Job:
    """One run: a variant or a recipe file on a kind of networks and data; `steps` is None for the variant's own."""

    networks: str
    variant: str
    data: str
    seed: int
    steps: int | None

    @property
    def name(self) -> str:
        """Its folder's name."""
        steps = "" if self.steps is None else f"-{self.steps}"
        return f"{self.networks}-{Path(self.variant).stem}-{self.data}-seed{self.seed}{steps}"

    def command(self) -> str:
        """What makes it, and the seeds before it."""
        steps = "" if self.steps is None else f" --steps {self.steps}"
        kind = f"--networks {self.networks} --only {self.variant} --data {self.data}"
        return f"python benchmarks/mode_coverage.py {kind} --seeds {self.seed + 1}{steps}"

    def table(self) -> Table:
        """Its recipe."""
        table = layered([normalized(NETWORKS[self.networks]), normalized({"dataset": self.data})])
        train = {"seed": self.seed, **({} if self.steps is None else {"steps": self.steps})}
        return layered([named_table(self.variant), table, {"train": train}])


def jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    """The runs that were asked for, the best variant's first; a seed of all before the next seed of any."""
    installed = [entry.name for entry in zoo.list_components("variant")]
    for networks in arguments.networks:
        chosen = arguments.only or (installed if networks == "small" else [BEST])
        for seed in range(arguments.seeds or SEEDS[networks]):
            for variant in chosen:
                for data in arguments.data:
                    yield Job(networks, variant, data, seed, arguments.steps or STEPS[networks])


def trainable(todo: Iterable[Job]) -> list[Job]:
    """The runs that can be made; what a variant cannot do on these data is printed once."""
    refused: dict[tuple[str, str], str] = {}
    possible = []
    for job in todo:
        kind = (job.variant, job.data)
        if kind in refused:
            continue
        try:
            compose_table(job.table(), device="cpu")
            possible.append(job)
        except IncompatibleParts as error:
            refused[kind] = str(error)
            print(f"{job.variant} cannot be trained on {job.data}: {error}", flush=True)
    return possible


def steps_left(job: Job, out: Path) -> int:
    """How many iterations a run has still to do."""
    total = int(compose_table(job.table(), device="cpu").training.train.steps)
    return total - max(Folder(out / job.name).steps(), default=0)


def announce(todo: list[Job], out: Path) -> None:
    """Prints what the runs will cost, from a few iterations of one of each kind."""
    seconds: dict[tuple[str, str, str], float] = {}
    total = 0.0
    for job in todo:
        left = steps_left(job, out)
        kind = (job.networks, job.variant, job.data)
        if left > 0 and kind not in seconds:
            seconds[kind] = seconds_per_step(job)
        total += left * seconds.get(kind, 0.0)
    print(
        f"{len(todo)} runs; about {total / 60:.0f} minutes of training to do, at the speed of this moment.", flush=True
    )


def seconds_per_step(job: Job) -> float:
    """The mean over some iterations, after a few to warm up."""
    trainer = Trainer(compose_table(job.table(), device="cpu"))
    for _ in range(5):
        trainer.iterate()
    start = time.perf_counter()
    for _ in range(TIMED):
        trainer.iterate()
    return (time.perf_counter() - start) / TIMED


def run_of(job: Job, out: Path) -> Run:
    """The finished run, trained or gone on with where that is needed. Raises Diverged."""
    folder = Folder(out / job.name)
    state = folder.state()["state"]
    if state == "running":
        raise BadRun(f"{folder.path} is being trained by another process.")
    if state == "failed":
        raise Diverged(f"{folder.path} diverged.")
    if not folder.steps():
        # Stopped before its first checkpoint: there is nothing to go on from.
        shutil.rmtree(folder.path, ignore_errors=True)
        table = job.table()
        variant = str(table.pop("variant"))
        return zoo.train(variant, name=job.name, out=out, device="cpu", **table)
    if steps_left(job, out) > 0:
        zoo.resume(folder.path, device="cpu")
    return zoo.load(folder.path, device="cpu")


def figures(run: Run) -> dict[str, float]:
    """What `zoo evaluate --metric mode-coverage` measures, with few samples as in the papers; widths with many."""
    metric = {"mode-coverage": zoo.create("metric", "mode-coverage")}
    few, many = (
        {figure.name: figure.value for figure in evaluate(metric, evidence_of(run, size), floors=0)}
        for size in (SAMPLES, WIDTH_SAMPLES)
    )
    return few | {name: many[name] for name in ("narrowest", "widest")}


def measured(job: Job, out: Path) -> dict[str, object]:
    """One line of the results: what was run, and its figures; `diverged` instead of them if it did."""
    row: dict[str, object] = asdict(job)
    try:
        run = run_of(job, out)
    except Diverged:
        return row | {"diverged": True}
    if steps_left(job, out) > 0:
        raise SystemExit(f"{out / job.name} was interrupted at step {run.step}; run this again to go on.")
    return row | {"steps": run.step, "seconds": round(run.seconds, 1), **figures(run)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants or recipe files and no others")
    parser.add_argument("--data", nargs="+", choices=["ring", "grid"], default=["ring", "grid"])
    parser.add_argument("--seeds", type=int, help="how many, from 0")
    parser.add_argument("--steps", type=int, help="generator steps")
    parser.add_argument("--out", type=Path, default=Path("runs/mode-coverage"))
    parser.add_argument("--write", type=Path, default=RESULTS, help="the Markdown file whose tables are written")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    todo = trainable(jobs(arguments))
    announce(todo, arguments.out)
    if arguments.dry_run:
        return
    raw = arguments.write.with_suffix(".json")
    rows = json.loads(raw.read_text())["runs"] if raw.is_file() else []
    hardware = f"{os.cpu_count()} CPUs of {platform.machine()}, one thread a run, torch {torch.__version__}"
    for job in todo:
        row = measured(job, arguments.out) | {"hardware": hardware, "command": job.command()}
        rows = [other for other in rows if other["name"] != job.name] + [row | {"name": job.name}]
        raw.write_text(json.dumps({"runs": rows}, indent=1) + "\n")
        print(json.dumps(row), flush=True)
    arguments.write.write_text(written(arguments.write.read_text(), rows))


if __name__ == "__main__":
    main()
