"""`zoo transfer`: accuracy against the number of labelled samples, for each way of tuning and from scratch."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json, print_wide
from zoo.errors import INTERRUPTED
from zoo.layering import parse_assignment
from zoo.recipe import DOWNLOAD

if TYPE_CHECKING:
    from zoo.comparing.place import Place
    from zoo.tuning.amounts import Amount, CatchUp, Study

OPTIONS = ("lr", "layer_decay", "steps", "batch_size", "augment", "smoothing")
"""Options that all runs have alike."""


@click.command()
@click.argument("backbone", metavar="BACKBONE|RUN")
@click.option("--dataset", required=True, help="Data set with labels, such as digits, image-folder:PATH.")
@click.option("--shots", default="1,2,5,10,20,50,all", show_default=True, help="Labelled samples of each class.")
@click.option(
    "--tune",
    default="scratch,head,last-1,last-2,all,lp-ft",
    show_default=True,
    help="Ways: those of zoo finetune, and scratch, the same network with random weights.",
)
@click.option("--seeds", default=5, show_default=True, help="How many seeds, from 0; they choose the shots too.")
@click.option("--steps", type=int, help="Iterations of each run; 500 if not said.")
@click.option("--lr", type=float, help="Learning rate of the head; 0.001 if not said.")
@click.option(
    "--layer-decay", type=float, help="A stage's learning rate is so many times the next one's; 1 if not said."
)
@click.option("--batch-size", type=int, help="Samples per optimiser step; 32, or all there are.")
@click.option("--augment", multiple=True, help="flip, crop, trivial, rand or erase; may be repeated.")
@click.option("--smoothing", type=float, help="Label smoothing; 0 if not said.")
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change a setting of all.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@click.option("--download", is_flag=True, help="Let the data set download its files.")
@click.option("--jobs", type=int, help="Runs at once; one a core if not given, one on a GPU.")
@click.option("--executor", default="", metavar="dask://HOST:PORT", help="A Dask cluster; this machine if not given.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; made from backbone and data set if not given.")
@click.option("--keep-weights", is_flag=True, help="Keep what each run has learnt, which may take much space.")
@click.option("--retry-failed", is_flag=True, help="Make anew what failed before.")
@click.option("--quiet", is_flag=True, help="No progress bar, and no estimate of the time.")
@as_json
def transfer(json_: bool, **options: Any) -> None:
    """Says how few labelled samples are enough: accuracy by way of tuning, and where scratch catches up.

    Every way is trained on as many samples of each class, with several seeds, and tested on the same samples that are
    kept out. The weights of the last iteration count: no label but those of the shots is used. The same command again
    does what is missing; shots, ways and seeds may be added.

    \b
    Examples:
      zoo transfer timm:resnet18 --set backbone.checkpoint=resnet18.safetensors --dataset image-folder:flowers
      zoo transfer runs/pretrained --dataset digits --shots 1,5,25,all --tune scratch,head,all --seeds 5
    """
    from zoo.comparing.run import Way
    from zoo.tuning.transfer import Asked, shots_of, studied, ways_of

    changes = [parse_assignment(text) for text in options["assignments"]]
    asked = Asked(
        backbone=options["backbone"],
        dataset=options["dataset"],
        shots=shots_of(options["shots"]),
        ways=ways_of(options["tune"]),
        seeds=options["seeds"],
        options={key: list(v) if key == "augment" else v for key in OPTIONS if (v := options[key]) not in (None, ())},
        assignments=[*changes, (["dataset", DOWNLOAD], True)] if options["download"] else changes,
        device=options["device"],
    )
    way = Way(
        **{name: options[name] for name in ("files", "jobs", "executor", "retry_failed")},
        progress=not options["quiet"],
        keep=1 if options["keep_weights"] else 0,
    )
    say = None if options["quiet"] else lambda text: click.echo(text, err=True)
    _report(*studied(asked, options["out"], way, say), json_)


def _report(place: Place, study: Study, json_: bool) -> None:
    if json_:
        print_json({"folder": str(place.path), **asdict(study)})
    elif any(each.runs for each in study.amounts):
        _print(place, study)
    if study.missing:
        text = f"\nStopped with {study.missing} runs to go. Go on with the same command (--out {place.path})."
        click.echo(text, err=True)
        sys.exit(INTERRUPTED)
    if not any(each.seeds for each in study.amounts):
        sys.exit(1)


def _print(place: Place, study: Study) -> None:
    from zoo.comparing.report import NAME
    from zoo.tuning.amounts import PLOT, TABLE

    click.echo(
        f"Accuracy in % on {study.tested} test samples, by labelled samples of each class: the mean over "
        f"{len(study.seeds)} seeds,\nand beneath it its 95% interval"
    )
    _print_accuracy(study)
    if study.catch_ups:
        click.echo(
            "\nSamples of each class with which scratch is as good (its mean curve, straight between its points in "
            "log samples);\n~ where the intervals of the way and of scratch overlap at that number of shots"
        )
        _print_catch_ups(study)
    for run, error in study.failures.items():
        click.echo(f"\n{run}, failed: {error}")
    click.echo()
    files = {"plot": PLOT, "figures": TABLE, "report": NAME}
    for name, file in files.items():
        click.echo(f"{name:8} {place.path / file}")


def _print_accuracy(study: Study) -> None:
    rows: list[tuple[str, list[str]]] = []
    for way in study.ways:
        found = {each.shots: each for each in study.of(way)}
        cells = [found.get(shots) for shots in study.shots]
        rows.append((way, ["-" if each is None or each.mean is None else f"{each.mean:.1%}"[:-1] for each in cells]))
        rows.append(("", [_interval(each) for each in cells]))
    print_wide("WAY", [_heading(study, shots) for shots in study.shots], rows)


def _heading(study: Study, shots: str) -> str:
    counts = [each.per_class for each in study.amounts if each.shots == shots]
    return f"ALL ({counts[0]:.3g})" if shots == "all" else shots


def _interval(amount: Amount | None) -> str:
    failed = "" if amount is None or not amount.failures else f" {amount.failures} failed"
    if amount is None or amount.low is None or amount.high is None:
        return failed
    return f"{amount.low * 100:.1f}-{amount.high * 100:.1f}{failed}"


def _print_catch_ups(study: Study) -> None:
    found = {(each.way, each.shots): each for each in study.catch_ups}
    ways = list(dict.fromkeys(each.way for each in study.catch_ups))
    rows = [(way, [_needed(found.get((way, shots))) for shots in study.shots]) for way in ways]
    print_wide("WAY", [_heading(study, shots) for shots in study.shots], rows)


def _needed(found: CatchUp | None) -> str:
    if found is None:
        return "-"
    sign = {"": "", "at most": "<=", "more than": ">"}[found.bound]
    return f"{sign}{found.samples:.3g}{' ~' if found.overlaps else ''}"
