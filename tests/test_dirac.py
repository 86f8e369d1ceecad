"""The Dirac-GAN (Mescheder et al., 2018, definition 2.1), trained by the project's own trainer.

The data is one point, the generator is one number theta, and the critic is the line psi * x. Every method's steps
are then a map of the plane whose orbits and fixed points are known. Scores are high for real here, so psi has the
opposite sign to the paper's, and its start (1, 1) is our (1, -1). Ours is the alternating game: the critic's steps,
then the generator's.
"""

import cmath
import math

import pytest
import torch

from zoo import Critic, Density, Generator
from zoo.api import compose_table
from zoo.recipe import normalized
from zoo.trainer import Trainer

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Point(Density):
    shape = (1,)

    def sample(self, n, draws):
        return torch.zeros(n, 1)


class Dirac(Generator):
    latent_dim = 1

    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor([theta], dtype=DOUBLE))

    def forward(self, z, condition=None):
        return self.theta.float().expand(len(z), 1)


class Line(Critic):
    def __init__(self, psi):
        super().__init__()
        self.psi = torch.nn.Parameter(torch.tensor([psi], dtype=DOUBLE))

    def forward(self, samples, condition=None):
        return samples.to(DOUBLE) @ self.psi


def r1(gamma):
    """Mescheder's R1 with his half: gamma/2 * E |grad D(x)|^2 at real points."""
    return {"name": "gradient-penalty", "sample": "real", "constant": 0.0, "weight": gamma / 2}


def gradient_penalty(weight, sides="two"):
    return {"name": "gradient-penalty", "weight": weight, "sides": sides}


def clipping(limit):
    return {"name": "weight-clipping", "limit": limit}


def game(distance, constraint="none", *, start=(1.0, -1.0), h=0.1, critic_steps=1, **train):
    table = {
        "distance": distance,
        "lipschitz_constraint": constraint,
        "train": {
            "batch_size": 2,
            "critic_steps": critic_steps,
            "average": 0.0,
            "optimizer": {"name": "SGD", "lr": h},
            **train,
        },
    }
    theta, psi = start
    given = {"dataset": Point(), "generator": Dirac(theta), "critic": Line(psi)}
    return Trainer(compose_table(normalized(table), given=given, device="cpu"))


def place(trainer):
    networks = trainer.composition.networks
    return networks["generator"].theta.item(), networks["critic"].psi.item()


def orbit(steps, *arguments, **settings):
    """Where the game is after each of `steps` iterations, `(steps, 2)`: theta and psi."""
    trainer = game(*arguments, **settings)
    places = []
    for _ in range(steps):
        trainer.iterate()
        places.append(place(trainer))
    return torch.tensor(places, dtype=DOUBLE)


def radius(places):
    return places.norm(dim=1)


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


GENERATOR_SLOPES = {
    "minimax": lambda score: -sigmoid(score),
    "non-saturating": lambda score: sigmoid(score) - 1,
    "wasserstein": lambda score: -1.0,
    "loss-sensitive": lambda score: -1.0,
}
CRITIC_SLOPES = {
    "minimax": lambda theta, psi: sigmoid(psi * theta) * theta,
    "non-saturating": lambda theta, psi: sigmoid(psi * theta) * theta,
    "wasserstein": lambda theta, psi: theta,
    # The hinge |theta| + psi * theta, with the default margin.
    "loss-sensitive": lambda theta, psi: theta if abs(theta) + psi * theta > 0 else 0.0,
}
PENALTY_SLOPES = {
    "none": lambda psi: 0.0,
    "r1": lambda psi: 0.6 * psi,
    "two-sided": lambda psi: 4 * (abs(psi) - 1) * math.copysign(1, psi),
    # Data of one point have no spread, so that the penalty near them is the one at them.
    "dragan": lambda psi: 4 * (abs(psi) - 1) * math.copysign(1, psi),
    "one-sided": lambda psi: 4 * max(abs(psi) - 1, 0) * math.copysign(1, psi),
    "clipping": lambda psi: 0.0,
}
CONSTRAINTS = {
    "none": "none",
    "r1": r1(0.6),
    "two-sided": gradient_penalty(2.0),
    "dragan": {"name": "dragan", "weight": 2.0},
    "one-sided": gradient_penalty(2.0, "one"),
    "clipping": clipping(0.8),
}


