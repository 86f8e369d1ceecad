"""The report of a comparison: one HTML file that needs nothing else, neither files nor a network."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.comparing.page import Page
from zoo.comparing.plots import PALETTE
from zoo.comparing.results import Comparison
from zoo.comparing.scales import number
from zoo.comparing.statistics import Odds
from zoo.comparing.verdict import percent
from zoo.writing import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = Path(__file__).with_name("template")
NAME = "report.html"
PNG = b"\x89PNG\r\n\x1a\n"


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Writes `report.html` into the comparison's folder, whole, with the pictures that lie there. Raises SaveFailed."""
    path = folder / NAME
    write_whole(path, _html(comparison, folder).encode())
    return path


def _html(comparison: Comparison, folder: Path) -> str:
    from markupsafe import Markup

    style, script = ((TEMPLATE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    # Only this script may run, should anything else ever look like one.
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(NAME)
        .render(
            page=Page(comparison, lambda name: _picture(folder, name)),
            palette=PALETTE,
            style=Markup(style),
            script=Markup(script),
            script_hash=script_hash,
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "short": _short,
        "percent": percent,
        "breakable": _breakable,
        "interval": _interval,
    }
    return environment


def _number(value: float | None) -> str:
    return "—" if value is None or not math.isfinite(value) else number(value)


def _short(value: float | None) -> str:
    return "—" if value is None else f"{value:.2g}"


def _breakable(label: str) -> Markup:
    """A label that may go on in a new line after its punctuation."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[:.=,/_])", label))


def _interval(odds: Odds) -> str:
    return f"{percent(odds.low)} to {percent(odds.high)}"


def _picture(folder: Path, name: str) -> str | None:
    """A PNG of the folder as a data URI; None for what is not there, not a PNG or not in the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    content = path.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(PNG) else None
