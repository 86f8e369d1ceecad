"""pip, run so that a distribution whose metadata nobody can read does not end it: `python -m zoo.install.installer`."""

from __future__ import annotations

import runpy
import sys
from typing import Any

from zoo.shield import shield


def refuse_source() -> None:
    """Has pip refuse source distributions that a requirement names by address, which `--only-binary` lets through."""
    from pip._internal.distributions.sdist import SourceDistribution
    from pip._internal.exceptions import InstallationError

    def refuse(distribution: Any, *_arguments: Any, **_options: Any) -> None:
        raise InstallationError(f"{distribution.req} is source, which would be executed to be looked at")

    SourceDistribution.prepare_distribution_metadata = refuse  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    shield()
    if sys.argv[1:2] != ["wheel"]:  # That builds the folder which the user names, and nothing else.
        refuse_source()
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
