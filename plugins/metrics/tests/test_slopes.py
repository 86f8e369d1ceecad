"""Slopes of critics whose slopes are known."""

import numpy as np
import pytest
import torch
from torch import nn
from zoo_metrics import slopes
from zoo_metrics.slopes import Slopes

from zoo import BadData, Critic, Draws, Evidence, IncompatibleParts, LipschitzConstraint, Sample, Scores
from zoo.components import Described

SHAPE = (2, 3, 4)


class Plane(Critic):
    """`slope * <w, x>` with |w| = 1."""

    def __init__(self, slope=2.0):
        super().__init__()
        self.slope = slope
        self.weight = nn.Parameter(nn.functional.normalize(Draws(7).randn(24), dim=0))

    def forward(self, samples, condition=None):
        return self.slope * (samples.flatten(1) @ self.weight)


class Cone(Critic):
    """`3 |x|`: convex, of slope 3 everywhere but at the origin."""

    def forward(self, samples, condition=None):
        return 3 * torch.linalg.vector_norm(samples.flatten(1), dim=1)


class Bowl(Critic):
    """`|x|^2 / 2`: the slope at x is |x|."""

    def forward(self, samples, condition=None):
        return samples.flatten(1).square().sum(1) / 2


class Labelled(Plane):
    """Slope 1 for label 0 and 5 for label 1, and a leap between labels."""

    conditional = True

    def forward(self, samples, condition=None):
        return super().forward(samples) * torch.where(condition == 0, 0.5, 2.5) + 1000 * condition


class Lifted(Plane):
    """A plane whose scores are large, so that they are rounded to a thousandth."""

    def forward(self, samples, condition=None):
        return super().forward(samples) + 10_000


class Headed(Plane):
    """A head of slope 2, and one of patches whose mean has slope 8."""

    def forward(self, samples, condition=None):
        score = super().forward(samples)
        return Scores((score, torch.stack([2 * score, 6 * score], dim=1)[:, :, None]))


def samples(n=300, seed=0, shift=0.0, labelled=False):
    draws = Draws(seed)
    return Sample(draws.randn(n, *SHAPE) + shift, draws.randint(2, n) if labelled else None)


def evidence(critic, real=None, fake=None, **fields):
    real, fake = real or samples(), fake or samples(seed=1, shift=1.0)
    return Evidence(SHAPE, None, len(fake), lambda: real, lambda: fake, critic=critic, **fields)


def measured(critic, real=None, fake=None, **settings):
    given = evidence(critic, real, fake, conditional=real is not None and real.labels is not None)
    metric = Slopes(**settings)
    metric.refuse(given)
    return metric.measure(given)


@pytest.mark.parametrize("critic", [Plane(2.0), Plane(0.01), Plane(1e4)])
def test_a_linear_critic_has_its_slope_everywhere(critic):
    found = measured(critic)
    assert [found[name] for name in ("max", "mean-real", "mean-fake", "mean-between")] == pytest.approx(
        [critic.slope] * 4, rel=1e-5
    )
    # Of two random points the slope is that of the cosine between them and the weight.
    assert 0.5 * critic.slope < found["pairwise-max"] <= critic.slope


def test_two_points_along_the_weight_have_the_whole_slope_between_them():
    critic = Plane()
    along = critic.weight.detach().view(1, *SHAPE)
    found = measured(critic, Sample(along), Sample(-along))
    assert found["pairwise-max"] == pytest.approx(2, rel=1e-5)


def test_a_cone_has_its_slope_and_no_pair_is_steeper():
    found = measured(Cone())
    assert found["mean-between"] == pytest.approx(3, rel=1e-5)
    assert found["pairwise-max"] <= found["max"] <= 3 * (1 + 1e-5)
    ray = torch.linspace(1, 2, 50).view(-1, 1, 1, 1) * samples(1).values
    assert measured(Cone(), Sample(ray), Sample(ray))["pairwise-max"] == pytest.approx(3, rel=1e-4)


