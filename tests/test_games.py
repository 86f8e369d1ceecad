"""Phases that play another game than that on samples: what is trained, checked and estimated is that game."""

import pytest
import torch
from torch import nn

import zoo
from zoo import Distance, IncompatibleParts, LipschitzConstraint, Phase, Procedure, Want
from zoo.api import compose_table
from zoo.measuring import evidence_of
from zoo.procedures import Parts
from zoo.recipe import normalized
from zoo.trainer import Trainer

SCALE = 3.0


class Doubled(Procedure):
    """The critic sees every sample twice as far out, and twice as wide: `(N, 2 D)`."""

    def wants(self, about):
        return {"generator": Want("generator"), "critic": Want("critic", {"shape": (2 * about.shape[0],)})}

    def phases(self, parts):
        def game(batch):
            return batch.versus(parts["critic"], lambda: wide(batch.real), lambda: wide(batch.fake))

        return [
            zoo.critic_phase(parts, game=game),
            Phase("generator", ("generator",), lambda batch: {"loss": zoo.generator_loss(parts, batch)}, game=game),
        ]


def wide(samples):
    return SCALE * torch.cat([samples, samples], dim=1)


class Seeing(Distance):
    """Notes what it is given, and estimates the mean real sample."""

    estimates = "a mean"

    def __init__(self):
        super().__init__()
        self.seen = []

    def critic_loss(self, batch):
        self.seen.append((tuple(batch.real.shape), tuple(batch.fake.shape)))
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

    def estimate(self, batch):
        self.estimated = batch.real.detach()
        return batch.real.mean()


class Slope(LipschitzConstraint):
    def penalty(self, batch):
        return batch.slopes("segment").square().mean()


def composed(norm="none", **given):
    table = {
        "dataset": "ring",
        "generator": {"name": "mlp", "width": 8},
        "critic": {"name": "mlp", "width": 8, "norm": norm},
        "train": {"batch_size": 6, "steps": 2},
    }
    given = {"procedure": Doubled(), "distance": Seeing(), "lipschitz_constraint": {"slope": Slope()}, **given}
    return compose_table(normalized(table), device="cpu", given=given)


def test_losses_penalties_and_the_estimate_are_of_the_game():
    composition = composed()
    trainer = Trainer(composition)
    distance = composition.parts.distance
    distance.seen.clear()
    trainer.iterate(estimate=True)
    assert distance.seen == [((6, 4), (6, 4))]
    assert torch.equal(distance.estimated[:, :2], distance.estimated[:, 2:])
    assert float(trainer.estimate) == pytest.approx(float(distance.estimated.mean()))
    assert trainer.flush().keys() >= {"critic_loss", "slope", "loss"}
    trainer.release()


def test_a_generator_learns_through_the_game():
    trainer = Trainer(composed())
    parameters = list(trainer.composition.networks["generator"].parameters())
    before = [p.clone() for p in parameters]
    trainer.iterate()
    assert not any(torch.equal(one, other) for one, other in zip(before, parameters, strict=True))
    trainer.release()


class Squeezed(zoo.Critic):
    """Scores of a shape that cannot be."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Linear(4, 1)

    def forward(self, samples, condition=None):
        assert samples.shape[1] == 4
        return self.layers(samples)


def test_what_is_checked_is_the_game():
    with pytest.raises(IncompatibleParts, match=r"scores of 4 samples have shape \(4, 1\)"):
        composed(critic=Squeezed())
    with pytest.raises(IncompatibleParts, match="depends on the other samples of its batch"):
        composed(norm="batch")


@pytest.fixture
def run(tmp_path):
    return zoo.train(
        "vanilla", dataset="ring", procedure=Doubled(), steps=1, out=str(tmp_path), name="run", device="cpu"
    )


def test_a_critic_of_other_things_than_samples_is_no_critic_of_samples(run):
    assert run.composition.critic_phase.name == "critic"
    assert not run.composition.scores_samples
    assert evidence_of(run, 10).critic is None
    assert composed(procedure=zoo.Adversarial()).scores_samples


def test_another_game_may_be_given_samples_that_are_not_drawn_yet():
    asked = []

    def real():
        asked.append(True)
        return torch.ones(3, 2)

    batch = zoo.Batch(real=torch.zeros(3, 2), fake=torch.zeros(3, 2))
    critic = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    game = batch.versus(critic, real, torch.zeros(3, 2))
    assert asked == []
    assert torch.equal(game.real_scores, critic(torch.ones(3, 2)))
    game.record(seen=torch.ones(()))
    assert batch.records.keys() == {"seen"}


def test_a_critics_phase_without_a_distance_is_refused():
    game = zoo.Batch(real=torch.zeros(3, 2), fake=torch.zeros(3, 2))
    for make in (zoo.critic_phase, lambda parts: zoo.generator_loss(parts, game)):
        with pytest.raises(zoo.ZooError, match="no distance; name one with --distance"):
            make(Parts(networks={}))
