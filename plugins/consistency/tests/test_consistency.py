"""The consistency term against NumPy, and its expectation for a linear critic with dropout in closed form."""

from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_consistency
from torch import nn

import zoo
from zoo import Batch, Critic, Density, Distance, Generator, IncompatibleParts, Scores

Consistency = zoo_consistency.lipschitz_constraint()["consistency"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


class Passes(Critic):
    """Scores and features that are given for each pass, and what it was asked in each."""

    feature_size = 3

    def __init__(self, *passes):
        super().__init__()
        self.passes, self.asked = list(passes), []

    def forward(self, samples, condition=None):
        self.asked.append((samples.detach(), condition))
        return self.passes[len(self.asked) - 1]


class Dropping(Critic):
    """A perceptron of one hidden layer with dropout behind it."""

    def __init__(self, dropout, features=8, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.feature_size = features
        self.hidden = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Dropout(dropout))
        self.score = nn.Linear(width, 1)

    def forward(self, samples, condition=None):
        hidden = self.hidden(samples)
        return Scores(self.score(hidden).squeeze(1), hidden if self.feature_size else None)


def passes(n=20, patches=()):
    return [Scores(drawn(n, *patches, seed=s), drawn(n, 3, seed=s + 10)) for s in range(2)]


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-consistency").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_consistency, hook)()}


@pytest.mark.parametrize("margin", [0.0, 1.0])
@pytest.mark.parametrize("feature_weight", [0.1, 0.0])
def test_both_forms_are_those_of_the_paper_and_of_the_code(feature_weight, margin):
    (one, other), real = passes(), drawn(20, 4)
    scores, features = (one.values - other.values).numpy(), (one.features - other.features).numpy()
    norms = np.sqrt((features**2).sum(1))
    # The code's LAMBDA_2 is within the maximum, and its Factor_M is lambda_2 times the margin.
    code = 2 * scores**2 + 2 * feature_weight * (features**2).mean(1)
    expected = {
        "paper": 2 * np.maximum(np.abs(scores) + feature_weight * norms - margin, 0).mean(),
        "code": np.maximum(code - 2 * margin, 0).mean(),
    }
    for form, value in expected.items():
        batch = Batch(critic=Passes(one, other), real=real, fake=real)
        term = Consistency(weight=2.0, margin=margin, feature_weight=feature_weight, form=form)
        assert term.penalty(batch).item() == pytest.approx(value, rel=1e-12)


def test_it_asks_for_one_more_pass_at_the_same_real_samples_and_labels_and_none_at_fakes():
    one, other = passes()
    one, other = Passes(one, other), (drawn(20, 4), drawn(20, 4, seed=1))
    one.conditional = True
    labels = torch.arange(20)
    batch = Batch(critic=one, real=other[0], fake=other[1], real_condition=labels, fake_condition=labels.flip(0))
    batch.real_scores.sum()
    Consistency().penalty(batch)
    assert len(one.asked) == 2
    for samples, condition in one.asked:
        torch.testing.assert_close(samples, other[0], rtol=0, atol=0)
        torch.testing.assert_close(condition, labels)


def test_scores_of_patches_are_compared_in_their_mean():
    one, other = passes(patches=(2, 2))
    value = Consistency(weight=1.0, feature_weight=0.0).penalty(
        Batch(critic=Passes(one, other), real=drawn(20, 4), fake=drawn(20, 4))
    )
    expected = ((one.values - other.values).mean((1, 2)) ** 2).mean()
    torch.testing.assert_close(value, expected)


def test_a_critic_whose_passes_agree_has_no_penalty_and_finite_gradients():
    for form in ("code", "paper"):
        critic = Dropping(0.0)
        value = Consistency(form=form).penalty(Batch(critic=critic, real=torch.randn(8, 2), fake=torch.randn(8, 2)))
        value.backward()
        assert value.item() == 0
        assert all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)


