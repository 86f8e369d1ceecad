"""Several processes are one: gradients, weights, logs and checkpoints; and one that dies ends all, with its reason."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

import zoo
from zoo.api import compose_table
from zoo.cli import main
from zoo.components import ArrayDataset
from zoo.data import Batches
from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.folder import Folder
from zoo.normalising import normalise_together
from zoo.plugins import installed
from zoo.previews import preview
from zoo.processes import Agreement, Group
from zoo.sets import is_mean_of_halves, is_over_set
from zoo.trainer import Trainer, flattened

sys.path.insert(0, str(Path(__file__).parent))
import together
from together import SIZE, Spread, cases, computed, doubles, normalised, went_on

CASES = cases()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def two(_forked, tmp_path_factory):
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("together")
    with doubles():
        torch.save(went_on(None), folder / "one.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([_forked, together.__file__, str(rank), folder], env=environment) for rank in range(SIZE)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0] * SIZE
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]


def assert_close(one, other, rtol=1e-9):
    assert one.keys() == other.keys()
    for name, value in one.items():
        expected, got = torch.as_tensor(value).double(), torch.as_tensor(other[name]).double()
        torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_on_the_whole_batch(two, name):
    with doubles():
        expected = computed(*CASES[name])
    for rank in range(SIZE):
        got = two[rank]["cases"][name]
        assert_close(expected["gradients"], got["gradients"])
        assert_close(expected["state"], got["state"])
        assert_close(expected["log"], got["log"], rtol=1e-6)
    assert expected["gradients"]
    assert any(gradient.any() for gradient in expected["gradients"].values())


def test_batch_norm_is_that_of_the_whole_batch_and_twice_differentiable(two):
    with doubles():
        expected = normalised(Group())
    for rank in range(SIZE):
        for name, values in expected.items():
            assert_close(values, two[rank]["normalised"][name], rtol=1e-7)


def test_a_picture_is_drawn_without_the_other_processes(small, tmp_path):
    class Unkept(zoo.Generator):
        latent_dim = 2

        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(2, track_running_stats=False)

        def forward(self, z, condition=None):
            return self.norm(z)[:, :1]

    class Elsewhere(Group):
        def gather(self, rows):
            raise AssertionError("the others were asked")

    table = {"distance": {"name": "wasserstein"}, "train": {"average": 0.0, "batch_size": 8}}
    made = Trainer(compose_table(table, given={**small, "generator": Unkept()}, device="cpu"))
    normalise_together([made.generator], Elsewhere(0, 2))
    assert preview(made, Folder(tmp_path))
    made.generator.eval()
    with pytest.raises(AssertionError, match="were asked"):
        made.generator(torch.ones(4, 2))


@pytest.mark.parametrize("start", ["two", "one"])
def test_a_checkpoint_of_some_processes_is_gone_on_with_by_others(two, start, tmp_path):
    """Two iterations of one or two processes, and two more of two or one, are four of one process."""
    with doubles():
        first = went_on(None)
        expected = went_on(first)
        got = two[0]["from one"] if start == "one" else went_on(two[1]["from two"])
    for part in ("networks", "optimizers", "average", "batches", "draws"):
        one, other = (dict(flattened(state[part], part)) for state in (expected, got))
        numbers = {name: value for name, value in one.items() if isinstance(value, torch.Tensor)}
        assert_close(numbers, {name: other[name] for name in numbers})
    assert got["iteration"] == 4


def test_all_stop_at_the_same_iteration(two):
    assert two[0]["agreed"] == two[1]["agreed"] > 3


class Quick(Group):
    """Two processes whose other one is never asked to stop."""

    def largest(self, *numbers):
        return list(numbers)


def test_a_stop_after_a_rollback_is_heard_at_once_and_stays(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def heard(stop, first, asked):
        for iteration in range(first, first + 3000):
            now[0] += 0.001
            if stop.agreed(asked, iteration):
                return iteration
        return None

    stop = Agreement(Quick(0, 2), 0)
    assert heard(stop, 0, asked=False) is None
    stop.begin(1000)
    assert heard(stop, 1000, asked=True) == 1001
    stop.begin(500)
    assert stop.agreed(False, 501)


def test_samples_and_labels_are_compared(small):
    compared = []

    class Compares(Group):
        def refuse_difference(self, things):
            compared.append(things)

    data = ArrayDataset(torch.rand(32, 1), torch.arange(32) % 4)
    table = {"distance": {"name": "wasserstein"}, "train": {"batch_size": 8}}
    made = Trainer(compose_table(table, given={**small, "dataset": data}, device="cpu"))
    made.group = Compares(0, 2)
    made.refuse_difference()
    made.refuse_difference(data=True)
    assert compared[1].keys() - compared[0].keys() == {"data set.samples", "data set.labels"}
    assert torch.equal(compared[1]["data set.labels"], data.labels)


def test_what_differs_is_named_in_all_processes_and_what_one_refuses_all_refuse(two):
    for rank in range(SIZE):
        assert "networks.critic" in two[rank]["refusals"]["differ"]
        assert "differs between process 0 and process 1" in two[rank]["refusals"]["differ"]
        assert two[rank]["refusals"]["exists"] == "it is there"


def test_what_one_process_has_alone_is_named_in_all(two):
    for rank in range(SIZE):
        found = two[rank]["uneven"]
        assert found.keys() == {"records", "gradients"}
        assert "wrong in the critic phase 0 times and 3 times" in found["records"]
        assert "no gradient by parameter 0 in the critic phase 0 times and 2 times" in found["gradients"]


def test_each_process_draws_its_rows_of_what_one_would_draw():
    for draw in (lambda d, n: d.rand(n, 3), lambda d, n: d.randn(n), lambda d, n: d.randint(9, n, 2)):
        parts = [Draws(5, group=Group(rank, 3)) for rank in range(3)]
        one = Draws(5)
        for n in (2, 5):
            assert torch.equal(draw(one, 3 * n), torch.cat([draw(part, n) for part in parts]))
        assert torch.equal(draw(one, 4), draw(parts[1].ungrouped(), 4))


def test_each_process_gets_its_rows_of_a_batch_in_every_epoch():
    data = ArrayDataset(torch.arange(10.0)[:, None], torch.arange(10))
    one, parts = Batches(data, CPU, 3), [Batches(data, CPU, 3, group=Group(rank, 2)) for rank in range(2)]
    for _ in range(6):
        samples, labels = one.draw(4)
        shared = [part.draw(2) for part in parts]
        assert torch.equal(samples, torch.cat([each[0] for each in shared]))
        assert torch.equal(labels, torch.cat([each[1] for each in shared]))


def test_which_distances_are_over_a_set_is_measured():
    found = {e.name for e in zoo.list_components("distance") if is_over_set(zoo.create("distance", e.name))}
    assert "histogram-js" in found
    assert not found & {"wasserstein", "minimax", "non-saturating", "relativistic", "loss-sensitive"}
    assert is_over_set(Spread())


MEANS = {
    "mean": lambda real, fake: fake.mean() - real.mean(),
    "softplus of each": lambda real, fake: (softplus(-real) + softplus(fake)).mean(),
    "exponentials": lambda real, fake: fake.exp().mean() - real.mean(),
    "margin of each": lambda real, fake: (1 + fake - real).relu().mean(),
}
OF_MEANS = {
    "one margin": lambda real, fake: (1 + fake.mean() - real.mean()).relu(),
    "two margins": lambda real, fake: (1 - real.mean()).relu() + (1 + fake.mean()).relu(),
    "absolute": lambda real, fake: -(real.mean() - fake.mean()).abs(),
    "clamped": lambda real, fake: (fake.mean() - real.mean()).clamp(-5, 5),
    "far away": lambda real, fake: fake.mean() - real.mean() + (fake.mean() - 20).relu(),
    "relativistic, of means": lambda real, fake: (1 - (real - fake.mean())).relu().mean(),
    "by its gradient only": lambda real, fake: fake.mean() * (fake.std() / fake.std().detach()),
}


class Given(zoo.Distance):
    """A loss of scores, which counts how often it is asked."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss
        self.register_buffer("asked", torch.zeros(()))

    def critic_loss(self, batch):
        self.asked += 1
        return self.loss(batch.real_scores, batch.fake_scores)

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


