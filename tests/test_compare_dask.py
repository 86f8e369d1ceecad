"""`zoo compare` on a real Dask cluster of two worker processes, one of which is killed in the middle of a run."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.comparing import jobs
from zoo.comparing.jobs import executor_of
from zoo.comparing.plan import Request
from zoo.comparing.run import Way, carry_out
from zoo.errors import UsageError
from zoo.folder import Folder

distributed = pytest.importorskip("distributed")
BREAKING = Path(__file__).with_name("breaking.py")
SMALL = {"generator.width": 8, "critic.width": 8, "train.batch_size": 8}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as made:
        yield made


@pytest.fixture
def address(cluster):
    return f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


def request(folder, marker):
    """A contender whose process is killed at its fifth step, once; and two others."""
    constraint = f'{{ name = "trip", how = "SIGKILL", at = 4, marker = "{marker}" }}'
    (folder / "killed.toml").write_text(f'variant = "vanilla"\nlipschitz_constraint = [{constraint}]\n')
    return Request(
        contenders=(str(folder / "killed.toml"), "vanilla", "wgan"),
        dataset="ring",
        seeds=1,
        steps=6,
        metrics=("energy",),
        samples=40,
        points=3,
        device="cpu",
        assignments=[(key.split("."), value) for key, value in SMALL.items()],
    )


def figures(comparison):
    return {cell.contender: [dict(point.figures) for point in cell.points] for cell in comparison.cells}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(address, tmp_path):
    marker = tmp_path / "killed"
    asked = request(tmp_path, marker)
    _, comparison = carry_out(asked, tmp_path / "out", Way(executor=address, files=(BREAKING,)), print)
    assert marker.exists()
    assert [(cell.contender, cell.state) for cell in comparison.cells] == [
        ("killed", "finished"),
        ("vanilla", "finished"),
        ("wgan", "finished"),
    ]
    # It went on from its checkpoint: a run that was resumed names the end of its schedule.
    recipe = Folder(tmp_path / "out/runs/killed-seed0").recipe()
    assert recipe.train["schedule_steps"] == 6
    assert comparison.about["jobs"] == "2 at once"
    _, here = carry_out(asked, tmp_path / "here", Way(jobs=1, files=(BREAKING,)), print)
    assert figures(comparison) == figures(here)


@pytest.mark.parametrize(
    ("threads", "allowed", "message"),
    [
        ([], 3, "has no workers; start some"),
        ([1, 2], 3, "has 2 threads; runs in one process would share their random numbers"),
        ([1, 1], 1, "gives a task up after 1 dead workers; set distributed.scheduler.allowed-failures to 2"),
    ],
)
def test_a_cluster_that_cannot_do_the_work_is_refused(threads, allowed, message):
    class Client:
        def nthreads(self):
            return dict(enumerate(threads))

        def run_on_scheduler(self, function):
            return function(SimpleNamespace(allowed_failures=allowed))

    with pytest.raises(UsageError, match=message):
        jobs._workers(Client(), "dask://here")


def test_a_scheduler_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.comparing.jobs.WAIT", 0.5)
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at dask://127\.0\.0\.1:1:"):
        executor_of("dask://127.0.0.1:1", 1, 1, tmp_path)
