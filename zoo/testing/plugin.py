"""The kit as a pytest plugin: `pytest -p zoo.testing.plugin --zoo-plugin zoo-mine` has a test for each check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zoo.testing.conformance

TESTS = str(Path(zoo.testing.conformance.__file__))


def pytest_addoption(parser: Any) -> None:
    """Adds `--zoo-plugin`."""
    parser.getgroup("zoo").addoption(
        "--zoo-plugin",
        action="append",
        default=[],
        metavar="DIST",
        help="Check that this installed plugin of the GAN zoo conforms; may be repeated.",
    )


def pytest_configure(config: Any) -> None:
    """Adds the kit's tests to the paths that are given, or puts them in place of the default ones."""
    if not config.getoption("zoo_plugin") or TESTS in config.args:
        return
    given = config.args if config.args_source == config.ArgsSource.ARGS else []
    config.args = [*given, TESTS]
