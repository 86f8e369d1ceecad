"""The auxiliary classifier's terms against NumPy, its bound, whom it trains, and what it refuses."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_acgan
from scipy.special import log_softmax

from zoo import Batch, Critic, Generator, IncompatibleParts, Scores
from zoo.api import compose_table

AuxiliaryClassifier = zoo_acgan.AuxiliaryClassifier


class Told(Generator):
    latent_dim, conditional = 2, True

    def forward(self, z, condition=None):
        return z


class Itself(Critic):
    """The samples are the features."""

    feature_size = 3

    def forward(self, samples, condition=None):
        return Scores(samples[:, 0], samples)


def game(seed=0):
    draws = np.random.default_rng(seed)
    real, fake = (torch.from_numpy(draws.normal(size=(8, 3))) for _ in range(2))
    labels = [torch.from_numpy(draws.integers(4, size=8)) for _ in range(2)]
    return Batch(critic=Itself(), real=real, fake=fake, real_condition=labels[0], fake_condition=labels[1])


@pytest.fixture
def objective():
    torch.manual_seed(0)
    return AuxiliaryClassifier(4, Told(), 3, weight=0.5).double()


def entropy(objective, samples, labels):
    logits = samples.numpy() @ objective.head.weight.detach().numpy().T + objective.head.bias.detach().numpy()
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels.numpy()].mean()


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-acgan").entry_points}
    assert declared == {("objective", "auxiliary-classifier"), ("variant", "acgan")}


def test_the_critics_term_is_of_both_kinds_and_the_generators_of_fakes(objective):
    batch = game()
    real = entropy(objective, batch.real, batch.real_condition)
    fake = entropy(objective, batch.fake, batch.fake_condition)
    assert objective.critic_loss(batch).item() == pytest.approx(0.5 * (real + fake), rel=1e-9)
    assert objective.generator_loss(batch).item() == pytest.approx(0.5 * fake, rel=1e-9)


def test_at_the_best_head_the_loss_is_what_samples_leave_open_of_the_class():
    """H(C | X) for three points that are seen with known shares of two classes."""
    points = torch.eye(3, dtype=torch.float64)
    shares = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    objective = AuxiliaryClassifier(2, Told(), 3).double()
    with torch.no_grad():
        objective.head.bias.zero_()
        objective.head.weight.copy_(torch.stack([(1 - shares).log(), shares.log()]))
    counts = [round(10 * float(share)) for share in shares]
    samples = points.repeat_interleave(10, 0)
    labels = torch.cat([torch.tensor([1] * n + [0] * (10 - n)) for n in counts])
    batch = Batch(critic=Itself(), real=samples, fake=samples, real_condition=labels, fake_condition=labels)
    left = -(shares * shares.log() + (1 - shares) * (1 - shares).log()).mean().item()
    assert objective.generator_loss(batch).item() == pytest.approx(left, rel=1e-9)
    with torch.no_grad():
        objective.head.weight.mul_(1.3)
    assert objective.generator_loss(batch).item() > left


def test_the_critics_steps_train_its_head_and_the_generators_do_not():
    composition = compose_table({"variant": "acgan", "dataset": {"name": "digits"}}, device="cpu")
    assert {phase.name: "auxiliary-classifier" in phase.trains for phase in composition.phases} == {
        "critic": True,
        "generator": False,
    }
    assert not getattr(composition.networks["critic"], "conditional", False)


@pytest.mark.parametrize(
    ("classes", "generator", "features", "words"),
    [
        (None, Told(), 3, "have no labels"),
        (4, torch.nn.Identity(), 3, "generator that is told a class"),
        (4, Told(), None, "returns none"),
    ],
)
def test_what_is_missing_is_named(classes, generator, features, words):
    with pytest.raises(IncompatibleParts, match=words):
        AuxiliaryClassifier(classes, generator, features)
