"""`zoo finetune` and `zoo predict`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.errors import INTERRUPTED, UsageError
from zoo.layering import parse_assignment
from zoo.recipe import DOWNLOAD

if TYPE_CHECKING:
    from zoo.tuning.result import Result

LISTS = ("augment",)
OWN = (
    *("device", "files", "out", "name", "seeds", "epochs", "assignments", "download", "dry_run", "quiet", "json_"),
    "processes",
)
"""Options that are no settings of a recipe."""
SCRATCH = (
    "zoo: the backbone has random weights, so that this trains it from scratch. For weights that have learnt something "
    "say --set backbone.checkpoint=FILE or backbone.pretrained=true, or name a run."
)


@click.command()
@click.argument("backbone", metavar="BACKBONE|RUN")
@click.option("--dataset", required=True, help="Data set with labels, such as digits, image-folder:PATH.")
@click.option("--tune", help="What is trained: head, last-K, all, gradual or lp-ft; all if not said.")
@click.option("--lr", type=float, help="Learning rate of the head; 0.001 if not said.")
@click.option(
    "--layer-decay", type=float, help="A stage's learning rate is so many times the next one's; 1 if not said."
)
@click.option("--shots", type=int, help="Labelled samples of each class to train on; all if not said.")
@click.option("--steps", type=int, help="Iterations; 500 if not said.")
@click.option("--epochs", type=float, help="How often each sample is trained on, instead of --steps.")
@click.option("--batch-size", type=int, help="Samples per optimiser step; 32, or all there are.")
@click.option("--augment", multiple=True, help="flip, crop, trivial, rand or erase; may be repeated.")
@click.option("--smoothing", type=float, help="Label smoothing; 0 if not said.")
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), help="balanced counts each class alike.")
@click.option("--patience", type=int, help="End after so many validations without a better one.")
@click.option("--validate-every", type=int, help="Iterations between two validations; 100 if not said.")
@click.option("--classifier", help="Another network than a linear layer on the pooled last stage.")
@click.option("--seed", type=int, help="What every random number follows from, the choice of the shots included.")
@click.option("--seeds", type=click.IntRange(min=1), help="Tune with so many seeds, from 0, and say how they differ.")
@click.option("--precision", type=click.Choice(["32", "bf16"]), help="Arithmetic of the networks.")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="Share each batch among N processes.")
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change one setting.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--name", default="", help="The run's name; made from backbone, data set, way and seed if not given.")
@click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of runs.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@click.option("--download", is_flag=True, help="Let the data set download its files.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and the networks' sizes; train nothing.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@as_json
def finetune(backbone: str, json_: bool, **options: Any) -> None:
    """Tunes a backbone to labelled images, and tests it on images that it never saw.

    BACKBONE is a name, such as timm:resnet18, or the folder of a RUN whose critic or classifier stands on a backbone.
    Of each class a tenth validates and a fifth tests (procedure.validation, procedure.test); the best weights by
    validation are the ones that count.

    \b
    Examples:
      zoo finetune timm:resnet18 --dataset digits
      zoo finetune timm:resnet18 --dataset image-folder:flowers --set backbone.checkpoint=resnet18.safetensors \\
          --tune last-2 --layer-decay 0.65 --augment flip --augment crop
      zoo finetune runs/my-gan --dataset digits --tune head --shots 10 --seeds 5
    """
    from zoo.cli.train import launch_again
    from zoo.launch import note_end
    from zoo.plugins import installed

    if (options["processes"] or 1) > 1 and not options["dry_run"]:
        launch_again(options["processes"])
        return
    for file in options["files"]:
        installed().add_file(file)
    if options["seed"] is not None and options["seeds"] is not None:
        raise UsageError("--seeds N tunes with the seeds from 0 to N-1; leave --seed out.")
    seeds = range(options["seeds"]) if options["seeds"] else [options["seed"] or 0]
    results = [result for seed in seeds if (result := _tuned(backbone, seed, json_, options)) is not None]
    note_end()
    if json_ and results:
        print_json([asdict(result) for result in results])
    elif len(results) > 1:
        _print_seeds(results)


def _tuned(backbone: str, seed: int, json_: bool, options: dict[str, Any]) -> Result | None:
    """One fine-tuning; None for a dry run."""
    from zoo.api import start
    from zoo.backbones import Backbone
    from zoo.cli.train import print_composition
    from zoo.processes import is_first, launched
    from zoo.run import load
    from zoo.tuning.result import tested, write_result
    from zoo.tuning.supervised import PART
    from zoo.tuning.tune import composed, tuned_path, tuning_table

    named = {k: v for k, v in options.items() if k not in OWN and v not in (None, ())} | {"seed": seed}
    named |= {key: list(named[key]) for key in LISTS if key in named}
    if options["steps"] is not None and options["epochs"] is not None:
        raise UsageError("give --steps or --epochs, not both.")
    table = tuning_table(backbone, named.pop("dataset"), named)
    composition = composed(table, _assignments(options), device=options["device"], epochs=options["epochs"])
    if options["dry_run"]:
        print_composition(composition, json_)
        return None
    name = options["name"] and (f"{options['name']}-seed{seed}" if options["seeds"] else options["name"])
    path = tuned_path(options["out"], name, composition)
    backbones = (m for m in composition.networks[PART].modules() if isinstance(m, Backbone))
    if is_first() and any(each.random for each in backbones):
        click.echo(SCRATCH, err=True)
    outcome = start(composition, path, progress=not options["quiet"])
    if not is_first():
        return None
    run = load(path, device=options["device"])
    found = tested(run)
    pictures = write_result(run, found)
    if not json_:
        _print_result(found.result, outcome, pictures)
    if outcome.state == "interrupted":
        click.echo(f"Stopped and saved. Go on with: zoo train --resume {path}", err=True)
        if not launched():
            sys.exit(INTERRUPTED)
    return found.result


def _assignments(options: dict[str, Any]) -> list[tuple[list[str], Any]]:
    changes = [parse_assignment(text) for text in options["assignments"]]
    return [*changes, (["dataset", DOWNLOAD], True)] if options["download"] else changes


def _print_result(result: Result, outcome: Any, pictures: Path) -> None:
    rows = [
        ("accuracy", f"{result.accuracy:.1%} of {result.samples} test samples ({result.low:.1%} to {result.high:.1%})"),
        ("trained on", f"{result.trained} samples, {outcome.step:,} steps, {outcome.seconds:.0f} s"),
        ("weights", f"of step {result.step}"),
        ("pictures", str(pictures)),
        ("run", result.run),
    ]
    click.echo()
    print_table(("RESULT", ""), rows)


def _print_seeds(results: list[Result]) -> None:
    from statistics import mean, stdev

    from zoo.tuning.result import interval

    values = [result.accuracy for result in results]
    found = interval(results)
    assert found is not None
    click.echo(
        f"\nAccuracy over {len(values)} seeds: {mean(values):.1%} ± {stdev(values):.1%} (95% interval of the mean "
        f"{found[0]:.1%} to {found[1]:.1%}; worst {min(values):.1%}, best {max(values):.1%})."
    )


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def predict(run: Path, images: tuple[Path, ...], json_: bool, device: str, files: tuple[Path, ...]) -> None:
    """Says which class each of IMAGES, files or folders of pictures, is of, by the classifier of RUN.

    \b
    Examples:
      zoo predict runs/resnet18-digits-all-seed0 photo.png other.jpg
      zoo predict runs/resnet18-digits-all-seed0 photos/ --json
    """
    from zoo.images import image_files, read_images
    from zoo.plugins import installed
    from zoo.run import load
    from zoo.tuning.result import predictions

    for file in files:
        installed().add_file(file)
    loaded = load(run, device=device)
    paths = image_files(images)
    found = predictions(loaded, read_images(paths, loaded.composition.dataset.shape))
    if json_:
        print_json([{"image": str(path), **each} for path, each in zip(paths, found, strict=True)])
    else:
        rows = [(e["class"], f"{e['probability']:.1%}", p) for p, e in zip(paths, found, strict=True)]
        print_table(("CLASS", "PROBABILITY", "IMAGE"), rows)
