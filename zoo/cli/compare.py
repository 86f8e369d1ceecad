"""`zoo compare`: contenders trained alike over several seeds, and how sure it is which is better."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json, print_table, print_wide
from zoo.errors import INTERRUPTED
from zoo.layering import parse_assignment

if TYPE_CHECKING:
    from zoo.comparing.place import Place
    from zoo.comparing.results import Cell, Comparison


@click.command()
@click.argument("contenders", nargs=-1, required=True, metavar="VARIANT|RECIPE|RUN...")
@click.option("--dataset", default="", help="Data set; that of the first run or recipe file if not given.")
@click.option("--seeds", default=3, show_default=True, help="How many seeds, from 0.")
@click.option("--steps", type=int, help="Budget: iterations; the first contender's own if there is no budget.")
@click.option("--critic-updates", type=int, help="Budget: optimiser steps of the critic.")
@click.option("--seconds", type=float, help="Budget: time of training; how many steps fit is measured once.")
@click.option("--metric", "metrics", multiple=True, help="NAME or NAME:VALUE; the first one is the main one.")
@click.option("-n", "--samples", default=2000, show_default=True, help="How many samples each figure is measured on.")
@click.option("--points", default=5, show_default=True, help="Measurements in the course of a training, about.")
@click.option(
    "--networks",
    type=click.Choice(["same", "own"]),
    default="same",
    show_default=True,
    help="Whether variants get the first one's generator and critic.",
)
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change a setting of all.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@click.option("--jobs", type=int, help="Runs at once; one a core if not given, one on a GPU.")
@click.option("--executor", default="", metavar="dask://HOST:PORT", help="A Dask cluster; this machine if not given.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; made from data set and contenders if not given.")
@click.option("--retry-failed", is_flag=True, help="Make anew what failed before.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@as_json
def compare(json_: bool, **options: Any) -> None:
    """Compares GANs fairly: the same data, networks and budget, several seeds, and how sure the difference is.

    A VARIANT is trained with the networks of the first one; a RECIPE file (.toml) and a RUN folder keep their own, and
    a run is measured only. The same command again does what is missing: seeds and contenders may be added. A run that
    fails is a result, and stops no other.

    \b
    Examples:
      zoo compare vanilla wgan wgan-gp --dataset digits --seeds 5 --seconds 60
      zoo compare wgan-gp my-recipe.toml --dataset ring --steps 2000 --metric sliced-wasserstein
      zoo compare runs/mine runs/other --metric prdc --json
    """
    from zoo.comparing.plan import Request
    from zoo.comparing.run import Way, carry_out

    ways = {name: options.pop(name) for name in ("files", "jobs", "executor", "retry_failed")}
    quiet, out = options.pop("quiet"), options.pop("out")
    assignments = [parse_assignment(text) for text in options.pop("assignments")]
    place, comparison = carry_out(
        Request(assignments=assignments, **options),
        out,
        Way(progress=not quiet, **ways),
        lambda text: click.echo(text, err=True),
    )
    _report(place, comparison, json_)


def _report(place: Place, comparison: Comparison, json_: bool) -> None:
    from zoo.comparing.place import missing
    from zoo.comparing.report import write_report

    left = len(list(missing(comparison)))
    report = write_report(comparison, place.path) if comparison.cells else None
    if json_:
        print_json(_table_of(comparison, place, report, left))
    elif report is not None:
        _print(comparison, place, report)
    if left:
        click.echo(f"\nStopped with {left} runs to go. Go on with the same command (--out {place.path}).", err=True)
        sys.exit(INTERRUPTED)
    if not any(cell.state == "finished" for cell in comparison.cells):
        sys.exit(1)


def _table_of(comparison: Comparison, place: Place, report: Path | None, left: int) -> dict[str, Any]:
    from zoo.comparing.statistics import beats, summaries
    from zoo.comparing.verdict import verdict

    odds = {
        key: [{"label": one, "other": other, **asdict(each)} for (one, other), each in beats(comparison, key).items()]
        for key in comparison.scales
    }
    return {
        "folder": str(place.path),
        "report": None if report is None else str(report),
        "missing": left,
        "verdict": verdict(comparison),
        "summaries": {key: [asdict(each) for each in summaries(comparison, key)] for key in comparison.scales},
        "odds": odds,
        **asdict(comparison),
    }


def _print(comparison: Comparison, place: Place, report: Path) -> None:
    from zoo.comparing.verdict import verdict

    main, *others = comparison.scales
    _print_main(comparison, main)
    _print_odds(comparison, main)
    _print_others(comparison, others)
    click.echo()
    print_table(("CONTENDER", "STEPS", "CRITIC UPDATES", "SECONDS"), list(_costs(comparison)))
    for cell in comparison.cells:
        if cell.state == "failed":
            click.echo(f"\n{cell.contender}, seed {cell.seed}, failed: {cell.error}")
    budget = f"{comparison.budget.amount:g} {comparison.budget.kind} each"
    click.echo()
    rows = [
        ("budget", f"{budget}; {comparison.about.get('jobs', '')}".rstrip("; ")),
        ("verdict", verdict(comparison)),
    ]
    print_table(("RESULT", ""), rows)
    # Apart from the table, which would break a long path.
    click.echo(f"report   {report}\nfolder   {place.path}")


def _print_main(comparison: Comparison, key: str) -> None:
    from zoo.comparing.statistics import summaries

    scale = comparison.scales[key]
    floor = "" if scale.floor is None else f", floor {scale.floor:.4g} ± {scale.spread or 0:.2g}"
    click.echo(f"{key} ({scale.better or 'neither way'} is better{floor}), {comparison.samples} samples\n")
    rows = [
        (
            _short(each.label),
            f"{each.runs - each.failures}/{each.runs}",
            _number(each.mean) + ("" if each.std is None else f" ± {each.std:.2g}"),
            _number(each.median),
            "-" if each.low is None else f"{_number(each.low)} to {_number(each.high)}",
            _with_seed(each.best, each.best_seed),
            _with_seed(each.worst, each.worst_seed),
        )
        for each in summaries(comparison, key)
    ]
    print_table(("CONTENDER", "RUNS", "MEAN ± STD", "MEDIAN", "95% OF MEAN", "BEST (SEED)", "WORST"), rows)


def _print_odds(comparison: Comparison, key: str) -> None:
    from zoo.comparing.statistics import beats
    from zoo.comparing.verdict import percent

    odds = beats(comparison, key)
    if not odds:
        return
    labels = [each.label for each in comparison.contenders]
    click.echo("\nHow probably a run of the row beats a run of the column")
    shown = {pair: percent(each.probability) for pair, each in odds.items()}
    rows = [(_short(one), [shown.get((one, other), "-") for other in labels]) for one in labels]
    print_wide("", [_short(label) for label in labels], rows)


def _print_others(comparison: Comparison, keys: Sequence[str]) -> None:
    from zoo.comparing.statistics import summaries

    if not keys:
        return
    click.echo("\nMedians of the other figures")
    labels = [_short(each.label) for each in comparison.contenders]
    rows = [
        (
            f"{key} ({comparison.scales[key].better})".removesuffix(" ()"),
            [_number(s.median) for s in summaries(comparison, key)],
        )
        for key in keys
    ]
    print_wide("", labels, rows)


def _costs(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """What the budget came to: steps and critic updates of each run, and the seconds that the runs took."""
    for contender in comparison.contenders:
        seconds = [cell.points[-1].seconds for cell in comparison.of(contender.label) if _finished(cell)]
        took = f"{min(seconds):.3g} to {max(seconds):.3g}" if seconds else "-"
        yield _short(contender.label), f"{contender.steps:,}", f"{contender.critic_updates:,}", took


def _finished(cell: Cell) -> bool:
    return cell.state == "finished" and bool(cell.points)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _with_seed(value: float | None, seed: int | None) -> str:
    return "-" if value is None else f"{value:.4g} ({seed})"


def _short(label: str) -> str:
    return label if len(label) <= 18 else f"{label[:17]}…"
