"""Metrics for TensorBoard, where that is installed."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.writing import saving

UNDRAWN = ("step", "time")
Drawing = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def board(path: Path) -> Iterator[Drawing | None]:
    """What draws a line of metrics, or raises SaveFailed; None where TensorBoard is not installed.

    Its records are written by its own writer, but without torch's `SummaryWriter`, whose thread prints a traceback when
    the disk is full, and which takes a second to import.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        yield None
        return
    with saving(path):
        path.mkdir(exist_ok=True)
        file = _file(path).open("ab", 0)
    records = RecordWriter(file)

    def write(**content: Any) -> None:
        with saving(path):
            records.write(Event(wall_time=time.time(), **content).SerializeToString())

    def draw(row: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in row.items() if isinstance(value, (int, float))}
        values = [Summary.Value(tag=name, simple_value=each) for name, each in numbers.items() if name not in UNDRAWN]
        write(step=row["step"], summary=Summary(value=values))

    with file:
        write(file_version="brain.Event:2")
        yield draw


def _file(path: Path) -> Path:
    return path / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
