"""The text of a catalogue, from a file or over https; and its mistakes, each with its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.catalogue.schema import Mistake, lines
from zoo.errors import BadCatalogue

LARGEST = 8 * 2**20
"""The largest catalogue that is fetched, in bytes."""
PATIENCE = 20
"""Seconds to wait for one."""


def text_of(place: str) -> str:
    """The text of a catalogue. Raises BadCatalogue."""
    try:
        raw = _fetched(place) if "://" in place else Path(place).expanduser().read_bytes()
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadCatalogue(f"the catalogue {place} is not UTF-8: {error}.") from error
    except OSError as error:
        raise BadCatalogue(f"the catalogue {place} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RuntimeError) as error:  # A malformed address; a home folder that is not there.
        raise BadCatalogue(f"the catalogue {place} cannot be read: {error}.") from error


def tables_of(text: str, place: str) -> dict[str, Any]:
    """The tables of a catalogue's text. Raises BadCatalogue with the line."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadCatalogue(f"the catalogue {place} is not TOML: {error}.") from error


def described(mistakes: Iterable[Mistake], text: str, place: str) -> list[str]:
    """One line a mistake: `FILE:LINE: plugin 'NAME', field 'FIELD': what is wrong`."""
    line_of = lines(text)
    tables = tables_of(text, place)
    return [f"{place}:{line_of(mistake.path)}: {_where(mistake, tables)}{mistake.text}" for mistake in mistakes]


def _where(mistake: Mistake, tables: Mapping[str, Any]) -> str:
    path = mistake.path
    words = []
    if len(path) > 1 and path[0] == "plugin":
        table = tables["plugin"][path[1]]
        words.append(f"plugin {table.get('name', path[1]) if isinstance(table, dict) else path[1]!r}")
        path = path[2:]
    field = ".".join(str(key + 1) if isinstance(key, int) else key for key in path)
    words += [f"field '{field}'"] if field else []
    return f"{', '.join(words)} " if words else ""


def _fetched(address: str) -> bytes:
    """Reads an https address; it may not lead to one of another kind."""
    import http.client
    import urllib.request

    class OnlyHttps(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _refuse_other_than_https(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _refuse_other_than_https(address)
    try:
        with urllib.request.build_opener(OnlyHttps).open(address, timeout=PATIENCE) as answer:
            raw: bytes = answer.read(LARGEST + 1)
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    if len(raw) > LARGEST:
        raise BadCatalogue(f"the catalogue {address} is larger than {LARGEST // 2**20} MiB.")
    return raw


def _refuse_other_than_https(address: str) -> None:
    if not address.startswith("https://"):
        raise BadCatalogue(f"the catalogue {address} is not at an https address; use https or a file.")
