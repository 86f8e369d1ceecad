"""Ctrl-C and requests to terminate, heard without losing what is being done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Stop:
    """Whether the user wants an end; a second Ctrl-C, or request to terminate, is one at once."""

    wanted = False

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
        if self.wanted:
            raise KeyboardInterrupt
        self.want()
