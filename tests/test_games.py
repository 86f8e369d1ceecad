"""Phases that play another game than that on samples: what is trained, checked and estimated is that game."""

import contextlib
import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import zoo
from zoo import Distance, IncompatibleParts, LipschitzConstraint, Phase, Procedure, Scores, Want
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
    def __init__(self, where="segment"):
        super().__init__()
        self.where = where

    def penalty(self, batch):
        return batch.slopes(self.where).square().mean()


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


class Blind(Distance):
    """Looks at the samples of the game, and at no score."""

    def critic_loss(self, batch):
        return batch.fake.square().mean() - batch.real.square().mean()

    def generator_loss(self, batch):
        return -self.critic_loss(batch)


def test_a_critic_whose_scores_nobody_looks_at_is_refused():
    with pytest.raises(IncompatibleParts, match="Blind does not look at the critic's scores, so a critic has nothing"):
        composed(distance=Blind(), lipschitz_constraint={})


@pytest.mark.parametrize("broken", ["critic", "generator", "third"])
def test_the_loss_of_every_phase_is_tried_before_training(broken):
    """On the game that the phase plays, `(4, 4)`, which no loss of this one can multiply."""

    class Broken(Doubled):
        def phases(self, parts):
            critic, generator = super().phases(parts)
            third = dataclasses.replace(generator, name="third")
            return [self.failing(each) if each.name == broken else each for each in (critic, generator, third)]

        @staticmethod
        def failing(phase):
            return dataclasses.replace(phase, loss=lambda game: {"loss": (game.fake @ torch.ones(3, 1)).mean()})

    with pytest.raises(IncompatibleParts, match=r"the parts fail on 4 samples: .*4x4 and 3x1"):
        composed(procedure=Broken())


class Told(Seeing):
    """Records a mean of the game, and keeps what it is told of it after each step."""

    def __init__(self):
        super().__init__()
        self.told = []

    def critic_loss(self, batch):
        batch.record(middle=batch.real.mean(), score=batch.fake_scores.mean())
        return super().critic_loss(batch)

    def after_step(self, means):
        self.told.append({name: float(value) for name, value in means.items()})


class Beside(zoo.Critic):
    """Linear in what it sees, `(N, 2)`."""

    def __init__(self):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([0.5, -0.2]))

    def forward(self, samples, condition=None):
        return samples @ self.slopes


def trainer_in(parts, small):
    train = {"batch_size": 8, "micro_batches": parts, "average": 0.0, "optimizer": {"name": "SGD", "lr": 0.01}}
    given = {"dataset": small["dataset"], "generator": copy.deepcopy(small["generator"]), "critic": Beside()}
    given |= {"procedure": Doubled(), "distance": Told(), "lipschitz_constraint": {"given slope": Slope("real")}}
    trainer = Trainer(compose_table({"train": train}, device="cpu", given=given))
    trainer.composition.parts.distance.seen.clear()
    return trainer


def test_micro_batches_of_a_game_add_up_and_are_logged_and_told_as_their_means(small):
    whole, parts = (trainer_in(n, small) for n in (1, 4))
    for trainer in (whole, parts) * 3:
        trainer.iterate()
    ours, theirs = (trainer.composition.parts.distance for trainer in (whole, parts))
    assert (ours.seen, theirs.seen) == ([((8, 2), (8, 2))] * 3, [((2, 2), (2, 2))] * 12)
    for name in ("critic", "generator"):
        one, other = (trainer.composition.networks[name].state_dict() for trainer in (whole, parts))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert ours.told == [pytest.approx(means, rel=1e-4) for means in theirs.told]
    one, other = whole.flush(), parts.flush()
    assert one.keys() == {"critic_loss", "given slope", "loss", "middle", "score"}
    assert one == pytest.approx(other, rel=1e-4)


