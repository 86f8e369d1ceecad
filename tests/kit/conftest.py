"""What the kit finds wrong with a component."""

import pytest

from zoo.testing import cases_of


@pytest.fixture
def failures():
    """`failures(hook, component)`: what fails, by the check's name."""

    def run(hook, component):
        results = [case.result() for case in cases_of(hook, component)]
        return {result.check: result.detail for result in results if result.bad}

    return run
