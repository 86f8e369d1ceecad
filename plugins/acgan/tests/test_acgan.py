"""The auxiliary classifier against NumPy, what it trains, its best value, and what it refuses."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_acgan
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import zoo
from zoo import Batch, Critic, Generator, IncompatibleParts, Scores
from zoo.api import compose_table

AuxiliaryClassifier = zoo_acgan.objective()["auxiliary-classifier"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Told(Generator):
    conditional = True
    latent_dim = 2


class Itself(Critic):
    """Samples are the features."""

    feature_size = 4

    def forward(self, samples, condition=None):
        return Scores(samples.sum(1), samples)


def drawn(n, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 4)))


def objective(classes=3, weight=1.0):
    torch.manual_seed(0)
    return AuxiliaryClassifier(classes, Told(), 4, weight=weight).double()


def game(real, fake, real_labels, fake_labels):
    return Batch(critic=Itself(), real=real, fake=fake, real_condition=real_labels, fake_condition=fake_labels)


def entropy(made, features, labels):
    weight, bias = (p.detach().numpy() for p in made.head.parameters())
    logits = features.detach().numpy() @ weight.T + bias
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels.numpy()].mean()


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-acgan").entry_points}
    assert declared == {("objective", "auxiliary-classifier"), ("variant", "acgan")}


def test_both_halves_for_the_critic_and_that_of_the_fakes_for_the_generator():
    made = objective(weight=0.5)
    real, fake, labels = drawn(6, 0), drawn(6, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = game(real, fake, labels, labels.flip(0))
    expected = entropy(made, real, labels), entropy(made, fake, labels.flip(0))
    assert made.critic_loss(batch).item() == pytest.approx(0.5 * sum(expected), rel=1e-12)
    assert made.generator_loss(batch).item() == pytest.approx(0.5 * expected[1], rel=1e-12)
    recorded = [batch.records[name][0].item() for name in ("real_entropy", "fake_entropy")]
    assert recorded == pytest.approx(expected, rel=1e-12)


def test_a_step_of_the_generator_makes_the_class_that_was_asked_for_likelier():
    made, fake, labels = objective(), drawn(5, 1).requires_grad_(), torch.tensor([0, 1, 2, 0, 1])
    before = made.generator_loss(game(drawn(5, 0), fake, labels, labels))
    (gradient,) = torch.autograd.grad(before, fake)
    weight, bias = (p.detach() for p in made.head.parameters())
    chances = torch.softmax(fake.detach() @ weight.T + bias, 1)
    expected = (chances - torch.eye(3, dtype=torch.float64)[labels]) @ weight / 5
    torch.testing.assert_close(gradient, expected)
    after = made.generator_loss(game(drawn(5, 0), fake.detach() - 0.1 * gradient, labels, labels))
    assert after < before


def test_the_best_head_comes_to_the_entropy_of_the_class_given_the_sample():
    # Two points; at the first the class is 0 for three samples of four, at the second it is always 1.
    points = torch.eye(4, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 1, 1]]
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    made = objective(classes=2)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        loss = made.critic_loss(game(points, points, labels, labels))
        loss.backward()
        optimizer.step()
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / 2
    assert loss.item() == pytest.approx(2 * expected, abs=2e-3)


def test_a_head_that_knows_nothing_costs_the_logarithm_of_the_number_of_classes():
    made, labels = objective(), torch.tensor([0, 1, 2])
    torch.nn.init.zeros_(made.head.weight)
    torch.nn.init.zeros_(made.head.bias)
    assert made.generator_loss(game(drawn(3, 0), drawn(3, 1), labels, labels)).item() == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ((None, Told(), 4), "these data have no labels"),
        ((3, Generator(), 4), "needs a generator that is told a class.*--set generator.condition=concat"),
        ((3, Told(), None), "reads the critic's features, and this one returns none"),
    ],
)
def test_what_it_cannot_do_without_is_named(context, why):
    with pytest.raises(IncompatibleParts, match=why):
        AuxiliaryClassifier(*context)


def test_data_without_labels_are_refused():
    with pytest.raises(IncompatibleParts, match="labels"):
        compose_table({"variant": "acgan", "dataset": {"name": "ring"}}, device="cpu")


def test_its_head_is_trained_in_the_critics_step_and_the_critic_is_told_no_class():
    composition = compose_table({"variant": "acgan", "dataset": {"name": "digits"}}, device="cpu")
    trains = {phase.name: phase.trains for phase in composition.phases}
    assert trains == {"critic": ("critic", "auxiliary-classifier"), "generator": ("generator",)}
    assert composition.networks["generator"].conditional
    assert not composition.networks["critic"].conditional


@pytest.mark.slow
def test_a_classifier_finds_the_class_that_was_asked_for(tmp_path):
    run = zoo.train("acgan", dataset="digits", out=tmp_path, name="run", device="cpu", steps=600)
    real = load_digits()
    judge = SVC(gamma="scale").fit(real.data / 8 - 1, real.target)
    labels = np.arange(1000) % 10
    samples = run.sample(1000, labels=labels.tolist()).flatten(1).numpy()
    assert (judge.predict(samples) == labels).mean() >= 0.9
