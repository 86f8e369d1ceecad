"""What happens around a run: two at once, no space, nothing that may be written, other data, a clock that goes back."""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import BadData, BadRun, RunExists, SaveFailed
from zoo.fingerprints import fingerprint
from zoo.folder import Folder, summary
from zoo.locks import is_held
from zoo.recipe import Choice

sys.path.insert(0, str(Path(__file__).parent))
from short_runs import QUICK, quick, without_times

TRAIN = (
    "-m", "zoo", "train", "wgan-gp", "--dataset", "ring", "--steps", "100000", "--batch-size", "8", "--quiet",
    "--set", "generator.width=8", "--set", "critic.width=8", "--set", "train.log_every=1",
    "--set", "train.checkpoint_every=5", "--name", "run",
)  # fmt: skip
MOUNT = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def training(tmp_path, forked_python):
    """A process that trains a run, and has saved a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, *TRAIN, "--out", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder, deadline = Folder(tmp_path / "run"), time.monotonic() + 120
    while not folder.steps():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process, folder
    process.kill()
    process.communicate()


def test_a_run_that_is_being_trained_is_left_alone_until_its_process_is_dead(training, tmp_path):
    process, folder = training
    note = folder.state()
    assert note["state"] == "running"
    with pytest.raises(BadRun, match=rf"being trained by process {note['pid']} on {note['host']}; stop that first"):
        zoo.resume(folder.path, device="cpu")
    with pytest.raises(RunExists):
        quick(tmp_path)
    assert zoo.load(folder.path, device="cpu").sample(3).shape == (3, 2)
    os.kill(note["pid"], signal.SIGKILL)
    process.wait(timeout=60)
    assert folder.state()["state"] == "died"
    step = folder.steps()[-1]
    assert zoo.resume(folder.path, steps=step + 2, device="cpu").step == step + 2


def test_a_run_is_not_trained_twice_in_one_process(tmp_path):
    refused = []

    def again(row):
        assert Folder(tmp_path / "run").state()["state"] == "running"
        try:
            zoo.resume(tmp_path / "run", steps=99, device="cpu")
        except BadRun as error:
            refused.append(str(error))

    quick(tmp_path, on_log=again, log_every=12)
    assert len(refused) == 1
    assert f"being trained by process {os.getpid()}" in refused[0]
    assert Folder(tmp_path / "run").state()["state"] == "finished"


def test_of_two_that_begin_at_once_one_is_refused(tmp_path):
    path, recipe = tmp_path / "run", quick(tmp_path / "other").folder.recipe()
    path.mkdir()
    with Folder(path).alone(), pytest.raises(BadRun, match="is being trained; stop that first"):
        Folder.create(path, recipe)
    assert not (path / "recipe.toml").exists()
    assert Folder.create(path, recipe).recipe() == recipe


def test_a_note_that_a_run_is_running_means_nothing_without_a_lock(tmp_path):
    folder = quick(tmp_path).folder
    folder.write_state("running", 12)
    assert folder.state()["state"] == "died"
    assert zoo.resume(folder.path, steps=13, device="cpu").step == 13


def test_who_only_looks_at_a_lock_keeps_nobody_out(tmp_path):
    path = tmp_path / "lock"
    assert is_held(path) is False
    assert not path.exists()
    path.touch()
    assert is_held(path) is False


READ_ONLY, REMOUNT = 1, 32


def mount(place, flags=0):
    """A file system of its own in memory; False where that is not allowed."""
    return MOUNT.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, b"size=8m") == 0


@pytest.fixture
def mounted(tmp_path):
    place = tmp_path / "mounted"
    place.mkdir()
    if not mount(place):
        pytest.skip("mounting is not allowed here; the test with a limit of a file's length is in its place")
    yield place
    assert MOUNT.umount2(os.fsencode(place), 2) == 0


@contextlib.contextmanager
def longest_file(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def goes_on_as_if_nothing_had_been(path, whole, last_good):
    """Whether a run that could not be saved holds what it had, and ends as one that was never stopped."""
    folder = Folder(path)
    assert folder.state()["state"] in ("failed", "died")
    assert folder.steps()[-1] == last_good == folder.load()["iteration"]
    assert not list(path.rglob("*.partial"))
    assert zoo.resume(path, device="cpu").state == "finished"
    resumed = zoo.load(path, device="cpu")
    assert without_times(resumed) == without_times(whole)
    assert torch.equal(resumed.sample(10), whole.sample(10))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return quick(tmp_path_factory.mktemp("whole"))


def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_space(mounted, whole):
    def fill(row):
        if row["step"] == 8:
            with contextlib.suppress(OSError), (mounted / "filling").open("wb", 0) as file:
                while file.write(b"x" * 4096):
                    pass

    with pytest.raises(SaveFailed, match=r"step-00000008.pt could not be.*No space left on device.*before is intact"):
        quick(mounted, on_log=fill)
    (mounted / "filling").unlink()
    goes_on_as_if_nothing_had_been(mounted / "run", whole, 4)


def test_what_has_no_room_is_named_and_the_run_goes_on_when_there_is(tmp_path, whole):
    with contextlib.ExitStack() as stack:

        def limit(row):
            if row["step"] == 8:
                stack.enter_context(longest_file(2000))

        with pytest.raises(SaveFailed, match=r"step-00000008.pt could not be written: .*File too large.*is intact"):
            quick(tmp_path, on_log=limit)
    goes_on_as_if_nothing_had_been(tmp_path / "run", whole, 4)


def test_half_a_line_of_metrics_is_none(tmp_path, whole):
    metrics = tmp_path / "run" / "metrics.jsonl"
    with contextlib.ExitStack() as stack:

        def limit(row):
            if row["step"] == 8:
                stack.enter_context(longest_file(metrics.stat().st_size + 10))

        with pytest.raises(SaveFailed, match=r"metrics.jsonl could not be written: .*File too large"):
            quick(tmp_path, on_log=limit, checkpoint_every=7)
    assert metrics.read_bytes().endswith(b'\n{"step": 1')
    assert [row["step"] for row in Folder(tmp_path / "run").rows()] == [4, 8]
    goes_on_as_if_nothing_had_been(tmp_path / "run", whole, 7)


def test_a_read_only_folder_is_named_and_can_still_be_looked_at(mounted, whole, tmp_path):
    path = quick(mounted).folder.path
    assert mount(mounted, READ_ONLY | REMOUNT)
    with pytest.raises(SaveFailed, match="run/training.lock could not be written: .*Read-only file system"):
        zoo.resume(path, steps=16, device="cpu")
    with pytest.raises(SaveFailed, match="mounted/other could not be written: .*Read-only file system"):
        quick(mounted, "other")
    assert torch.equal(zoo.load(path, device="cpu").sample(10), whole.sample(10))
    assert Folder(path).state()["state"] == "finished"


def test_a_clock_that_goes_back_changes_nothing(tmp_path, whole, monkeypatch):
    clock = iter(range(2_000_000_000, 0, -1_000_000))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    run = quick(tmp_path, steps=8, schedule_steps=12)
    assert run.metrics[0]["time"] > run.metrics[1]["time"]
    zoo.resume(run.folder.path, steps=12, device="cpu")
    resumed = zoo.load(run.folder.path, device="cpu")
    assert without_times(resumed) == without_times(whole)
    assert 0 < resumed.seconds < 60
    assert all(row["iterations_per_second"] > 0 for row in resumed.metrics)


@pytest.fixture(scope="module")
def trained_on_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    samples = np.random.default_rng(0).integers(0, 255, (20, 8, 8), np.uint8)
    np.savez(folder / "images.npz", x=samples, y=np.arange(20) % 2)
    dataset = {"name": "array", "path": str(folder / "images.npz"), "key": "x", "labels_key": "y"}
    run = quick(folder, dataset=dataset, steps=2)
    return run.folder.path, samples, folder / "images.npz"


def one_value(x, y):
    x[7, 3, 3] += 1
    return x, y


def one_label(x, y):
    y[7] = 1 - y[7]
    return x, y


CHANGES = {
    "value": one_value,
    "label": one_label,
    "order": lambda x, y: (x[::-1], y),
    "size": lambda x, y: (x[1:], y[1:]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_data_that_changed_since_the_checkpoint_are_refused_with_both_named(trained_on_images, change):
    path, samples, file = trained_on_images
    original = file.read_bytes()
    x, y = change(samples.copy(), np.arange(20) % 2)
    np.savez(file, x=x, y=y)
    was = r"It was 20 samples of uint8 \(1, 8, 8\), 2 classes, sha256 ([0-9a-f]{16})"
    now = rf"now it is {len(x)} samples of uint8 \(1, 8, 8\), 2 classes, sha256 (?!\1)[0-9a-f]{{16}}\. Put back"
    try:
        with pytest.raises(BadData, match=f"data set of {path} has changed since its checkpoint. {was}; {now}"):
            zoo.resume(path, steps=4, device="cpu")
    finally:
        file.write_bytes(original)
    assert Folder(path).state()["state"] == "finished"


def test_data_that_were_put_back_are_gone_on_with(trained_on_images):
    path, _, file = trained_on_images
    os.utime(file, (0, 0))
    assert zoo.resume(path, steps=4, device="cpu").step == 4


def test_a_density_of_other_settings_is_other_data(tmp_path):
    path = quick(tmp_path, steps=2, dataset={"name": "ring", "modes": 8}).folder.path
    recipe = (path / "recipe.toml").read_text()
    (path / "recipe.toml").write_text(recipe.replace("modes = 8", "modes = 7"))
    with pytest.raises(BadData, match=r"It was the density ring\(modes=8,.*now it is the density ring\(modes=7,"):
        zoo.resume(path, steps=4, device="cpu")


def test_other_samples_that_are_given_are_refused(small, tmp_path):
    parts = {"generator": small["generator"], "critic": small["critic"], "distance": "wasserstein"}
    data = torch.arange(20.0)[:, None]
    run = zoo.train(dataset=zoo.ArrayDataset(data), **parts, out=tmp_path, name="run", device="cpu", **QUICK)
    with pytest.raises(BadData, match="has changed since its checkpoint"):
        zoo.resume(run.folder.path, steps=16, device="cpu", given={"dataset": zoo.ArrayDataset(data + 1), **parts})
    assert zoo.resume(run.folder.path, steps=16, device="cpu", given={"dataset": zoo.ArrayDataset(data), **parts})


def test_a_fingerprint_is_of_the_values_wherever_they_lie():
    values = torch.arange(24.0).view(4, 6)
    choice = Choice("array")
    same = fingerprint(zoo.ArrayDataset(values.t().contiguous().t()), choice)
    assert fingerprint(zoo.ArrayDataset(values), choice) == same
    assert fingerprint(zoo.ArrayDataset(values.view(4, 2, 3)), choice) != same
    assert fingerprint(zoo.ArrayDataset(-values), choice) != same


def test_a_run_that_died_is_listed_at_its_last_checkpoint(tmp_path):
    run = quick(tmp_path)
    run.folder.write_state("running", 0)
    listed = summary(run.folder)
    assert (listed["step"], listed["state"]) == (12, "died")
