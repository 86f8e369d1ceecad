"""EBGAN and BEGAN against NumPy, their equilibria, BEGAN's state, and the autoencoder as a critic."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_energy
from torch import nn

from zoo import Batch, Critic, IncompatibleParts, Scores
from zoo.sets import is_over_set

EBGAN, BEGAN, Autoencoder = zoo_energy.EBGAN, zoo_energy.BEGAN, zoo_energy.Autoencoder


class Itself(Critic):
    """Scores `(N, 1)` are the samples."""

    def forward(self, samples, condition=None):
        return samples.squeeze(1)


class Coded(Critic):
    """The samples as features, and no energy."""

    def forward(self, samples, condition=None):
        return Scores(0 * samples[:, 0], samples)


def energies(real, fake):
    """A game in which samples have these energies."""
    real, fake = (torch.as_tensor(each, dtype=torch.float64) for each in (real, fake))
    return Batch(critic=Itself(), real=-real[:, None], fake=-fake[:, None])


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-energy").entry_points}
    names = {"critic": ["autoencoder"], "distance": ["ebgan", "began"], "variant": ["ebgan", "began"]}
    assert declared == {(hook, name) for hook, each in names.items() for name in each}


def test_each_fake_has_a_margin_of_its_own():
    """The mean energy of these fakes is at the margin, but one is far below: a copied mistake would see nothing."""
    real, fake = [0.2, 0.4], [0.0, 2.0]
    loss = EBGAN(margin=1.0).critic_loss(energies(real, fake)).item()
    assert loss == pytest.approx(0.3 + (1.0 + 0.0) / 2)
    assert EBGAN(margin=1.0).generator_loss(energies(real, fake)).item() == pytest.approx(1.0)


def test_only_fakes_below_the_margin_move_the_critic():
    scores = torch.tensor([-0.5, -3.0], dtype=torch.float64, requires_grad=True)
    game = Batch(critic=Itself(), real=torch.zeros(2, 1, dtype=torch.float64), fake=scores[:, None])
    EBGAN(margin=1.0).critic_loss(game).backward()
    assert scores.grad.tolist() == [0.5, 0.0]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_where_p_is_q_any_level_of_energy_up_to_the_margin_has_the_loss_of_the_equilibrium(level):
    """Theorem 1: the value at the Nash equilibrium is the margin."""
    same = [level] * 6
    assert EBGAN(margin=1.0).critic_loss(energies(same, same)).item() == pytest.approx(1.0)
    assert EBGAN(margin=1.0).estimate(energies(same, same)).item() == pytest.approx(0, abs=1e-9)


def test_the_best_energy_shows_the_total_variation():
    """0 where p > q, and the margin where q > p (lemma 1)."""
    p, q, margin = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6]), 2.0
    best = np.where(q > p, margin, 0.0)
    real, fake = (np.repeat(best, np.round(40 * shares).astype(int)) for shares in (p, q))
    assert EBGAN(margin=margin).estimate(energies(real, fake)).item() == pytest.approx(0.5 * np.abs(p - q).sum())
    other = np.repeat(np.array([0.5, 1.0, 1.5]), np.round(40 * p).astype(int))
    assert EBGAN(margin=margin).estimate(energies(other, fake)).item() < 0.4


def test_the_repelling_term_is_the_mean_squared_cosine_of_pairs():
    codes = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3)))
    game = Batch(critic=Coded(), real=codes, fake=codes)
    unit = codes.numpy() / np.linalg.norm(codes.numpy(), axis=1, keepdims=True)
    pairs = [(unit[i] @ unit[j]) ** 2 for i in range(5) for j in range(5) if i != j]
    assert EBGAN(repelling=0.1).generator_loss(game).item() == pytest.approx(0.1 * np.mean(pairs), rel=1e-6)
    assert is_over_set(EBGAN(repelling=0.1))
    assert not is_over_set(EBGAN())
    with pytest.raises(IncompatibleParts, match="has none"):
        EBGAN(repelling=0.1).generator_loss(energies([0.1, 0.2], [0.1, 0.2]))


def test_beganslosses_and_k_follow_section_3_4():
    distance = BEGAN(gamma=0.5, rate=0.1)
    k = 0.0
    for real, fake in (([0.9, 1.1], [0.1, 0.3]), ([0.8, 0.8], [0.5, 0.7]), ([0.1, 0.1], [0.9, 0.9])):
        game = energies(real, fake)
        loss = distance.critic_loss(game)
        assert loss.item() == pytest.approx(np.mean(real) - k * np.mean(fake), rel=1e-6)
        assert distance.generator_loss(game).item() == pytest.approx(np.mean(fake))
        balance = 0.5 * np.mean(real) - np.mean(fake)
        (measure,) = game.records["convergence"]
        assert measure.item() == pytest.approx(np.mean(real) + abs(balance))
        distance.after_step({name: values[0] for name, values in game.records.items()})
        k = float(np.clip(k + 0.1 * balance, 0, 1))
        assert distance.k.item() == pytest.approx(k, abs=1e-6)


def test_k_stays_between_0_and_1_and_is_saved():
    distance = BEGAN(rate=5.0)
    for imbalance, expected in ((1.0, 1.0), (-3.0, 0.0), (0.1, 0.5)):
        distance.after_step({"imbalance": torch.tensor(imbalance)})
        assert distance.k.item() == pytest.approx(expected)
    distance.after_step({"generator_loss": torch.tensor(1.0)})  # The generator's step records none.
    assert distance.k.item() == pytest.approx(0.5)
    other = BEGAN()
    other.load_state_dict(distance.state_dict())
    assert other.k.item() == pytest.approx(0.5)


def test_the_balance_is_where_k_rests():
    distance = BEGAN(gamma=0.5, rate=0.1)
    game = energies([1.0, 1.0], [0.5, 0.5])
    distance.critic_loss(game)
    distance.after_step({name: values[0] for name, values in game.records.items()})
    assert distance.k.item() == 0


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
@pytest.mark.parametrize(("error", "power"), [("squared", 2), ("absolute", 1)])
def test_scores_are_minus_the_mean_error_of_a_reconstruction_a_sample_at_a_time(shape, error, power):
    critic = Autoencoder(shape, width=8, code=3, error=error)
    samples = torch.rand(5, *shape) * 2 - 1
    found = critic(samples)
    codes = critic.encoder(samples.flatten(1))
    missed = (critic.decoder(codes) - samples.flatten(1)).abs() ** power
    torch.testing.assert_close(found.values, -missed.mean(1))
    torch.testing.assert_close(found.features, codes)
    assert found.features.shape == (5, critic.feature_size)
    torch.testing.assert_close(critic(samples[:2]).values, found.values[:2])


def test_trained_on_points_of_a_line_it_reconstructs_these_and_no_others():
    torch.manual_seed(0)
    critic = Autoencoder((2,), width=16, code=1)
    line = torch.linspace(-1, 1, 64)[:, None] * torch.tensor([[1.0, 0.5]])
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (-critic(line).values.mean()).backward()
        optimizer.step()
    across = torch.tensor([[-0.5, 1.0], [0.5, -1.0]])
    assert critic(line).values.min() > 10 * critic(across).values.max()
    assert isinstance(critic.encoder[-1], nn.Linear)
