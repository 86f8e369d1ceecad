"""The generated parts of the documents, which cog writes into them: `make docs`, checked by `make docs-check`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import click
import cog

from zoo import hookspecs
from zoo.cli import COMMANDS, cli
from zoo.errors import ZooError
from zoo.index import Index
from zoo.plugins import Plugins

BASES = (
    *("Batch", "Generator", "Critic", "Scores", "LipschitzConstraint", "Distance", "Objective", "Backbone", "Stage"),
    "Classifier",
    *("Dataset", "ArrayDataset", "Translations", "Density", "Metric", "Evidence", "Sample"),
    *("Procedure", "Adversarial", "Want", "About", "Parts", "Phase", "Layer", "Variant", "Setting", "Draws"),
)


def variants() -> None:
    """The table of installed variants."""
    plugins = Plugins()
    cog.outl("| variant | what it is | paper |\n|---|---|---|")
    for entry in plugins.index.select("variant"):
        variant = plugins.load(entry)
        paper = f"[{variant.authors}, {variant.year}]({variant.paper})" if variant.paper else "-"
        data = f" *Data: {variant.data}.*" if variant.data else ""
        summary = f"{variant.summary}{data}".replace("|", "\\|")
        cog.outl(f"| `{entry.name}` | {summary} | {paper} |")


def components() -> None:
    """The table of installed components, by hook."""
    by_hook: dict[str, list[str]] = {}
    for entry in Index.scan().select():
        by_hook.setdefault(entry.hook, []).append(f"`{entry.name}`")
    cog.outl("| hook | installed with the repository |\n|---|---|")
    for hook, names in by_hook.items():
        cog.outl(f"| `{hook}` | {', '.join(names)} |")


def commands() -> None:
    """The help of every command, and of the commands in it."""
    for name, command in _commands():
        context = click.Context(command, info_name=f"zoo {name}", max_content_width=110, terminal_width=110)
        cog.outl(f"### zoo {name}\n\n```text\n{command.get_help(context)}\n```\n")


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


def hooks() -> None:
    """Every hook with its exact signature."""
    for name in hookspecs.HOOKS:
        hook = getattr(hookspecs, name)
        cog.outl(f"### {name}\n\n```python\ndef {name}{_signature(hook)}\n```\n\n{inspect.getdoc(hook)}\n")


def contracts() -> None:
    """The base classes, with the methods that an author may define."""
    import zoo

    for name in BASES:
        base = getattr(zoo, name)
        cog.outl(f"### {name}\n\n{inspect.getdoc(base)}\n")
        meanings = _meanings(base)
        for attribute, kind in {} if dataclasses.is_dataclass(base) else vars(base).get("__annotations__", {}).items():
            default = f" = {getattr(base, attribute)!r}" if hasattr(base, attribute) else ""
            meaning = f": {meanings[attribute]}" if attribute in meanings else ""
            cog.outl(f"- `{attribute}: {kind}{default}`{meaning}")
        for method, member in vars(base).items():
            if isinstance(member, property) and not method.startswith("_"):
                cog.outl(f"- `{method}`: {(inspect.getdoc(member) or '').splitlines()[0]}")
        for method, function in vars(base).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                first = (inspect.getdoc(function) or "").splitlines()[0]
                cog.outl(f"- `{method}{_signature(function)}`: {first}")
        cog.outl()


def _meanings(base: type) -> dict[str, str]:
    """The texts that stand below the attributes of a class, by name."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for one, after in itertools.pairwise(definition.body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(after, ast.Expr):
            found[one.target.id] = " ".join(ast.literal_eval(after.value).split())
    return found


def _signature(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function)).replace("'", "")


def checks() -> None:
    """The checks of the conformance kit, by hook."""
    from zoo.testing import CHECKS
    from zoo.testing.checks import PLUGIN

    for hook in (PLUGIN, *hookspecs.HOOKS):
        cog.outl(f"### {hook}\n\n| check | what it verifies |\n|---|---|")
        for check in CHECKS:
            if hook in check.hooks:
                cog.outl(f"| `{check.name}` | {check.verifies} |")
        cog.outl()


def errors() -> None:
    """The kinds of errors and their exit codes."""
    cog.outl("| error | exit code | what it says |\n|---|---|---|")
    from zoo import errors as module

    for name, kind in vars(module).items():
        if inspect.isclass(kind) and issubclass(kind, ZooError):
            cog.outl(f"| `{name}` | {kind.exit_code} | {(inspect.getdoc(kind) or '').splitlines()[0]} |")


def training() -> None:
    """The training settings with type, default and meaning."""
    from zoo.settings import settings_of
    from zoo.training import Train

    cog.outl("| setting | type | default | meaning |\n|---|---|---|---|")
    for spec in settings_of(Train).values():
        kind = spec.type_name.replace("|", "\\|")
        bounds = f" ({spec.setting.range})" if spec.setting.range else ""
        cog.outl(f"| `{spec.name}` | {kind} | {spec.default} | {spec.setting.meaning}{bounds} |")
