"""Every hook is documented, has checks of its own in the conformance kit, a template, and somebody who offers it."""

import inspect
from pathlib import Path

import pytest

from zoo import hookspecs, testing
from zoo.hookspecs import HOOKS
from zoo.index import Index
from zoo.scaffold import TEMPLATES

DOCUMENT = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")


def gaps(hook, specification, document=DOCUMENT):
    """What is missing for a hook."""
    signature = f"def {hook}{inspect.signature(specification)}".replace("'", "")
    own_checks = [check for check in testing.CHECKS if hook in check.hooks and len(check.hooks) <= 3]
    found = {
        "a description": inspect.getdoc(specification),
        "its signature in docs/hooks.md": signature in document,
        "checks in the conformance kit": own_checks,
        "a function in zoo.testing": hasattr(testing, f"check_{hook}"),
        "a template for zoo new": (TEMPLATES / hook / "about.toml").is_file(),
        "a component": Index.scan().select(hook),
    }
    return [name for name, there in found.items() if not there]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_and_tested(hook):
    assert gaps(hook, getattr(hookspecs, hook)) == []


def test_a_hook_that_is_neither_is_noticed():
    def oracle():
        pass

    assert gaps("oracle", oracle) == [
        "a description",
        "its signature in docs/hooks.md",
        "checks in the conformance kit",
        "a function in zoo.testing",
        "a template for zoo new",
        "a component",
    ]
