"""Checkpoints and the lines of metrics: damaged, torn, foreign or lost, each with an outcome that says what to do."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.checkpoints import hash_of
from zoo.cli import main
from zoo.errors import BadCheckpoint, BadRun, SaveFailed
from zoo.folder import Folder
from zoo.writing import write_whole

sys.path.insert(0, str(Path(__file__).parent))
from short_runs import QUICK, flipped, quick, without_times


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return quick(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(finished, tmp_path):
    """The same run once more, for a test that breaks it."""
    shutil.copytree(finished.folder.path, tmp_path / "run")
    return zoo.load(tmp_path / "run", device="cpu")


def newest(run):
    return run.folder.checkpoints / "step-00000012.pt"


def test_a_hash_lies_beside_each_checkpoint(finished):
    files = sorted(file.name for file in finished.folder.checkpoints.iterdir())
    assert files == [
        "step-00000008.pt", "step-00000008.pt.sha256", "step-00000012.pt", "step-00000012.pt.sha256"
    ]  # fmt: skip
    digest = hashlib.sha256(newest(finished).read_bytes()).hexdigest()
    assert hash_of(newest(finished)).read_text() == f"{digest}  step-00000012.pt\n"


@pytest.mark.parametrize("at", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_one_bit_is_enough_to_condemn_a_checkpoint(run, at):
    flipped(newest(run), at)
    with pytest.raises(BadCheckpoint, match=r"step-00000012.pt is damaged: its sha256 is not the one in step-00000012"):
        run.folder.load()


@pytest.mark.parametrize("content", [b"", "half", "long"])
def test_a_truncated_checkpoint_is_damaged(run, content):
    whole = newest(run).read_bytes()
    newest(run).write_bytes({"half": whole[: len(whole) // 2], "long": whole + b"\0"}.get(content, b""))
    with pytest.raises(BadCheckpoint, match="step-00000012.pt is damaged"):
        run.folder.load()


def test_a_damaged_checkpoint_is_never_skipped_and_removed_is_gone_on_from_the_one_before(run, finished):
    flipped(newest(run))
    before = {file: file.read_bytes() for file in run.folder.path.rglob("*") if file.is_file()}
    with pytest.raises(BadCheckpoint, match="the one before, which is of step 8, remove it: rm (.*)") as said:
        zoo.resume(run.folder.path, device="cpu")
    assert {file: file.read_bytes() for file in run.folder.path.rglob("*") if file.is_file()} == before
    subprocess.run(str(said.value).partition("remove it: ")[2], shell=True, check=True)
    assert zoo.resume(run.folder.path, device="cpu").step == 12
    again = zoo.load(run.folder.path, device="cpu")
    assert without_times(again) == without_times(finished)
    assert torch.equal(again.sample(10), finished.sample(10))
    assert len(list(run.folder.checkpoints.iterdir())) == 4


def test_the_command_names_the_damaged_checkpoint(run, monkeypatch, capsys):
    flipped(newest(run))
    monkeypatch.setattr(sys, "argv", ["zoo", "train", "--resume", str(run.folder.path), "--steps", "16"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert f"remove it: rm {newest(run)}" in capsys.readouterr().err


def test_a_checkpoint_that_is_the_only_one_says_so(run):
    run.folder.prune(1)
    flipped(newest(run))
    with pytest.raises(BadCheckpoint, match="There is no other one"):
        run.folder.load()


def test_a_damaged_older_checkpoint_names_the_others(run):
    flipped(run.folder.checkpoints / "step-00000008.pt")
    with pytest.raises(BadCheckpoint, match=r"step-00000008.pt is damaged.*There are others, of step 12"):
        run.folder.load(8)
    with pytest.raises(BadRun, match=r"no checkpoint of step 9; it has 8, 12"):
        run.folder.load(9)


def test_a_checkpoint_that_lost_its_hash_says_how_to_make_it(run):
    hash_of(newest(run)).unlink()
    with pytest.raises(BadCheckpoint, match=r"lost step-00000012.pt.sha256.*make that anew: \((.*)\)$") as said:
        run.folder.load()
    subprocess.run(str(said.value).partition("make that anew: ")[2], shell=True, check=True)
    assert run.folder.load()["iteration"] == 12


def test_a_checkpoint_of_the_version_before_has_no_hash_and_is_read(run):
    state = torch.load(newest(run), weights_only=True)
    del state["data"]["content"]
    torch.save({**state, "format": 1}, newest(run))
    hash_of(newest(run)).unlink()
    assert run.folder.load()["iteration"] == 12
    assert zoo.resume(run.folder.path, steps=13, device="cpu").step == 13


def killed_while(path, call):
    """Saves a second checkpoint in a process that is killed when it first calls a function with a matching name."""
    code = (
        "import os, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from zoo import writing, checkpoints\n"
        "from zoo.folder import Folder\n"
        "call, suffix = sys.argv[2:]\n"
        "real = getattr(checkpoints, call)\n"
        "def killed(*given):\n"
        "    if str(given[-1]).endswith(suffix) or suffix == '*': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*given)\n"
        "folder = Folder(Path(sys.argv[1])); folder.checkpoints.mkdir(parents=True, exist_ok=True)\n"
        "state = dict.fromkeys(checkpoints.PARTS, 1) | {'data': {'shape': [2], 'classes': None}, 'format': 2}\n"
        "folder.save(1, state, 1)\n"
        "setattr(checkpoints, call, killed)\n"
        "folder.save(2, state | {'iteration': 2}, 1)\n"
    )
    return subprocess.run([sys.executable, "-c", code, path, *call], timeout=60, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("call", "steps"),
    [
        (("_written", "*"), [1]),
        (("write_whole", "*"), [1]),
        (("put_in_place", ".pt"), [1]),  # The hash has its name, the checkpoint not yet.
    ],
    ids=["before the hash", "at the hash", "between hash and checkpoint"],
)
def test_killed_at_any_point_of_saving_there_is_a_checkpoint_that_loads(tmp_path, forked_python, call, steps):
    done = killed_while(tmp_path / "run", call)
    assert done.returncode == -9, done.stderr
    folder = Folder(tmp_path / "run")
    assert folder.steps() == steps
    assert folder.load()["iteration"] == 1
    folder.tidy()
    assert not list(tmp_path.rglob("*.partial"))
    folder.save(2, {**folder.load(), "iteration": 2}, 1)
    assert folder.load()["iteration"] == 2
    assert len(list(folder.checkpoints.iterdir())) == 2


def test_what_a_killed_process_left_half_written_is_removed(run):
    torn = [run.folder.checkpoints / "step-00000016.pt.partial", run.folder.samples / "step-00000016.png.partial"]
    for file in torn:
        file.write_bytes(b"half")
    zoo.resume(run.folder.path, steps=13, device="cpu")
    assert not any(file.exists() for file in torn)


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "recipe.toml"
    write_whole(path, b"old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(SaveFailed, match=r"recipe.toml.*No space left.*intact"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_checkpoint_of_another_recipe_is_refused(run, tmp_path):
    wide = zoo.train(
        "wgan-gp", dataset="ring", out=tmp_path, name="wide", device="cpu", settings={"generator.width": 9}, **QUICK
    )
    for source, target in ((newest(wide), newest(run)), (hash_of(newest(wide)), hash_of(newest(run)))):
        target.write_bytes(source.read_bytes())
    with pytest.raises(BadCheckpoint, match="does not fit"):
        zoo.load(tmp_path / "run", device="cpu")


def test_metrics_after_the_checkpoint_are_written_once(run):
    newest(run).unlink()
    with run.folder.metrics.open("a") as file:
        file.write('{"step": 13, "cut o')
    assert [row["step"] for row in run.metrics] == [4, 8, 12]
    zoo.resume(run.folder.path, device="cpu")
    assert [row["step"] for row in zoo.load(run.folder.path, device="cpu").metrics] == [4, 8, 12]
    assert run.folder.metrics.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("damage", [b'{"step": 8, "cri', b"\xff\xfe", b"[8]", b'{"step": "8"}'])
def test_a_damaged_line_of_metrics_in_the_middle_is_named(run, damage):
    first, _, last = run.folder.metrics.read_bytes().splitlines()
    run.folder.metrics.write_bytes(b"\n".join([first, damage, last]) + b"\n")
    with pytest.raises(BadRun, match="line 2 of .*metrics.jsonl is damaged; remove that line"):
        list(run.folder.rows())
    with pytest.raises(BadRun, match="line 2 of"):
        zoo.resume(run.folder.path, steps=16, device="cpu")
    assert run.folder.metrics.read_bytes().splitlines() == [first, damage, last]


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"state": "running"}', '{"state": 3, "step": "x"}', "\0"])
def test_a_note_on_the_state_that_cannot_be_read_is_unknown(run, note):
    (run.folder.path / "state.json").write_text(note)
    assert run.folder.state()["state"] == "unknown"
    assert zoo.resume(run.folder.path, steps=13, device="cpu").step == 13


def test_checkpoints_are_found_by_step_and_not_by_date(run):
    os.utime(run.folder.checkpoints / "step-00000008.pt", (4e9, 4e9))
    assert run.folder.load()["iteration"] == 12
