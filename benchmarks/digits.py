"""Every installed variant on scikit-learn's digits with its own settings, beside real digits and beside Gaussians.

Usage: python benchmarks/digits.py [--only VARIANT...] [--seeds 3] [--steps N] [--jobs 1] [--stacked]

Each variant is a comparison (`zoo compare`) with itself in a folder of its own, since each has its own number of steps:
the same command again does what is missing, and what was trained is only measured. It says what it will cost before
it begins. The tables stand in docs/results/digits.md between two marks, everything measured in a JSON file beside it.

Not a GAN, but a scale: `Gaussian` has the mean and the full covariance of the digits, `Gaussian per class` those of
each class, in its share; both are clipped to the range of pixels.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from digits_tables import DIGITS, STACKED, Found, Part, write_part
from torch import Tensor

import zoo
from zoo.api import compose_table
from zoo.comparing.measures import made
from zoo.comparing.place import Place, missing
from zoo.comparing.results import Comparison
from zoo.errors import ZooError
from zoo.measuring import FLOORS, evaluate, key_of, real_evidence
from zoo.plugins import installed
from zoo.trainer import Trainer
from zoo.writing import write_whole

RESULTS = Path(__file__).parent.parent / "docs" / "results"
WARM, TIMED = 3, 20
"""Iterations before those that are timed, and those."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    part = STACKED if arguments.stacked else DIGITS
    variants = part.variants or tuple(entry.name for entry in installed().index.select("variant"))
    trainers, refused = composed(part, dict.fromkeys([*variants, *arguments.only]), arguments.steps)
    wanted = [variant for variant in arguments.only or variants if variant in trainers]
    _say_cost(part, {variant: seconds_of(trainers[variant]) for variant in wanted}, arguments)
    found = Found(part, references(part), refused=refused)
    for variant in wanted:
        _compare(part, variant, arguments)
        comparisons = dict(done(part, arguments.out))
        times = {name: spent(arguments.out / part.dataset / name) for name in comparisons}
        waiting = tuple(name for name in trainers if name not in comparisons)
        found = replace(found, comparisons=comparisons, processor=times, waiting=waiting)
        write_json(found, arguments.results)
        write_part(found, arguments.results / "digits.md")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="VARIANT", help="these; otherwise all installed ones, stacked wgan-gp"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--steps", type=int, help="iterations; each variant's own if not given")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/digits-benchmark"), help="where the runs lie")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where tables and JSON are written")
    parser.add_argument("--stacked", action="store_true", help="on stacks of three digits: 1,000 modes")
    return parser.parse_args()


def composed(part: Part, variants: Iterable[str], steps: int | None) -> tuple[dict[str, Trainer], dict[str, str]]:
    """What trains each variant on these data, and why others cannot be trained on them."""
    trainers, refused = {}, {}
    for variant in variants:
        train = {} if steps is None else {"train": {"steps": steps}}
        table = {"variant": variant, "dataset": {"name": part.dataset}, **train}
        try:
            trainers[variant] = Trainer(compose_table(table, device="cpu"))
        except ZooError as error:
            refused[variant] = str(error)
    return trainers, refused


def seconds_of(trainer: Trainer) -> float:
    """How long its whole training will take here, by a few iterations."""
    for _ in range(WARM):
        trainer.iterate()
    begun = time.monotonic()
    for _ in range(TIMED):
        trainer.iterate()
    return (time.monotonic() - begun) / TIMED * trainer.train.steps


def _say_cost(part: Part, costs: Mapping[str, float], arguments: argparse.Namespace) -> None:
    total = 0.0
    for variant, seconds in costs.items():
        missing_runs = max(0, arguments.seeds - runs_in(arguments.out / part.dataset / variant))
        total += missing_runs * seconds
        print(f"{variant}: {missing_runs} of {arguments.seeds} runs to make, about {seconds:.0f} s each", flush=True)
    print(f"about {total / 60 / arguments.jobs:.0f} minutes in all", flush=True)


