"""Recorded steps, with a stand-in for CUDA graphs, which shows all but their speed."""

import pytest
import torch

from zoo import Distance
from zoo.api import compose_table
from zoo.errors import BadRecipe
from zoo.replayed import WARM, Replayer
from zoo.trainer import Trainer
from zoo.training import Training, load_optimizer

NETWORKS = {"generator": {"name": "mlp", "width": 8, "depth": 1}, "critic": {"name": "mlp", "width": 8, "depth": 1}}


class Rerun:
    """Instead of recording kernels it keeps the function, and runs it again: all but the speed of a graph."""

    def __init__(self, spoil=lambda: None):
        self.recorded = 0
        self.replays = 0
        self.spoil = spoil

    def apart(self, run):
        run()

    def record(self, run):
        self.recorded += 1

        def replay():
            self.replays += 1
            run()
            self.spoil()

        return replay


def pair(variant="wgan-gp", recording=None, given=None, **train):
    """The same training by ordinary steps and by recorded ones, and what the second one says."""
    table = {"variant": variant, "dataset": {"name": "ring"}, **NETWORKS, "train": {"batch_size": 8, **train}}
    said = []
    both = [
        Trainer(compose_table(table, device="cpu", given={k: make() for k, make in (given or {}).items()}), said.append)
        for _ in range(2)
    ]
    ours = both[1]._source
    ours.replayer = Replayer(ours._draw_real, ours.draws, ours.undisturbed, ours._say, recording or Rerun())
    return *both, said


def same(one, other):
    for name, network in one.composition.networks.items():
        theirs = other.composition.networks[name].state_dict()
        for key, value in network.state_dict().items():
            assert torch.equal(value, theirs[key])


@pytest.mark.parametrize(
    ("variant", "train"),
    [
        ("wgan-gp", {"micro_batches": 2}),
        ("wgan", {}),
        ("deligan", {"schedule": "linear", "steps": 100}),
        ("vanilla", {"optimizer": {"name": "RMSprop", "lr": 1e-3}}),
    ],
)
def test_recorded_steps_are_the_ordinary_ones(variant, train):
    recording = Rerun()
    ordinary, recorded, said = pair(variant, recording, **train)
    for step in range(6 * WARM):
        for trainer in (ordinary, recorded):
            trainer.iterate(estimate=step % 7 == 0)
    same(ordinary, recorded)
    assert said == []
    assert recorded.flush() == ordinary.flush()
    kinds = 3 if variant == "deligan" else 2
    assert recording.recorded == kinds
    assert recording.replays > kinds * WARM


def test_a_recording_that_does_something_else_is_not_used():
    ordinary, recorded, said = pair(recording=(recording := Rerun()))
    networks = recorded.composition.networks.values()
    recording.spoil = lambda: [p.data.add_(1e-3) for network in networks for p in network.parameters()]
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    assert "the critic phase is not recorded as a CUDA graph, and runs step by step: Uncapturable" in said[0]
    assert "differs from the step itself" in said[0]
    assert len(said) == 2


def test_a_device_that_cannot_record_leaves_ordinary_steps():
    class Refusing(Rerun):
        def record(self, run):
            run()
            raise RuntimeError("operation not permitted when stream is capturing")

    ordinary, recorded, said = pair(recording=Refusing())
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    assert len(said) == 2
    assert "operation not permitted" in said[0]


class Stepping(Distance):
    """A loss that depends on the number of the iteration."""

    def critic_loss(self, batch):
        return (1 + batch.step) * (batch.fake_scores.mean() - batch.real_scores.mean())

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def test_a_loss_that_reads_the_iteration_is_not_recorded():
    ordinary, recorded, said = pair("wgan", given={"distance": Stepping})
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    (line,) = said
    assert "reads the number of the iteration" in line


def test_recording_is_refused_where_it_is_asked_for_and_there_is_no_such_device():
    table = {"variant": "wgan", "dataset": {"name": "ring"}, "train": {"cuda_graphs": "on"}}
    with pytest.raises(BadRecipe, match="cuda_graphs is on, but the device is cpu"):
        Trainer(compose_table(table, device="cpu"))


def test_an_optimiser_without_a_capturable_form_is_named():
    sgd = Training.of({"optimizer": {"name": "SGD", "lr": 0.1}})
    assert "SGD has no form" in sgd.not_capturable(["critic"])
    assert Training.of({}).not_capturable(["critic"]) == ""


def test_an_optimiser_keeps_its_form_when_another_ones_state_is_loaded():
    parameters = [torch.nn.Parameter(torch.ones(2))]
    plain = torch.optim.Adam(parameters, lr=0.5, fused=True)
    state = plain.state_dict()
    state["param_groups"][0] |= {"lr": torch.tensor(0.25), "capturable": True, "fused": False}
    load_optimizer(plain, state)
    group = plain.param_groups[0]
    assert (group["lr"], group["capturable"], group["fused"]) == (0.25, False, True)
    tensor = torch.optim.Adam(parameters, lr=torch.tensor(0.5), fused=True)
    rate = tensor.param_groups[0]["lr"]
    load_optimizer(tensor, state)
    assert tensor.param_groups[0]["lr"] is rate
    assert float(rate) == 0.25
