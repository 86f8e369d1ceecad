"""Zip archives of anybody's, judged before something else unpacks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
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


def refuse_hollow(content: Any) -> None:
    """Raises ValueError if a tensor in nested containers has more values than are stored: a copy of it is as large.

    Each container is looked into once, since one of them may hold another, or itself, any number of times.
    """
    from torch import Tensor

    waiting, seen = [content], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, Tensor):
            if each.is_meta or each.numel() * each.element_size() > each.untyped_storage().nbytes():
                raise ValueError(f"a tensor {tuple(each.shape)} has more values than are stored of it")
        elif isinstance(each, (dict, list, tuple)) and id(each) not in seen:
            seen.add(id(each))
            waiting += each.values() if isinstance(each, dict) else each
