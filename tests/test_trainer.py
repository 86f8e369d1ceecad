"""The trainer: steps counted exactly, gradients where they belong, the same bits for the same seed."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import zoo
from zoo import Distance, Generator, LipschitzConstraint
from zoo.api import compose_table
from zoo.errors import BadRecipe, Diverged
from zoo.trainer import Trainer
from zoo.training import factor


class Mean(Distance):
    """The difference of means; it counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = {"critic": 0, "generator": 0}
        self.register_buffer("seen", torch.zeros(()))

    def critic_loss(self, batch):
        self.calls["critic"] += 1
        batch.record(seen=batch.real_scores.mean())
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        self.calls["generator"] += 1
        return -batch.fake_scores.mean()

    def after_step(self, means):
        if "seen" in means:
            self.seen.copy_(means["seen"])


class Decay(LipschitzConstraint):
    """Weight decay as a penalty; it counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def penalty(self, batch):
        self.calls += 1
        return batch.critic.psi.square().sum()


def make(small, train=None, **given):
    table = {"train": {"average": 0.0, "batch_size": 8, "optimizer": {"name": "SGD", "lr": 0.1}, **(train or {})}}
    parts = {**small, "distance": Mean(), **given}
    return Trainer(compose_table(table, given=parts, device="cpu"))


@pytest.mark.parametrize("critic_steps", [1, 2, 3, 4, 5, 6])
def test_critic_steps_are_counted_exactly(small, critic_steps):
    trainer = make(small, {"critic_steps": critic_steps})
    calls = trainer.composition.parts.distance.calls
    calls.update(critic=0, generator=0)
    for _ in range(7):
        trainer.iterate()
    assert calls == {"critic": 7 * critic_steps, "generator": 7}


def test_each_phase_moves_its_own_part_by_its_own_rate(small):
    trainer = make(small, {"optimizers": {"critic": {"lr": 0.5}}})
    critic, generator = (trainer.composition.networks[n] for n in ("critic", "generator"))
    before = critic.psi.item()
    real, fake = copy.deepcopy(trainer).batches.draw(8)[0], copy.deepcopy(trainer.draws).randn(8, 1)
    trainer.iterate()
    moved = 0.5 * (real.mean() - fake.mean()).item()
    assert critic.psi.item() == pytest.approx(before + moved, rel=1e-5)
    assert generator.theta.item() == pytest.approx(0.1 * critic.psi.item(), rel=1e-5)


def test_gradients_flow_only_where_a_phase_trains(small):
    trainer = make(small)
    seen = []

    class Watch(Mean):
        def critic_loss(self, batch):
            seen.append(("critic", batch.fake.grad_fn, batch.critic.psi.requires_grad))
            return super().critic_loss(batch)

        def generator_loss(self, batch):
            seen.append(("generator", batch.fake.grad_fn is not None, batch.critic.psi.requires_grad))
            return super().generator_loss(batch)

    trainer = make(small, distance=Watch())
    seen.clear()
    trainer.iterate()
    assert seen == [("critic", None, True), ("generator", True, False)]


def test_micro_batches_add_up_to_the_batch(small):
    whole, split = make(copy.deepcopy(small)), make(copy.deepcopy(small), {"micro_batches": 4})
    for trainer in (whole, split):
        for _ in range(5):
            trainer.iterate()
    for name in ("critic", "generator"):
        ours, theirs = (t.composition.networks[name].parameters() for t in (whole, split))
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_lazy_penalty_is_due_every_kth_critic_step_times_k(small):
    decay = Decay()
    table = {
        "lipschitz_constraint": [],
        "train": {"average": 0.0, "batch_size": 8, "critic_steps": 3, "optimizer": {"name": "SGD", "lr": 0.0}},
    }
    given = {**small, "distance": Mean(), "lipschitz_constraint": {"given Decay": decay}}
    composition = compose_table(table, given=given, device="cpu")
    composition.parts.every["given Decay"] = 4
    trainer = Trainer(composition)
    decay.calls = 0
    for _ in range(4):
        trainer.iterate()
    assert decay.calls == 3
    assert trainer.flush()["given Decay"] == pytest.approx(0.25)


class Silent(Mean):
    """Moves nobody, and so leaves the critic to its penalty."""

    def critic_loss(self, batch):
        return 0 * batch.fake_scores.mean()


def test_a_lazy_penalty_moves_the_critic_k_times_as_far_in_the_first_of_every_k_steps(small):
    """By SGD on psi^2 times k: psi is multiplied by 1 - 2 k rate where it is due, and left alone elsewhere."""
    rate, k = 0.01, 3
    given = {**small, "distance": Silent(), "lipschitz_constraint": {"given Decay": Decay()}}
    train = {"average": 0.0, "batch_size": 8, "optimizer": {"name": "SGD", "lr": rate}}
    composition = compose_table({"train": train}, given=given, device="cpu")
    composition.parts.every["given Decay"] = k
    trainer, psi, factors = Trainer(composition), composition.networks["critic"].psi, []
    for _ in range(7):
        before = psi.item()
        trainer.iterate()
        factors.append(psi.item() / before)
    assert factors == pytest.approx([1 - 2 * k * rate, 1, 1, 1 - 2 * k * rate, 1, 1, 1 - 2 * k * rate], rel=1e-5)


class Estimating(Mean):
    """Estimates the mean real sample of the game that it is asked about; keeps what it saw in the critic's."""

    def __init__(self):
        super().__init__()
        self.real, self.asked = [], 0

    def critic_loss(self, batch):
        self.real.append(batch.real.mean())
        return super().critic_loss(batch)

    def estimate(self, batch):
        self.asked += 1
        return batch.real.mean()


