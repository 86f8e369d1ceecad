"""Run folders through the Python interface: whole, resumable to the same bits, safe against what goes wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import BadRecipe, BadRun, RunExists
from zoo.folder import Folder

sys.path.insert(0, str(Path(__file__).parent))
from short_runs import NARROW, QUICK, quick, without_times


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return quick(tmp_path_factory.mktemp("runs"))


def test_a_run_folder_holds_recipe_metrics_samples_and_checkpoints(finished):
    folder = finished.folder.path
    recipe = finished.folder.recipe()
    assert recipe.variant == "wgan-gp"
    assert recipe.axes["generator"].settings["width"] == 8
    assert recipe.versions["torch"] == torch.__version__
    assert recipe.versions["zoo-wgan-gp"] == "0.1.0"
    assert [row["step"] for row in finished.metrics] == [4, 8, 12]
    assert {"critic_loss", "gradient-penalty", "generator_loss", "estimate"} <= set(finished.metrics[0])
    assert sorted(p.name for p in (folder / "samples").iterdir()) == ["step-00000006.png", "step-00000012.png"]
    assert finished.folder.steps() == [8, 12]
    assert finished.folder.state()["state"] == "finished"
    assert not list(folder.rglob("*.partial"))


def test_samples_have_the_datas_shape_and_follow_the_seed(finished):
    samples = finished.sample(300, seed=1)
    assert samples.shape == (300, 2)
    assert torch.equal(samples, zoo.load(finished.folder.path, device="cpu").sample(300, seed=1))
    assert not torch.equal(samples, finished.sample(300, seed=2))


def test_samples_come_from_the_averaged_generator(finished):
    average = finished.folder.load()["average"]
    for name, value in finished.composition.networks["generator"].state_dict().items():
        assert torch.equal(value, average[name])


def test_the_same_seed_repeats_a_run_bit_for_bit(finished, tmp_path):
    again = quick(tmp_path)
    assert without_times(again) == without_times(finished)
    assert torch.equal(again.sample(10), finished.sample(10))
    assert not torch.equal(quick(tmp_path, "other", seed=1).sample(10), finished.sample(10))


def test_a_resumed_run_equals_one_that_was_not_stopped(finished, tmp_path):
    quick(tmp_path, steps=8, schedule_steps=12)
    outcome = zoo.resume(tmp_path / "run", steps=12, device="cpu")
    resumed = zoo.load(tmp_path / "run", device="cpu")
    assert outcome.state == "finished"
    assert outcome.step == 12
    assert without_times(resumed) == without_times(finished)
    assert torch.equal(resumed.sample(10), finished.sample(10))


def test_a_finished_run_is_only_extended(finished):
    with pytest.raises(BadRun, match="at step 12 of 12 already; extend it with --steps"):
        zoo.resume(finished.folder.path)


@pytest.mark.parametrize(("schedule", "told"), [("linear", True), ("cosine", True), ("constant", False)])
def test_steps_beyond_the_end_of_a_schedule_are_pointed_out(schedule, told, tmp_path, capsys):
    quick(tmp_path, steps=8, schedule=schedule)
    zoo.resume(tmp_path / "run", steps=9, device="cpu")
    assert ("rates of this run fell until step 8" in capsys.readouterr().err) == told


def test_steps_within_a_schedule_are_not(tmp_path, capsys):
    quick(tmp_path, steps=8, schedule="linear", schedule_steps=12)
    zoo.resume(tmp_path / "run", steps=12, device="cpu")
    assert "rates of this run" not in capsys.readouterr().err


def test_an_existing_run_is_never_overwritten(finished):
    with pytest.raises(RunExists, match="zoo train --resume"):
        zoo.train("vanilla", dataset="ring", out=finished.folder.path.parent, name="run", device="cpu")
    assert finished.folder.recipe().variant == "wgan-gp"


def test_checkpoints_hold_plain_tensors_and_numbers(finished):
    path = finished.folder.checkpoints / "step-00000012.pt"
    state = torch.load(path, weights_only=True)
    assert state["iteration"] == 12
    assert state["counts"] == {"critic": 60, "generator": 12}


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(BadRun, match="no recipe.toml"):
        zoo.load(tmp_path)


def test_parts_that_are_no_plugins_train_and_are_reopened_with_them(small, tmp_path):
    rows = []
    run = zoo.train(
        **small, distance="wasserstein", lipschitz_constraint="weight-clipping", out=tmp_path, name="run",
        device="cpu", on_log=rows.append, **QUICK,
    )  # fmt: skip
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert run.sample(5).shape == (5, 1)
    with pytest.raises(BadRun, match=r"made in Python \(Shift\).*give the generator again"):
        zoo.load(tmp_path / "run")


def test_parts_of_ones_own_can_be_used_again(small, tmp_path):
    given = {**small, "distance": "wasserstein", "lipschitz_constraint": [Spectral()]}
    run = zoo.train(**given, out=tmp_path, name="run", device="cpu", **QUICK)
    assert all(p.requires_grad for name in ("generator", "critic") for p in small[name].parameters())
    assert small["critic"].applied == 1
    trained = small["generator"].theta.clone()
    zoo.load(tmp_path / "run", device="cpu", given=given)
    assert torch.equal(small["generator"].theta, trained)
    outcome = zoo.resume(tmp_path / "run", steps=16, device="cpu", given=given)
    assert (outcome.step, small["critic"].applied) == (16, 1)
    assert run.sample(3).shape == (3, 1)
    with pytest.raises(BadRun, match="give the lipschitz_constraint again"):
        zoo.resume(tmp_path / "run", steps=20, given=small)


def test_two_constraints_of_one_class_are_two(small, tmp_path):
    clip = zoo.create("lipschitz_constraint", "gradient-penalty")
    run = zoo.train(
        **small, distance="wasserstein", lipschitz_constraint=[clip, type(clip)(weight=1.0)], out=tmp_path,
        name="run", device="cpu", **QUICK,
    )  # fmt: skip
    row = run.metrics[0]
    assert row["given GradientPenalty"] == pytest.approx(10 * row["given GradientPenalty 2"])


class Spectral(zoo.LipschitzConstraint):
    def parametrize(self, critic):
        critic.applied = getattr(critic, "applied", 0) + 1


def test_metrics_of_a_run_that_was_stopped_between_lines_are_the_same(small, tmp_path):
    class Interrupts(type(small["dataset"])):
        """Presses Ctrl-C when it is drawn from the sixth time, after once in the trial before training."""

        draws = 0

        def sample(self, n, draws):
            self.draws += 1
            if self.draws == 1 + 6:
                os.kill(os.getpid(), signal.SIGINT)
            return super().sample(n, draws)

    parts = {"distance": "wasserstein", "generator": "mlp", "critic": "mlp"}
    options = {"out": tmp_path, "device": "cpu", "settings": NARROW, **QUICK}
    whole = zoo.train(dataset=small["dataset"], name="whole", **parts, **options)
    stopped = zoo.train(dataset=Interrupts(2.0), name="stopped", **parts, **options)
    assert (stopped.step, [row["step"] for row in stopped.metrics]) == (6, [4])
    zoo.resume(tmp_path / "stopped", device="cpu", given={"dataset": small["dataset"]})
    assert without_times(zoo.load(tmp_path / "stopped", device="cpu")) == without_times(whole)


def test_a_failure_of_any_kind_is_noted(tmp_path):
    def fail(row):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        quick(tmp_path, on_log=fail)
    assert Folder(tmp_path / "run").state()["state"] == "failed"


def test_ctrl_c_saves_and_the_run_goes_on_to_the_same_bits(tmp_path):
    command = [sys.executable, "-m", "zoo", "train", "wgan-gp", "--dataset", "ring", "--name", "run", "--quiet"]
    settings = ["--set", "generator.width=8", "--set", "critic.width=8", "--batch-size", "8", "--steps", "3000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *settings, "--out", str(tmp_path), "--set", "train.log_every=1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"zoo train --resume {tmp_path / 'run'}" in output
    stopped = Folder(tmp_path / "run")
    step = stopped.state()["step"]
    assert stopped.state()["state"] == "interrupted"
    assert stopped.steps()[-1] == step
    (tmp_path / "whole").mkdir()
    zoo.resume(stopped.path, steps=step + 4, device="cpu")
    whole = zoo.train(
        "wgan-gp", dataset="ring", out=tmp_path, name="whole", settings={**NARROW, "train.schedule_steps": 3000},
        device="cpu", steps=step + 4, batch_size=8,
    )  # fmt: skip
    assert torch.equal(zoo.load(stopped.path, device="cpu").sample(10), whole.sample(10))


def test_a_run_is_sampled_where_its_data_are_not(tmp_path):
    images = np.random.default_rng(0).random((20, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    run = quick(tmp_path, dataset=f"array:{tmp_path / 'images.npy'}")
    expected = run.sample(5)
    (tmp_path / "images.npy").unlink()
    reopened = zoo.load(tmp_path / "run", device="cpu")
    assert torch.equal(reopened.sample(5), expected)
    with pytest.raises(zoo.BadData, match="images.npy"):
        _ = reopened.dataset


def test_images_and_points_are_drawn(finished, tmp_path):
    run = quick(tmp_path, dataset="digits", steps=2)
    picture = next((tmp_path / "run" / "samples").iterdir())
    from PIL import Image

    with Image.open(picture) as image:
        assert min(image.size) >= 200
        assert np.asarray(image).std() > 0
    assert run.sample(3).shape == (3, 1, 8, 8)
    assert run.sample(3).abs().max() <= 1


def test_tensorboard_is_written_where_it_is_installed(finished):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = event_accumulator.EventAccumulator(str(finished.folder.path / "tensorboard")).Reload()
    assert set(board.Tags()["scalars"]) == set(finished.metrics[0]) - {"step", "time"}
    drawn = [(event.step, event.value) for event in board.Scalars("critic_loss")]
    assert drawn == [(row["step"], pytest.approx(row["critic_loss"])) for row in finished.metrics]


class Conditional(zoo.Generator):
    """Makes its label, and nothing else."""

    conditional = True
    latent_dim = 1

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, z, condition=None):
        return (condition.float()[:, None] + 0.0 * z) * self.scale


@pytest.fixture
def labelled():
    labels = torch.arange(30) % 3
    return {"dataset": zoo.ArrayDataset(labels[:, None].float(), labels), "generator": Conditional()}


def test_conditional_generators_are_trained_and_sampled_by_label(labelled, small, tmp_path):
    given = {**labelled, "critic": small["critic"], "distance": "wasserstein"}
    zoo.train(**given, out=tmp_path, name="run", device="cpu", **QUICK)
    run = zoo.load(tmp_path / "run", device="cpu", given=given)
    scale = run.composition.networks["generator"].scale
    expected = torch.tensor([[2.0], [0.0], [2.0], [0.0], [2.0]]) * scale.detach()
    assert torch.allclose(run.sample(5, labels=[2, 0]), expected)
    with pytest.raises(zoo.ZooError, match="from 0 to 2"):
        run.sample(5, labels=[3])


def test_labels_are_refused_where_they_mean_nothing(finished):
    with pytest.raises(zoo.ZooError, match="not conditional"):
        finished.sample(5, labels=[1])


def test_a_plain_module_is_a_critic(tmp_path):
    critic = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))
    run = zoo.train("wgan-gp", dataset="ring", critic=critic, out=tmp_path, name="run", device="cpu", **QUICK)
    assert run.sample(3).shape == (3, 2)


def test_a_tensor_is_no_data_set_and_a_run_is_shown_in_a_line(finished):
    with pytest.raises(BadRecipe, match=r"dataset=zoo\.ArrayDataset\(samples"):
        zoo.train("wgan", dataset=torch.zeros(9, 2), device="cpu")
    assert repr(finished) == f"Run('{finished.folder.path}', step 12)"
