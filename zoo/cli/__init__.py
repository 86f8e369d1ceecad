"""The command `zoo`. Each command's module is imported when it is called, so that `zoo list` stays quick."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from zoo import __version__
from zoo.errors import INTERRUPTED, ZooError

TORCHRUN = "TORCHELASTIC_ERROR_FILE"
"""Where torchrun looks for why a process that it has started fails."""
COMMANDS = {
    "list": ("zoo.cli.find", "list_command", "Installed components, by hook."),
    "search": ("zoo.cli.catalogue", "search", "The catalogue of plugins, installed or not."),
    "show": ("zoo.cli.show", "show", "What a component is, and its settings."),
    "train": ("zoo.cli.train", "train", "Compose a GAN by name and train it."),
    "finetune": ("zoo.cli.finetune", "finetune", "Tune a backbone to labelled images, and test it."),
    "transfer": ("zoo.cli.transfer", "transfer", "How few samples are enough, by way of tuning and from scratch."),
    "predict": ("zoo.cli.finetune", "predict", "Say which class pictures are of."),
    "export": ("zoo.cli.export", "export", "Write a run's weights for others to use."),
    "layers": ("zoo.cli.layers", "layers", "Say what each layer of a backbone is good for."),
    "search-images": ("zoo.cli.search_images", "search_images", "Find pictures that are like a picture."),
    "sample": ("zoo.cli.sample", "sample", "Draw samples from a run."),
    "encode": ("zoo.cli.latent", "encode", "Find the latent points of samples with a run's encoder."),
    "interpolate": ("zoo.cli.latent", "interpolate", "Show what lies between samples, or what a code does."),
    "translate": ("zoo.cli.translate", "translate", "Make of pictures what a run has learnt to make of them."),
    "runs": ("zoo.cli.sample", "runs", "The runs in a folder."),
    "evaluate": ("zoo.cli.evaluate", "evaluate", "Measure the samples of a run, beside what real ones get."),
    "distance": ("zoo.cli.distance", "distance", "Measure how far two sets of samples are apart."),
    "compare": ("zoo.cli.compare", "compare", "Train contenders alike over several seeds, and say which is better."),
    "install": ("zoo.cli.install", "install", "Install a plugin, checked against the catalogue."),
    "uninstall": ("zoo.cli.install", "uninstall", "Remove a plugin."),
    "plugins": ("zoo.cli.plugins", "plugins_command", "The installed plugins and their state."),
    "disable": ("zoo.cli.plugins", "disable", "Keep a plugin from being loaded."),
    "enable": ("zoo.cli.plugins", "enable", "Use a disabled plugin again."),
    "doctor": ("zoo.cli.plugins", "doctor", "Load each plugin and report what is wrong."),
    "freeze": ("zoo.cli.install", "freeze", "Print the plugins of this environment with their hashes."),
    "sync": ("zoo.cli.install", "sync", "Put back the plugins of a lock file."),
    "catalogue": ("zoo.cli.catalogue", "catalogue", "Check a catalogue; write the table of a plugin."),
    "check": ("zoo.cli.check", "check_command", "Check that a plugin does what the zoo expects."),
    "new": ("zoo.cli.new", "new", "Make a plugin of your own, with tests that pass."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from zoo.errors import UnknownName

            raise UnknownName("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zoo")
def cli() -> None:
    """Compose GANs from plugins by name, and train them.

    \b
    First steps:
      zoo list                               what is installed
      zoo show wgan-gp                       what a variant is, and its recipe
      zoo train wgan-gp --dataset digits     train it on 1,797 handwritten digits
      zoo sample RUN --grid grid.png         see what it has learnt
    """


def main() -> None:
    """Runs the command line: errors of the user's without a traceback; 2 for misuse, 1 for failure, 130 if stopped."""
    try:
        cli.main(prog_name="zoo", standalone_mode=False)
    except ZooError as error:
        _fail(_told(error), error.exit_code)
    except click.exceptions.Abort:
        _fail("Stopped.", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe went away; the interpreter must not try to flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from zoo.mistakes import mistake

        told = mistake(error)
        if told is None:
            _told(error)
            raise
        told.__cause__ = error
        _fail(_told(told), told.exit_code)


def _told(error: Exception) -> str:
    """What is printed of an error. If torchrun has started this process, it is told, and may print it in its place.

    Where plugins are traced, so is what an error of the user's comes from.
    """
    if error.__cause__ is not None:
        import traceback

        from zoo.watching import tracing

        if tracing():
            traceback.print_exception(error.__cause__)
    if TORCHRUN not in os.environ:
        return f"Error: {error}"
    from zoo.launch import note_error

    return note_error(error, Path(os.environ[TORCHRUN]))


def _fail(message: str, code: int) -> None:
    if message:
        click.echo(message, err=True)
    sys.exit(code)
