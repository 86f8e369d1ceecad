"""A mistake in a plugin ends in one error that names the component and shows the author's line, before training."""

import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import BrokenPlugin
from zoo.faults import BASES
from zoo.hookspecs import HOOKS
from zoo.plugins import installed
from zoo.testing import check_distance

sys.path.insert(0, str(Path(__file__).parent))
from mistakes import MAKES, MEASURED, MISSING, OFFERED, RAISED, REFUSED, RIGHT, WRONG, phase

TRAIN = ("--steps", 2, "--batch-size", 8, "--quiet", "--name", "run", "--device", "cpu")


@pytest.fixture
def said(zoo_command, tmp_path):
    """What is said of the plugin with one place changed, by a command that ends with a code."""

    def run(old, new, *command, code=1, plugin="complete.py"):
        assert RIGHT.count(old) == 1, RIGHT.count(old)
        Path(tmp_path, plugin).write_text(RIGHT.replace(old, new))
        return zoo_command(*command, "--plugin", plugin, code=code).stderr

    return run


def changed_line(old, new):
    """The first line of the changed plugin that is another than before."""
    before, after = RIGHT.splitlines(), RIGHT.replace(old, new).splitlines()
    return next((line for line, was in zip(after, before, strict=False) if line != was), "").strip()


def test_what_is_right_is_trained_and_measured(said):
    assert said("As usual.", "As usual.", "train", "whole", *TRAIN, code=0) == ""


@pytest.mark.parametrize(("old", "new", "message"), {**MISSING, **WRONG}.values(), ids={**MISSING, **WRONG})
def test_a_component_that_is_not_what_its_hook_asks_is_refused_before_training(said, old, new, message):
    text = said(old, new, "train", "whole", *TRAIN)
    assert text.startswith("Error: plugin complete.py (local file) is broken: ")
    assert message in text
    assert 'File "' in text
    assert text.endswith("Correct the file.\n")
    assert not Path("runs").exists()


@pytest.mark.parametrize(("old", "new", "message"), RAISED.values(), ids=RAISED)
def test_what_the_code_of_a_plugin_raises_is_told_with_its_line_before_training(said, old, new, message):
    text = said(old, new, "train", "whole", *TRAIN)
    assert text.startswith("Error: plugin complete.py (local file) is broken: ")
    assert message in text
    assert changed_line(old, new) in text
    assert text.endswith("Correct the file. ZOO_TRACE_PLUGINS=1 shows the whole traceback.\n")
    assert not Path("runs").exists()


def test_a_method_that_needs_no_self_takes_what_it_takes(said):
    old = "def estimate(self, batch):"
    assert said(old, f"@staticmethod\n    {old.replace('self, ', '')}", "train", "whole", *TRAIN, code=0) == ""


def test_a_procedure_may_have_a_term_that_is_only_told(said):
    one = phase("}", ", 'told': batch.real_scores.detach().mean()}")
    assert said(*one, "train", "whole", *TRAIN, code=0) == ""


def test_what_only_an_iteration_does_is_told_as_well(said):
    text = said("assert means is not None", 'means["loss"].mean()', "train", "whole", *TRAIN)
    assert "distance 'squares': KeyError: 'loss'." in text
    assert 'means["loss"].mean()' in text
    text = said("weight.data.clamp_", "weight.data.clmp_", "train", "whole", *TRAIN, "--name", "other")
    assert "lipschitz_constraint 'flat': AttributeError: 'Tensor' object has no attribute 'clmp_'. Did you" in text


@pytest.mark.parametrize(("old", "new", "message", "line"), REFUSED.values(), ids=REFUSED)
def test_what_may_be_the_recipes_mistake_is_told_with_the_plugins_line(said, old, new, message, line):
    text = said(old, new, "train", "whole", *TRAIN, code=2)
    assert message in text
    assert line in text


def test_a_critic_without_a_layer_below_its_scores_is_no_plugins_mistake(zoo_command):
    options = ("--distance", "cramer", "--critic", "mlp", "--set", "critic.depth=0")
    said = zoo_command("train", "--dataset", "gaussian-1d", "--generator", "mlp", *options, *TRAIN, code=2).stderr
    assert "the critic's features do not change with its parameters" in said


