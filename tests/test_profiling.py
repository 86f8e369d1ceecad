"""Profiling: real iterations, computed as they always are, a trace, and where their time goes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import zoo
from zoo.api import compose_table, start
from zoo.errors import SaveFailed, UsageError
from zoo.profiling import PROFILED, SHOWN, WARM_UP, Profile, profiled, summarized

STEPS = WARM_UP + PROFILED + 2
TABLE = {
    "variant": "wgan-gp",
    "dataset": {"name": "ring"},
    "generator": {"width": 8, "depth": 1},
    "critic": {"width": 8, "depth": 1},
    "train": {"steps": STEPS, "batch_size": 8, "critic_steps": 1, "log_every": 8},
}


def trained(path, profile):
    outcome = start(compose_table(TABLE, device="cpu"), path, profile=profile)
    run = zoo.load(path, device="cpu")
    rows = [{k: v for k, v in row.items() if k not in ("time", "iterations_per_second")} for row in run.metrics]
    return outcome, rows, run.sample(10)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same run, profiled and not."""
    folder = tmp_path_factory.mktemp("runs")
    return trained(folder / "profiled", True), trained(folder / "plain", False)


def test_a_profiled_run_is_the_same_run_bit_for_bit(both):
    (_, rows, samples), (plain, plain_rows, plain_samples) = both
    assert rows == plain_rows
    assert torch.equal(samples, plain_samples)
    assert plain.profile is None


def test_the_trace_holds_the_profiled_iterations_and_their_operators(both):
    trace = json.loads(Path(both[0][0].profile["trace"]).read_text())
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert {name for name in names if name.startswith("ProfilerStep")} == {
        f"ProfilerStep#{number}" for number in range(WARM_UP, WARM_UP + PROFILED)
    }
    assert names.count("aten::_fused_adam_") == 2 * PROFILED


def test_the_summary_names_the_costliest_operations_and_the_time_outside(both):
    found = both[0][0].profile
    assert found["iterations"] == PROFILED
    assert 0 < found["outside"] < 1
    shares = [operation["share"] for operation in found["operations"]]
    assert len(shares) == SHOWN
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 - found["outside"] + 1e-6
    assert all("autograd" not in operation["name"] for operation in found["operations"])
    events = json.loads(Path(found["trace"]).read_text())["traceEvents"]
    counted = sum(event.get("name") == "aten::mm" for event in events)
    assert {each["name"]: each["calls"] for each in found["operations"]}["aten::mm"] == counted / PROFILED


def event(name, start, end, device="CUDA", annotation=False):
    span = SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start)
    return SimpleNamespace(
        name=name, device_type=SimpleNamespace(name=device), is_user_annotation=annotation, time_range=span
    )


def test_outside_a_gpu_is_when_no_kernel_and_no_copy_runs():
    events = [
        event("ProfilerStep*", 0, 100, "CPU", annotation=True),
        event("ProfilerStep*", 0, 100, annotation=True),
        event("aten::mm", 0, 90, "CPU"),
        event("gemm", 10, 30),
        event("gemm", 20, 40),
        event("copy", 60, 70),
        event("optimizer", 0, 100, annotation=True),
        event("late", 100, 150),
    ]
    found = summarized(events, "cuda")
    assert found["outside"] == pytest.approx(0.6)
    assert [operation["name"] for operation in found["operations"]] == ["late", "gemm", "copy"]


def test_a_run_too_short_to_be_profiled_is_refused_before_anything_is_written(tmp_path):
    short = {**TABLE, "train": {**TABLE["train"], "steps": WARM_UP + PROFILED - 1}}
    with pytest.raises(UsageError, match="at least 30"):
        start(compose_table(short, device="cpu"), tmp_path / "run", profile=True)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_stopped_before_leaves_no_trace(tmp_path):
    profile = Profile(tmp_path / "trace.json", torch.device("cpu"))
    calls = []
    with profiled(lambda: calls.append(1), profile) as iterate:
        for _ in range(WARM_UP + 3):
            iterate()
    assert len(calls) == WARM_UP + 3
    assert profile.summary is None
    assert not (tmp_path / "trace.json").exists()


def test_a_trace_that_cannot_be_written_is_said(tmp_path):
    profile = Profile(tmp_path / "missing" / "trace.json", torch.device("cpu"))

    def run():
        with profiled(lambda: None, profile) as iterate:
            for _ in range(WARM_UP + PROFILED):
                iterate()

    with pytest.raises(SaveFailed, match="trace.json could not be written"):
        run()


def test_the_command_prints_them_in_new_and_in_resumed_runs(zoo_command):
    small = [f"--set={part}.{size}" for part in ("generator", "critic") for size in ("width=8", "depth=1")]
    shared = ["--device", "cpu", "--quiet", "--profile"]
    new = zoo_command("train", "wgan", "--dataset", "ring", "--steps", 30, "--name", "run", *small, *shared)
    assert "COSTLIEST OPERATIONS" in new.stdout
    assert "Outside the device: " in new.stdout
    zoo_command("train", "--resume", "runs/run", "--steps", 59, *shared, code=2)
    resumed = zoo_command("train", "--resume", "runs/run", "--steps", 60, *shared, "--json")
    assert json.loads(resumed.stdout)["profile"]["iterations"] == PROFILED
