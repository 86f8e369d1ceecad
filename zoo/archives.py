"""Zip archives of anybody's, judged before something else unpacks them."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile


def refuse_inflated(path: Path) -> None:
    """Raises BadZipFile unless a file is a zip archive whose parts are as they were written, and lie in it unpacked.

    What is declared larger than the file would be memory that a small file makes its reader ask for.
    """
    with ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
            raise BadZipFile("it declares more bytes than it has")
        damaged = archive.testzip()
        if damaged is not None:
            raise BadZipFile(f"its part {damaged} is damaged")
