"""Metrics for TensorBoard, where that is installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import SaveFailed
from zoo.writing import saving

UNDRAWN = ("step", "time")


@contextlib.contextmanager
def board(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """What draws a line of metrics; None where TensorBoard is not installed. Raises SaveFailed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield None
        return
    with saving(path):
        writer: Any = SummaryWriter(str(path))

    def write(row: Mapping[str, Any]) -> None:
        with saving(path):
            for name, value in row.items():
                if name not in UNDRAWN and isinstance(value, (int, float)):
                    writer.add_scalar(name, value, row["step"])

    try:
        yield write
    except BaseException:
        with contextlib.suppress(SaveFailed), saving(path):  # What has stopped the run is what the user should read.
            writer.close()
        raise
    with saving(path):
        writer.close()
