"""Mutual information: likelihoods against SciPy, the bound's identity, what it trains, and codes that match classes."""

import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_infogan
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import zoo
from zoo import Batch, Critic, Draws, Generator, IncompatibleParts, Scores
from zoo.api import compose_table

MutualInformation = zoo_infogan.objective()["mutual-information"]
BOTH = (3, 2)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Coded(Generator):
    """Latent points of so many categories and numbers, and two normal entries."""

    def __init__(self, categories, continuous):
        super().__init__()
        self.categories, self.continuous = categories, continuous
        self.latent_dim = categories + continuous + 2


class Itself(Critic):
    """Samples are the features."""

    def forward(self, samples, condition=None):
        return Scores(samples.sum(1), samples)


def latent(n, categories, continuous, seed=0):
    generator = np.random.default_rng(seed)
    codes = generator.integers(max(categories, 1), size=n)
    parts = [np.eye(categories)[codes] if categories else np.zeros((n, 0))]
    parts += [generator.uniform(-1, 1, (n, continuous)), generator.normal(size=(n, 2))]
    return torch.from_numpy(np.concatenate(parts, axis=1)), codes


def objective(categories=3, continuous=2, features=4, **settings):
    torch.manual_seed(0)
    return MutualInformation(Coded(categories, continuous), features, **settings).double()


def game(fake, z):
    return Batch(critic=Itself(), real=fake, fake=fake, z=z)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-infogan").entry_points}
    assert declared == {("objective", "mutual-information"), ("variant", "infogan")}


@pytest.mark.parametrize("variance", ["fixed", "learnt"])
@pytest.mark.parametrize(("categories", "continuous"), [(3, 2), (3, 0), (0, 2), (2, 1)])
def test_it_is_the_weighted_negative_log_likelihood_of_the_codes(categories, continuous, variance):
    made = objective(categories, continuous, variance=variance, category_weight=2.0, continuous_weight=0.3)
    z, codes = latent(7, categories, continuous)
    fake = torch.from_numpy(np.random.default_rng(9).normal(size=(7, 4)))
    told = made.network(fake).detach().numpy()
    expected = 0.0
    if categories:
        expected += 2 * -log_softmax(told[:, :categories], axis=1)[np.arange(7), codes].mean()
    if continuous:
        means = told[:, categories : categories + continuous]
        spreads = np.exp(told[:, categories + continuous :] / 2) if variance == "learnt" else 1.0
        numbers = z.numpy()[:, categories : categories + continuous]
        expected += 0.3 * -stats.norm(means, spreads).logpdf(numbers).sum(1).mean()
    assert made.critic_loss(game(fake, z)).item() == pytest.approx(expected, rel=1e-12)
    assert made.generator_loss(game(fake, z)).item() == pytest.approx(expected, rel=1e-12)


def trained(made, fake, z, steps=300):
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        batch = game(fake, z)
        made.critic_loss(batch).backward()
        optimizer.step()
    return batch.records["information"][0].item()


def test_the_bound_is_the_mutual_information_where_q_is_right_and_below_the_entropy_of_the_code():
    # Samples show the category through a channel that gets it right three times of four, and else says the other.
    z = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 1, 1]]
    shown = torch.eye(4, dtype=torch.float64)[[0, 0, 0, 1, 1, 1, 1, 0]]
    exact = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert trained(objective(2, 0), shown, z) == pytest.approx(exact, abs=2e-3)
    assert trained(objective(2, 0), z.repeat(1, 2), z) == pytest.approx(math.log(2), abs=2e-2)
    assert trained(objective(2, 0), z.repeat(1, 2), z) <= math.log(2)
    assert trained(objective(2, 0), torch.zeros(8, 4, dtype=torch.float64), z) == pytest.approx(0, abs=1e-3)


def test_the_bound_is_at_most_the_entropy_for_any_q():
    z, _ = latent(50, 3, 0)
    for seed in range(20):
        batch = game(torch.from_numpy(np.random.default_rng(seed).normal(scale=9, size=(50, 4))), z)
        objective(3, 0).generator_loss(batch)
        assert batch.records["information"][0].item() <= math.log(3)


def test_the_best_gaussian_comes_to_its_entropy():
    # The sample says the first of two numbers; the other is uniform on [-1, 1], of variance 1/3.
    generator = np.random.default_rng(0)
    numbers = torch.from_numpy(generator.uniform(-1, 1, (4000, 2)))
    z = torch.cat([numbers, torch.zeros(4000, 2)], dim=1)
    made = objective(0, 2, variance="learnt", continuous_weight=1.0, width=16)
    fake = torch.cat([numbers[:, :1], torch.zeros(4000, 3)], dim=1)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        made.critic_loss(game(fake, z)).backward()
        optimizer.step()
    told = made.network(fake).detach()
    assert (told[:, 0] - numbers[:, 0]).abs().mean() < 0.1
    assert torch.exp(told[:, 3]).mean().item() == pytest.approx(1 / 3, abs=0.05)


def test_the_generator_is_moved_and_no_code_is_read_from_elsewhere_than_the_first_entries():
    made, (z, _) = objective(), latent(6, *BOTH)
    fake = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 4))).requires_grad_()
    loss = made.generator_loss(game(fake, z))
    loss.backward()
    assert fake.grad.abs().sum() > 0
    other = z.clone()
    other[:, 5:] += 1
    assert made.generator_loss(game(fake, other)).item() == loss.item()
    other[:, 3] += 1
    assert made.generator_loss(game(fake, other)).item() != loss.item()


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ((Coded(0, 0), 4), "this generator's latent points have none; set some, such as --set generator.categories=10"),
        ((Coded(3, 0), None), "reads the critic's features, and this one returns none"),
    ],
)
def test_what_it_cannot_do_without_is_named(context, why):
    with pytest.raises(IncompatibleParts, match=why):
        MutualInformation(*context)


def test_q_is_trained_in_the_critics_step_with_the_papers_weights():
    composition = compose_table({"variant": "infogan", "dataset": {"name": "digits", "side": 32}}, device="cpu")
    assert {phase.name: phase.trains for phase in composition.phases} == {
        "critic": ("critic", "mutual-information"),
        "generator": ("generator",),
    }
    generator, made = (composition.networks[name] for name in ("generator", "mutual-information"))
    assert (generator.latent_dim, generator.categories, generator.continuous) == (74, 10, 2)
    assert (made.category_weight, made.continuous_weight, made.learnt) == (1.0, 0.1, False)


@pytest.mark.slow
def test_the_category_matches_classes_that_nothing_told_it(tmp_path):
    run = zoo.train("infogan", dataset="digits", out=tmp_path, name="run", device="cpu", steps=1500)
    real = load_digits()
    judge = SVC(gamma="scale").fit(real.data / 8 - 1, real.target)
    generator = run.composition.networks["generator"].eval()
    z = generator.latent(1000, Draws(1))
    with torch.no_grad():
        classes = judge.predict(generator(z).flatten(1).numpy())
    counts = np.zeros((10, 10))
    np.add.at(counts, (z[:, :10].argmax(1).numpy(), classes), 1)
    # With the codes shuffled it is 0.13.
    assert counts[linear_sum_assignment(-counts)].sum() / 1000 >= 0.3
