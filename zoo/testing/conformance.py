"""What `zoo.testing.plugin` has pytest collect: one test for each check of the plugins that are named."""

from __future__ import annotations

from typing import Any

from zoo.testing.kit import Case, cases


def pytest_generate_tests(metafunc: Any) -> None:
    """A case for each check of each plugin."""
    dists = metafunc.config.getoption("zoo_plugin", default=[])
    metafunc.parametrize("case", [case for dist in dists for case in cases(dist)], ids=str)


def test_conformance(case: Case) -> None:
    """The component does what its hook asks."""
    case.check()
