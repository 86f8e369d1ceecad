"""Packing: which samples the critic sees together, what works on them, what is refused, and a step by hand."""

import functools
import json

import pytest
import torch
from torch.nn.functional import softplus

import zoo
from zoo import Critic, IncompatibleParts
from zoo.api import compose_table
from zoo.components import ArrayDataset
from zoo.errors import BadData
from zoo.procedures import About
from zoo.recipe import normalized
from zoo.samples import packed
from zoo.testing.toys import values
from zoo.trainer import Trainer

PACKED = {"name": "adversarial", "packed": 2}
BASE = {
    "dataset": "ring",
    "generator": {"name": "mlp", "width": 8, "depth": 1, "latent_dim": 4},
    "critic": {"name": "mlp", "width": 8, "depth": 1, "activation": "tanh"},
    "distance": "non-saturating",
    "procedure": PACKED,
    "train": {"batch_size": 8, "steps": 6, "optimizer": {"name": "SGD", "lr": 0.05}},
}
ALONE = ("histogram",)


class Seeing(Critic):
    """Keeps what it was shown."""

    def __init__(self, slope=1.0):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))
        self.shown = []

    def forward(self, samples, condition=None):
        self.shown.append(samples.detach())
        return self.slope * samples.flatten(1).sum(1)


class Labelled(Seeing):
    conditional = True


def composed(table=None, **given):
    return compose_table(normalized({**BASE, **(table or {})}), device="cpu", given=given)


def first_step(composition):
    """The game of the critic's first step, and the samples before they were packed."""
    trainer = Trainer(composition)
    drawn = []
    draw = trainer.batches.draw

    def keep(n):
        drawn.append(draw(n))
        return drawn[-1]

    trainer.batches.draw = keep
    phase = trainer.composition.phases[0]
    trainer.trainable.only(phase, 0)
    _, batch = trainer._source.evaluate(phase, None, trainer._inputs(phase), 0, eager=True)
    return trainer, batch, drawn[0][0]


