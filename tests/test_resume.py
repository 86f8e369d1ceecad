"""Runs that are killed and gone on with end as runs that were not: every variant, in processes of their own."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

import zoo
from zoo.api import compose_table, start
from zoo.checkpoints import PARTS
from zoo.errors import BadRecipe, IncompatibleParts
from zoo.folder import Folder
from zoo.plugins import Plugins, installed
from zoo.resolve import Components
from zoo.testing.training import flattened
from zoo.trainer import Trainer

MANY = 100_000
"""Iterations that a run which is to be killed is told to make."""
QUICK = {"batch_size": 8, "log_every": 2, "sample_every": 5, "checkpoint_every": 3}
TIMES = ("time", "iterations_per_second")
STATEFUL = Path(__file__).with_name("stateful.py")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A file of 20 images of 8x8, so that a batch of 8 now and then begins in one epoch and ends in the next."""
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).random((20, 8, 8)).astype(np.float32))
    return {"name": "array", "path": str(path)}


def narrow(table):
    """The same recipe with networks of width 8, and two critic steps at most."""
    recipe, _ = Components(installed()).recipe(table)
    widths = {axis: {"width": 8} for axis, choice in recipe.axes.items() if "width" in choice.settings}
    steps = {"critic_steps": min(2, recipe.train["critic_steps"])}
    return {**table, **{axis: {**table.get(axis, {}), **width} for axis, width in widths.items()}} | {
        "train": {**steps, **table["train"]}
    }


def fitting(variant, images):
    """The variant on the first of five data sets that it can be trained on."""
    named = ("ring", "gaussian-1d", "digits", "digit-translation")
    for dataset in (images, *({"name": name} for name in named)):
        table = {"variant": variant, "dataset": dataset, "train": {"steps": MANY, **QUICK}}
        try:
            table = narrow(table)
            compose_table(table, device="cpu")
        except (BadRecipe, IncompatibleParts):
            continue
        return table
    raise AssertionError(f"{variant} can be trained on none of the data sets")


ALIKE = {
    *("vanilla-minimax", "lsgan", "hinge-gan", "rpgan", "ragan", "gls-gan", "mmd-gan", "cramer-gan", "ebgan"),
    *("fgan-kl", "fgan-reverse-kl", "fgan-pearson", "fgan-hellinger", "fgan-js"),
    *("gan-r1", "dragan", "wgan-lp", "projection-gan", "cvae", "dvae"),
}
"""They differ from others by a loss or a penalty without state. The conformance kit resumes these as well."""


@pytest.mark.parametrize("variant", [e.name for e in zoo.list_components("variant") if e.name not in ALIKE])
def test_a_killed_run_of_any_variant_ends_as_if_it_had_not_been(variant, images, tmp_path, forked_python):
    assert_a_killed_run_is_whole(fitting(variant, images), tmp_path)


