"""The tables of docs/variants.md: every variant with its parts, the lines of code that they cost, and its results."""

from __future__ import annotations

import ast
import inspect
import io
import json
import statistics
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.index import Entry
from zoo.plugins import Plugins
from zoo.recipe import CONSTRAINTS, OBJECTIVES, normalized
from zoo.variants import Variant

RESULTS = Path(__file__).parent.parent / "docs" / "results"
FIGURES = {
    "ring": {"mode-coverage modes": "modes of 8", "mode-coverage high-quality": "high quality"},
    "grid": {"mode-coverage modes": "modes of 25", "mode-coverage high-quality": "high quality"},
    "digits": {"frechet:classifier": "`frechet:classifier` ↓", "prdc coverage": "coverage ↑"},
}
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
        own, others = _lines(plugins, entry, variant)
        counts.append(own)
        axes = [", ".join(f"`{name}`" for name in names) or "-" for names in _axes(variant).values()]
        rows.append(f"| `{entry.name}` | {paper} | {' | '.join(axes)} | {own}{f' + {others}' if others else ''} |")
    return "\n".join(
        [*rows, f"\n{len(counts)} variants; the median method has {statistics.median(counts):g} lines of its own."]
    )


def results() -> str:
    """What each variant came to, from the files that benchmarks/collection.py writes, as a Markdown table."""
    found = {name: _read(name) for name in FIGURES}
    heads = [f"{name}: {title}" for name, figures in FIGURES.items() for title in figures.values()]
    rows = [f"| variant | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for entry in Plugins().index.select("variant"):
        cells = [_cell(found[name].get(entry.name), key) for name, figures in FIGURES.items() for key in figures]
        if any(cell != "-" for cell in cells):
            rows.append(f"| `{entry.name}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _read(dataset: str) -> dict[str, Any]:
    path = RESULTS / f"collection-{dataset}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["variants"]
    return found


def _cell(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "-"
    failed = f" ({row['failures']} of {row['runs']} failed)" if row["failures"] else ""
    return f"{row['figures'][key][0]:.3g}{failed}" if key in row["figures"] else failed.strip(" ()")


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


def _lines(plugins: Plugins, entry: Entry, variant: Variant) -> tuple[int, int]:
    """Lines of the modules that define a variant's parts: of its own plugin, and of others."""
    found: dict[str, ModuleType] = {}
    for hook, names in _axes(variant).items():
        for name in names:
            _add_module(found, inspect.getmodule(plugins.component(hook, name)))
    package = entry.module.partition(".")[0]
    own, others = 0, 0
    for name, module in found.items():
        if not name.startswith(SHARED):
            lines = code_lines(inspect.getsource(module))
            own, others = (own + lines, others) if name.startswith(package) else (own, others + lines)
    return own, others


def _add_module(found: dict[str, ModuleType], module: ModuleType | None) -> None:
    """A module, and those of its own package that it takes something from; the plugin's first one only lists parts."""
    assert module is not None
    if module.__name__ in found:
        return
    found[module.__name__] = module
    package = module.__name__.partition(".")[0]
    for value in vars(module).values():
        home = getattr(value, "__module__", "")
        if isinstance(home, str) and home.startswith(f"{package}.") and package != "zoo":
            _add_module(found, sys.modules[home])


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
