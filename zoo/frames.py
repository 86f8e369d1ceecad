"""Where an exception came through: frames with their lines, as a traceback shows them."""

from __future__ import annotations

import inspect
import linecache
import traceback
from traceback import FrameSummary
from types import FrameType
from typing import Any, TypeAlias

Raised: TypeAlias = tuple[FrameType, FrameSummary]
"""A frame and its line."""


def frames_of(error: BaseException) -> list[Raised]:
    """Where an exception came through, the innermost place first."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = traceback.extract_tb(error.__traceback__)
    for frame, line in zip(frames, lines, strict=True):
        line.name = frame.f_code.co_qualname
    return list(zip(frames, lines, strict=True))[::-1]


def module_of(frame: FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def root_of(module: str) -> str:
    """The package that a module is of."""
    return module.partition(".")[0]


def shown(line: FrameSummary) -> str:
    """A line as a traceback shows it."""
    return "".join(traceback.StackSummary.from_list([line]).format()).rstrip()


def line_of(made: Any) -> str:
    """Where a class or a function is defined, as a traceback shows it; empty if there is no file of it."""
    try:
        file, (_, number) = inspect.getsourcefile(made) or "", inspect.getsourcelines(made)
    except (OSError, TypeError):
        return ""
    return shown(FrameSummary(file, number, made.__qualname__, line=linecache.getline(file, number)))
