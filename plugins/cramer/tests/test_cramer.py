"""The energy distance against SciPy and its closed form; the Cramer critic's surrogate, pair by pair."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_cramer
from scipy import integrate, stats

from zoo import Batch, Critic, IncompatibleParts, Scores

Energy, Cramer = (zoo_cramer.distance()[name] for name in ("energy", "cramer"))


class Lifted(Critic):
    """Features `(N, 2)` of one variable: x and its square."""

    def forward(self, samples, condition=None):
        return Scores(samples[:, 0], torch.cat([samples, samples**2], dim=1))


def drawn(n, seed, mean=0.0, dims=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, size=(n, dims)))


def lifted(x):
    return np.hstack([x.numpy(), x.numpy() ** 2])


def lengths(x, y):
    return np.linalg.norm(x[:, None] - y[None], axis=2)


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-cramer").entry_points}
    assert declared == {("distance", "cramer"), ("distance", "energy"), ("variant", "cramer-gan")}


def test_it_is_scipys_energy_distance_squared_but_for_pairs_of_a_sample_with_itself():
    x, y = drawn(40, 0), drawn(40, 1, mean=1)
    biased = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    own = sum(lengths(each.numpy(), each.numpy()).sum() for each in (x, y)) * (1 / (40 * 39) - 1 / 40**2)
    assert Energy().estimate(Batch(real=x, fake=y)).item() == pytest.approx(biased - own, rel=1e-9)


def test_between_two_normals_it_is_the_closed_form_and_twice_the_integral_of_distribution_functions():
    gap = integrate.quad(lambda t: (stats.norm.cdf(t) - stats.norm.cdf(t - 1)) ** 2, -10, 11)[0]
    assert 2 * gap == pytest.approx(0.541807, abs=1e-5)
    found = [
        Energy().estimate(Batch(real=drawn(400, 2 * s), fake=drawn(400, 2 * s + 1, 1.0))).item() for s in range(20)
    ]
    assert np.mean(found) == pytest.approx(2 * gap, abs=4 * np.std(found) / np.sqrt(20))


def test_its_gradients_do_not_depend_on_how_many_samples_a_batch_has():
    """Unbiased: the mean over batches of two is that over batches of all."""
    x = drawn(600, 0)
    y = drawn(600, 1, mean=1).requires_grad_()
    Energy().generator_loss(Batch(real=x, fake=y)).backward()
    whole = y.grad.mean().item() * 600
    y.grad = None
    for start in range(0, 600, 4):
        part = slice(start, start + 4)
        (Energy().generator_loss(Batch(real=x[part], fake=y[part])) / 150).backward()
    assert y.grad.mean().item() * 600 == pytest.approx(whole, abs=0.1)


def test_the_critics_loss_is_the_surrogate_pair_by_pair():
    x, y = drawn(7, 0), drawn(7, 1, mean=1)
    h, g = lifted(x), lifted(y)
    at_real = lengths(h, g).mean(1) - np.linalg.norm(h, axis=1)
    others = lengths(g, g).sum(1) / 6
    at_fake = others - np.linalg.norm(g, axis=1)
    game = Batch(critic=Lifted(), real=x, fake=y)
    assert Cramer().critic_loss(game).item() == pytest.approx(at_fake.mean() - at_real.mean(), rel=1e-9)


def test_the_generators_loss_is_the_energy_distance_of_features():
    x, y = drawn(7, 0), drawn(7, 1, mean=1)
    h, g = lifted(x), lifted(y)
    within = sum(lengths(each, each).sum() / 42 for each in (h, g))
    game = Batch(critic=Lifted(), real=x, fake=y)
    assert Cramer().generator_loss(game).item() == pytest.approx(2 * lengths(h, g).mean() - within, rel=1e-9)


def test_slopes_are_those_of_the_witness():
    x, y = drawn(5, 0), drawn(5, 1, mean=1)

    class Itself(Critic):
        def forward(self, samples, condition=None):
            return Scores(samples[:, 0], samples)

    points = torch.tensor([[-1.0], [0.5], [2.0], [3.0], [-2.0]], dtype=torch.float64)
    game = Batch(critic=Itself(), real=x, fake=y, witness=Cramer().witness)
    signs = np.sign(points.numpy() - y.numpy().T).mean(1) - np.sign(points.numpy()[:, 0])
    np.testing.assert_allclose(game.slopes(points).detach().numpy(), np.abs(signs), atol=1e-9)


def test_equal_samples_have_finite_second_derivatives():
    x = torch.zeros(4, 1, dtype=torch.float64)
    y = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)
    game = Batch(critic=Lifted(), real=x, fake=y, witness=Cramer().witness)
    (Cramer().generator_loss(game) + game.slopes("fake").square().mean()).backward()
    assert y.grad.isfinite().all()


def test_a_critic_without_features_is_refused():
    class Plain(Critic):
        def forward(self, samples, condition=None):
            return samples[:, 0]

    with pytest.raises(IncompatibleParts, match="returns none"):
        Cramer().critic_loss(Batch(critic=Plain(), real=drawn(4, 0), fake=drawn(4, 1)))
