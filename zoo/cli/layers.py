"""`zoo layers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.layering import parse_assignment
from zoo.recipe import DOWNLOAD

if TYPE_CHECKING:
    from zoo.tuning.study import LayerFigures, Study


RANDOM = (
    "The weights are random: these are the figures of a network that has learnt nothing. For trained ones say --set "
    "backbone.checkpoint=FILE or backbone.pretrained=true, or name a run.\n"
)


@click.command()
@click.argument("backbone", metavar="BACKBONE|RUN")
@click.option("--dataset", help="Data set with labels, such as digits, image-folder:PATH; a RUN's own if not said.")
@click.option(
    "--pool",
    default="average",
    show_default=True,
    type=click.Choice(["average", "max", "gem"]),
    help="How a feature map becomes features.",
)
@click.option("--blocks", is_flag=True, help="Look at the blocks inside the stages, too.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Halve the samples in N ways.")
@click.option(
    "--samples", default=5000, show_default=True, type=click.IntRange(min=1), help="Of more, look at so many."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for layers.png and layers.json.")
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change one setting.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@click.option("--now", is_flag=True, help="Look at a RUN only as it is, and not as it began.")
@click.option("--download", is_flag=True, help="Let the data set download its files.")
@click.option("--allow-download", is_flag=True, help="Let the weights that a RUN began with be downloaded.")
@as_json
def layers(backbone: str, files: tuple[Path, ...], json_: bool, out: Path | None, **options: Any) -> None:
    """Says what features of each layer of a backbone are good for, by which to search, and which to tune.

    BACKBONE is a name, such as timm:resnet18; a RUN is looked at as it began and as it is. Features are pooled from
    each stage. The samples are halved: a linear probe and a vote of the nearest neighbours learn from one half; by the
    other one they are tested, and images of the same class are searched for in it. docs/layers.md explains the figures.

    \b
    Examples:
      zoo layers timm:resnet18 --dataset image-folder:flowers --set backbone.checkpoint=resnet18.safetensors
      zoo layers runs/resnet18-digits-all-seed0 --blocks --out layers/
    """
    from zoo.plugins import installed
    from zoo.tuning.layers import study_layers

    for file in files:
        installed().add_file(file)
    changes = [parse_assignment(text) for text in options.pop("assignments")]
    settings = {".".join(path): value for path, value in changes}
    if options.pop("download"):
        settings[f"dataset.{DOWNLOAD}"] = True
    study = study_layers(backbone, settings=settings, began=not options.pop("now"), **options)
    files_ = [] if out is None else _write(out, study)
    if json_:
        print_json({**study.table(), "files": [str(file) for file in files_]})
    else:
        _print(study)
        for file in files_:
            click.echo(str(file))


def _write(folder: Path, study: Study) -> list[Path]:
    import json

    from zoo.tuning.layer_pictures import save_layers
    from zoo.writing import saving, write_whole

    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "layers.json", folder / "layers.png"]
    write_whole(written[0], json.dumps(study.table(), indent=2).encode())
    save_layers(written[1], study)
    return written


def _print(study: Study) -> None:
    header = ["LAYER", "WEIGHTS", "CHANNELS", "PIXELS", "PROBE", "5-NN", "RETRIEVAL mAP"]
    names = [each.layer for each in study.of(study.now)]
    in_order = sorted(study.layers, key=lambda each: names.index(each.layer))
    accuracy, retrieval = study.chance
    last = ["chance", "", "", "", f"{accuracy:.1%}", f"{accuracy:.1%}", f"{retrieval:.1%}"]
    print_table(header, [*map(_row, in_order), last])
    halved = f"in {study.seeds} ways (mean ± standard deviation)" if study.seeds > 1 else "in one way"
    click.echo(
        f"\nSamples of {study.dataset}: {study.which}.\n{study.train} to learn from, {study.test} to test with, halved "
        f"{halved}; {study.pool} pooling.\n"
        + ("" if study.learnt else RANDOM)
        + f"Search by {study.search_by.layer}: its retrieval mAP is the highest.\n{_advice(study)}"
    )


def _advice(study: Study) -> str:
    kept = study.kept
    whose = "" if kept.weights == study.now else f"with the weights {kept.weights}, "
    if not study.tuned:
        return f"Tune the head alone (--tune head): {whose}the linear probe is best at {kept.layer}, the last stage."
    return (
        f"Tune {', '.join(study.tuned)} (--tune {study.way}): {whose}the linear probe is nowhere behind {kept.layer} "
        "better by more than its standard error."
    )


def _row(each: LayerFigures) -> list[str]:
    from zoo.tuning.study import FIGURES

    size = f"{each.size[0]}x{each.size[1]}"
    return [each.layer, each.weights, str(each.channels), size, *(_told(each, figure) for figure in FIGURES)]


def _told(each: LayerFigures, figure: str) -> str:
    spread = each.spread(figure)
    return f"{each.mean(figure):.1%}" + ("" if spread is None else f" ± {spread:.1%}")
