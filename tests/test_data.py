"""Batches: the same from memory and from a file, gathered ahead or not; resumed where the trainer was."""

import threading
import time

import numpy as np
import pytest
import torch

from zoo import ArrayDataset, BadData
from zoo import data as data_module
from zoo.api import compose_table
from zoo.data import AHEAD, Batches
from zoo.devices import free_memory
from zoo.processes import Group
from zoo.trainer import Trainer

CPU = torch.device("cpu")
SIZE = 23


def pictures():
    return torch.arange(SIZE * 3 * 4 * 4).remainder(251).to(torch.uint8).view(SIZE, 3, 4, 4)


def labels():
    return torch.arange(SIZE) % 5


@pytest.fixture
def mapped(tmp_path):
    """A data set whose samples are mapped from a file."""
    np.save(tmp_path / "images.npy", pictures().numpy())
    return ArrayDataset(torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c")), labels(), mapped=True)


@pytest.fixture
def large(mapped, monkeypatch):
    """One that does not fit in memory, as it is said to be."""
    monkeypatch.setattr(data_module, "SHARE", 0.0)
    return mapped


def held():
    return ArrayDataset(pictures(), labels())


def equal(one, other):
    return all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def test_a_small_mapped_data_set_is_read_and_a_large_one_stays_in_its_file(mapped, monkeypatch):
    small = Batches(mapped, CPU, 0)
    assert small._ahead is None
    assert small._held.samples.data_ptr() != mapped.samples.data_ptr()
    monkeypatch.setattr(data_module, "free_memory", lambda device: 4 * mapped.samples.nbytes - 1)
    large = Batches(mapped, CPU, 0)
    assert large._held is None
    assert large._ahead._held.samples.data_ptr() == mapped.samples.data_ptr()


def test_where_the_system_does_not_say_what_is_free_a_mapped_data_set_stays_in_its_file(mapped, monkeypatch):
    monkeypatch.delattr("os.sysconf")
    assert free_memory(CPU) == 0
    assert Batches(mapped, CPU, 0)._held is None


def test_an_array_in_memory_is_where_the_cpu_wants_it(monkeypatch):
    monkeypatch.setattr(data_module, "SHARE", 0.0)
    dataset = held()
    assert Batches(dataset, CPU, 0)._held.samples.data_ptr() == dataset.samples.data_ptr()


class Others(Group):
    """The first of four processes, of which another one has so much or so little room."""

    fits = True

    def largest(self, *numbers):
        return [max(*numbers, not self.fits)]


class Full(Others):
    fits = False


@pytest.mark.parametrize(
    ("group", "on_this_machine", "place"),
    [
        (Others(0, 4), 1, "held"),
        (Others(0, 4), 2, "held"),
        (Others(0, 4), 4, "ahead"),
        (Others(0, 4), None, "ahead"),
        (Full(0, 4), 1, "ahead"),
        (Group(), 4, "held"),
    ],
)
def test_processes_of_one_machine_share_its_memory_and_decide_alike(mapped, monkeypatch, group, on_this_machine, place):
    monkeypatch.setattr(data_module, "free_memory", lambda device: 8 * mapped.samples.nbytes)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if on_this_machine:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(on_this_machine))
    batches = Batches(mapped, CPU, 0, group=group)
    assert ("ahead" if batches._held is None else "held") == place


def test_free_memory_is_some_and_not_more_than_there_is():
    import os

    assert 0 < free_memory(CPU) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("flip", [False, True])
def test_batches_from_a_file_are_those_from_memory(large, flip):
    ours, theirs = Batches(large, CPU, 3, flip), Batches(held(), CPU, 3, flip)
    for n in [4] * 20 + [7, 7, 1, SIZE, 4, 4]:
        assert equal(ours.draw(n), theirs.draw(n))
    assert ours.state_dict()["place"] == theirs.state_dict()["place"]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("drawn", [0, 1, 5, 8, 9, 20])
def test_the_state_is_the_place_of_what_was_drawn_and_not_of_what_was_gathered(large, drawn, flip):
    ours, theirs = Batches(large, CPU, 3, flip), Batches(held(), CPU, 3, flip)
    for _ in range(drawn):
        ours.draw(4)
        theirs.draw(4)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert torch.equal(state["order"], expected["order"])
    assert torch.equal(state["draws"]["state"], expected["draws"]["state"])
    assert state["place"] == expected["place"]
    for resumed in (Batches(large, CPU, 99, flip), Batches(held(), CPU, 99, flip), ours):
        resumed.load_state_dict(state)
        again = Batches(held(), CPU, 99, flip)
        again.load_state_dict(expected)
        for _ in range(3 * AHEAD):
            assert equal(resumed.draw(4), again.draw(4))


def wait(batches):
    """Until all that is being gathered is there."""
    for entry in batches._ahead._pending:
        entry.gathered.exception()