class Linear(Critic):
    """<w, dropout(x)>, and dropout(x) as features."""

    def __init__(self, weight, share):
        super().__init__()
        self.weight, self.dropout, self.feature_size = weight, nn.Dropout(share), len(weight)

    def forward(self, samples, condition=None):
        dropped = self.dropout(samples)
        return Scores(dropped @ self.weight, dropped)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_of_a_linear_critic_it_is_twice_the_variance_that_dropout_makes(share):
    """Kept numbers are scaled by 1 / (1 - p), so that each has the variance p / (1 - p) of its square."""
    torch.manual_seed(0)
    weight, point, n = drawn(5), drawn(5, seed=1), 100_000
    batch = Batch(critic=Linear(weight, share), real=point.expand(n, 5), fake=point.expand(n, 5))
    variances = 2 * share / (1 - share) * point.square()
    expected = 2 * ((weight.square() * variances).sum() + 0.1 * variances.mean())
    assert Consistency().penalty(batch).item() == pytest.approx(expected.item(), rel=0.02)


def test_a_batch_twice_over_has_the_same_penalty():
    def twice(scores):
        return Scores(scores.values.repeat(2), scores.features.repeat(2, 1))

    (one, other), real = passes(), drawn(20, 4)
    once = Consistency().penalty(Batch(critic=Passes(one, other), real=real, fake=real))
    real = real.repeat(2, 1)
    again = Consistency().penalty(Batch(critic=Passes(twice(one), twice(other)), real=real, fake=real))
    torch.testing.assert_close(once, again)


def test_its_gradient_makes_the_passes_agree():
    critic = Dropping(0.5)
    real, optimizer, values = torch.randn(256, 2), torch.optim.SGD(critic.parameters(), lr=0.1), []
    for _ in range(60):
        optimizer.zero_grad()
        value = Consistency().penalty(Batch(critic=critic, real=real, fake=real))
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]


def test_a_critic_without_dropout_is_refused_and_told_what_to_say():
    for critic in (nn.Linear(2, 1), Dropping(0.0)):
        with pytest.raises(IncompatibleParts, match="critic.dropout=0.5"):
            Consistency().parametrize(critic)


def test_a_critic_without_features_is_refused_unless_they_have_no_weight():
    with pytest.raises(IncompatibleParts, match="feature_weight=0"):
        Consistency().parametrize(Dropping(0.5, features=None))
    Consistency(feature_weight=0.0).parametrize(Dropping(0.5, features=None))


class Plane(Density):
    shape = (2,)

    def sample(self, n, draws):
        return draws.randn(n, 2) + 1


class Affine(Generator):
    latent_dim = 2

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, z, condition=None):
        return self.layer(z)


class Difference(Distance):
    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def train(folder, critic, **settings):
    parts = {"dataset": Plane(), "generator": Affine(), "critic": critic, "distance": Difference()}
    return zoo.train(
        out=folder, device="cpu", lipschitz_constraint=[Consistency()], steps=2, batch_size=8, **parts, **settings
    )


def test_in_training_it_is_logged(tmp_path):
    rows = []
    train(tmp_path, Dropping(0.5), log_every=1, on_log=rows.append)
    assert [row["given Consistency"] > 0 for row in rows] == [True, True]


def test_training_of_a_critic_without_dropout_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(IncompatibleParts, match="different dropout"):
        train(tmp_path, Dropping(0.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "value"), [("weight", -1.0), ("margin", -0.1), ("feature_weight", -1.0), ("form", "l2")]
)
def test_settings_without_meaning_are_refused_by_name(setting, value):
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create("lipschitz_constraint", "consistency", **{setting: value})


def test_the_variant_has_wgan_gps_penalty_beside_it():
    variant = zoo_consistency.variant()["wgan-ct"]
    assert variant.table["distance"] == "wasserstein"
    assert variant.table["lipschitz_constraint"] == [
        {"name": "gradient-penalty", "weight": 10.0, "constant": 1.0},
        {"name": "consistency", "weight": 2.0, "margin": 0.0, "form": "code"},
    ]
    assert all(variant.table["for"][kind]["critic"]["dropout"] > 0 for kind in ("image", "vector", "tiny-image"))
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/1803.01541", 2018)
