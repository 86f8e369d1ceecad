"""The tables of docs/variants.md, which cog writes into it: every variant with its parts, code and results."""

from __future__ import annotations

import ast
import inspect
import io
import json
import statistics
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cog

from zoo.plugins import Plugins
from zoo.recipe import CONSTRAINTS, OBJECTIVES, normalized
from zoo.variants import Variant

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SHARED = ("zoo_networks", "zoo_timm_backbones", "zoo.adversarial")
"""Code that belongs to no method: networks, backbones, and the default procedure."""
FIGURES = {
    "ring": ("mode-coverage modes", "mode-coverage high-quality"),
    "grid": ("mode-coverage modes", "mode-coverage high-quality"),
    "digits": ("frechet:classifier", "prdc coverage"),
}


def parts() -> None:
    """The variants with paper, axes and lines of code."""
    plugins = Plugins()
    cog.outl("| variant | paper | distance | constraint | objective | critic | procedure | lines |")
    cog.outl("|---" * 8 + "|")
    counts = []
    for entry in plugins.index.select("variant"):
        variant = plugins.load(entry)
        paper = f"[{variant.authors}, {variant.year}]({variant.paper})" if variant.paper else "-"
        lines = _lines(plugins, variant)
        counts.append(lines)
        axes = [", ".join(f"`{name}`" for name in names) or "-" for names in _axes(variant).values()]
        cog.outl(f"| `{entry.name}` | {paper} | {' | '.join(axes)} | {lines} |")
    cog.outl(f"\n{len(counts)} variants; the median method has {statistics.median(counts):g} lines of code.")


def results() -> None:
    """What each variant came to, from the files that benchmarks/collection.py writes."""
    found = {name: _read(name) for name in FIGURES}
    heads = [f"{name}: {key.rpartition(' ')[2]}" for name, keys in FIGURES.items() for key in keys]
    cog.outl(f"| variant | {' | '.join(heads)} |")
    cog.outl("|---" * (len(heads) + 1) + "|")
    plugins = Plugins()
    for entry in plugins.index.select("variant"):
        rows = [(found[name]["variants"].get(entry.name), key) for name, keys in FIGURES.items() for key in keys]
        if any(row for row, _ in rows):
            cog.outl(f"| `{entry.name}` | {' | '.join(_cell(row, key) for row, key in rows)} |")


def _read(dataset: str) -> dict[str, Any]:
    path = RESULTS / f"collection-{dataset}.json"
    empty: dict[str, Any] = {"variants": {}}
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else empty


def _cell(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "-"
    if row["failures"]:
        return f"failed in {row['failures']} of {row['runs']}"
    return f"{row['figures'][key][0]:.3g}"


def _tables(variant: Variant) -> Iterator[Mapping[str, Any]]:
    table = normalized(variant.table)
    yield table
    yield from table.get("for", {}).values()


def _axes(variant: Variant) -> dict[str, list[str]]:
    """The names on each axis, of all kinds of data."""
    named: dict[str, list[str]] = {}
    for axis in ("distance", CONSTRAINTS, OBJECTIVES, "critic", "procedure"):
        found = [table.get(axis) or [] for table in _tables(variant)]
        choices = [choice for each in found for choice in (each if isinstance(each, list) else [each])]
        named[axis] = list(dict.fromkeys(choice["name"] for choice in choices if choice.get("name")))
    return named


def _lines(plugins: Plugins, variant: Variant) -> int:
    """Lines of the modules in which a variant's parts are defined: no comments, docstrings or blank lines."""
    modules = {}
    for hook, names in _axes(variant).items():
        for name in names:
            module = inspect.getmodule(plugins.component(hook, name))
            assert module is not None
            if not module.__name__.startswith(SHARED):
                modules[module.__name__] = module
    return sum(code_lines(inspect.getsource(module)) for module in modules.values())


def code_lines(source: str) -> int:
    """The lines of a module that hold code."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - _docstrings(source))


def _docstrings(source: str) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", []) if not isinstance(node, (ast.Lambda, ast.IfExp)) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                lines.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return lines
