"""Ctrl-C and requests to terminate, heard without losing what is being done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

TWICE = 10.0
"""Seconds in which a process of torchrun's may hear one request again: from who asks all processes, as systemd and
SLURM do, and from torchrun, which passes on its own."""


class Stop:
    """Whether the user wants an end; a second Ctrl-C, or request to terminate, is one at once."""

    wanted = False
    _heard_at = float("-inf")

    def __init__(self) -> None:
        self._launched = "TORCHELASTIC_RUN_ID" in os.environ
        self._parent = os.getppid()

    def orphaned(self) -> bool:
        """Whether torchrun, which started this process, has died meanwhile, so that nobody will stop it."""
        return self._launched and os.getppid() != self._parent

    def want(self) -> None:
        """Asks for an end."""
        self.wanted = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hears them meanwhile, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: Any) -> None:
        again = time.monotonic() - self._heard_at < TWICE and self._launched
        if self.wanted and not again:
            raise KeyboardInterrupt
        self._heard_at = self._heard_at if self.wanted else time.monotonic()
        self.want()