COMPOSITIONS = {
    "scheduled, averaged, in micro-batches, with lazy penalties": {
        "variant": "wgan-gp",
        "dataset": {"name": "ring"},
        "lipschitz_constraint": [{"name": "gradient-penalty", "every": 3}, {"name": "r1", "every": 2}],
        "train": {"schedule": "cosine", "schedule_steps": 40, "average": 0.9, "micro_batches": 2, "critic_steps": 2},
    },
    "clipped": {
        "variant": "wgan",
        "dataset": {"name": "mixture-1d"},
        "train": {"optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9}, "average": 0.0},
    },
    "bf16": {"variant": "vanilla", "dataset": {"name": "ring"}, "train": {"precision": "bf16"}},
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_killed_run_of_any_composition_ends_as_if_it_had_not_been(name, tmp_path, forked_python):
    table = COMPOSITIONS[name]
    assert_a_killed_run_is_whole(narrow({**table, "train": {"steps": MANY, **QUICK, **table["train"]}}), tmp_path)


@pytest.fixture(scope="module")
def stateful(tmp_path_factory):
    """A recipe of parts that have state of every kind, labels and global random numbers included."""
    path = tmp_path_factory.mktemp("data") / "labelled.npz"
    labels = np.arange(21) % 3
    np.savez(path, x=np.random.default_rng(1).normal(labels, 0.3).astype(np.float32)[:, None].repeat(2, 1), y=labels)
    return {
        "dataset": {"name": "array", "path": str(path), "key": "x", "labels_key": "y"},
        "generator": {"name": "labelled"},
        "critic": {"name": "forgetful"},
        "distance": {"name": "middled"},
        "lipschitz_constraint": [{"name": "growing", "every": 2}],
        "train": {"steps": MANY, "schedule": "linear", "schedule_steps": 40, "average": 0.9, **QUICK},
    }


@pytest.fixture(scope="module")
def plugins():
    """The installed plugins, and the stateful parts."""
    plugins = Plugins()
    plugins.add_file(STATEFUL)
    return plugins


def test_a_killed_run_of_parts_with_state_ends_as_if_it_had_not_been(stateful, plugins, tmp_path, forked_python):
    assert_a_killed_run_is_whole(stateful, tmp_path, plugins, ["--plugin", str(STATEFUL)])


def assert_a_killed_run_is_whole(table, place, plugins=None, options=()):
    recipe, killed = place / "recipe.toml", Folder(place / "run")
    recipe.write_text(tomli_w.dumps(table))
    kill_at_random(zoo_train(str(recipe), "--out", str(place), "--name", "run", *options), killed, place.name)
    steps = killed.steps()[-1] + 5
    resume = zoo_train("--resume", str(killed.path), "--steps", str(steps), *options)
    subprocess.run(resume, check=True, timeout=120, stdout=subprocess.DEVNULL)
    whole = train(shortened(table, steps), place / "whole", plugins)
    assert killed.state()["state"] == "finished"
    assert whole.steps()[-1] == steps
    assert different(content(killed, plugins), content(whole, plugins)) == []


def shortened(table, steps):
    """The recipe as a run goes on with it that is given another number of steps."""
    train = table["train"]
    return {**table, "train": {**train, "steps": steps, "schedule_steps": train.get("schedule_steps", train["steps"])}}


def train(table, path, plugins=None):
    start(compose_table(table, device="cpu", plugins=plugins), path)
    return Folder(path)


def zoo_train(*arguments):
    return [sys.executable, "-m", "zoo", "train", *arguments, "--device", "cpu", "--quiet"]


def kill_at_random(command, folder, seed):
    """Runs a command that trains in `folder`, and kills it some time after its first checkpoint."""
    dice = random.Random(seed)
    lines, pause = dice.randint(3, 12), dice.uniform(0, 0.05)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not folder.metrics.is_file() or folder.metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(pause)
    os.kill(json.loads((folder.path / "state.json").read_text())["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    print(f"killed {pause:.3f} s after line {lines}; the last checkpoint is that of step {folder.steps()[-1]}")


def content(folder, plugins=None):
    """All that a run leaves, by name, but times."""
    state = folder.load()
    state.pop("seconds")
    rows = [{name: value for name, value in row.items() if name not in TIMES} for row in folder.rows()]
    pictures = {file.name: file.read_bytes() for file in folder.samples.iterdir()}
    samples = zoo.load(folder.path, device="cpu", plugins=plugins).sample(16)
    return flattened({"checkpoint": state, "metrics": rows, "pictures": pictures, "samples": samples})


def different(one, other):
    """The names of what differs, to the bit."""
    return sorted(name for name in one.keys() | other.keys() if not same(one.get(name), other.get(name)))


def same(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


STOP, STEPS = 5, 12
NO_STATE = {"format", "data"}
"""What a checkpoint says of itself; every other part of it is needed to go on."""


@pytest.fixture(scope="module")
def twelve_steps(stateful):
    settings = {"steps": STEPS, "log_every": 4, "checkpoint_every": STOP, "keep": 3}
    return {**stateful, "train": {**stateful["train"], **settings}}


@pytest.fixture(scope="module")
def straight(twelve_steps, plugins, tmp_path_factory):
    """A run of twelve steps, with its checkpoints of five, ten and twelve."""
    return train(twelve_steps, tmp_path_factory.mktemp("runs") / "run", plugins)


@pytest.fixture
def resumed_with(straight, plugins, tmp_path):
    """Goes on with the run from its fifth step, where its checkpoint holds something else; what then differs."""

    def resume(**changes):
        shutil.copytree(straight.path, tmp_path / "run")
        folder = Folder(tmp_path / "run")
        folder.save(STOP, {**folder.load(STOP), **changes}, keep=3)
        for later in (10, STEPS):
            (folder.checkpoints / f"step-{later:08d}.pt").unlink()
        zoo.resume(folder.path, device="cpu", plugins=plugins)
        return different(content(folder, plugins), content(straight, plugins))

    return resume


def test_a_checkpoint_as_it_was_saved_leaves_no_difference(resumed_with):
    assert resumed_with() == []


@pytest.mark.parametrize("part", sorted(set(PARTS) - NO_STATE))
def test_each_part_of_a_checkpoint_is_needed(part, twelve_steps, plugins, resumed_with):
    """One of a run that has just begun makes a difference, and not in that part alone."""
    fresh = Trainer(compose_table(twelve_steps, device="cpu", plugins=plugins)).state_dict()
    fresh["schedule_steps"] += 1
    seen = resumed_with(**{part: fresh[part]})
    assert [name for name in seen if not name.startswith(f"checkpoint.{part}")]
