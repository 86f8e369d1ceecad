"""A mistake in the code of a plugin, told as one error: whose it is, what is wrong, and the author's own line."""

from __future__ import annotations

import builtins
import contextlib
import difflib
import functools
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.authors import author_of, way_out
from zoo.devices import too_large
from zoo.errors import BadSetting, BrokenPlugin, OutOfMemory, ZooError
from zoo.frames import Raised, frames_of, line_of, module_of, root_of, shown
from zoo.watching import TRACE

LONGEST = 400
"""Characters of an exception's message that are told."""
DEVICE = ("CUDA error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "NCCL", "MPS backend", "HIP error")
"""What errors of a device say."""
WHOLE = f"{TRACE}=1 shows the whole traceback."


@contextlib.contextmanager
def mistakes_told() -> Iterator[None]:
    """Turns an exception of a plugin's code into one error, whose cause it is; everything else passes through.

    It stands around whatever builds and trains as a whole: nothing in a training loop pays for it.

    Raises:
        BrokenPlugin: The code of a plugin raised something, or torch and the zoo did so on an object of its own.
    """
    try:
        yield
    except Exception as error:
        told = mistake(error)
        if told is None:
            raise
        raise told from error


@contextlib.contextmanager
def built(what: str) -> Iterator[None]:
    """Says what it is that cannot be built.

    Raises:
        OutOfMemory: It does not fit in memory.
        BadSetting: Its code, or torch, refuses what it is built from.
    """
    try:
        yield
    except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        if too_large(error):
            raise OutOfMemory(
                f"{what} is too large for the memory that there is; lower its settings ({cause})."
            ) from error
        if isinstance(error, TypeError):
            raise
        raise BadSetting(
            f"{what} cannot be made with its settings: {type(error).__name__}: {cause}{place(error)}"
        ) from error


def mistake(error: Exception) -> BrokenPlugin | None:
    """What a user is told of an exception; None if it is the zoo's own, of no plugin, or of a device or its memory."""
    if isinstance(error, (ZooError, BrokenPipeError)) or too_large(error) or _of_device(error):
        return None
    frames = frames_of(error)
    blamed = _innermost(frames)
    if blamed is not None:
        frame, line = blamed
        return _told(module_of(frame), _owner(frame), f"{_said(error)}{_near(error, frame)}", shown(line), WHOLE)
    own = _object(frames)
    if own is None:
        return None
    called = str(error).partition("(")[0].rpartition(".")[2]  # "Mine.forward() takes 1 positional argument ..."
    return _told(own.__module__, own.__qualname__, _said(error), line_of(_in_own_code(own, called)), WHOLE)


def broken(part: Any, cause: str, method: str = "") -> BrokenPlugin:
    """What is wrong with a component, in words.

    Args:
        part: The component, or the class or function that makes it.
        cause: What is wrong, and what to do.
        method: The method that it is in; the whole class if empty.
    """
    part = part.func if isinstance(part, functools.partial) else part
    own = part if hasattr(part, "__qualname__") else type(part)
    return _told(own.__module__, own.__qualname__, cause, line_of(_in_own_code(own, method)))


def in_a_line(error: BaseException) -> str:
    """An exception in one line, with a name like one that is not there, and the line of a plugin's code."""
    said, blamed = f"{type(error).__name__}: {error}", _innermost(frames_of(error))
    if blamed is None:
        return said
    frame, line = blamed
    return f"{said}.{_near(error, frame)} ({Path(line.filename).name}, line {line.lineno})"


def place(error: BaseException) -> str:
    """The line of a plugin's code that raised an exception, to stand below a message; empty if none did."""
    blamed = _innermost(frames_of(error))
    return "" if blamed is None else f"\n{shown(blamed[1])}"


def _of_device(error: Exception) -> bool:
    """Whether a device failed, which it says wherever somebody asks it for something next."""
    return isinstance(error, RuntimeError) and any(word in str(error) for word in DEVICE)


def _told(module: str, own: str, cause: str, line: str, further: str = "") -> BrokenPlugin:
    author = author_of(module)
    if author is None:
        return BrokenPlugin("\n".join(filter(None, [f"{own}: {cause}", line])))
    text = f"plugin {author.entry.dist} {author.entry.version} is broken: {author.name_of(own)}: {cause}"
    return BrokenPlugin("\n".join(filter(None, [text, line, f"{way_out(author.entry)} {further}".strip()])))


def _in_own_code(own: Any, method: str) -> Any:
    """A method, where it is not a library's that is inherited; else the class."""
    made = getattr(own, method, None)
    return made if inspect.isfunction(made) and not _is_library(made.__module__, made.__code__.co_filename) else own


def _innermost(frames: list[Raised]) -> Raised | None:
    """The last place in somebody's own code, if that is a plugin's; a library's is whose that called it."""
    own = next((each for each in frames if not _is_library(module_of(each[0]), each[1].filename)), None)
    return own if own is not None and author_of(module_of(own[0])) is not None else None


def _object(frames: list[Raised]) -> type | None:
    """The class of a plugin's object on which torch or the zoo failed; None where code of somebody else took part."""
    if not all(_is_library(module_of(frame), line.filename) for frame, line in frames):
        return None
    owners = (type(frame.f_locals.get("self")) for frame, _ in frames)
    return next((own for own in owners if author_of(own.__module__) is not None), None)


def _owner(frame: FrameType) -> str:
    """Whose method a frame is of; the function itself if it is nobody's."""
    own = type(frame.f_locals.get("self"))
    return own.__qualname__ if author_of(own.__module__) else frame.f_code.co_qualname.partition(".")[0]


def _is_library(module: str, file: str) -> bool:
    if file.startswith("<") or author_of(module) is not None:
        return file.startswith("<")
    return root_of(module) in {"zoo", *sys.stdlib_module_names} or "site-packages" in file or "dist-packages" in file


def _said(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:LONGEST]
    said = f"{type(error).__name__}: {first}".rstrip(": ")
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _near(error: BaseException, frame: FrameType) -> str:
    """Names like one that is not there; Python itself knows them only where it prints a traceback."""
    name, known = str(getattr(error, "name", "")), set[str]()
    with contextlib.suppress(Exception):  # An object that was not initialised does not know its attributes.
        if isinstance(error, AttributeError):
            known = set(dir(error.obj))
        elif isinstance(error, NameError):
            known = {*frame.f_locals, *frame.f_globals, *dir(builtins)}
    public = {each for each in known if each != name and not each.startswith("_")}
    near = difflib.get_close_matches(name, sorted(public), n=1, cutoff=0.7)
    return f" Did you mean {near[0]}?" if near else ""
