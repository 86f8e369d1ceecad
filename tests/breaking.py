"""A plugin file for tests: a constraint that breaks a run in the middle of it."""

import os
import signal
from pathlib import Path
from typing import Literal

import zoo


class Trip(zoo.LipschitzConstraint):
    """Lets a loss be NaN, raises an error, or sends its process a signal, from a step on; with a marker only once."""

    def __init__(self, *, at: int = 3, how: Literal["nan", "error", "SIGINT", "SIGKILL"] = "nan", marker: str = ""):
        super().__init__()
        self.at, self.how, self.marker = at, how, marker

    def penalty(self, batch):
        if batch.step < self.at or (self.marker and Path(self.marker).exists()):
            return batch.real_scores.sum() * 0
        if self.marker:
            Path(self.marker).touch()
        if self.how == "error":
            raise ArithmeticError("tripped")
        if self.how != "nan":
            os.kill(os.getpid(), getattr(signal, self.how))
        return batch.real_scores.sum() * (float("nan") if self.how == "nan" else 0)


@zoo.hookimpl
def lipschitz_constraint():
    return {"trip": Trip}
