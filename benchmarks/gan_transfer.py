"""From digits 0 to 4 to a few samples of 5 to 9: GAN transfer beside training from scratch.

Usage: python benchmarks/gan_transfer.py [--samples 10 25 50 100] [--ways NAME...] [--seeds 3] [--steps 100 1200]
                                         [--out FOLDER] [--write FILE] [--dry-run]

A source is trained on digits 0 to 4 for each seed. Its weights begin runs on so many samples of digits 5 to 9, which
ones by the seed. What it will cost is timed and printed first. A run that is there is only measured, and one that was
interrupted is made again, so the tables can be filled a little at a time.

Figures are of 700 generated samples beside 700 digits 5 to 9 that no run has trained on; those of memorisation are
beside the samples that were trained on.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gan_transfer_tables import written

import zoo
from zoo.api import compose_table
from zoo.draws import Draws
from zoo.folder import Folder
from zoo.measuring import evaluate, floors_of, key_of, measured
from zoo.metrics import Evidence, Sample
from zoo.trainer import Trainer

VARIANT = "wgan-gp"
SOURCE, TARGET = [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]
HELD_OUT = 700
TIMED = 20
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "gan_transfer.md"
AUGMENT = {"augment": ["color", "translation", "cutout"]}
FREEZE_D, SCALE_SHIFT = ["critic:stages<2"], ["generator:scale-shift"]


@dataclass(frozen=True)
class Way:
    """How a run begins: from which weights of the source, and with which training settings."""

    start: str
    train: Mapping[str, Any]


WAYS = {
    "scratch": Way("", {}),
    "scratch, DiffAugment": Way("", AUGMENT),
    "plain": Way("source", {}),
    "FreezeD": Way("source", {"freeze": FREEZE_D}),
    "scale/shift": Way("source", {"freeze": SCALE_SHIFT}),
    "plain, DiffAugment": Way("source", AUGMENT),
    "plain, averaged generator": Way("averaged", {}),
}
METRICS = {
    "frechet:classifier": zoo.create("metric", "frechet", features="classifier"),
    "prdc": zoo.create("metric", "prdc"),
}
MEMORISATION = zoo.create("metric", "memorisation")


@dataclass(frozen=True)
class Job:
    """One run on samples of digits 5 to 9."""

    way: str
    samples: int
    seed: int
    steps: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        way = self.way.replace(", ", "-").replace("/", "-").replace(" ", "-")
        return f"{way}-{self.samples}-seed{self.seed}-{self.steps}"

    def table(self, out: Path) -> dict[str, Any]:
        """Its recipe."""
        way = WAYS[self.way]
        train = {"steps": self.steps, "seed": self.seed, "batch_size": min(64, self.samples), **_quiet(), **way.train}
        if way.start:
            train["init_from"] = str(out / f"{way.start}-seed{self.seed}")
        dataset = {"name": "digits", "classes": TARGET, "limit": self.samples, "seed": self.seed}
        return {"dataset": dataset, "train": train}


def _quiet() -> dict[str, int]:
    return {"log_every": 200, "sample_every": 0, "checkpoint_every": 0}


def jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    """The runs that were asked for; a seed of all before the next seed of any."""
    for seed in range(arguments.seeds):
        for samples in arguments.samples:
            for steps in arguments.steps:
                yield from (Job(way, samples, seed, steps) for way in arguments.ways)


def is_finished(path: Path) -> bool:
    return Folder(path).state()["state"] == "finished"


def made(path: Path, table: Mapping[str, Any]) -> Path:
    """A finished run, trained now if it is not there."""
    if not is_finished(path):
        shutil.rmtree(path, ignore_errors=True)
        zoo.train(VARIANT, name=path.name, out=path.parent, device="cpu", **table)
        if not is_finished(path):
            raise SystemExit(f"{path} was interrupted; the same command goes on.")
    return path


def source(seed: int, out: Path) -> Path:
    """The run on digits 0 to 4; and one beside it that has its averaged generator in the place of the trained one."""
    dataset = {"name": "digits", "classes": SOURCE}
    path = made(out / f"source-seed{seed}", {"dataset": dataset, "train": {"seed": seed, **_quiet()}})
    averaged = out / f"averaged-seed{seed}"
    if not Folder(averaged).steps():
        shutil.rmtree(averaged, ignore_errors=True)
        folder, state = Folder.create(averaged, Folder.open(path).recipe()), Folder.open(path).load()
        networks = {**state["networks"], "generator": state["average"]}
        folder.save(state["iteration"], {**state, "networks": networks}, keep=1)
    return path


def seconds_per_step(table: Mapping[str, Any]) -> float:
    """The mean over some iterations, after a few to warm up."""
    trainer = Trainer(compose_table({"variant": VARIANT, **table}, device="cpu"))
    for _ in range(3):
        trainer.iterate()
    start = time.perf_counter()
    for _ in range(TIMED):
        trainer.iterate()
    return (time.perf_counter() - start) / TIMED


def announce(todo: Sequence[Job], out: Path) -> None:
    """Prints what the runs will cost, at the speed of a few iterations of one of each kind."""
    waiting = [job for job in todo if not is_finished(out / job.name)]
    seconds: dict[tuple[int, bool], float] = {}
    for job in waiting:
        kind = (job.samples, "augment" in WAYS[job.way].train)
        if kind not in seconds:
            table = job.table(out)
            fresh = {key: value for key, value in table["train"].items() if key not in ("init_from", "freeze")}
            seconds[kind] = seconds_per_step({**table, "train": fresh})
    total = sum(job.steps * seconds[job.samples, "augment" in WAYS[job.way].train] for job in waiting)
    sources = [seed for seed in {job.seed for job in todo} if not Folder(out / f"source-seed{seed}").steps()]
    each = 2500 * seconds_per_step({"dataset": {"name": "digits", "classes": SOURCE}}) if sources else 0.0
    print(
        f"{len(waiting)} of {len(todo)} runs to make, about {total / 60:.0f} minutes on one core; "
        f"{len(sources)} sources, {len(sources) * each / 60:.0f} minutes.",
        flush=True,
    )


@functools.lru_cache(maxsize=1)
def held_out(samples: int, seed: int) -> tuple[zoo.ArrayDataset, Sample, Sample]:
    """All digits 5 to 9; of these those that are trained on; and as many others as are measured with."""
    everything = zoo.create("dataset", "digits", classes=TARGET)
    few = zoo.create("dataset", "digits", classes=TARGET, limit=samples, seed=seed)
    taken = {bytes(image.numpy()) for image in few.samples}
    order = Draws(seed).randperm(len(everything.samples)).tolist()
    others = [place for place in order if bytes(everything.samples[place].numpy()) not in taken][:HELD_OUT]
    return everything, Sample(few.samples, few.labels), Sample(everything.samples[others], everything.labels[others])


def evidence(dataset: zoo.ArrayDataset, real: Sample, judged: Sample) -> Evidence:
    return Evidence(
        tuple(dataset.shape), dataset.classes, len(judged), lambda: real, lambda: judged, dataset, draws=Draws(0)
    )


def figures(samples: int, seed: int, judged: Sample | None) -> dict[str, float]:
    """What is measured of generated samples; of the real ones that are held out if there are none, half by half."""
    dataset, trained, others = held_out(samples, seed)
    copies = measured("memorisation", MEMORISATION, evidence(dataset, trained, judged or others))
    memorised = {key_of("memorisation", name): value for name, value in copies.items()}
    if judged is None:
        about = evidence(dataset, others, others)
        floors = {
            key_of(name, figure): floor.mean
            for name, metric in METRICS.items()
            for figure, floor in floors_of(name, metric, about).items()
        }
        return floors | memorised
    found = evaluate(METRICS, evidence(dataset, others, judged), floors=0)
    return {key_of(each.metric, each.name): each.value for each in found} | memorised


def of_run(path: Path, samples: int, seed: int) -> dict[str, Any]:
    """A run's figures, and the time that it took."""
    run = zoo.load(path, device="cpu")
    judged = Sample(run.sample(HELD_OUT, seed=1000 + seed))
    return {"run_steps": run.step, "seconds": round(run.seconds, 1), **figures(samples, seed, judged)}