def test_the_estimate_is_taken_once_in_the_last_of_the_critics_steps(small):
    trainer = make(small, {"critic_steps": 3}, distance=Estimating())
    distance = trainer.composition.parts.distance
    for asked in (False, True, False):
        distance.asked = 0
        distance.real.clear()
        trainer.iterate(estimate=asked)
        assert distance.asked == int(asked)
        if asked:
            last = distance.real[-1]
        assert len(distance.real) == 3
    assert trainer.estimate == last


class Rare(zoo.Adversarial):
    """The generator moves in every third iteration."""

    def phases(self, parts):
        critic, generator = super().phases(parts)
        return [critic, dataclasses.replace(generator, every=3)]


class Projecting(LipschitzConstraint):
    """Puts psi at 1, and keeps where it was."""

    def __init__(self):
        super().__init__()
        self.were = []

    def project(self, critic):
        self.were.append(critic.psi.item())
        critic.psi.fill_(1.0)


def test_phases_run_in_every_kth_iteration_from_the_first_and_projections_after_each_step_of_theirs(small):
    projecting = Projecting()
    trainer = make(small, {"critic_steps": 2}, procedure=Rare(), lipschitz_constraint={"given one": projecting})
    distance, critic = trainer.composition.parts.distance, trainer.composition.networks["critic"]
    moved = []
    for _ in range(7):
        distance.calls.update(critic=0, generator=0)
        trainer.iterate()
        moved.append(tuple(distance.calls.values()))
        assert critic.psi.item() == 1.0
    assert moved == [(2, 1), (2, 0), (2, 0)] * 2 + [(2, 1)]
    assert len(projecting.were) == 14
    assert all(value != 1.0 for value in projecting.were)


def test_records_reach_the_log_and_after_step(small):
    trainer = make(small)
    trainer.iterate()
    means = trainer.flush()
    assert set(means) == {"critic_loss", "generator_loss", "seen"}
    assert trainer.composition.parts.distance.seen.item() == pytest.approx(means["seen"])
    assert trainer.flush() == {}


def test_the_average_follows_the_generator_with_its_decay(small):
    trainer = make(small, {"average": 0.5})
    expected = 0.0
    for step in range(12):
        trainer.iterate()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * trainer.composition.networks["generator"].theta.item()
    assert trainer.generator.theta.item() == pytest.approx(expected, rel=1e-5)


def test_the_average_copies_buffers(small):
    class Normed(Generator):
        def __init__(self):
            super().__init__()
            self.latent_dim = 1
            self.norm = nn.BatchNorm1d(1)

        def forward(self, z, condition=None):
            return self.norm(z)

    trainer = make(small, {"average": 0.9}, generator=Normed())
    trainer.iterate()
    assert torch.equal(trainer.generator.norm.running_mean, trainer.composition.networks["generator"].norm.running_mean)
    assert not trainer.generator.training


@pytest.mark.parametrize(
    ("schedule", "begin", "shares"),
    [
        ("constant", 0.5, [1, 1, 1, 1]),
        ("linear", 0.0, [1, 0.75, 0.5, 0.25]),
        ("linear", 0.5, [1, 1, 1, 0.5]),
        ("cosine", 0.0, [1, 0.853553, 0.5, 0.146447]),
        ("cosine", 0.5, [1, 1, 1, 0.5]),
    ],
)
def test_schedules_scale_the_rate(small, schedule, begin, shares):
    train = {"schedule": schedule, "schedule_from": begin, "steps": 4, "optimizers": {"critic": {"lr": 0.3}}}
    trainer = make(small, train)
    for share in shares:
        trainer.iterate()
        assert trainer.optimizers["critic"].param_groups[0]["lr"] == pytest.approx(0.3 * share, rel=1e-5)
        assert trainer.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(0.1 * share, rel=1e-5)


