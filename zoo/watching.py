"""Code of plugins while it runs: a line for what hangs, and with `ZOO_TRACE_PLUGINS=1` one for all it does."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

import pluggy

TRACE = "ZOO_TRACE_PLUGINS"
PATIENCE = 10.0
"""Seconds after which something that is still running is named."""


@contextlib.contextmanager
def watched(what: str, dist: str) -> Iterator[None]:
    """Runs a plugin's code: says on stderr what it is if it takes long, and how long it took if that is asked for.

    Args:
        what: What is done, such as `importing zoo_mine`.
        dist: The distribution that does it.
    """
    timer = threading.Timer(PATIENCE, _tell, (what, dist))
    timer.daemon = True
    timer.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        timer.cancel()
        trace(f"{what} of {dist}", time.perf_counter() - start)


def tracing() -> bool:
    """Whether loads and hook calls are printed."""
    return os.environ.get(TRACE, "") not in ("", "0")


def trace(what: str, seconds: float) -> None:
    """Prints what was done and how long it took, if that is asked for."""
    if tracing():
        print(f"zoo: {what}: {1000 * seconds:.1f} ms", file=sys.stderr)


def trace_calls(manager: pluggy.PluginManager, dist: str) -> None:
    """Has a manager print each hook call that somebody answers, if that is asked for."""
    if not tracing():
        return
    starts: list[float] = []

    def before(hook: str, implementations: object, arguments: object) -> None:
        starts.append(time.perf_counter())

    def after(outcome: object, hook: str, implementations: list[pluggy.HookImpl], arguments: object) -> None:
        seconds = time.perf_counter() - starts.pop()
        if implementations:
            trace(f"calling {hook} of {dist}", seconds)

    manager.add_hookcall_monitoring(before, after)  # type: ignore[arg-type]


def _tell(what: str, dist: str) -> None:
    print(
        f"zoo: {what} of the plugin {dist} has taken {PATIENCE:g} s and goes on. If it never ends: Ctrl-C, then "
        f"'zoo disable {dist}'.",
        file=sys.stderr,
        flush=True,
    )