def rows(todo: Sequence[Job], out: Path) -> Iterator[dict[str, Any]]:
    """One line of the results after the other; real samples and the source as it is for each data set first."""
    said: set[tuple[int, int]] = set()
    for job in todo:
        begun = source(job.seed, out)
        key = (job.samples, job.seed)
        if key not in said:
            said.add(key)
            place = {"samples": job.samples, "seed": job.seed}
            yield {"name": f"real-{job.samples}-seed{job.seed}", "way": "real", **place, **figures(*key, None)}
            yield {"name": f"source-{job.samples}-seed{job.seed}", "way": "source", **place, **of_run(begun, *key)}
        path = made(out / job.name, job.table(out))
        yield {"name": job.name, **asdict(job), **of_run(path, *key)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1200], help="iterations on digits 5 to 9")
    parser.add_argument("--out", type=Path, default=Path("runs/gan-transfer"))
    parser.add_argument("--write", type=Path, default=RESULTS, help="the Markdown file whose tables are written")
    parser.add_argument("--finished", action="store_true", help="measure the runs that are there, and make none")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    todo = [job for job in jobs(arguments) if not arguments.finished or is_finished(arguments.out / job.name)]
    announce(todo, arguments.out)
    if arguments.dry_run:
        return
    raw = arguments.write.with_suffix(".json")
    known = json.loads(raw.read_text())["runs"] if raw.is_file() else []
    hardware = f"{os.cpu_count()} CPUs of {platform.machine()}, one thread, torch {torch.__version__}"
    for row in rows(todo, arguments.out):
        known = [other for other in known if other["name"] != row["name"]] + [{**row, "hardware": hardware}]
        raw.write_text(json.dumps({"runs": known}, indent=1) + "\n")
        print(json.dumps(row), flush=True)
        arguments.write.write_text(written(arguments.write.read_text(), known))


if __name__ == "__main__":
    main()