@pytest.mark.parametrize("name", [*MEANS, *OF_MEANS])
def test_a_loss_of_means_is_over_a_set_though_it_be_linear_in_places(name):
    distance = Given({**MEANS, **OF_MEANS}[name])
    assert is_over_set(distance) == (name in OF_MEANS)
    assert not distance.asked


class Penalty(zoo.LipschitzConstraint):
    """A given function of a game."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def penalty(self, batch):
        return self.of(batch)


def own_features(batch):
    """What only the recipe's own critic can be asked."""
    return batch.critic.sines(batch.real)


class Sines(zoo.Critic):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def sines(self, samples):
        return (self.scale * samples.sin()).sum(1)

    def forward(self, samples, condition=None):
        return self.sines(samples)


NO_MEANS = {
    "the steepest": lambda batch: batch.slopes("real").max(),
    "their mean, near 1": lambda batch: 10 * (batch.slopes("real").mean() - 1).square(),
    "their mean, above 1": lambda batch: (batch.slopes("segment").mean() - 1).relu(),
    "their spread": lambda batch: batch.slopes("fake").std(),
    "the steepest of its own": lambda batch: own_features(batch).max(),
}
MEAN_PENALTIES = {
    "each near 1": lambda batch: 10 * (batch.slopes("real") - 1).square().mean(),
    "each above 1": lambda batch: (batch.slopes("segment") - 1).relu().mean(),
    "its own": lambda batch: own_features(batch).mean(),
    "none": lambda batch: None,
}


