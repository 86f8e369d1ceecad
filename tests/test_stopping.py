"""Requests to end: how long torchrun waits for what is saved then, and which ones count as a second one."""

import os
import signal
import time

import pytest
import torch.distributed.run

import zoo
from zoo.launch import GRACE, launch
from zoo.stopping import TWICE, Stop


@pytest.fixture
def grace(monkeypatch):
    """The seconds that torchrun would give processes that `launch` starts."""
    found = []

    def run(arguments):
        found.append(torch.distributed.run.config_from_args(arguments)[0].shutdown_timeout)

    monkeypatch.setattr(torch.distributed.run, "run", run)

    def of_launch():
        launch(2, ["train"])
        return found.pop()

    return of_launch


def test_processes_have_time_to_save_a_large_checkpoint(grace, monkeypatch):
    monkeypatch.delenv(GRACE, raising=False)
    assert grace() >= 600
    assert GRACE not in os.environ
    monkeypatch.setenv(GRACE, "7")
    assert grace() == 7


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; `clock[0]` is its time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_request_that_comes_from_torchrun_too_is_no_second_one(clock, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    stop = Stop()
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        clock[0] += TWICE / 2
        signal.raise_signal(signal.SIGTERM)
        assert stop.wanted
        clock[0] += TWICE / 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_second_request_ends_a_process_that_is_alone_at_once(clock, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    stop = Stop()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("launched", "parent", "orphaned"), [(True, 1, True), (True, 5, False), (False, 1, False)])
def test_who_was_started_by_torchrun_sees_that_it_has_died(monkeypatch, launched, parent, orphaned):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    if not launched:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setattr(os, "getppid", lambda: 5)
    stop = Stop()
    monkeypatch.setattr(os, "getppid", lambda: parent)
    assert stop.orphaned() == orphaned


def test_a_run_whose_torchrun_has_died_ends_with_a_checkpoint(small, tmp_path, monkeypatch):
    class Killing(zoo.Distance):
        def critic_loss(self, batch):
            if batch.step == 3:
                monkeypatch.setattr(os, "getppid", lambda: 1)
            return batch.fake_scores.mean() - batch.real_scores.mean()

        generator_loss = critic_loss

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    run = zoo.train(**small, distance=Killing(), out=tmp_path, name="run", device="cpu", steps=9, batch_size=8)
    assert run.folder.state()["state"] == "interrupted"
    assert run.folder.steps() == [4]
