"""InfoGAN's bound against NumPy and the information of known tables, its Gaussians, and what it refuses."""

import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_infogan
from scipy import stats
from scipy.special import log_softmax

from zoo import Batch, Critic, Generator, IncompatibleParts, Scores
from zoo.api import compose_table

MutualInformation = zoo_infogan.MutualInformation


class Coded(Generator):
    """Samples are the latent points: 3 categories, 2 numbers, 1 normal entry."""

    latent_dim, categories, continuous = 6, 3, 2

    def forward(self, z, condition=None):
        return z


class Itself(Critic):
    """The samples are the features."""

    feature_size = 6

    def forward(self, samples, condition=None):
        return Scores(samples[:, 0], samples)


def game(z):
    return Batch(critic=Itself(), real=z, fake=z, z=z)


def points(n=12, seed=0):
    draws = np.random.default_rng(seed)
    category = np.eye(3)[draws.integers(3, size=n)]
    return torch.from_numpy(np.hstack([category, draws.uniform(-1, 1, (n, 2)), draws.normal(size=(n, 1))]))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-infogan").entry_points}
    assert declared == {("objective", "mutual-information"), ("variant", "infogan")}


@pytest.mark.parametrize("variance", ["fixed", "learnt"])
def test_it_is_the_weighted_likelihood_of_the_codes(variance):
    torch.manual_seed(0)
    objective = MutualInformation(Coded(), 6, category_weight=0.7, continuous_weight=0.3, variance=variance).double()
    z = points()
    told = objective.network(z).detach().numpy()
    categories = z[:, :3].numpy().argmax(1)
    unlikely = -log_softmax(told[:, :3], axis=1)[np.arange(12), categories].mean()
    spread = np.exp(told[:, 5:] / 2) if variance == "learnt" else 1.0
    numbers = -stats.norm(told[:, 3:5], spread).logpdf(z[:, 3:5].numpy()).sum(1).mean()
    assert objective.generator_loss(game(z)).item() == pytest.approx(0.7 * unlikely + 0.3 * numbers, rel=1e-9)


def test_the_bound_is_the_information_for_the_best_q_and_less_for_any_other():
    """A channel that shows the category with a known probability: I = log 3 - H(C | X)."""
    shown = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    rows = [(c, x) for c in range(3) for x in range(3) for _ in range(round(10 * float(shown[c, x])))]
    z = torch.zeros(30, 6, dtype=torch.float64)
    fake = torch.zeros(30, 6, dtype=torch.float64)
    for n, (c, x) in enumerate(rows):
        z[n, c], fake[n, x] = 1, 1
    objective = MutualInformation(Coded(), 6, continuous_weight=0.0).double()
    objective.network = torch.nn.Linear(6, 5, bias=False).double()
    batch = Batch(critic=Itself(), real=fake, fake=fake, z=z)
    with torch.no_grad():
        objective.network.weight.zero_()
        objective.network.weight[:3, :3] = shown.log()
    assert objective.critic_loss(batch).item() == objective.generator_loss(batch).item()
    bound, again = batch.records["information"]
    assert bound == again
    information = math.log(3) + (0.8 * math.log(0.8) + 0.2 * math.log(0.1))
    assert bound.item() == pytest.approx(information, rel=1e-9)
    assert bound.item() <= math.log(3)
    with torch.no_grad():
        objective.network.weight[:3, :3] *= 2
    other = Batch(critic=Itself(), real=fake, fake=fake, z=z)
    objective.generator_loss(other)
    assert other.records["information"][0] < bound


def test_q_learns_with_the_critic_whose_part_it_is():
    composition = compose_table({"variant": "infogan", "dataset": {"name": "digits"}}, device="cpu")
    assert {phase.name: "mutual-information" in phase.trains for phase in composition.phases} == {
        "critic": True,
        "generator": False,
    }
    generator = composition.networks["generator"]
    assert (generator.categories, generator.continuous) == (10, 2)


class Uncoded(Generator):
    latent_dim = 4

    def forward(self, z, condition=None):
        return z


@pytest.mark.parametrize(("generator", "features", "words"), [(Uncoded(), 3, "have none"), (Coded(), None, "returns")])
def test_what_is_missing_is_named(generator, features, words):
    with pytest.raises(IncompatibleParts, match=words):
        MutualInformation(generator, features)