def test_neighbours_stand_side_by_side_as_channels():
    images = torch.arange(6 * 2 * 3 * 3).float().view(6, 2, 3, 3)
    both = packed(images, 2)
    assert both.shape == (3, 4, 3, 3)
    for k in range(3):
        assert torch.equal(both[k, :2], images[2 * k])
        assert torch.equal(both[k, 2:], images[2 * k + 1])
    vectors = torch.arange(8).float().view(4, 2)
    assert packed(vectors, 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert packed(vectors, 4).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    with pytest.raises(BadData, match="4 samples cannot be packed 3 at a time"):
        packed(vectors, 3)


def test_the_critic_sees_pairs_of_real_samples_and_pairs_of_fakes_and_never_both():
    samples = torch.arange(64).float().view(16, 1, 2, 2) / 32 - 1
    critic = Seeing()
    composition = composed({"train": BASE["train"]}, dataset=ArrayDataset(samples), critic=critic)
    critic.shown.clear()
    _, batch, real = first_step(composition)
    fake, seen = composition.networks["generator"](batch.z), [s for s in critic.shown if s.shape == (4, 2, 2, 2)]
    assert len(seen) == len(critic.shown) == 2
    shown = {tuple(each.flatten().tolist()) for each in seen}
    expected = [torch.stack([torch.cat([s[2 * k], s[2 * k + 1]]) for k in range(4)]) for s in (real, fake.detach())]
    assert shown == {tuple(each.flatten().tolist()) for each in expected}


@pytest.mark.parametrize(
    ("shape", "count", "expected"), [((2,), 2, (4,)), ((1, 8, 8), 3, (3, 8, 8)), ((3, 8, 8), 4, (12, 8, 8))]
)
def test_the_critic_is_built_for_packed_samples_and_the_generator_for_single_ones(shape, count, expected):
    wants = zoo.Adversarial(packed=count).wants(About(shape, None))
    assert wants["critic"].context["shape"] == expected
    assert "shape" not in wants["generator"].context


def distances():
    names = [entry.name for entry in zoo.list_components("distance")]
    return [name for name in names if not name.startswith(ALONE)]


@pytest.mark.parametrize("name", distances())
def test_every_distance_trains_on_packed_samples(name):
    trainer = Trainer(composed({"distance": name}))
    trainer.iterate(estimate=True)
    trainer.refuse_divergence()
    assert {"critic_loss", "generator_loss"} <= trainer.flush().keys()


@pytest.mark.parametrize("name", [entry.name for entry in zoo.list_components("lipschitz_constraint")])
def test_every_constraint_works_on_packed_samples(name):
    critic = {**BASE["critic"], "dropout": 0.1 if name == "consistency" else 0.0}
    trainer = Trainer(composed({"critic": critic, "distance": "wasserstein", "lipschitz_constraint": [name]}))
    trainer.iterate()
    trainer.refuse_divergence()


def test_slopes_are_those_of_the_packed_sample():
    composition = composed({"lipschitz_constraint": [{"name": "r1", "weight": 2.0}]}, critic=Seeing(slope=3.0))
    _, batch, _ = first_step(composition)
    # A score is 3 times the sum of four numbers, where a single sample has two.
    assert batch.slopes("real").tolist() == pytest.approx([3 * 2.0] * 4)
    assert composition.parts.constraints["r1"].penalty(batch).item() == pytest.approx(36)


@pytest.mark.parametrize("phase", [0, 1])
def test_gradients_are_those_of_a_step_by_hand(phase):
    trainer = Trainer(composed())
    networks = trainer.composition.networks
    step = trainer.composition.phases[phase]
    trainer.trainable.only(step, 0)
    _, batch = trainer._source.evaluate(step, None, trainer._inputs(step), 0, eager=True)
    critic = functools.partial(values, networks["critic"])
    got = [p.grad.clone() for p in trainer._inputs(step)]
    fake = networks["generator"](batch.z)
    pairs = torch.stack([torch.cat([fake[k], fake[k + 1]]) for k in range(0, 8, 2)])
    if phase == 0:
        loss = softplus(-critic(batch.real)).mean() + softplus(critic(pairs.detach())).mean()
    else:
        loss = softplus(-critic(pairs)).mean()
    expected = torch.autograd.grad(loss, trainer._inputs(step))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_micro_batches_are_packed_each():
    trainer = Trainer(composed({"train": {**BASE["train"], "micro_batches": 2}}))
    trainer.iterate()
    with pytest.raises(BadData, match="2 samples cannot be packed 4 at a time; use a --batch-size"):
        composed({"procedure": {**PACKED, "packed": 4}, "train": {**BASE["train"], "micro_batches": 4}})


REFUSED = {
    "7 samples cannot be packed 2 at a time; use a --batch-size that is a multiple": (
        {"train": {"batch_size": 7}},
        BadData,
        {},
    ),
    "samples are packed for a critic, and this recipe has none; leave packed out": (
        {"critic": "none", "dataset": "gaussian-1d", "distance": "histogram-js"},
        IncompatibleParts,
        {},
    ),
    "a conditional critic cannot see packed samples": ({"dataset": "digits"}, IncompatibleParts, {"critic": Labelled}),
    "train.augment is for single images, and the critic sees packed ones": (
        {"dataset": "digits", "train": {"batch_size": 8, "augment": ["color"]}},
        IncompatibleParts,
        {},
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_packed_is_refused_in_words(why):
    table, kind, given = REFUSED[why]
    with pytest.raises(kind, match=why):
        composed(table, **{name: make() for name, make in given.items()})


def test_a_resumed_run_is_the_same_as_one_that_did_not_stop(tmp_path):
    run = {**BASE, "train": {}, "batch_size": 8, "checkpoint_every": 3, "device": "cpu", "out": tmp_path}
    straight = zoo.train(**run, steps=6, name="straight")
    zoo.train(**run, steps=3, name="stopped")
    zoo.resume(tmp_path / "stopped", steps=6, device="cpu")
    for name in ("generator", "critic"):
        one, other = (_weights(tmp_path / folder)["networks"][name] for folder in ("straight", "stopped"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert straight.sample(6).shape == (6, 2)


def _weights(path):
    return torch.load(max((path / "checkpoints").glob("*.pt")), weights_only=True)


def test_recipes_hold_it_and_the_command_line_sets_it(zoo_command):

    command = ("train", "vanilla", "--dataset", "ring", "--set", "procedure.packed=4", "--dry-run", "--json")
    found = json.loads(zoo_command(*command).stdout)["recipe"]
    assert found["procedure"] == {"name": "adversarial", "packed": 4}
