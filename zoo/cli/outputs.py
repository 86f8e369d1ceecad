"""Where commands put pictures and arrays: refused before work is done that could not be saved, and then saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.errors import SaveFailed, UsageError

if TYPE_CHECKING:
    from click.core import Context


def refuse_outputs(grid: Path | None, out: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Raises UsageError for a picture that is no PNG, for two results in one file, and for one over an input."""
    if grid is not None and grid.suffix.lower() != ".png":
        raise UsageError(f"--grid {grid}: pictures are saved as .png; name such a file.")
    if grid is not None and grid == out:
        raise UsageError(f"--grid and --out are the same file, {grid}; name two.")
    for path in (each for each in (grid, out) if each is not None and each.is_file()):
        if any(each.is_file() and path.samefile(each) for each in inputs):
            raise UsageError(f"{path} is one of the pictures that are read, and would be written over; name another.")


def require_array(path: Path | None) -> None:
    """Raises UsageError for a file of another kind."""
    if path and path.suffix != ".npy":
        raise UsageError(f"--out {path}: arrays are saved as .npy; name such a file.")


def refuse_given(context: Context, names: Sequence[str], why: str) -> None:
    """Raises UsageError, with a reason, if one of these options stands on the command line."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise UsageError(f"{parameter.opts[0]} {why}; leave it out.")


def save_array(path: Path, values: Any) -> None:
    """Saves a tensor to a .npy file. Raises SaveFailed."""
    import numpy as np

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values.numpy())
    except OSError as error:
        raise SaveFailed(f"{path} could not be written: {error}.") from error