def test_a_bowl_is_as_steep_as_samples_are_far():
    real, fake = samples(), samples(seed=1, shift=1.0)
    norms = [torch.linalg.vector_norm(each.values.flatten(1), dim=1) for each in (real, fake)]
    found = measured(Bowl(), real, fake)
    assert found["mean-real"] == pytest.approx(float(norms[0].mean()), rel=1e-5)
    assert found["mean-fake"] == pytest.approx(float(norms[1].mean()), rel=1e-5)
    for where, values in zip(("real", "fake"), norms, strict=True):
        middle, high = np.quantile(values.double().numpy(), [0.5, 0.95])
        assert found[f"median-{where}"] == pytest.approx(middle, rel=1e-5)
        assert found[f"q95-{where}"] == pytest.approx(high, rel=1e-5)
    assert found["median-between"] < found["q95-between"] < found["max"]
    # The slope is convex, so that no point between two samples is steeper than both of them.
    assert found["max"] == pytest.approx(float(torch.cat(norms).max()), rel=1e-5)
    assert found["pairwise-max"] < found["max"]
    pairs = [(i, j) for i in range(20) for j in range(i)]
    x = torch.cat([real.values[:10], fake.values[:10]]).flatten(1).double()
    direct = [abs(x[i].square().sum() - x[j].square().sum()) / 2 / (x[i] - x[j]).norm() for i, j in pairs]
    assert measured(Bowl(), real, fake, pairs=10)["pairwise-max"] == pytest.approx(float(max(direct)), rel=1e-4)


def test_the_size_of_a_piece_does_not_matter(monkeypatch):
    whole = measured(Bowl())
    monkeypatch.setattr(slopes, "_AT_ONCE", 7)
    monkeypatch.setattr(slopes, "_PAIRS_AT_ONCE", 1)
    assert measured(Bowl()) == pytest.approx(whole, rel=1e-6)


def test_a_conditional_critic_gets_labels_and_labels_are_not_compared():
    real, fake = samples(labelled=True), samples(seed=1, labelled=True)
    ones = real.labels.float().mean().item()
    found = measured(Labelled(), real, fake)
    assert found["mean-real"] == pytest.approx(1 + 4 * ones, rel=1e-4)
    assert found["max"] == pytest.approx(5, rel=1e-4)
    assert found["pairwise-max"] <= 5


def test_of_several_heads_the_steepest_counts_by_the_mean_of_its_patches():
    found = measured(Headed())
    assert found["mean-real"] == pytest.approx(8, rel=1e-4)
    assert found["max"] == pytest.approx(8, rel=1e-4)
    assert 4 < found["pairwise-max"] <= 8


def test_the_least_constant_of_the_constraints_is_the_aim_of_every_figure():
    class Bound(LipschitzConstraint):
        def __init__(self, constant):
            super().__init__()
            self.constant = constant

    constraints = {"one": Bound(2.0), "other": Bound(0.5), "none": Bound(None)}
    assert Slopes().aims(evidence(Plane(), constraints=constraints)) == dict.fromkeys(Slopes.figures, 0.5)
    assert Slopes().aims(evidence(Plane(), constraints={"none": Bound(None)})) == {}


def test_rounding_of_twins_is_no_slope():
    values = samples(500).values
    nearly = values + 1e-5 * samples(500, seed=3).values
    for critic in (Plane(2.0), Lifted(2.0)):
        assert measured(critic, Sample(values), Sample(nearly))["pairwise-max"] <= 2


def test_the_critic_is_left_as_it_was():
    critic = Plane().eval()
    with torch.no_grad():
        measured(critic)
    assert not critic.training
    assert critic.weight.grad is None
    assert critic.weight.requires_grad


def test_samples_that_are_all_the_same_have_no_pair():
    same = Sample(torch.ones(4, *SHAPE))
    assert measured(Plane(), same, same)["pairwise-max"] == 0


def test_what_is_not_finite_is_said():
    with pytest.raises(BadData, match="NaN"):
        measured(Plane(), fake=Sample(torch.full((3, *SHAPE), torch.nan)))


def test_it_needs_a_critic_and_labels_for_a_conditional_one():
    with pytest.raises(IncompatibleParts, match="there is none"):
        Slopes().refuse(evidence(None))
    with pytest.raises(IncompatibleParts, match="no labels"):
        Slopes().refuse(evidence(Labelled()))
    translations = Described(SHAPE, None, source=SHAPE, paired=True)
    with pytest.raises(IncompatibleParts, match="given the sources of samples"):
        Slopes().refuse(evidence(Labelled(), dataset=translations, conditional=True))
    one, other = samples(5, labelled=True), samples(5, labelled=True)
    apart = Sample(one.values, torch.zeros(5, dtype=torch.long)), Sample(other.values, torch.ones(5, dtype=torch.long))
    with pytest.raises(BadData, match="no real sample has the label"):
        measured(Labelled(), *apart)
