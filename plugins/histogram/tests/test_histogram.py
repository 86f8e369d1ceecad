"""The divergence of soft histograms against counting, closed forms and differences; and what it trains."""

import math
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_histogram
from scipy import stats
from scipy.spatial.distance import jensenshannon

import zoo
from zoo import Batch, Density, Draws, IncompatibleParts

HistogramJs = zoo_histogram.distance()["histogram-js"]
NORMAL = torch.from_numpy(stats.norm.ppf((np.arange(4000) + 0.5) / 4000))
"""N(0, 1), as quantiles."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Normal(Density):
    """N(mean, 1)."""

    def __init__(self, mean=2.0, variables=1):
        self.mean, self.shape = mean, (variables,)

    def sample(self, n, draws):
        return self.mean + draws.randn(n, *self.shape)


def js(real, fake, **settings):
    return HistogramJs(**settings).generator_loss(Batch(real=real.view(-1, 1), fake=fake.view(-1, 1)))


def slopes(real, fake, **settings):
    """The gradient by each fake."""
    fake = fake.clone().requires_grad_()
    return torch.autograd.grad(js(real, fake, **settings), fake)[0]


def counted(real, fake, bins):
    """By NumPy and SciPy, in bins whose outer middles are three bins beyond the samples."""
    both = torch.cat([real, fake])
    low, high = both.min().item(), both.max().item()
    width = (high - low) / (bins - 7)
    edges = low + width * (np.arange(bins + 1) - 3.5)
    return jensenshannon(*(np.histogram(values, edges)[0] for values in (real, fake))) ** 2


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-histogram").entry_points}
    assert declared == {(hook, name) for hook in ("distance", "variant") for name in getattr(zoo_histogram, hook)()}


@pytest.mark.parametrize("bins", [8, 50, 500])
@pytest.mark.parametrize("place", [0.0, -3.0, 1e4])
def test_equal_samples_have_none_and_disjoint_ones_log_2(bins, place):
    values = NORMAL[::40] + place
    assert js(values, values.flip(0), bins=bins).item() == pytest.approx(0, abs=1e-12)
    assert js(values, values + 1000, bins=bins, softness=0.01).item() == pytest.approx(math.log(2), rel=1e-4)


@pytest.mark.parametrize(("mean", "expected"), [(0.5, 0.030311), (1, 0.111421), (2, 0.336831), (4, 0.632720)])
def test_normals_have_their_divergence(mean, expected):
    assert js(NORMAL, NORMAL + mean, bins=100, softness=0.5).item() == pytest.approx(expected, rel=0.02)
    assert js(NORMAL, NORMAL + mean).item() < expected  # Blurred distributions are nearer to each other.


@pytest.mark.parametrize("bins", [10, 50])
def test_narrow_kernels_count(bins):
    draws = Draws(0)
    real, fake = draws.randn(500).double(), 0.7 * draws.randn(300).double() + 1
    exact = counted(real, fake, bins)
    errors = [abs(js(real, fake, bins=bins, softness=softness).item() - exact) for softness in (1, 0.01, 0.0001)]
    assert errors[2] < 1e-6 * exact
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("settings", [{}, {"bins": 8}, {"softness": 0.3}])
def test_slopes_are_differences(settings):
    real, fake = NORMAL[::100], Draws(1).rand(9).double() - 0.5  # The outermost samples are real ones.
    found = slopes(real, fake, **settings)
    for index in range(len(fake)):
        step = torch.zeros_like(fake).index_fill(0, torch.tensor(index), 1e-5)
        difference = (js(real, fake + step, **settings) - js(real, fake - step, **settings)) / 2e-5
        assert found[index].item() == pytest.approx(difference.item(), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("place", [-1000.0, -10.0, 10.0, 1000.0])
def test_samples_far_from_the_data_are_pulled_towards_them(place):
    fakes = place + 0.1 * Draws(2).randn(50)
    assert (-slopes(NORMAL.float(), fakes) * place).mean() < 0


def test_it_knows_neither_units_nor_order_nor_which_is_real():
    real, fake = NORMAL[::10], 0.5 * NORMAL[::20] + 1
    value = js(real, fake).item()
    assert js(1e-6 * real + 3, 1e-6 * fake + 3).item() == pytest.approx(value, rel=1e-6)
    assert js(real.flip(0), fake.flip(0)).item() == pytest.approx(value)
    assert js(fake, real).item() == pytest.approx(value)


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_samples_that_are_all_the_same_are_equal(value):
    real = torch.full((5,), value)
    assert js(real, real).item() == pytest.approx(0, abs=1e-6)
    assert slopes(real, real).isfinite().all()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 28, 28), ("have 784", "50^784 ≈ 10^1332", "2^784 ≈ 10^236")),
        ((2,), ("have 2", "50^2 = 2500", "2^2 = 4")),
    ],
)
def test_more_variables_are_refused_with_the_number_of_bins(shape, words):
    with pytest.raises(IncompatibleParts) as caught:
        HistogramJs().generator_loss(Batch(real=torch.zeros(3, *shape), fake=torch.zeros(3, *shape)))
    assert all(word in str(caught.value) for word in (*words, "wasserstein", "zoo train wgan-gp"))


def test_pairs_of_samples_are_more_than_one_variable():
    pair = (torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(IncompatibleParts, match="have 2"):
        HistogramJs().generator_loss(Batch(real=pair, fake=pair))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "digits"}, "2\\^64 ≈ 10\\^19"),
        ({"dataset": Normal(variables=2)}, "these have 2"),
        ({"critic": "mlp"}, "--critic none --lipschitz-constraint none"),
        ({"micro_batches": 2}, "no mean over samples"),
    ],
)
def test_what_does_not_go_is_said_before_anything_is_written(changes, words, tmp_path):
    with pytest.raises(IncompatibleParts, match=words):
        zoo.train("histogram-js", out=tmp_path, device="cpu", **{"dataset": Normal(), **changes})
    assert list(tmp_path.iterdir()) == []


def test_a_critic_under_penalty_is_refused_too(tmp_path):
    with pytest.raises(IncompatibleParts, match="nothing to learn"):
        zoo.train("wgan-gp", distance="histogram-js", dataset=Normal(), out=tmp_path, device="cpu")


def test_a_short_training_brings_it_down(tmp_path):
    density, rows = Normal(), []
    settings = {"train.average": 0.9, "train.optimizer.lr": 5e-3, "generator.width": 32}
    run = zoo.train(
        "histogram-js", dataset=density, steps=150, batch_size=256, out=tmp_path, device="cpu", settings=settings,
        on_log=rows.append,
    )  # fmt: skip
    assert [row["step"] for row in rows] == [50, 100, 150]
    assert rows[0]["generator_loss"] > 4 * rows[2]["generator_loss"]
    real, fake = density.sample(4000, Draws(5)), run.sample(4000, seed=6)
    assert counted(real[:, 0], fake[:, 0], 50) < 0.030311  # That of normals half a standard deviation apart.
