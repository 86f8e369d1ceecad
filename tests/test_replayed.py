"""Recorded steps, with a stand-in for CUDA graphs, which shows all but their speed."""

import pytest
import torch

from zoo import Distance, Layer
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

    def random_state(self):
        return torch.get_rng_state()

    def set_random_state(self, state):
        torch.set_rng_state(state)

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


def test_a_step_that_ran_while_it_was_recorded_is_not_trusted():
    """As on another device than the one that records: nothing is recorded, and a replay does nothing."""

    class Elsewhere(Rerun):
        def record(self, run):
            run()
            return lambda: None

    ordinary, recorded, said = pair(recording=Elsewhere())
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    assert "ran while it was being recorded" in said[0]


def test_a_recording_that_keeps_something_of_its_first_step_is_not_used():
    """The first replay is right, and later ones are not."""
    recording, replays = Rerun(), []
    ordinary, recorded, said = pair(recording=recording)

    def spoil():
        replays.append(1)
        if len(replays) > 1:
            for network in recorded.composition.networks.values():
                for parameter in network.parameters():
                    parameter.data.add_(1e-2)

    recording.spoil = spoil
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    assert len(said) == 2
    assert "differs from the step itself" in said[0]


def test_recordings_are_made_anew_when_another_state_is_loaded():
    """An optimiser that loads a state has other tensors than those that were recorded."""
    recording = Rerun()
    _, recorded, said = pair(recording=recording)
    for _ in range(2 * WARM):
        recorded.iterate()
    assert recording.recorded == 2
    recorded.load_state_dict(recorded.state_dict())
    for _ in range(2 * WARM):
        recorded.iterate()
    assert (recording.recorded, said) == (4, [])


class Moody(Distance):
    """A loss that draws other random numbers in its fourth step."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def critic_loss(self, batch):
        self.calls += 1
        n = 2 if self.calls == 6 else 1
        return batch.fake_scores.mean() - batch.real_scores.mean() + 0 * batch.rand(n).sum()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def test_a_step_that_could_not_be_warmed_up_is_made_in_the_ordinary_way():
    _, recorded, said = pair("wgan", given={"distance": Moody}, critic_steps=1)
    moved = []
    for _ in range(WARM):
        before = [p.clone() for p in recorded.composition.networks["critic"].parameters()]
        recorded.iterate()
        after = recorded.composition.networks["critic"].parameters()
        moved.append(any(not torch.equal(one, other) for one, other in zip(before, after, strict=True)))
    assert "it draws" in said[0]
    assert all(moved)


class Noisy(torch.nn.Module):
    """A critic that draws random numbers of its own."""

    conditional = False

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))

    def forward(self, samples):
        return self.layers(samples).squeeze(1)


def test_networks_that_draw_random_numbers_themselves_can_be_recorded():
    recording = Rerun()
    _, recorded, said = pair("wgan", recording, given={"critic": Noisy})
    for _ in range(2 * WARM):
        recorded.iterate()
    assert (recording.recorded, said) == (2, [])


class Rebinding(Noisy):
    """A critic that puts a new tensor in the place of a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(2))

    def forward(self, samples):
        self.centre = 0.9 * self.centre + 0.1 * samples.detach().mean(0)
        return self.layers[0](samples - self.centre).sum(1)


def test_a_network_that_replaces_a_buffer_is_not_recorded():
    ordinary, recorded, said = pair("wgan", given={"critic": Rebinding})
    for _ in range(2 * WARM):
        ordinary.iterate()
        recorded.iterate()
    same(ordinary, recorded)
    assert "it replaces the buffer" in said[0]


def test_the_form_that_can_be_recorded_has_torchs_own_rate_where_none_is_said():
    training = Training.of({"optimizers": {"critic": {"name": "RMSprop"}}})
    layer = Layer("critic", [torch.nn.Parameter(torch.ones(2))])
    (group,) = training.build("critic", [layer], capturable=True).param_groups
    assert float(group["lr"]) == pytest.approx(0.01)
    assert group["capturable"]