def _compare(part: Part, variant: str, arguments: argparse.Namespace) -> None:
    """Makes what is missing of a variant. Exits if that is not possible or not wanted any more."""
    folder = arguments.out / part.dataset / variant
    before, begun = runs_in(folder), _processor_seconds()
    try:
        comparison = zoo.compare(
            variant,
            dataset=part.dataset,
            seeds=arguments.seeds,
            steps=arguments.steps,
            metrics=part.metrics,
            samples=part.samples,
            points=1,
            networks="own",
            device="cpu",
            out=folder,
            jobs=arguments.jobs,
        )
    except ZooError as error:
        sys.exit(f"{variant}: {error}")
    made_now, stopped = runs_in(folder) - before, any(missing(comparison))
    if made_now or stopped:
        _note(folder, made_now, _processor_seconds() - begun)
    if stopped:
        sys.exit("stopped; the same command goes on.")
    print(f"{variant}: {len(comparison.cells)} runs measured", flush=True)


def runs_in(folder: Path) -> int:
    """How many runs of a comparison are done."""
    held = Place(folder).read()
    return len(held.cells) if held else 0


def _processor_seconds() -> float:
    """What this process and those that it has waited for have computed."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _note(folder: Path, runs: int, seconds: float) -> None:
    """Adds up the processor time of a variant's runs, beside its folder; what measuring takes is a part of it."""
    before = spent(folder)
    note = {"runs": before["runs"] + runs, "seconds": before["seconds"] + seconds}
    write_whole(_note_of(folder), json.dumps(note).encode())


def spent(folder: Path) -> dict[str, float]:
    """The processor time noted for a variant's folder, and for how many runs."""
    note = _note_of(folder)
    found: dict[str, float] = json.loads(note.read_text()) if note.is_file() else {"runs": 0, "seconds": 0.0}
    return found


def _note_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.processor.json")


def done(part: Part, out: Path) -> Iterator[tuple[str, Comparison]]:
    """The comparisons that there are, by variant."""
    for folder in sorted((out / part.dataset).glob("*")):
        held = Place(folder).read()
        if held is not None:
            yield folder.name, held


def references(part: Part) -> dict[str, list[dict[str, float]]]:
    """The figures of Gaussians, by name, of several draws each."""
    evidence = real_evidence(zoo.create("dataset", part.dataset), part.samples)
    real, metrics = evidence.real, made(part.metrics, installed())
    assert real.labels is not None
    kinds = {"Gaussian": torch.zeros_like(real.labels)}
    if part.classwise:
        kinds["Gaussian per class"] = real.labels
    found: dict[str, list[dict[str, float]]] = {}
    for name, labels in kinds.items():
        for seed in range(FLOORS):
            judged = evidence.between(real, zoo.Sample(gaussians(real.values, labels, seed)))
            figures = evaluate(metrics, judged, floors=0)
            found.setdefault(name, []).append({key_of(each.metric, each.name): each.value for each in figures})
    return found


def gaussians(values: Tensor, labels: Tensor, seed: int) -> Tensor:
    """As many samples as `values`, of a Gaussian for each label with its mean and covariance, clipped to [-1, 1]."""
    rng = np.random.default_rng(seed)
    drawn = []
    for label in sorted(set(labels.tolist())):
        rows = values[labels == label].flatten(1).double().numpy()
        drawn.append(rng.multivariate_normal(rows.mean(0), np.cov(rows, rowvar=False), len(rows)).clip(-1, 1))
    return torch.from_numpy(np.concatenate(drawn)).float().view_as(values)


def write_json(found: Found, results: Path) -> None:
    """Everything measured, with recipes, seeds, versions and times."""
    table = {
        "references": found.references,
        "refused": found.refused,
        "processor": found.processor,
        "variants": {variant: asdict(comparison) for variant, comparison in found.comparisons.items()},
    }
    write_whole(results / f"{found.part.dataset}.json", (json.dumps(table, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
