"""Every first-party plugin conforms, the core included: one test for each check of each component."""

import pytest

from zoo.index import Index
from zoo.testing import cases

DISTS = sorted({entry.dist for entry in Index.scan().entries})


@pytest.mark.parametrize("case", [case for dist in DISTS for case in cases(dist)], ids=str)
def test_conformance(case):
    case.check()