@pytest.mark.parametrize(("old", "new", "message"), OFFERED.values(), ids=OFFERED)
def test_a_file_that_offers_no_components_is_told_how_it_would(said, old, new, message):
    text = said(old, new, "train", "whole", *TRAIN)
    assert text.startswith("Error: plugin complete.py (local file) is broken: ")
    assert message in text


def test_a_setting_that_is_no_keyword_is_told_how_it_would_be_one(said):
    text = said("self, *, target", "self, target", "train", "whole", *TRAIN, "--set", "distance.target=2", code=2)
    assert "It is an ordinary parameter, and settings are keyword-only: they stand behind a *." in text


@pytest.mark.parametrize(("old", "new", "message"), MEASURED.values(), ids=MEASURED)
def test_a_metric_that_measures_nothing_is_told_so(said, old, new, message, zoo_command):
    zoo_command("train", "wgan", "--dataset", "ring", *TRAIN)
    text = said(old, new, "evaluate", "runs/run", "--metric", "gap", "-n", 20, "--device", "cpu")
    assert text.startswith("Error: plugin complete.py (local file) is broken: ")
    assert message in text


@pytest.fixture
def plugin(tmp_path):
    """Adds the plugin with one place changed to those of this process, for its Python interface."""
    installed.cache_clear()

    def add(old, new):
        path = tmp_path / "complete.py"
        path.write_text(RIGHT.replace(old, new))
        installed().add_file(path)

    yield add
    installed.cache_clear()


def train(tmp_path, **parts):
    return zoo.train("whole", out=tmp_path / "runs", device="cpu", steps=2, batch_size=8, **parts)


def test_from_python_what_was_raised_is_the_cause(plugin, tmp_path):
    plugin(MAKES, "return {}['loss']")
    with pytest.raises(BrokenPlugin, match="distance 'squares': KeyError: 'loss'") as caught:
        train(tmp_path)
    assert type(caught.value.__cause__) is KeyError


PASSING = ("KeyboardInterrupt()", "MemoryError()", "zoo.BadData('no')", "SystemExit(3)", "BrokenPipeError()")


@pytest.mark.parametrize("error", PASSING)
def test_what_is_no_mistake_passes_through(plugin, tmp_path, error):
    plugin(MAKES, f"raise {error}")
    with pytest.raises(type(eval(error))):
        train(tmp_path)


def test_a_device_that_fails_in_training_is_no_mistake_of_who_asks_it(plugin, tmp_path):
    plugin("assert means is not None", "raise RuntimeError('CUDA error: unspecified launch failure')")
    with pytest.raises(RuntimeError, match="CUDA error"):
        train(tmp_path)


class Own(zoo.Critic):
    """A critic of the caller's, whose mistakes are no plugin's."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, samples, condition=None):
        return {}["scores"]


def test_what_the_callers_own_code_raises_is_left_to_the_caller(plugin, tmp_path):
    plugin("", "")
    with pytest.raises(KeyError, match="scores"):
        train(tmp_path, critic=Own())

    def hear(row):
        raise KeyError("heard")

    with pytest.raises(KeyError, match="heard"):
        train(tmp_path, on_log=hear)


def test_a_loss_of_the_callers_that_is_no_scalar_is_named(plugin, tmp_path):
    class Vector(zoo.Distance):
        def critic_loss(self, batch):
            return batch.real_scores

        def generator_loss(self, batch):
            return batch.fake_scores

    plugin("", "")
    with pytest.raises(BrokenPlugin, match=r"Vector: critic_loss returns a tensor \(4,\)[^$]*def critic_loss"):
        train(tmp_path, distance=Vector())


def test_the_whole_traceback_is_printed_where_it_is_asked_for(said, monkeypatch):
    monkeypatch.setenv("ZOO_TRACE_PLUGINS", "1")
    text = said(MAKES, "return {}['loss']", "train", "whole", *TRAIN)
    traceback = text.index("Traceback (most recent call last):")
    assert "in compose_recipe" in text[traceback:]
    assert text.index("KeyError: 'loss'") < text.index("Error: plugin complete.py")


def test_the_conformance_kit_says_where(plugin):
    plugin(MAKES, MAKES.replace("fake_scores", "fake_score"))
    with pytest.raises(AssertionError, match=r"Did you mean fake_scores\? \(complete.py, line \d+\)"):
        check_distance(installed().component("distance", "squares"))


def test_every_hook_but_that_of_data_has_a_base_class():
    assert set(BASES) == set(HOOKS) - {"variant"}