@pytest.mark.parametrize("name", [*NO_MEANS, *MEAN_PENALTIES])
def test_a_penalty_that_is_no_mean_is_refused_where_batches_are_split(small, name):
    given = {**small, "critic": Sines()} if "its own" in name else {"dataset": small["dataset"]}
    given["lipschitz_constraint"] = {"given penalty": Penalty({**NO_MEANS, **MEAN_PENALTIES}[name])}

    def compose(micro_batches):
        # A new critic of this kind has nearly the same slope everywhere.
        names = {} if "critic" in given else {"generator": {"name": "mlp"}, "critic": {"name": "mlp"}}
        train = {"batch_size": 8, "micro_batches": micro_batches}
        return compose_table({**names, "distance": {"name": "wasserstein"}, "train": train}, given=given, device="cpu")

    compose(1)
    if name in MEAN_PENALTIES:
        compose(2)
        return
    with pytest.raises(IncompatibleParts, match="penalty of given penalty is no mean over samples"):
        compose(2)


@pytest.mark.parametrize("name", together.constraints()[1:])
def test_installed_penalties_are_means(name):
    assert is_mean_of_halves(zoo.create("lipschitz_constraint", name).penalty, (3, 4, 4), bend=1.0)


QUICK = ("--steps", 6, "--batch-size", 8, "--set", "generator.width=8", "--set", "critic.width=8", "--quiet")
EVERY = ("--set", "train.checkpoint_every=2", "--set", "train.log_every=2")


def test_the_command_trains_in_two_processes_what_one_trains(zoo_command, forked_python, tmp_path):
    command = ("train", "wgan-gp", "--dataset", "ring", *QUICK, *EVERY)
    zoo_command(*command, "--name", "two", "--processes", 2)
    zoo_command(*command, "--name", "one")
    two, one = (Folder(tmp_path / "runs" / name) for name in ("two", "one"))
    assert two.state()["state"] == "finished"
    assert two.steps() == one.steps() == [4, 6]
    assert [row["step"] for row in two.rows()] == [2, 4, 6]
    for mine, its in zip(two.rows(), one.rows(), strict=True):
        keys = mine.keys() - {"time", "iterations_per_second"}
        assert [mine[key] for key in keys] == pytest.approx([its[key] for key in keys], rel=1e-3, abs=1e-5)
    zoo_command("train", "--resume", "runs/one", "--steps", 8, "--quiet", "--processes=2")
    zoo_command("train", "--resume", "runs/two", "--steps", 8, "--quiet")
    (of_two, of_one) = (folder.load(8)["networks"] for folder in (two, one))
    for name, network in of_one.items():
        for key, value in network.items():
            torch.testing.assert_close(of_two[name][key], value, rtol=1e-3, atol=1e-5)


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """As `zoo_command`, and what the processes that it starts print is heard too; returns what came on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code):
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        installed.cache_clear()
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr().err
        assert stop.value.code == code, said
        return said

    return run


def test_a_mistake_is_told_once_and_leaves_nothing(command, forked_python, tmp_path):
    said = command("train", "wgan", "--dataset", "ring", *QUICK, "--batch-size", 9, "--processes", 2, code=2)
    assert said.count("a batch of 9 cannot be split in 1 equal micro-batches in each of 2 processes") == 1
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


FAILING = """
import os, torch
from zoo import Distance, ZooError, hookimpl

class Failing(Distance):
    def critic_loss(self, batch):
        if batch.step == 5 and os.environ.get("RANK") == "1":
            {act}
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

@hookimpl
def distance():
    return {{"failing": Failing}}
"""


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("os.kill(os.getpid(), 9)", r"process 1 of 2 \(pid \d+\) was killed by SIGKILL"),
        ("os._exit(3)", r"process 1 of 2 \(pid \d+\) ended with code 3"),
        ("raise torch.OutOfMemoryError('x')", "process 1 of 2: the device has too little memory"),
        ("raise ZooError('the moon is wrong')", "process 1 of 2: the moon is wrong"),
    ],
)
def test_a_process_that_dies_ends_the_run_at_once_with_its_reason(command, forked_python, tmp_path, act, reason):
    (tmp_path / "failing.py").write_text(FAILING.format(act=act))
    names = ("--plugin", "failing.py", "--distance", "failing", "--name", "run")
    start = time.monotonic()
    said = command("train", "wgan", "--dataset", "ring", *QUICK, *EVERY, *names, "--processes", 2, code=1)
    assert time.monotonic() - start < 60
    assert re.search(reason, said), said
    assert "Traceback" not in said
    folder = Folder(tmp_path / "runs" / "run")
    assert folder.state()["state"] == "failed"
    assert folder.load()["iteration"] == 4
    assert not list(folder.path.rglob("*.partial"))


def test_a_request_to_terminate_saves_and_ends_all_processes(tmp_path):
    options = ("train", "wgan", "--dataset", "ring", *QUICK, "--steps", 100000, "--processes", 2, "--name", "run")
    command = [sys.executable, "-m", "zoo", *map(str, (*options, "--set", "train.log_every=1"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    folder = Folder(tmp_path / "runs" / "run")
    try:
        for _ in range(600):
            if next(folder.rows(), None):
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert out.count("Stopped and saved at step") == 1
    assert folder.state()["state"] == "interrupted"
    assert folder.load()["iteration"] == folder.state()["step"] > 0
