"""Imports modules in a fresh process, and tells what that changed. Run as a script, it is that process."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

SECONDS = 30
"""How long an import may take."""
STARTING = 60
"""How long the process may take to import torch and the zoo before."""


def import_alone(modules: Sequence[str], others: Sequence[str]) -> list[str]:
    """What is wrong with importing modules in a process of their own; `others` are modules that must not come along."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    line = [sys.executable, "-P", __file__, json.dumps([list(modules), list(others)])]
    try:
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=SECONDS + STARTING)
    except subprocess.TimeoutExpired:
        return [f"takes more than {SECONDS} seconds"]
    try:
        troubles: list[str] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return [f"fails in a process of its own: {last}"]
    return troubles


def _states() -> dict[str, Callable[[], Any]]:
    """What an import must not change, by the words for it."""
    import numpy as np
    import torch

    return {
        "initialises CUDA": torch.cuda.is_initialized,
        "changes torch's default dtype": torch.get_default_dtype,
        "draws from torch's global generator": lambda: torch.get_rng_state().tolist(),
        "changes the number of threads": torch.get_num_threads,
        "changes whether torch is deterministic": lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "changes the precision of matrix products": torch.get_float32_matmul_precision,
        "changes whether gradients are recorded": torch.is_grad_enabled,
        "draws from Python's random": random.getstate,
        "draws from numpy.random": lambda: str(np.random.get_state()),
        "changes how warnings are filtered": _general_filters,
    }


def _general_filters() -> list[Any]:
    """Those for warnings of any origin; a library may filter its own."""
    return [f for f in warnings.filters if f[1] is None and f[3] is None and f[2].__module__ == "builtins"]


def _main(modules: Sequence[str], others: Sequence[str]) -> list[str]:
    import zoo  # noqa: F401 - what it does itself is no plugin's doing

    states = _states()
    before = {what: state() for what, state in states.items()}
    start = time.perf_counter()
    with _printed() as text:
        for module in modules:
            importlib.import_module(module)
    seconds = time.perf_counter() - start
    troubles = [what for what, state in states.items() if state() != before[what]]
    troubles += [f"takes {seconds:.0f} seconds; {SECONDS} are allowed"] if seconds > SECONDS else []
    troubles += [f"prints {text[0][:60]!r}"] if text else []
    troubles += [f"imports {other}, which is another plugin's" for other in others if other in sys.modules]
    return troubles


@contextlib.contextmanager
def _printed() -> Any:
    """A list that holds, afterwards, what was written to standard output, by Python or not."""
    import tempfile

    found: list[str] = []
    kept = os.dup(1)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 1)
        try:
            yield found
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            found += filter(None, [file.read()])


if __name__ == "__main__":
    print(json.dumps(_main(*json.loads(sys.argv[1]))))