@pytest.mark.parametrize("critic_steps", [1, 3])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("distance", CRITIC_SLOPES)
def test_the_trainer_takes_the_steps_that_the_formulas_give(distance, constraint, critic_steps):
    h, (theta, psi) = 0.3, (1.0, 1.0)
    places = orbit(15, distance, CONSTRAINTS[constraint], start=(theta, psi), h=h, critic_steps=critic_steps)
    expected = []
    for _ in range(15):
        for _ in range(critic_steps):
            psi -= h * (CRITIC_SLOPES[distance](theta, psi) + PENALTY_SLOPES[constraint](psi))
            psi = min(max(psi, -0.8), 0.8) if constraint == "clipping" else psi
        theta -= h * GENERATOR_SLOPES[distance](psi * theta) * psi
        expected.append((theta, psi))
    torch.testing.assert_close(places, torch.tensor(expected, dtype=DOUBLE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("distance", "last"), [("minimax", 1.41), ("wasserstein", 1.42)])
def test_without_a_constraint_the_game_orbits_the_data_and_does_not_converge(distance, last):
    r = radius(orbit(500, distance))
    assert r.min() > 1.40
    assert r.max() < 1.5
    assert r[-1].item() == pytest.approx(last, abs=0.01)


def test_the_non_saturating_game_converges_too_slowly_to_arrive():
    r = radius(orbit(500, "non-saturating"))
    assert r[-1].item() == pytest.approx(0.38, abs=0.005)


@pytest.mark.parametrize(
    ("distance", "constraint"),
    [
        ("wasserstein", clipping(1.0)),
        ("wasserstein", gradient_penalty(1.0, "one")),
        ("loss-sensitive", "none"),
    ],
    ids=["clipping", "one-sided", "loss-sensitive"],
)
def test_a_slope_that_is_bounded_by_1_ends_on_an_orbit_of_radius_1(distance, constraint):
    late = radius(orbit(300, distance, constraint)[-100:])
    assert late.min() > 0.95
    assert late.max() < 1.05


def test_more_critic_steps_make_the_clipped_orbit_narrow_but_no_point():
    places = orbit(150, "wasserstein", clipping(1.0), critic_steps=5)
    assert places[:, 1].abs().max() <= 1
    assert 0.3 < places[-100:, 0].abs().max() <= 0.45


@pytest.mark.parametrize(("weight", "steps"), [(3.0, 200), (10.0, 100)])
@pytest.mark.parametrize("side", [1, -1])
def test_the_two_sided_penalty_holds_a_linear_critic_on_its_side_so_theta_slides_past_the_data(weight, steps, side):
    h, wrong = 0.02, 2 * weight * side
    places = orbit(steps, "wasserstein", gradient_penalty(weight), start=(1.0, float(side)), h=h)
    # psi' = -theta - 2 weight (psi - side) and theta' = psi have one fast rate, gone soon, and this slow one.
    slow = weight - math.sqrt(weight**2 - 1)
    settled = steps // 4
    away = (places[settled, 0].item() - wrong) * math.exp(-slow * (steps - 1 - settled) * h)
    theta, psi = places[-1].tolist()
    assert theta == pytest.approx(wrong + away, abs=0.02)
    assert psi == pytest.approx(-slow * away, abs=0.01)
    assert psi == pytest.approx(side - theta / (2 * weight), abs=0.03)


@pytest.mark.parametrize(("side", "critic_steps"), [(1, 1), (-1, 1), (1, 5)])
def test_the_wrong_point_of_wgan_gp_is_twice_the_weight_from_the_data(side, critic_steps):
    start = (1.0, float(side))
    places = orbit(90, "wasserstein", gradient_penalty(1.0), start=start, h=0.1, critic_steps=critic_steps)
    theta, psi = places[-1].tolist()
    assert theta == pytest.approx(2 * side, abs=0.02)
    assert psi == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("side", [1, -1])
def test_a_slope_of_1_near_the_data_drives_theta_past_them_as_between_real_and_fake(side):
    places = orbit(90, "wasserstein", {"name": "dragan", "weight": 1.0}, start=(1.0, float(side)), h=0.1)
    assert places[-1].tolist() == pytest.approx([2 * side, 0], abs=0.02)


@pytest.mark.parametrize(
    ("distance", "gamma", "last"),
    [("minimax", 1.0, 4e-9), ("minimax", 0.3, 5e-4), ("wasserstein", 1.0, 5e-12)],
)
def test_the_zero_centred_penalty_at_real_points_converges(distance, gamma, last):
    r = radius(orbit(500, distance, r1(gamma)))[-1]
    assert r < 1e-2
    assert r.item() == pytest.approx(last, rel=0.1)


def test_the_zero_centred_penalty_converges_as_fast_when_it_is_due_every_fourth_step_with_four_times_the_weight():
    always, lazy = (radius(orbit(200, "minimax", r1(1.0) | {"every": every}))[-1] for every in (1, 4))
    assert 0.1 < lazy / always < 10


HALF_OR_ONE = {"minimax": 0.5, "non-saturating": 0.5, "wasserstein": 1.0}
"""f'(0): how fast critic and generator turn about the data."""


def one_iteration(distance, constraint, h):
    """The matrix of one iteration near the data, measured: `(theta, psi)` after, by before."""
    near = 1e-4
    columns = [orbit(1, distance, constraint, start=s, h=h)[0] / near for s in [(near, 0.0), (0.0, near)]]
    return torch.stack(columns, dim=1)


def eigenvalues(gamma, speed, h):
    """Those of psi' = (1 - h gamma) psi - h f' theta, theta' = theta + h f' psi', in order of their angle."""
    determinant = 1 - h * gamma
    half_trace = (1 + determinant - (h * speed) ** 2) / 2
    root = cmath.sqrt(half_trace**2 - determinant)
    return [half_trace - root, half_trace + root]


@pytest.mark.parametrize("h", [0.1, 0.01])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("distance", HALF_OR_ONE)
def test_the_eigenvalues_of_one_iteration_are_those_of_the_theory(distance, gamma, h):
    constraint = r1(gamma) if gamma else "none"
    measured = torch.linalg.eigvals(one_iteration(distance, constraint, h))
    expected = torch.tensor(eigenvalues(gamma, HALF_OR_ONE[distance], h), dtype=measured.dtype)
    torch.testing.assert_close(measured.abs().sort().values, expected.abs().sort().values, rtol=0, atol=1e-6)
    torch.testing.assert_close(measured.real.sort().values, expected.real.sort().values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("distance", HALF_OR_ONE)
def test_alternating_steps_without_a_constraint_neither_grow_nor_shrink_near_the_data(distance):
    sizes = torch.linalg.eigvals(one_iteration(distance, "none", 0.1)).abs()
    assert sizes.tolist() == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("gamma", "rates"), [(0.0, [-0.5j, 0.5j]), (0.3, [-0.15 - 0.477j, -0.15 + 0.477j]), (2.0, [-1.866, -0.134])]
)
def test_small_steps_approach_mescheders_eigenvalues_of_the_flow(gamma, rates):
    h = 0.001
    constraint = r1(gamma) if gamma else "none"
    measured = torch.linalg.eigvals(one_iteration("minimax", constraint, h)).log() / h
    flow = cmath.sqrt(gamma**2 / 4 - 1 / 4)
    expected = torch.tensor([-gamma / 2 - flow, -gamma / 2 + flow])
    for values in (measured.to(expected.dtype), torch.tensor(rates, dtype=expected.dtype)):
        torch.testing.assert_close(values.real.sort().values, expected.real.sort().values, rtol=0, atol=3e-3)
        torch.testing.assert_close(values.imag.sort().values, expected.imag.sort().values, rtol=0, atol=3e-3)


def test_instance_noise_converges():
    # Mescheder et al., section 3.4. What is left is the noise of 1,024 samples: 1 / sqrt(1024) = 0.03.
    places = orbit(500, "minimax", batch_size=1024, noise=1.0, schedule_steps=10**9)
    assert places[0].norm() > 1.3
    assert places[-1].norm() < 0.05