def test_batches_are_gathered_ahead_by_a_thread_of_its_own(large, monkeypatch):
    threads, gather = [], data_module._Held.gather

    def noted(self, rows):
        if self is batches._ahead._held:  # and not an earlier test's
            threads.append(threading.current_thread())
        return gather(self, rows)

    monkeypatch.setattr(data_module._Held, "gather", noted)
    batches = Batches(large, CPU, 0)
    batches.draw(4)
    assert [entry.size for entry in batches._ahead._pending] == [4] * (2 * AHEAD - 1)
    wait(batches)
    assert len(threads) == 2
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    left = []
    for _ in range(3 * AHEAD):
        batches.draw(4)
        left.append(len(batches._ahead._pending))
    assert (min(left), max(left)) == (AHEAD, 2 * AHEAD - 1)


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (3 * 4 * 48, 3), (10**9, AHEAD)])
def test_large_batches_are_gathered_few_at_once(large, monkeypatch, limit, batches):
    monkeypatch.setattr(data_module, "AHEAD_BYTES", limit)
    ours, theirs = Batches(large, CPU, 0), Batches(held(), CPU, 0)
    for _ in range(20):
        assert equal(ours.draw(4), theirs.draw(4))
        assert batches <= len(ours._ahead._pending) < 2 * batches + 1


def test_a_batch_that_is_not_ready_is_waited_for_and_counted(large):
    batches = Batches(large, CPU, 0)
    batches.draw(4)
    wait(batches)
    first = batches.late
    for _ in range(AHEAD):
        batches.draw(4)
        wait(batches)
    assert batches.late == first
    gate = threading.Event()
    batches._ahead._thread.submit(gate.wait)

    def open_when_late():
        end = time.monotonic() + 30
        while batches.late == first and time.monotonic() < end:
            time.sleep(0.001)
        gate.set()

    threading.Thread(target=open_when_late).start()
    for _ in range(2 * AHEAD):
        batches.draw(4)
    assert batches.late > first


def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_drawn(large, monkeypatch):
    batches = Batches(large, CPU, 0)
    batches.draw(4)
    wait(batches)

    def broken(self, rows):
        raise OSError("the disk is gone")

    monkeypatch.setattr(data_module._Held, "gather", broken)
    for _ in range(2 * AHEAD - 1):
        batches.draw(4)
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            batches.draw(4)
    state = batches.state_dict()
    monkeypatch.undo()
    resumed = Batches(large, CPU, 1)
    resumed.load_state_dict(state)
    expected = Batches(held(), CPU, 0)
    for _ in range(2 * AHEAD):
        expected.draw(4)
    assert equal(resumed.draw(4), expected.draw(4))


def test_too_large_a_batch_is_refused_as_from_memory(large):
    with pytest.raises(BadData, match=f"a batch of 24 is larger than the data set, which has {SIZE} samples"):
        Batches(large, CPU, 0).draw(SIZE + 1)


def test_without_flip_nothing_more_is_drawn():
    batches = Batches(held(), CPU, 3)
    batches.draw(4)
    assert torch.equal(batches._draws.rand(5), _after_one_permutation())


def _after_one_permutation():
    from zoo.draws import Draws

    draws = Draws(3)
    draws.randperm(SIZE)
    return draws.rand(5)


def test_flip_mirrors_half_of_the_images_and_changes_nothing_else():
    plain, flipped = Batches(held(), CPU, 3), Batches(held(), CPU, 3, flip=True)
    mirrored = 0
    for n in [SIZE] * 60:
        flipped._order, flipped._place = plain._order, plain._place
        flipped._draws.load_state_dict(plain._draws.state_dict())
        (images, _), (seen, _) = plain.draw(n), flipped.draw(n)
        same, turned = (seen == images).flatten(1).all(1), (seen == images.flip(-1)).flatten(1).all(1)
        assert (same ^ turned).all()
        mirrored += int(turned.sum())
    total = 60 * SIZE
    assert abs(mirrored - total / 2) < 4 * (total / 4) ** 0.5


def trained(dataset, iterations, state=None):
    table = {
        "variant": "wgan-gp",
        "generator": {"name": "mlp", "width": 4},
        "critic": {"name": "mlp", "width": 4},
        "train": {"batch_size": 4, "steps": 9},
    }
    trainer = Trainer(compose_table(table, device="cpu", given={"dataset": dataset}))
    if state is not None:
        trainer.load_state_dict(state)
    for _ in range(iterations):
        trainer.iterate()
    return trainer


def weights(trainer):
    return [p for network in trainer.composition.networks.values() for p in network.parameters()]


def test_training_from_a_file_gives_the_weights_of_training_from_memory_also_when_resumed(large):
    whole = weights(trained(held(), 5))
    assert equal(weights(trained(large, 5)), whole)
    state = trained(large, 2).state_dict()
    assert equal(weights(trained(large, 3, state)), whole)
