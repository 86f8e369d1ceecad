"""The table of docs/variants.md: every variant with its parts, and the lines of code that they cost."""

from __future__ import annotations

import ast
import inspect
import io
import statistics
import tokenize
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.plugins import Plugins
from zoo.recipe import CONSTRAINTS, OBJECTIVES, normalized
from zoo.variants import Variant

SHARED = ("zoo_networks", "zoo_timm_backbones", "zoo.adversarial")
"""Code that belongs to no method: networks, backbones, and the default procedure."""


def parts() -> str:
    """The variants with paper, axes and lines of code, as a Markdown table."""
    plugins = Plugins()
    rows = ["| variant | paper | distance | constraint | objective | critic | procedure | lines |", "|---" * 8 + "|"]
    counts = []
    for entry in plugins.index.select("variant"):
        variant = plugins.load(entry)
        paper = f"[{variant.authors}, {variant.year}]({variant.paper})" if variant.paper else "-"
        counts.append(_lines(plugins, variant))
        axes = [", ".join(f"`{name}`" for name in names) or "-" for names in _axes(variant).values()]
        rows.append(f"| `{entry.name}` | {paper} | {' | '.join(axes)} | {counts[-1]} |")
    return "\n".join(
        [*rows, f"\n{len(counts)} variants; the median method has {statistics.median(counts):g} lines of code."]
    )


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
