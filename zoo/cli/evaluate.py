"""`zoo evaluate`: figures about a run's samples, each beside what real samples get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json, print_table

if TYPE_CHECKING:
    from zoo.measuring import Figure
    from zoo.metrics import Evidence


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", "names", multiple=True, help="NAME or NAME:VALUE; all that fit if none.")
@click.option("-n", "count", default=10_000, show_default=True, help="How many samples; of a data set at most all.")
@click.option(
    "--floors", default=5, show_default=True, type=click.IntRange(min=0), help="Times that a floor is measured."
)
@click.option("--set", "assignments", multiple=True, metavar="METRIC.SETTING=VALUE", help="Change a metric's setting.")
@click.option("--seed", default=0, show_default=True, help="The same seed measures the same samples.")
@click.option("--step", type=int, help="The checkpoint of this step; the newest if not given.")
@click.option("--device", default="auto", show_default=True, help="Where samples are made: auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def evaluate(run: Path, json_: bool, **options: Any) -> None:
    """Measures the samples of RUN, a run folder, against its data.

    A figure alone says little: beside each stands its floor, the same figure between real samples (other draws of a
    density, halves of a data set), which is what a perfect generator would get.

    \b
    Examples:
      zoo evaluate runs/wgan-gp-digits-seed0
      zoo evaluate runs/wgan-gp-digits-seed0 --metric frechet:classifier --metric prdc --set prdc.k=3
      zoo evaluate runs/ring --metric mode-coverage -n 2500 --json
    """
    from tqdm import tqdm

    from zoo.errors import BadData
    from zoo.measuring import evidence_of, fitting, flattery
    from zoo.plugins import installed
    from zoo.run import load

    for file in options["files"]:
        installed().add_file(file)
    metrics = made_metrics(options["names"], options["assignments"])
    evidence = evidence_of(load(run, device=options["device"], step=options["step"]), options["count"], options["seed"])
    if not options["names"]:
        metrics, unfit = fitting(metrics, evidence)
        if unfit:
            click.echo(f"Left out, since they do not fit: {', '.join(unfit)}. --metric NAME says why.", err=True)
    for text in flattery(metrics, evidence):
        click.secho(f"Warning: {text}", fg="yellow", err=True)
    total = sum(len(metric.figures) for metric in metrics.values())
    with tqdm(total=total, desc="Measuring", unit="figure", leave=False, disable=None) as bar:
        figures, failures = _measured(metrics, evidence, options["floors"], bar)
    if json_:
        print_json([{"run": str(run), **asdict(figure)} for figure in figures])
    elif figures:
        print_figures(figures)
    if failures:
        raise BadData("\n".join(failures))


def made_metrics(names: Iterable[str], assignments: Iterable[str]) -> dict[str, Any]:
    """The metrics that are asked for, or all that are installed, by what they are asked for as."""
    from zoo.layering import parse_assignment
    from zoo.plugins import installed
    from zoo.recipe import Choice, choice_table
    from zoo.resolve import Components

    components = Components(installed())
    asked = list(names) or [entry.name for entry in components.plugins.index.select("metric")]
    changes = [parse_assignment(text) for text in assignments]
    made = {}
    for name in asked:
        table = choice_table(name, "--metric")
        own = {path[-1]: value for path, value in changes if path[:-1] == [table["name"]]}
        made[name] = components.metric(Choice.of({**table, **own}))[1]
    _refuse_unused(changes, made)
    return made


def _refuse_unused(changes: Iterable[tuple[list[str], Any]], metrics: Mapping[str, Any]) -> None:
    from zoo.errors import UnknownName

    known = {name.partition(":")[0] for name in metrics}
    for path, _ in changes:
        if path[0] not in known:
            raise UnknownName("metric of this evaluation", path[0], known)


def _measured(metrics: Mapping[str, Any], evidence: Evidence, floors: int, bar: Any) -> tuple[list[Figure], list[str]]:
    """The figures of all metrics that have some for these samples, and why the others have none."""
    from zoo.errors import BadData
    from zoo.measuring import evaluate as measure
    from zoo.measuring import refuse

    figures, failures = [], {}
    for name, metric in metrics.items():
        refuse(name, metric, evidence)
    for name, metric in metrics.items():
        try:
            for figure in measure({name: metric}, evidence, floors):
                figures.append(figure)
                bar.update()
        except BadData as error:
            failures[str(error)] = name
    return figures, list(failures)


def print_figures(figures: list[Figure]) -> None:
    """Prints figures as a table, and what their floor is."""
    rows = [(_name(f), f"{f.value:.4g}", f.better or "-", _floor(f), str(f.size), _times(f)) for f in figures]
    print_table(("FIGURE", "VALUE", "BETTER", "FLOOR", "SAMPLES", "TIMES"), rows)
    if any(_times(f) != "-" for f in figures):
        click.echo("\nTimes: the value over its floor, or over its aim; 1 is as real samples are.")
    if any(f.floor for f in figures):
        sizes = sorted({f.floor.size for f in figures if f.floor})
        click.echo(f"Floor: real samples against others, {' or '.join(map(str, sizes))} of each; mean and deviation.")
    if any(f.floor and f.floor.size < f.size for f in figures):
        click.echo("Of fewer samples most floors are higher: a figure below its floor is not better than real.")
    if any(f.better == "lower" and f.value < 0 for f in figures):
        click.echo("Below 0 where lower is better is as good as 0: less than is usual among real samples.")
    if any(f.aim is not None for f in figures):
        click.echo("Aim: what the figure should come to, such as the C of the critic's Lipschitz constraint.")


def _name(figure: Figure) -> str:
    return figure.metric if figure.name == figure.metric.partition(":")[0] else f"{figure.metric} {figure.name}"


def _floor(figure: Figure) -> str:
    if figure.aim is not None:
        return f"aim {figure.aim:.4g}"
    return "-" if figure.floor is None else f"{figure.floor.mean:.4g} ± {figure.floor.spread:.2g}"


def _times(figure: Figure) -> str:
    if figure.aim:
        return f"{figure.value / figure.aim:.2f}"
    if figure.floor is None or figure.better != "lower" or figure.floor.mean <= 0:
        return "-"
    return f"{figure.value / figure.floor.mean:.2f}"
