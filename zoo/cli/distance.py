"""`zoo distance`: how far two sets of samples are from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json

if TYPE_CHECKING:
    from zoo.measuring import Figure
    from zoo.metrics import Evidence, Sample
    from zoo.neural.distance import NeuralDistance

NEURAL = "neural"


@click.command()
@click.argument("one")
@click.argument("other")
@click.option("--by", default="", metavar="METRIC", help="NAME, NAME:VALUE of its first setting, or neural:VARIANT.")
@click.option("-n", "count", default=10_000, show_default=True, help="How many samples of each at most.")
@click.option(
    "--floors", default=5, show_default=True, type=click.IntRange(min=0), help="Times that a floor is measured."
)
@click.option(
    "--seeds", default=4, show_default=True, type=click.IntRange(min=1), help="Critics of neural:VARIANT, one a seed."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME.SETTING=VALUE",
    help="Change a setting of the metric, or of the variant as in zoo train.",
)
@click.option("--own-weight", is_flag=True, help="Leave the penalty of neural:VARIANT as strong as it is.")
@click.option("--seed", default=0, show_default=True, help="The same seed takes the same samples.")
@click.option("--device", default="auto", show_default=True, help="Of runs and of critics: auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def distance(one: str, other: str, by: str, json_: bool, **options: Any) -> None:
    """Measures how far OTHER is from ONE: array files (.npy, .npz), folders of images, runs, or data sets by name.

    The floor is the same figure between halves of ONE: what two samples of the same distribution get.

    neural:VARIANT trains that variant's critic between the two, once a seed, and has it judge samples that it has not
    seen. neural:wgan-lp is the choice for W1, neural:vanilla for JS; docs/distances.md says how near they come.

    \b
    Examples:
      zoo distance ring runs/mine --by wasserstein
      zoo distance real.npy fake.npy --by energy --json
      zoo distance gaussian-1d samples.npy --by histogram-js:50
      zoo distance real.npy fake.npy --by neural:wgan-lp
      zoo distance digits photos/ --by neural:vanilla --seeds 2 --set train.steps=300
    """
    from zoo.errors import UsageError
    from zoo.plugins import installed

    if not by:
        raise UsageError("say what to measure by: --by wasserstein, --by neural:wgan-lp, or one of 'zoo list metric'.")
    for file in options["files"]:
        installed().add_file(file)
    name, _, variant = by.partition(":")
    measure = _neural if name == NEURAL else _by_metric
    figures, more = measure(variant if name == NEURAL else by, _samples(one, other, options), options)
    first = asdict(figures[0])
    if json_:
        about = {"one": one, "other": other, "by": by, "distance": first["value"], "floor": first["floor"]}
        print_json({**about, **more, "figures": [asdict(figure) for figure in figures]})
        return
    from zoo.cli.evaluate import print_figures

    print_figures(figures)
    if more:
        _print_critics(more)


def _by_metric(by: str, pair: Sequence[Sample], options: dict[str, Any]) -> tuple[list[Figure], dict[str, Any]]:
    from zoo.cli.evaluate import made_metrics
    from zoo.measuring import evaluate

    metrics = made_metrics([by], options["assignments"])
    evidence, floors = _evidence(pair[0], pair[1], options["seed"]), options["floors"]
    _refuse_small_floor(by, metrics[by], len(pair[0]), floors)
    return list(evaluate(metrics, evidence, floors)), {}


def _neural(variant: str, pair: Sequence[Sample], options: dict[str, Any]) -> tuple[list[Figure], dict[str, Any]]:
    from zoo.errors import UsageError
    from zoo.layering import parse_assignment
    from zoo.neural.distance import neural_distance

    if not variant:
        raise UsageError("say which variant's critic is to measure: --by neural:VARIANT (zoo list variant).")
    found = neural_distance(
        variant,
        *(sample.values for sample in pair),
        seeds=options["seeds"],
        floors=options["floors"],
        settings={".".join(path): value for path, value in map(parse_assignment, options["assignments"])},
        own_weight=options["own_weight"],
        seed=options["seed"],
        device=options["device"],
        progress=True,
    )
    more = {key: value for key, value in asdict(found).items() if key not in ("distance", "floor", "size")}
    return _figures(found), more


def _figures(found: NeuralDistance) -> list[Figure]:
    from zoo.measuring import Figure

    by = f"{NEURAL}:{found.variant}"
    return [
        Figure(by, found.estimates, found.distance, "lower", found.size, found.floor),
        Figure(by, "estimate", found.estimate, "", found.size, None),
        Figure(by, "slope", found.slope, "", found.size, None, aim=found.constant),
    ]


def _print_critics(more: dict[str, Any]) -> None:
    said = ", ".join(f"{critic['distance']:.4g}" for critic in more["critics"])
    click.echo(
        f"\n{len(more['critics'])} critics, each on samples that were held out: {said}; deviation {more['spread']:.2g}."
    )
    if more["estimates"].startswith("W1"):
        click.echo("W1 is each critic's own estimate divided by its slope, which 99 % of the points do not exceed.")


def _samples(one: str, other: str, options: dict[str, Any]) -> list[Sample]:
    """Both samples; a folder of images is read in the shape of the other."""
    from zoo.sources import is_image_folder, samples_of

    sources = dict(enumerate((one, other)))
    found: dict[int, Sample] = {}
    for number in sorted(sources, key=lambda number: is_image_folder(sources[number])):
        shape = next((sample.values.shape[1:] for sample in found.values()), None)
        found[number] = samples_of(
            sources[number], options["count"], options["seed"] + number, shape=shape, device=options["device"]
        )
        if is_image_folder(sources[number]):
            read = " x ".join(map(str, found[number].values.shape[1:]))
            click.echo(f"{sources[number]}: {len(found[number])} images, converted to {read}.", err=True)
    return [found[number] for number in sources]


def _refuse_small_floor(by: str, metric: Any, size: int, floors: int) -> None:
    from zoo.errors import BadData

    if floors and metric.compares and size // 2 < metric.least <= size:
        raise BadData(
            f"a floor of {by} is measured between halves, for which there must be {2 * metric.least} samples and not "
            f"{size}; do without with --floors 0."
        )


def _evidence(one: Sample, other: Sample, seed: int) -> Evidence:
    from zoo.draws import Draws
    from zoo.errors import BadData
    from zoo.metrics import Evidence

    shapes = [tuple(sample.values.shape[1:]) for sample in (one, other)]
    if shapes[0] != shapes[1]:
        raise BadData(f"samples of the shapes {shapes[0]} and {shapes[1]} have no distance; the shapes must be equal.")
    labels = one.labels
    return Evidence(
        shape=shapes[0],
        classes=None if labels is None else int(labels.max()) + 1,
        size=min(len(one), len(other)),
        draw_real=lambda: one,
        draw_fake=lambda: other,
        draws=Draws(seed),
    )
