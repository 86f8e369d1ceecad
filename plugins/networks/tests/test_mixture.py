"""The mixture latent of DeLiGAN and maxout, against the moments and maxima that their definitions give."""

import pytest
import torch
from zoo_networks import MLPCritic, MLPGenerator
from zoo_networks.layers import Maxout
from zoo_networks.mixture import MixtureLatent

from zoo import Draws, Generator


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def mixture(means, widths):
    """A mixture whose means and widths, `(components, size)`, are given."""
    means, widths = torch.tensor(means), torch.tensor(widths)
    latent = MixtureLatent(*means.shape, width=1.0)
    with torch.no_grad():
        latent.means.copy_(means)
        latent.widths.copy_(widths)
    return latent


def test_points_lie_about_equally_many_means_with_their_widths():
    latent = mixture([[-50.0, 0.0], [0.0, 0.0], [50.0, 10.0]], [[1.0, 2.0], [0.5, 0.1], [3.0, 0.0]])
    points = latent(60_000, Draws(0)).detach()
    for mean, width in zip(latent.means.detach(), latent.widths.detach(), strict=True):
        near = points[(points[:, 0] - mean[0]).abs() < 25]
        assert len(near) == pytest.approx(20_000, rel=0.03)
        torch.testing.assert_close(near.mean(0), mean, rtol=0, atol=0.1)
        torch.testing.assert_close(near.std(0), width, rtol=0.03, atol=1e-4)


def test_means_start_uniform_on_minus_one_to_one_and_widths_as_asked():
    latent = MixtureLatent(4000, 3, width=0.2)
    assert latent.means.abs().max() <= 1
    assert latent.means.std().item() == pytest.approx(3**-0.5, rel=0.02)
    assert (latent.widths == 0.2).all()


def test_gradients_of_the_points_are_counts_for_the_means_and_the_noise_for_the_widths():
    latent, draws = MixtureLatent(5, 2, width=0.2), Draws(3)
    latent(200, draws).sum().backward()
    same = Draws(3)
    chosen, noise = same.randint(5, 200), same.randn(200, 2)
    expected = torch.zeros(5, 2).index_add(0, chosen, noise)
    torch.testing.assert_close(latent.means.grad, torch.bincount(chosen, minlength=5)[:, None].expand(5, 2).float())
    torch.testing.assert_close(latent.widths.grad, expected)


def test_a_generator_of_several_components_draws_its_points_from_them_and_learns_them():
    generator = MLPGenerator((2,), width=8, depth=1, latent_dim=3, components=4, component_width=0.5)
    points = generator.latent(16, Draws(0))
    assert points.shape == (16, 3)
    assert torch.equal(points, generator.mixture(16, Draws(0)))
    generator(points).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in generator.parameters())
    assert {"mixture.means", "mixture.widths"} <= set(generator.state_dict())


def test_a_generator_of_one_component_is_the_plain_one():
    generator = MLPGenerator((2,), width=8, depth=1, latent_dim=3)
    assert torch.equal(generator.latent(6, Draws(0)), Generator.latent(generator, 6, Draws(0)))
    assert not any("mixture" in key for key in generator.state_dict())


def test_maxout_is_the_largest_of_each_five_neighbours():
    values = torch.randn(3, 4, 5)
    assert torch.equal(Maxout()(values.flatten(1)), values.max(2).values)


def test_a_maxout_critic_is_the_largest_of_five_linear_functions_a_unit():
    critic = MLPCritic((3,), width=4, depth=1, activation="maxout").double()
    first, last = (module for module in critic.modules() if isinstance(module, torch.nn.Linear))
    assert (first.out_features, last.in_features) == (20, 4)
    x = torch.randn(6, 3, dtype=torch.float64)
    rows = first.weight.view(4, 5, 3), first.bias.view(4, 5)
    hidden = (torch.einsum("nd,upd->nup", x, rows[0]) + rows[1]).max(2).values
    torch.testing.assert_close(critic(x).values, hidden @ last.weight[0] + last.bias)


def test_pacgans_critic_has_the_size_of_three_maxout_layers_of_200_units():
    critic = MLPCritic((2,), width=200, depth=3, activation="maxout")
    count = sum(parameter.numel() for parameter in critic.parameters())
    assert count == (2 * 1000 + 1000) + 2 * (200 * 1000 + 1000) + (200 + 1)


def test_the_penalty_of_a_maxout_critic_has_finite_derivatives_where_all_pieces_are_equal():
    critic = MLPCritic((2,), width=4, depth=2, activation="maxout").double()
    points = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(critic(points).values.sum(), points, create_graph=True)
    slopes.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_each_gaussian_begins_as_wide_as_is_asked_for():
    generator = MLPGenerator((2,), width=4, latent_dim=3, components=5, component_width=0.7)
    assert torch.equal(generator.mixture.widths.detach(), torch.full((5, 3), 0.7))
