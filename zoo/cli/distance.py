"""`zoo distance`: how far two sets of samples are from each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zoo.cli.tables import as_json, print_json

if TYPE_CHECKING:
    from zoo.metrics import Evidence, Sample


@click.command()
@click.argument("one")
@click.argument("other")
@click.option("--by", required=True, help="The metric: NAME, or NAME:VALUE of its first setting.")
@click.option("-n", "count", default=10_000, show_default=True, help="How many samples of each at most.")
@click.option(
    "--floors", default=5, show_default=True, type=click.IntRange(min=0), help="Times that a floor is measured."
)
@click.option("--set", "assignments", multiple=True, metavar="METRIC.SETTING=VALUE", help="Change a metric's setting.")
@click.option("--seed", default=0, show_default=True, help="The same seed takes the same samples.")
@click.option("--device", default="auto", show_default=True, help="Where runs make samples: auto, cpu, cuda or mps.")
@as_json
def distance(
    one: str,
    other: str,
    by: str,
    count: int,
    floors: int,
    assignments: tuple[str, ...],
    seed: int,
    device: str,
    json_: bool,
) -> None:
    """Measures how far OTHER is from ONE: array files (.npy, .npz), run folders, or data sets by name.

    The floor is the same figure between halves of ONE: what two samples of the same distribution get.

    \b
    Examples:
      zoo distance ring runs/mine --by wasserstein
      zoo distance real.npy fake.npy --by energy --json
      zoo distance gaussian-1d samples.npy --by histogram-js:50
    """
    from zoo.cli.evaluate import made_metrics, print_figures
    from zoo.measuring import evaluate
    from zoo.sources import samples_of

    metrics = made_metrics([by], assignments)
    pair = [samples_of(source, count, seed + number, device=device) for number, source in enumerate((one, other))]
    figures = list(evaluate(metrics, _evidence(pair[0], pair[1], seed), floors))
    if json_:
        print_json({"one": one, "other": other, "by": by, "figures": [asdict(figure) for figure in figures]})
    else:
        print_figures(figures)


def _evidence(one: Sample, other: Sample, seed: int) -> Evidence:
    from zoo.draws import Draws
    from zoo.errors import BadData
    from zoo.metrics import Evidence

    shapes = [tuple(sample.values.shape[1:]) for sample in (one, other)]
    if shapes[0] != shapes[1]:
        raise BadData(f"samples of the shapes {shapes[0]} and {shapes[1]} have no distance.")
    labels = one.labels
    return Evidence(
        shape=shapes[0],
        classes=None if labels is None else int(labels.max()) + 1,
        size=min(len(one), len(other)),
        draw_real=lambda: one,
        draw_fake=lambda: other,
        draws=Draws(seed),
    )
