"""Kills a training at many moments, saving included, and looks whether anything was lost.

Each training is a process that is killed without warning and then resumed, again and again, until a run reaches its
last step; then the next run begins. After each kill every checkpoint must load and be what its hash says, no file may
be torn but those whose names say so, and no line of metrics but the last. Each run that reaches its end must have the
weights, metrics and samples of one that was never stopped, bit for bit. `make soak` runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

import zoo
from zoo.folder import Folder

STEPS = 60
SETTINGS = {
    "generator.width": 48,
    "critic.width": 48,
    "train.steps": STEPS,
    "train.batch_size": 8,
    "train.log_every": 3,
    "train.checkpoint_every": 2,
    "train.sample_every": 20,
    "train.schedule": "cosine",
}
UNLIKE = ("time", "iterations_per_second")
"""What in a line of metrics is of the clock."""


def train(out: Path, name: str) -> None:
    """A run from its first step, or on from its last checkpoint."""
    if Folder(out / name).steps():
        zoo.resume(out / name, device="cpu")
    else:
        zoo.train("wgan-gp", dataset="digits", out=out, name=name, device="cpu", settings=SETTINGS)


def forked(work: Callable[[], None]) -> int:
    """Starts a process that does something; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException):
        work()
        code = 0
    os._exit(code)


def saving(folder: Folder) -> bool:
    """Whether something is being written at this moment."""
    return any(folder.path.rglob("*.partial"))


def killed(child: int, folder: Folder, moment: float, while_saving: bool) -> bool:
    """Kills a process after some seconds, or when it then writes; False if it came to its end before."""
    due = time.monotonic() + moment
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > due and (not while_saving or saving(folder)):
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return os.WIFSIGNALED(status)
        if not while_saving:
            time.sleep(0.001)
    return False


def lost(folder: Folder, before: int) -> Iterator[str]:
    """What is not as it must be after a kill, given the newest step before."""
    steps = folder.steps()
    if not steps or steps[-1] < before:
        yield f"no checkpoint of step {before} or later, only {steps}"
    for step in steps:
        try:
            assert folder.load(step)["iteration"] == step
        except (zoo.ZooError, AssertionError) as error:
            yield f"step {step} does not load: {error!r}"
    try:
        tomllib.loads((folder.path / "recipe.toml").read_text())
        json.loads((folder.path / "state.json").read_text())
        list(folder.rows())
        for picture in folder.samples.glob("*.png"):
            with Image.open(picture) as image:
                image.verify()
    except Exception as error:
        yield f"a torn file: {error!r}"
    if folder.state()["state"] not in ("died", "finished"):
        yield f"its state is {folder.state()}"


def differences(folder: Folder, whole: Folder) -> Iterator[str]:
    """In what a run differs from one that was never stopped."""
    one, other = (zoo.load(each.path, device="cpu") for each in (folder, whole))
    mine, its = ({n: p.state_dict() for n, p in run.composition.networks.items()} for run in (one, other))
    for name, weights in its.items():
        if any(not torch.equal(value, mine[name][key]) for key, value in weights.items()):
            yield f"the weights of the {name}"
    if not torch.equal(one.sample(100), other.sample(100)):
        yield "the samples"
    rows = [[{k: v for k, v in row.items() if k not in UNLIKE} for row in run.metrics] for run in (one, other)]
    if rows[0] != rows[1]:
        yield "the metrics"
    if sorted(p.name for p in folder.samples.iterdir()) != sorted(p.name for p in whole.samples.iterdir()):
        yield "the pictures"
    if list(folder.path.rglob("*.partial")):
        yield "files that were left half written"


def first_checkpoint(child: int, folder: Folder) -> None:
    """Waits for it: before, there is nothing that could be lost."""
    while not folder.steps() and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)


def soak(out: Path, kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kills so often; counts what happened, and lists what was wrong."""
    chance, counts, wrong = random.Random(seed), Counter[str](), []
    train(out, "first")  # So that the processes begin with everything imported.
    begun = time.monotonic()
    os.waitpid(forked(lambda: train(out, "whole")), 0)
    takes, whole = time.monotonic() - begun, Folder(out / "whole")
    while counts["kills"] < kills or counts["going"]:
        folder = Folder(out / f"run-{counts['runs that reached their end']}")
        child = forked(lambda folder=folder: train(out, folder.path.name))
        first_checkpoint(child, folder)
        before = folder.steps()[-1] if folder.steps() else 0
        counts["going"] = 1
        while_saving = counts["kills"] % 2 == 1
        moment = chance.uniform(0, takes / 4) if counts["kills"] < kills else 10 * takes
        if killed(child, folder, moment, while_saving):
            counts["kills"] += 1
            counts["kills that left a file half written"] += saving(folder)
            wrong += [f"kill {counts['kills']}: {each}" for each in lost(folder, before)]
        else:
            wrong += [f"{folder.path.name}: {each}" for each in differences(folder, whole)]
            counts["runs that reached their end"] += 1
            counts["going"] = 0
        if wrong:
            break
    del counts["going"]
    return counts, wrong


def main() -> None:
    """Prints what happened; exit code 1 if anything was lost."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        begun = time.monotonic()
        counts, wrong = soak(Path(out), given.kills, given.seed)
    print(", ".join(f"{count} {name}" for name, count in counts.items()), f"in {time.monotonic() - begun:.0f} s")
    print("\n".join(wrong) or "Nothing was lost.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
