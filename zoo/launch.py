"""`zoo train --processes N`: torchrun is started, and what its processes say is passed on once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import INTERRUPTED, ProcessFailed, ProcessLost, UsageError, ZooError

DONE = "ZOO_DONE"
"""The folder in which each process that `launch` started notes that it came to its end."""
GRACE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
"""The seconds after which torchrun kills who was asked to end and has not; of its own accord it takes 30."""
KILLED = "The others were stopped. What was saved before is intact."


def launch(count: int, arguments: Sequence[str]) -> None:
    """Runs `zoo` with these arguments in several processes of this machine.

    Raises:
        ProcessFailed: The first one that failed, and why.
        KeyboardInterrupt: They were stopped before they could save themselves.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    options = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(count)]
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, _as_before(), _environment(count, folder):
        try:
            run(parse_args([*options, "--log-dir", folder, "-m", "zoo", *arguments]))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise _failed(error.failures, count) from None
        except SignalException:
            if len(list(Path(folder).glob("done-*"))) < count:
                raise KeyboardInterrupt from None
            sys.exit(INTERRUPTED)


def note_end() -> None:
    """Tells `launch`, if it has started this process, that this one is through."""
    if DONE in os.environ:
        Path(os.environ[DONE], f"done-{os.environ['RANK']}").touch()


def note_error(error: Exception, file: Path) -> str:
    """Tells torchrun why this process fails. Returns what this process itself has to print, which may be nothing."""
    text = str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
    details = {"timestamp": str(int(time.time())), "kind": type(error).__name__}
    file.write_text(json.dumps({"message": {"message": text, "extraInfo": details}}), encoding="utf-8")
    if DONE in os.environ:
        return ""
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if isinstance(error, UsageError):
        # All processes make the same mistake.
        return f"Error: {text}" if rank == "0" else ""
    return f"Error: process {rank} of {count}: {text}"


def _failed(failures: Mapping[int, Any], count: int) -> ProcessFailed:
    """The failure that made the others fail: they lose it, or are terminated."""
    causes = {r: f for r, f in failures.items() if _kind(f) != ProcessLost.__name__ and f.exitcode != -signal.SIGTERM}
    rank, failure = min((causes or failures).items(), key=lambda item: (item[1].timestamp, item[0]))
    if _kind(failure):
        text = str(failure.error_file_data["message"]["message"])
        return ProcessFailed(text, 2) if failure.exitcode == 2 else ProcessFailed(f"process {rank} of {count}: {text}")
    how = f"was killed by {failure.signal_name()}" if failure.exitcode < 0 else f"ended with code {failure.exitcode}"
    return ProcessFailed(f"process {rank} of {count} (pid {failure.pid}) {how}. {KILLED}")


def _kind(failure: Any) -> str:
    message = failure.error_file_data["message"]
    return str(message["extraInfo"].get("kind", "")) if isinstance(message, dict) else ""


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Torchrun's own log is kept quiet, and the handlers of signals that it leaves behind are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *_HANGUPS)}
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in before.items():
            signal.signal(number, handler)


_HANGUPS = () if sys.platform == "win32" else (signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def _environment(count: int, folder: str) -> Iterator[None]:
    """The processor's threads are divided among the processes, and they have time to save themselves.

    What the user has said otherwise stands.
    """
    from zoo.processes import TIMEOUT

    before = dict(os.environ)
    os.environ.setdefault(GRACE, str(TIMEOUT.seconds))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ[DONE] = folder
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