def test_what_a_game_records_is_logged_once_and_told_after_the_step_of_its_phase(small):
    trainer = trainer_in(1, small)
    # Of the first step, before anything was moved: the critic sees three times the data.
    real, z = copy.deepcopy(trainer.batches).draw(8)[0], copy.deepcopy(trainer.draws).randn(8, 1)
    trainer.iterate()
    critic, generator = trainer.composition.parts.distance.told
    assert critic == pytest.approx({"middle": SCALE * float(real.mean()), "score": 0.3 * SCALE * float(z.mean())})
    assert generator == {}
    means = trainer.flush()
    assert {name: means[name] for name in critic} == pytest.approx(critic)
    assert means["critic_loss"] == pytest.approx(0.3 * SCALE * float(z.mean() - real.mean()), rel=1e-5)
    assert means["given slope"] == pytest.approx(0.5**2 + 0.2**2)


class Own(LipschitzConstraint):
    """Wants the recipe's own critic, and so is measured on that one's game."""

    def __init__(self, weight, power):
        super().__init__()
        self.weight, self.power = weight, power

    def penalty(self, batch):
        assert batch.critic.slopes.shape == batch.real.shape[1:] == batch.fake.shape[1:]
        return self.weight * batch.real_scores.mean() ** self.power


@pytest.mark.parametrize("weight", [1e2, 1e6])
def test_whether_a_penalty_is_a_mean_is_measured_on_the_game_however_small_it_is(small, weight):
    def make(power):
        train = {"batch_size": 8, "micro_batches": 2, "average": 0.0}
        given = {"dataset": small["dataset"], "generator": copy.deepcopy(small["generator"]), "critic": Beside()}
        given |= {"procedure": Doubled(), "distance": Seeing(), "lipschitz_constraint": {"own": Own(weight, power)}}
        return compose_table({"train": train}, device="cpu", given=given)

    make(1)
    with pytest.raises(IncompatibleParts, match="the penalty of own is no mean over samples"):
        make(8)


def test_the_loss_of_whoever_makes_the_fakes_is_the_sum_over_heads():
    critic, distance = zoo.Critic(), zoo.create("distance", "non-saturating")
    critic.forward = lambda samples, condition=None: Scores((samples[:, 0], 2 * samples[:, 1], samples[:, 2]))
    fake = zoo.Draws(2).randn(5, 4)
    game = zoo.Batch(critic=critic, real=fake, fake=fake)
    expected = sum(softplus(-score).mean() for score in (fake[:, 0], 2 * fake[:, 1], fake[:, 2]))
    torch.testing.assert_close(zoo.generator_loss(Parts(networks={}, distance=distance), game), expected)


def test_a_game_has_the_draws_step_due_terms_and_slopes_of_that_on_samples():
    critic, seen = Beside(), []

    def witness(scores, batch, features):
        seen.append("witness")
        return 3 * scores

    @contextlib.contextmanager
    def apart():
        seen.append("apart")
        yield

    def batch(**fields):
        points = torch.zeros(5, 2)
        return zoo.Batch(critic=Slope, real=points, fake=points, draws=zoo.Draws(4), **fields).versus(
            critic, torch.ones(5, 2), points
        )

    game = batch(step=7, due=frozenset(["one"]), witness=witness, apart=apart, augment=lambda s, draws: 2 * s)
    assert torch.equal(game.randn(3), zoo.Draws(4).randn(3))
    assert (game.step, game.due("one"), game.due("other")) == (7, True, False)
    torch.testing.assert_close(game.real_scores.detach(), torch.full((5,), 2 * 0.3))
    # By the points themselves, of what the distance has slopes of: 3 times the score of 2 times the point.
    torch.testing.assert_close(game.gradients("real").detach(), (6 * critic.slopes.detach()).expand(5, 2))
    assert seen == ["apart", "witness"]
    with pytest.raises(IncompatibleParts, match="slopes are available in the critic's phase only"):
        batch(track=False).slopes("real")
    conditional = batch().versus(critic, torch.ones(5, 2), torch.ones(5, 2), real_condition=torch.arange(5))
    assert torch.equal(conditional.real_condition, torch.arange(5))
    assert conditional.fake_condition is None


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
