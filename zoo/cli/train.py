"""`zoo train`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import tomli_w
from click.core import ParameterSource

from zoo.cli.tables import print_json, print_table
from zoo.errors import INTERRUPTED, UsageError
from zoo.layering import layered, parse_assignment
from zoo.recipe import DOWNLOAD, Table, named_table, normalized

RESUMABLE = {
    *("--resume", "--steps", "--on-divergence", "--download", "--device", "--plugin", "--profile", "--quiet", "--json")
}
"""Options that go with --resume."""
TRAINING = (
    *("steps", "batch_size", "seed", "precision", "channels_last", "compile", "cuda_graphs", "on_divergence"),
    "init_from",
)


@click.command()
@click.argument("variant", required=False, default="")
@click.option("--dataset", help="Data set, such as digits, ring, image-folder:PATH.")
@click.option("--generator", help="Generator, such as dcgan.")
@click.option("--critic", help="Critic; none for a distance that needs none.")
@click.option("--backbone", help="Backbone that the critic stands on, such as timm:resnet18.")
@click.option("--distance", help="Distance, such as wasserstein.")
@click.option("--procedure", help="Procedure; adversarial if not said.")
@click.option(
    "--lipschitz-constraint",
    "constraints",
    multiple=True,
    help="Lipschitz constraint; may be repeated; none for none.",
)
@click.option("--objective", "objectives", multiple=True, help="Further loss term; may be repeated; none for none.")
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change one setting.")
@click.option("--init-from", metavar="RUN", help="Begin with the weights of this run's networks.")
@click.option(
    "--freeze",
    multiple=True,
    metavar="PART:WHAT",
    help="Never train 'critic:stages<2', critic:all, generator:scale-shift (all but these); may be repeated.",
)
@click.option("--steps", type=int, help="Iterations in all; with --resume, the new total.")
@click.option("--batch-size", type=int, help="Samples per optimiser step.")
@click.option("--seed", type=int, help="What every random number follows from.")
@click.option("--precision", type=click.Choice(["32", "bf16"]), help="Arithmetic of the networks.")
@click.option(
    "--channels-last/--no-channels-last", default=None, help="Images and convolutions in torch's channels_last layout."
)
@click.option("--compile/--no-compile", default=None, help="Compile losses with their gradients, where that works.")
@click.option(
    "--cuda-graphs", type=click.Choice(["auto", "on", "off"]), help="Record steps as CUDA graphs; auto if not said."
)
@click.option(
    "--on-divergence",
    type=click.Choice(["stop", "rollback"]),
    help="When a loss becomes NaN: stop, or go on from the last checkpoint with lower learning rates.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Share each batch among N processes of this machine, on the GPUs there are or on the CPU.",
)
@click.option("--name", default="", help="The run's name; made from variant, data set and seed if not given.")
@click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of runs.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with this run.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@click.option("--download", is_flag=True, help="Let the data set download its files.")
@click.option("--allow-download", is_flag=True, help="Let a recipe file's backbone download its weights.")
@click.option("--allow-incompatible", is_flag=True, help="Go on with parts measured not to work together.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and the networks' sizes; train nothing.")
@click.option("--profile", is_flag=True, help="Write a trace of ten iterations, and print where their time goes.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--json", "json_", is_flag=True, help="Print the outcome as JSON (its keys: docs/cli.md).")
def train(variant: str, resumed: Path | None, files: tuple[Path, ...], **options: Any) -> None:
    """Composes a GAN by name and trains it.

    VARIANT is the name of a variant (zoo list variant) or a recipe file. Options replace its parts.
    Without it, all parts are named.

    \b
    Examples:
      zoo train wgan-gp --dataset digits
      zoo train wgan-gp --dataset ring --seed 1 --set generator.width=256
      zoo train --generator dcgan --critic backbone-heads --backbone timm:resnet18 \\
          --distance wasserstein --lipschitz-constraint gradient-penalty --dataset faces
      zoo train my-recipe.toml --steps 10000
      zoo train wgan-gp --dataset faces --init-from runs/many --freeze 'critic:stages<2'
      zoo train wgan-gp --dataset faces --processes 4
      zoo train --resume runs/wgan-ring-seed0 --steps 8000
    """
    if (options["processes"] or 1) > 1 and not options["dry_run"]:
        launch_again(options["processes"])
        return
    from zoo.plugins import installed

    plugins = installed()
    for file in files:
        plugins.add_file(file)
    if resumed is not None:
        _resume(resumed, options)
    else:
        _start(variant, options)


def launch_again(count: int) -> None:
    """Runs this same command in several processes, without its `--processes`."""
    from zoo.launch import launch

    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        raise UsageError("--processes starts torchrun, and this process was started by it: leave --processes out.")
    launch(count, _without_processes(sys.argv[1:]))


def _without_processes(arguments: Sequence[str]) -> list[str]:
    """What each process is told: the same command without `--processes`."""
    kept = [a for a in arguments if not a.startswith("--processes=")]
    if "--processes" in kept:
        place = kept.index("--processes")
        del kept[place : place + 2]
    return kept


def _resume(path: Path, options: dict[str, Any]) -> None:
    context = click.get_current_context()
    given = {p.opts[0] for p in context.command.params if p.name and _was_given(context, p.name)}
    changed = sorted(given - RESUMABLE)
    if changed:
        raise UsageError(
            f"a resumed run keeps its recipe: {', '.join(changed)} cannot be given; "
            "only --steps, --on-divergence and --download can."
        )
    from zoo.api import resume

    outcome = resume(
        path,
        steps=options["steps"],
        on_divergence=options["on_divergence"],
        download=options["download"],
        device=options["device"],
        progress=not options["quiet"],
        profile=options["profile"],
    )
    _report(outcome, path, options)


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _start(variant: str, options: dict[str, Any]) -> None:
    from zoo.api import compose_table, run_path, start

    assignments = [parse_assignment(text) for text in options["assignments"]]
    if options["download"]:
        assignments.append((["dataset", DOWNLOAD], True))
    composition = compose_table(
        _table(variant, options),
        assignments,
        device=options["device"],
        allow_incompatible=options["allow_incompatible"],
    )
    if options["dry_run"]:
        print_composition(composition, options["json_"])
        return
    path = run_path(options["out"], options["name"], composition.recipe)
    outcome = start(composition, path, progress=not options["quiet"], profile=options["profile"])
    _report(outcome, path, options)


def _table(variant: str, options: dict[str, Any]) -> Table:
    axes = ("dataset", "generator", "critic", "backbone", "distance", "procedure")
    above: Table = {axis: options[axis] for axis in axes if options[axis] is not None}
    if options["constraints"]:
        above["lipschitz_constraint"] = list(options["constraints"])
    if options["objectives"]:
        above["objective"] = list(options["objectives"])
    above["train"] = {key: options[key] for key in TRAINING if options[key] is not None}
    if options["freeze"]:
        above["train"]["freeze"] = list(options["freeze"])
    return layered([named_table(variant, options["allow_download"]), normalized(above, "the command line")])


def print_composition(composition: Any, json_: bool) -> None:
    """Prints a resolved recipe, and how large its networks are."""
    from zoo.trainer import parameter_count

    networks = composition.networks
    sizes = {name: parameter_count([network]) for name, network in networks.items()}
    trained = {name: parameter_count([network], trained=True) for name, network in networks.items()}
    if json_:
        print_json({"recipe": composition.recipe.table(), "parameters": sizes, "trained": trained})
        return
    click.echo(tomli_w.dumps(composition.recipe.table()))
    rows = [(name, f"{sizes[name]:,}", f"{trained[name]:,}") for name in networks]
    print_table(("NETWORK", "PARAMETERS", "TRAINED"), rows)


def _report(outcome: Any, path: Path, options: dict[str, Any]) -> None:
    from zoo.launch import note_end
    from zoo.processes import is_first, launched

    note_end()
    if not is_first():
        return
    if options["json_"]:
        print_json({"run": str(path), **vars(outcome)})
    else:
        _print_outcome(outcome, path, options["profile"])
    # What several processes end with is torchrun's: it would take this for a failure.
    if outcome.state == "interrupted" and not launched():
        sys.exit(INTERRUPTED)


def _print_outcome(outcome: Any, path: Path, profile: bool) -> None:
    if outcome.state == "interrupted":
        click.echo(f"\nStopped and saved at step {outcome.step}. Go on with: zoo train --resume {path}")
    rows = [
        ("steps", f"{outcome.step:,}"),
        ("time", f"{outcome.seconds:.0f} s ({outcome.rate:.1f} iterations/s)"),
    ]
    if outcome.estimate is not None:
        below = "; below 0: the critic cannot tell" if outcome.estimate < 0 else ""
        rows.append(("distance", f"{outcome.estimate:.4g} ({outcome.estimates}, as estimated in training{below})"))
    if outcome.rollbacks:
        last = outcome.rollbacks[-1]
        rates = f"learning rates times {last['rate_factor']:g} since step {last['to']}"
        rows.append(("rollbacks", f"{len(outcome.rollbacks)}, {rates}"))
    if outcome.picture:
        rows.append(("samples", outcome.picture))
    rows.append(("run", str(path)))
    click.echo()
    print_table(("RESULT", ""), rows)
    if outcome.profile is not None:
        _print_profile(outcome.profile)
    elif profile:
        click.echo("\nThe run was stopped before the iterations that are profiled; there is no trace.")


def _print_profile(profile: Mapping[str, Any]) -> None:
    click.echo(
        f"\n{profile['iterations']} iterations of {1000 * profile['seconds']:.1f} ms were profiled; open the trace"
    )
    click.echo(
        f"{profile['trace']} in chrome://tracing or ui.perfetto.dev. Outside the device: {profile['outside']:.0%}."
    )
    click.echo()
    header = ("COSTLIEST OPERATIONS", "CALLS AN ITERATION", "MS AN ITERATION", "SHARE")
    print_table(
        header,
        [(o["name"], f"{o['calls']:g}", f"{o['ms']:.2f}", f"{o['share']:.1%}") for o in profile["operations"]],
    )
