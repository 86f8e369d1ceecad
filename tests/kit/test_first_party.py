"""Every first-party plugin conforms, the core included: one test for each check of each component."""

import runpy
from pathlib import Path

import pytest

from zoo.index import Index
from zoo.testing import cases
from zoo.testing.importing import import_alone

DISTS = sorted({entry.dist for entry in Index.scan().entries})


@pytest.mark.parametrize("case", [case for dist in DISTS for case in cases(dist)], ids=str)
def test_conformance(case, forked_python):
    case.check()


def test_libraries_that_are_there_before_a_plugin_do_not_hide_what_importing_it_does():
    # `forked_python` has imported these; a plugin that were the first to do so would change nothing by it either.
    libraries = runpy.run_path(str(Path(__file__).parent.parent / "forked.py"))["LIBRARIES"]
    assert import_alone(libraries, []) == []
