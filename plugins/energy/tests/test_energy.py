"""EBGAN's and BEGAN's losses against NumPy, a mistake that is often copied, and k through steps and a resumption."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_energy

import zoo
from zoo import Batch, Critic, IncompatibleParts, Scores

Ebgan, Began = (zoo_energy.distance()[name] for name in ("ebgan", "began"))
Autoencoder = zoo_energy.critic()["autoencoder"]


class Rebuilt(Critic):
    """Scores are minus the first value of the samples; codes are the others."""

    def forward(self, samples, condition=None):
        return Scores(-samples[:, 0], samples[:, 1:])


def drawn(n, seed, size=4):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, size)))


def energies(n, seed, scale=2.0):
    """Samples whose first value is positive: an energy."""
    samples = drawn(n, seed)
    samples[:, 0] = scale * samples[:, 0].abs()
    return samples


def game(real, fake, **fields):
    return Batch(critic=Rebuilt(), real=real, fake=fake, **fields)


def of(*values):
    """Samples of these energies."""
    return torch.tensor([[value, 1.0] for value in values], dtype=torch.float64)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-energy").entry_points}
    hooks = ("critic", "distance", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_energy, hook)()}


@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_ebgans_losses_are_the_papers(margin):
    real, fake = energies(9, 0).requires_grad_(), energies(7, 1).requires_grad_()
    x, y = real.detach()[:, 0].numpy(), fake.detach()[:, 0].numpy()
    distance = Ebgan(margin=margin)
    loss = distance.critic_loss(game(real, fake))
    assert loss.item() == pytest.approx(x.mean() + np.maximum(0, margin - y).mean())
    loss.backward()
    np.testing.assert_allclose(real.grad[:, 0], np.full(9, 1 / 9))
    np.testing.assert_allclose(fake.grad[:, 0], -(y < margin).astype(float) / 7)
    assert distance.generator_loss(game(real, fake)).item() == pytest.approx(y.mean())


def test_every_fake_has_a_margin_of_its_own():
    """The often copied hinge of the batch's mean would be 0 here, and leave the fake of energy 0 alone."""
    loss = Ebgan(margin=1.0).critic_loss(game(of(0.0), of(0.0, 9.0)))
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_at_equal_energies_within_the_margin_ebgans_critic_loses_the_margin(level):
    """At the equilibrium, by the paper's theorem 1, the sum of both parts is m."""
    assert Ebgan(margin=1.0).critic_loss(game(of(level, level), of(level, level))).item() == pytest.approx(1.0)


