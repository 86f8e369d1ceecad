"""Tables that fit the terminal, and JSON for machines."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

GAP = 2
NARROWEST = 20
"""The last column is wrapped to the terminal, but never narrower."""
WIDTH = 100
"""Wide tables are broken so that they fit so many columns."""

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON (its keys: docs/cli.md).")
catalogue_option = click.option(
    "--catalogue", multiple=True, metavar="FILE|URL", help="A further catalogue, a file or an https address."
)


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows under a header; the last column is wrapped so that a row fits the terminal."""
    text = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in text) for column in range(len(header))]
    room = _terminal_width() - sum(widths[:-1]) - GAP * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(room, NARROWEST))
    for number, row in enumerate(text):
        _print_row(row, widths, bold=number == 0)


def _terminal_width() -> int:
    # As shutil.get_terminal_size, whose import would cost `zoo list` a tenth of its time.
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80


def _print_row(row: Sequence[str], widths: Sequence[int], bold: bool) -> None:
    first, *more = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""]
    start = "".join(cell.ljust(width + GAP) for cell, width in zip(row[:-1], widths[:-1], strict=True))
    click.secho((start + first).rstrip(), bold=bold or None)
    for line in more:
        click.secho(" " * len(start) + line, bold=bold or None)


def print_wide(corner: str, header: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> None:
    """A table of as many columns as fit, and then another one of the rest."""
    first = max(len(row[0]) for row in rows) + 2
    widths = [max(len(cell) for cell in column) + 2 for column in zip(header, *(row[1] for row in rows), strict=True)]
    for part in _parts(widths, WIDTH - first):
        click.echo()
        print_table((corner, *header[part]), [(name, *cells[part]) for name, cells in rows])


def _parts(widths: Sequence[int], room: int) -> Iterator[slice]:
    start = 0
    while start < len(widths):
        end = start + 1
        while end < len(widths) and sum(widths[start : end + 1]) <= room:
            end += 1
        yield slice(start, end)
        start = end
