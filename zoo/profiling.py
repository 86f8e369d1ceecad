"""Where the time of some iterations of a run goes: a trace for Chrome or Perfetto, and a summary."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch

from zoo.errors import SaveFailed, UsageError

WARM_UP, PROFILED = 20, 10
"""Iterations before the profiled ones, and how many are profiled."""
TRACE = "profile.json"
SHOWN = 10
_STEP = "ProfilerStep"
_OPERATOR = re.compile(r"(?!(torch::)?autograd::)\w+::|Torch-Compiled Region|CompiledFunction")
Iterate: TypeAlias = Callable[..., None]
Interval: TypeAlias = tuple[float, float]


def refuse_short(iterations: int) -> None:
    """Raises UsageError if a run is too short to be profiled."""
    if iterations < WARM_UP + PROFILED:
        raise UsageError(
            f"--profile looks at {PROFILED} iterations after the first {WARM_UP}, and this run has {iterations} to go; "
            f"use --steps to give it at least {WARM_UP + PROFILED}."
        )


class Profile:
    """Profiles iterations of a run, which are computed as they always are.

    Args:
        path: Where the trace is written.
        device: Where the run computes.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        self.summary: dict[str, Any] | None = None
        """What was found: `trace`, `iterations`, `seconds` an iteration, `outside` (the share of time outside the
        device), and `operations`, each `{name, calls, ms, share}` an iteration; None until then."""

    @contextlib.contextmanager
    def around(self, iterate: Iterate) -> Iterator[Iterate]:
        """Gives `iterate` back so that its calls after the warm-up are profiled."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # Else it tells on stderr that it begins, and of missing GPUs.
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        schedule = torch.profiler.schedule(wait=WARM_UP - 1, warmup=1, active=PROFILED, repeat=1)
        with torch.profiler.profile(activities=activities, schedule=schedule, on_trace_ready=self._read) as profiler:

            def profiled(*arguments: Any, **named: Any) -> None:
                iterate(*arguments, **named)
                if self._device.type == "cuda" and profiler.step_num + 1 in (WARM_UP, WARM_UP + PROFILED):
                    # Else the device would still be at iterations from before, or not yet at the last ones.
                    torch.cuda.synchronize(self._device)
                profiler.step()

            yield profiled

    def _read(self, profiler: torch.profiler.profile) -> None:
        if profiler.step_num < WARM_UP + PROFILED:  # The run was stopped before.
            return
        profiler.export_chrome_trace(str(self._path))
        if not _whole(self._path):  # torch writes why on stderr, if at all, and goes on.
            raise SaveFailed(f"{self._path} could not be written: no such folder, no permission, or a full disk.")
        self.summary = {"trace": str(self._path), **summarized(profiler.events() or (), self._device.type)}  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def profiled(iterate: Iterate, profile: Profile | None) -> Iterator[Iterate]:
    """What is to be called for each iteration: `iterate` itself, unless it is to be profiled."""
    if profile is None:
        yield iterate
        return
    with profile.around(iterate) as around:
        yield around


def summarized(events: Iterable[Any], device: str) -> dict[str, Any]:
    """The costliest operations and the share of time outside the device, from a profiler's events.

    On the CPU, the device's time is that in which one of torch's operators runs; outside are Python and the bookkeeping
    of autograd and of optimisers. On CUDA it is that in which any kernel or copy runs; outside, the GPU is idle. An
    operator's own time is without the operators that it calls.
    """
    on_device = "CUDA" if device == "cuda" else "CPU"
    events = list(events)
    steps = [_interval(e) for e in events if e.name.startswith(_STEP) and e.device_type.name == "CPU"]
    work = [e for e in events if e.device_type.name == on_device and _is_work(e, device)]
    total = sum(end - start for start, end in steps)
    busy = covered(map(_interval, work), steps)
    return {
        "iterations": len(steps),
        "seconds": total / len(steps) / 1e6,
        "outside": 1 - busy / total,
        "operations": _costliest(work, device, total, len(steps)),
    }


def covered(intervals: Iterable[Interval], within: Iterable[Interval]) -> float:
    """How much of some stretches of time is covered by intervals that may overlap each other.

    >>> covered([(0, 2), (1, 4), (6, 9)], within=[(1, 5), (5, 8)])
    5
    """
    merged: list[list[float]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return sum(max(0, min(end, last) - max(start, first)) for first, last in within for start, end in merged)


def _whole(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[-16:].rstrip().endswith(b"}")


def _is_work(event: Any, device: str) -> bool:
    if event.name.startswith(_STEP) or event.is_user_annotation:
        return False
    return device == "cuda" or bool(_OPERATOR.match(event.name))


def _interval(event: Any) -> Interval:
    return event.time_range.start, event.time_range.end


def _costliest(work: Iterable[Any], device: str, total: float, iterations: int) -> list[dict[str, Any]]:
    times: dict[str, list[float]] = {}
    for event in work:
        spent = event.time_range.elapsed_us() if device == "cuda" else event.self_cpu_time_total
        times.setdefault(event.name, []).append(spent)
    first = sorted(times.items(), key=lambda item: sum(item[1]), reverse=True)[:SHOWN]
    return [
        {
            "name": name,
            "calls": len(spent) / iterations,
            "ms": sum(spent) / iterations / 1e3,
            "share": sum(spent) / total,
        }
        for name, spent in first
    ]
