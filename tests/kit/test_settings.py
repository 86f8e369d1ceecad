"""The conformance kit's checks of settings and docstrings: each catches what it is for, and correct ones pass."""

from typing import Annotated, Literal

import pytest
from torch.nn.functional import relu

from zoo import Distance, Setting
from zoo.testing import CHECKS


def test_names_of_checks_are_unique_on_each_hook():
    names = [(hook, check.name) for check in CHECKS for hook in check.hooks]
    assert len(names) == len(set(names))
    assert all(check.verifies.endswith(".") for check in CHECKS)


class Hinge(Distance):
    """The hinge loss, correctly; its subclasses have one mistake each."""

    def critic_loss(self, batch):
        return relu(1 - batch.real_scores).mean() + relu(1 + batch.fake_scores).mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


class Undocumented(Hinge):
    """A setting without meaning."""

    def __init__(self, *, margin: float = 1.0):
        super().__init__()


class IllegalType(Hinge):
    """A dict is no setting."""

    def __init__(self, *, margins: dict = {}):  # noqa: B006
        super().__init__()


class OutOfRange(Hinge):
    """A default that a recipe may not have."""

    def __init__(self, *, margin: Annotated[float, Setting("of the hinge", gt=0)] = 0.0):
        super().__init__()


class Choosy(Hinge):
    """One of its choices does not work."""

    def __init__(self, *, how: Annotated[Literal["a", "b"], Setting("either")] = "a"):
        super().__init__()
        if how == "b":
            raise KeyError(how)


class Wanting(Hinge):
    """Asks for what the core does not give."""

    def __init__(self, temperature):
        super().__init__()


@pytest.mark.parametrize(
    ("distance", "check"),
    [
        (Undocumented, "documented"),
        (IllegalType, "settings"),
        (OutOfRange, "settings"),
        (Choosy, "builds"),
        (Wanting, "builds"),
    ],
)
def test_mistakes_of_settings_are_caught(distance, check, failures):
    assert check in failures("distance", distance)


def test_a_component_without_a_docstring_is_caught(failures):
    assert "documented" in failures("distance", type("Bare", (Hinge,), {}))