def test_an_extension_goes_on_at_the_last_rate():
    assert factor("linear", 100, 4) == factor("linear", 3, 4) == 0.25


def test_what_was_frozen_when_it_was_built_stays_so(small):
    small["critic"].offset.requires_grad_(False)
    trainer = make(small)
    for _ in range(3):
        trainer.iterate()
    assert small["critic"].offset.item() == 0.0
    assert not small["critic"].offset.requires_grad
    assert small["critic"].psi.item() != 0.5


def test_a_phase_with_nothing_to_train_is_refused(small):
    small["critic"].requires_grad_(False)
    with pytest.raises(BadRecipe, match="critic phase has nothing to train"):
        make(small)


def test_settings_of_a_phase_that_is_not_there_are_refused(small):
    with pytest.raises(BadRecipe, match="'critc'|optimizers.critc: no phase has that name; the phases: critic"):
        make(small, {"optimizers": {"critc": {"lr": 0.5}}})


def test_a_loss_that_is_not_finite_stops_with_iteration_phase_and_term(small):
    class Bad(Mean):
        def generator_loss(self, batch):
            return super().generator_loss(batch) / (batch.step != 3)

    trainer = make(small, distance=Bad())
    for _ in range(6):
        trainer.iterate()
    with pytest.raises(Diverged, match="'generator_loss' in the generator phase became -?inf at iteration 3"):
        trainer.flush()


def test_without_a_critic_the_generator_minimises_alone(small):
    class Moments(Distance):
        def critic_loss(self, batch):
            raise AssertionError("there is no critic")

        def generator_loss(self, batch):
            return (batch.real.mean() - batch.fake.mean()).square()

    del small["critic"]
    table = {"train": {"average": 0.0, "batch_size": 64, "optimizer": {"name": "SGD", "lr": 0.1}}}
    trainer = Trainer(compose_table(table, given={**small, "distance": Moments()}, device="cpu"))
    for _ in range(100):
        trainer.iterate()
    assert trainer.composition.networks["generator"].theta.item() == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("variant", ["vanilla", "vanilla-minimax", "wgan", "wgan-gp", "wgan-lp", "ls-gan", "gls-gan"])
@pytest.mark.parametrize("dataset", ["digits", "ring", "gaussian-1d"])
def test_every_variant_trains_and_goes_on_to_the_same_bits(variant, dataset):
    def trainer():
        table = {
            "variant": variant,
            "dataset": {"name": dataset},
            "train": {"batch_size": 16, "critic_steps": 2, "schedule": "cosine", "steps": 9},
        }
        return Trainer(compose_table(table, [(("generator", "width"), 8), (("critic", "width"), 8)], device="cpu"))

    assert_resumes(trainer)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_a_critic_on_a_backbone_trains_and_goes_on_to_the_same_bits(model):
    def trainer():
        table = {
            "dataset": {"name": "faces"},
            "generator": {"name": "dcgan", "width": 8},
            "critic": {"name": "backbone-heads"},
            "backbone": {"name": "timm", "model": model},
            "distance": {"name": "wasserstein"},
            "lipschitz_constraint": [{"name": "gradient-penalty"}],
            "train": {"batch_size": 4},
        }
        return Trainer(compose_table(table, device="cpu"))

    assert_resumes(trainer)


def assert_resumes(trainer):
    """Three iterations, a checkpoint and two more are five iterations, to the bit."""
    straight, first = trainer(), trainer()
    for each, iterations in ((straight, 5), (first, 3)):
        torch.manual_seed(0)  # What dropout draws from, as a run has its own.
        for _ in range(iterations):
            each.iterate()
    resumed = trainer()
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(2):
        resumed.iterate()
    expected, got = straight.state_dict(), resumed.state_dict()
    differences = []
    compare(expected, got, "", differences)
    assert differences == []
    assert all(torch.isfinite(p).all() for p in resumed.generator.parameters())


def compare(one, other, where, differences):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            compare(one[key], other[key], f"{where}.{key}", differences)
    elif isinstance(one, (list, tuple)):
        for number, pair in enumerate(zip(one, other, strict=True)):
            compare(*pair, f"{where}.{number}", differences)
    elif isinstance(one, torch.Tensor):
        if not torch.equal(one, other):
            differences.append(where)
    elif one != other:
        differences.append(where)
