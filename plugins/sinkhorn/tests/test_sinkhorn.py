"""The Sinkhorn divergence against POT, and its limits: transport for a small blur, energy-like for a large one."""

from importlib.metadata import distribution

import numpy as np
import ot
import pytest
import torch
import zoo_sinkhorn

from zoo import Batch, Critic, IncompatibleParts, Scores

Sinkhorn = zoo_sinkhorn.distance()["sinkhorn"]


def drawn(n, seed, mean=0.0, dims=2):
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, size=(n, dims)))


def entropic(x, y, blur, power=2):
    """<P, C> + blur KL(P | a b), for POT's plan."""
    cost = ot.dist(x.numpy(), y.numpy(), "sqeuclidean" if power == 2 else "euclidean")
    a, b = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    plan = ot.sinkhorn(a, b, cost, blur, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13)
    return (plan * cost).sum() + blur * (plan * np.log(plan / np.outer(a, b))).sum(), plan


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-sinkhorn").entry_points}
    assert declared == {("distance", "sinkhorn"), ("variant", "sinkhorn-gan")}


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("blur", [0.3, 2.0])
def test_it_is_debiased_entropic_transport_as_pot_computes_it(blur, power):
    x, y = drawn(12, 0), drawn(9, 1, mean=1)
    expected = entropic(x, y, blur, power)[0] - entropic(x, x, blur, power)[0] / 2 - entropic(y, y, blur, power)[0] / 2
    found = Sinkhorn(blur=blur, power=power, iterations=2000).estimate(Batch(real=x, fake=y))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_its_gradient_is_that_of_the_cost_under_the_plan_less_that_within_the_fakes():
    """The envelope theorem: d OT / d y_j = sum_i P_ij 2 (y_j - x_i)."""
    x, y = drawn(8, 0), drawn(8, 1, mean=1).requires_grad_()
    Sinkhorn(blur=0.5, iterations=2000).generator_loss(Batch(real=x, fake=y)).backward()
    points, others = y.detach(), x
    across, within = entropic(others, points, 0.5)[1], entropic(points, points, 0.5)[1]

    def pull(plan, sources):
        return 2 * (plan.sum(0)[:, None] * points.numpy() - plan.T @ sources.numpy())

    # Within the fakes both ends move, and half of it is taken away.
    expected = pull(across, others) - pull(within, points)
    np.testing.assert_allclose(y.grad.numpy(), expected, atol=1e-5)


def test_with_little_blur_it_is_the_squared_wasserstein_distance():
    x, y = drawn(10, 0), drawn(10, 1, mean=3)
    uniform = np.full(10, 0.1)
    exact = ot.emd2(uniform, uniform, ot.dist(x.numpy(), y.numpy(), "sqeuclidean"))
    found = Sinkhorn(blur=0.01, iterations=5000).estimate(Batch(real=x, fake=y)).item()
    assert found == pytest.approx(exact, rel=0.01)


def test_with_much_blur_it_is_half_the_energy_distance():
    """The plan is then the product of the marginals (Genevay et al., theorem 1)."""
    x, y = drawn(10, 0), drawn(10, 1, mean=1)

    def mean_length(a, b):
        return ot.dist(a.numpy(), b.numpy(), "euclidean").mean()

    expected = mean_length(x, y) - mean_length(x, x) / 2 - mean_length(y, y) / 2
    found = Sinkhorn(blur=1e4, power=1).estimate(Batch(real=x, fake=y)).item()
    assert found == pytest.approx(expected, rel=1e-3)


def test_equal_batches_are_at_0_and_others_above():
    x, y = drawn(10, 0), drawn(10, 1)
    assert Sinkhorn(blur=0.2).estimate(Batch(real=x, fake=x.clone())).item() == pytest.approx(0, abs=1e-9)
    assert Sinkhorn(blur=0.2).estimate(Batch(real=x, fake=y)).item() > 0.01


def test_in_single_precision_with_distances_of_hundreds_it_stays_finite():
    x, y = (300 * drawn(6, seed).float() for seed in (0, 1))
    y.requires_grad_()
    loss = Sinkhorn(blur=1e-3).generator_loss(Batch(real=x, fake=y))
    loss.backward()
    assert loss.isfinite()
    assert y.grad.isfinite().all()


def test_features_are_compared_where_it_is_so_set_and_missing_ones_are_refused():
    class Doubled(Critic):
        def forward(self, samples, condition=None):
            return Scores(samples[:, 0], 2 * samples)

    class Plain(Critic):
        def forward(self, samples, condition=None):
            return samples[:, 0]

    x, y = drawn(5, 0), drawn(5, 1)
    found = Sinkhorn(on="features", blur=1.0).critic_loss(Batch(critic=Doubled(), real=x, fake=y))
    doubled = Sinkhorn(blur=1.0).critic_loss(Batch(real=2 * x, fake=2 * y))
    assert found.item() == pytest.approx(doubled.item())
    with pytest.raises(IncompatibleParts, match="returns none"):
        Sinkhorn(on="features").critic_loss(Batch(critic=Plain(), real=x, fake=y))
