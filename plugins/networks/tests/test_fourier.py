"""Random Fourier features against their definition."""

import math

import pytest
import torch
from zoo_networks import MLPCritic
from zoo_networks.fourier import FourierFeatures


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def test_each_wave_is_a_sine_and_a_cosine_of_its_amplitude_beside_the_points():
    features, points = FourierFeatures(3, 7).double(), torch.randn(5, 3, dtype=torch.float64)
    same, sines, cosines = features(points).split([3, 7, 7], dim=1)
    assert torch.equal(same, points)
    torch.testing.assert_close((sines**2 + cosines**2).sqrt(), features.log_amplitudes.exp().expand(5, 7))
    phases = torch.remainder(torch.atan2(sines, cosines) - points @ features.directions, 2 * math.pi)
    assert torch.minimum(phases, 2 * math.pi - phases).max() < 1e-9


def test_wave_numbers_are_log_uniform_in_all_directions_and_amplitudes_start_falling_with_them():
    features = FourierFeatures(2, 20_000, lowest=0.5, highest=100.0, decay=2.0)
    numbers = features.directions.norm(dim=0)
    places = (numbers / 0.5).log() / math.log(200)
    assert 0 <= places.min() < 0.01
    assert 0.99 < places.max() <= 1.0001
    assert places.std().item() == pytest.approx(12**-0.5, rel=0.02)
    assert (features.directions / numbers).mean(1).abs().max() < 0.02
    torch.testing.assert_close(features.log_amplitudes.exp(), (0.5 / numbers) ** 2)


def test_they_are_saved_and_only_their_amplitudes_are_trained():
    critic = MLPCritic((2,), width=8, depth=1, waves=5)
    assert {"features.directions", "features.log_amplitudes"} <= set(critic.state_dict())
    assert [name for name, _ in critic.named_parameters() if "features" in name] == ["features.log_amplitudes"]


def test_an_optimiser_makes_the_faintest_wave_grow_as_fast_as_the_strongest():
    features = FourierFeatures(1, 50).double()
    before = features.log_amplitudes.detach().clone()
    points = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    optimiser = torch.optim.Adam(features.parameters(), lr=0.01, eps=0.0)
    for _ in range(10):
        optimiser.zero_grad()
        (-features(points)[:, 1:].square().sum(0).log().sum()).backward()
        optimiser.step()
    torch.testing.assert_close(features.log_amplitudes.detach() - before, torch.full_like(before, 0.1))


def test_a_critic_with_waves_scores_its_features():
    critic, points = MLPCritic((2,), width=8, depth=2, waves=5), torch.randn(4, 2)
    assert critic.layers[0].in_features == 12
    assert torch.equal(critic(points).values, critic.layers(critic.features(points))[:, 0])


def test_without_waves_nothing_is_added():
    critic = MLPCritic((2,), width=8, depth=2)
    assert critic.features is None
    assert critic.layers[0].in_features == 2


def test_its_slope_and_the_slopes_derivative_are_those_of_finite_differences():
    critic = MLPCritic((2,), width=8, depth=1, activation="tanh", waves=5).double()
    points = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: critic(x).values, points)
    assert torch.autograd.gradgradcheck(lambda x: critic(x).values, points)