@pytest.mark.parametrize(("p", "q"), [((0.5, 0.3, 0.2), (0.1, 0.3, 0.6)), ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7))])
def test_the_best_energies_are_0_where_the_data_are_denser_and_the_margin_elsewhere(p, q):
    """The least loss is m times the integral of the smaller density (the paper's lemma 1): m (1 - TV)."""
    energy = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    real, fake = (torch.tensor([k for k in range(3) for _ in range(round(40 * share[k]))]) for share in (p, q))
    optimizer = torch.optim.SGD([energy], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        loss = Ebgan(margin=2.0).critic_loss(game(energy[real][:, None], energy[fake][:, None], track=False))
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            energy.clamp_(min=0)  # An energy is an error.
    variation = 0.5 * sum(abs(a - b) for a, b in zip(p, q, strict=True))
    assert energy[[0, 2]].tolist() == pytest.approx([0, 2], abs=0.1)
    assert loss.item() == pytest.approx(2 * (1 - variation), abs=0.1)


def test_the_pull_away_term_is_the_mean_squared_cosine_of_different_codes():
    real, fake = energies(6, 0), energies(6, 1)
    codes = fake[:, 1:].numpy()
    cosines = [
        codes[i] @ codes[j] / np.linalg.norm(codes[i]) / np.linalg.norm(codes[j])
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    plain = Ebgan().generator_loss(game(real, fake)).item()
    repelled = Ebgan(repelling=0.1).generator_loss(game(real, fake)).item()
    assert repelled - plain == pytest.approx(0.1 * np.mean(np.square(cosines)))


def test_the_pull_away_term_is_1_for_parallel_codes_0_for_orthogonal_ones_and_pushes_codes_apart():
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    parallel = torch.cat([one, -3 * one, 2 * one])
    assert zoo_energy.pull_away(parallel).item() == pytest.approx(1)
    assert zoo_energy.pull_away(torch.eye(3)).item() == pytest.approx(0)
    codes = torch.tensor([[1.0, 0.1], [1.0, -0.1]], requires_grad=True)
    zoo_energy.pull_away(codes).backward()
    assert codes.grad[0, 1] < 0 < codes.grad[1, 1]
    zeros = torch.zeros(3, 2, requires_grad=True)
    zoo_energy.pull_away(zeros).backward()
    assert zeros.grad.isfinite().all()


def test_codes_are_needed_for_the_pull_away_term_alone():
    class Bare(Critic):
        def forward(self, samples, condition=None):
            return samples[:, 0]

    batch = Batch(critic=Bare(), real=of(1.0), fake=of(1.0))
    assert Ebgan().generator_loss(batch).item() == -1
    with pytest.raises(IncompatibleParts, match="returns none"):
        Ebgan(repelling=0.1).generator_loss(batch)


@pytest.mark.parametrize("k", [0.0, 0.25, 1.0])
def test_begans_losses_are_the_papers(k):
    real, fake, distance = energies(9, 0), energies(7, 1), Began(gamma=0.4)
    distance.k.fill_(k)
    x, y = real[:, 0].mean().item(), fake[:, 0].mean().item()
    batch = game(real, fake)
    assert distance.critic_loss(batch).item() == pytest.approx(x - k * y)
    assert distance.generator_loss(game(real, fake)).item() == pytest.approx(y)
    assert batch.records["convergence"][0].item() == pytest.approx(x + abs(0.4 * x - y))
    assert batch.records["balance"][0].item() == k


def test_k_follows_the_balance_of_the_errors_and_stays_between_0_and_1():
    distance, k = Began(gamma=0.5, rate=0.1), 0.0
    held = distance.k
    for x, y in [(1.0, 0.1), (2.0, 0.2), (4.0, 9.0), (1.0, 5.0), (30.0, 1.0), (1.0, 0.4)]:
        batch = game(of(x, x), of(y, y))
        distance.critic_loss(batch)
        distance.after_step({name: values[0] for name, values in batch.records.items()})
        k = min(max(k + 0.1 * (0.5 * x - y), 0), 1)
        assert distance.k.item() == pytest.approx(k, abs=1e-6)
    assert distance.k is held
    distance.after_step({"generator's": torch.tensor(9.0)})
    assert distance.k.item() == pytest.approx(k, abs=1e-6)


def test_k_is_at_rest_where_fakes_have_the_share_gamma_of_the_error():
    distance = Began(gamma=0.5, rate=0.1)
    distance.k.fill_(0.3)
    distance.after_step({"real_error": torch.tensor(0.8), "fake_error": torch.tensor(0.4)})
    assert distance.k.item() == pytest.approx(0.3)


def balances(folder, steps, resumed_from=None, **settings):
    """k before each step of a training on digits, whose errors begin above those of the fakes."""
    rows = []
    if resumed_from:
        zoo.resume(resumed_from, steps=steps, on_log=rows.append)
    else:
        narrow = {"generator.width": 16, "critic.width": 16, "distance.gamma": 1.0, "distance.rate": 0.05}
        zoo.train(
            "began", dataset="digits", out=folder, name="run", device="cpu", batch_size=16, steps=steps, log_every=1,
            settings=narrow | settings, on_log=rows.append,
        )  # fmt: skip
    return [row["balance"] for row in rows]


def test_k_moves_in_training_alike_in_micro_batches_and_is_gone_on_with(tmp_path):
    whole = balances(tmp_path / "whole", 8, **{"train.schedule": "constant"})
    assert whole[0] == 0
    assert whole[-1] > 0.01
    parts = {"train.micro_batches": 4, "generator.norm": "none", "train.schedule": "constant"}
    split = balances(tmp_path / "split", 2, **parts)
    together = balances(tmp_path / "together", 2, **{**parts, "train.micro_batches": 1})
    assert split == pytest.approx(together, abs=1e-6)
    first = balances(tmp_path / "first", 4, **{"train.schedule": "constant"})
    rest = balances(None, 8, resumed_from=tmp_path / "first" / "run")
    assert first + rest == whole


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("error", ["squared", "absolute"])
def test_scores_are_minus_the_mean_error_of_each_sample(shape, error):
    critic = Autoencoder(shape, error=error, width=8, scale=3.0)
    samples = torch.rand(5, *shape) - 0.5
    result = critic(samples)
    gaps = (critic.decoder(critic.encoder(samples)) - samples).detach().numpy().reshape(5, -1)
    expected = (gaps**2 if error == "squared" else np.abs(gaps)).mean(1)
    np.testing.assert_allclose(result.values.detach(), -3 * expected, rtol=1e-5)
    assert result.features.shape == (5, critic.feature_size)


@pytest.mark.parametrize(("shape", "depth"), [((1, 8, 8), 2), ((3, 16, 32), 3)])
def test_convolutions_rebuild_images_of_any_such_shape(shape, depth):
    critic = Autoencoder(shape, layers="convolutional", width=4, depth=depth, code=6)
    samples = torch.rand(2, *shape)
    assert critic.decoder(critic.encoder(samples)).shape == samples.shape
    assert critic(samples).features.shape == (2, 6)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in critic.encoder) == depth


@pytest.mark.parametrize("layers", ["linear", "convolutional"])
def test_images_are_rebuilt_through_tanh_and_vectors_are_not(layers):
    critic, codes = Autoencoder((1, 8, 8), layers=layers, width=4), 100 * torch.randn(3, 32)
    *before, last = critic.decoder
    assert isinstance(last, torch.nn.Tanh)
    whole = torch.nn.Sequential(*before)(codes)
    assert whole.abs().max() > 1
    torch.testing.assert_close(critic.decoder(codes), torch.tanh(whole))
    # No activation stands behind the last layer, nor behind the code: ELU would hold both above -1.
    vectors = Autoencoder((2,), width=4)
    assert vectors.decoder(codes).min() < -1
    assert vectors.encoder(100 * torch.randn(50, 2)).min() < -1


@pytest.mark.parametrize("shape", [(2,), (1, 9, 8), (1, 12, 12)])
def test_convolutions_of_other_samples_are_refused(shape):
    with pytest.raises(IncompatibleParts, match="critic.layers = 'linear'"):
        Autoencoder(shape, layers="convolutional", depth=3)


def test_an_autoencoder_learns_to_rebuild_the_data_and_nothing_else():
    torch.manual_seed(0)
    critic = Autoencoder((3,), width=16, depth=1, code=1)
    line = torch.linspace(-1, 1, 64)[:, None] * torch.tensor([[1.0, 0.5, -0.5]])
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (-critic(line).values.mean()).backward()
        optimizer.step()
    off = line + torch.tensor([0.0, 1.0, 1.0])
    assert critic(line).values.mean() > 20 * critic(off).values.mean()


def test_the_variants_have_the_papers_settings():
    ebgan, began = (zoo_energy.variant()[name].table for name in ("ebgan", "began"))
    assert ebgan["distance"] == {"name": "ebgan", "repelling": 0.1}
    assert began["distance"] == {"name": "began", "gamma": 0.5, "rate": 0.001}
    assert began["train"]["batch_size"] == 16
    assert began["critic"]["error"] == "absolute"
    assert Ebgan().repelling == 0
