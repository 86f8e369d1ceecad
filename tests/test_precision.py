"""bf16: how near its gradients come to those of float32, and slopes in a precision of their own."""

import copy

import pytest
import torch
from torch import nn

import zoo
from zoo import Batch, Critic
from zoo.api import compose_table
from zoo.convolutions import RoundedConvolutions
from zoo.devices import LowPrecision, full_precision
from zoo.draws import Draws
from zoo.precision import COSINE, ERROR, agreement, warnings
from zoo.trainer import Trainer


def trainer(critic=None, **train):
    table = {
        "variant": "wgan-gp",
        "dataset": {"name": "ring"},
        "train": {"precision": "bf16", "batch_size": 32, **train},
    }
    return Trainer(compose_table(table, device="cpu", given={} if critic is None else {"critic": critic}))


def test_gradients_are_compared_at_the_start_and_every_so_often():
    run = trainer(precision_every=3)
    seen = []
    for _ in range(7):
        run.iterate()
        seen.append(f"critic/{COSINE}" in (row := run.flush()))
        if seen[-1]:
            assert 0.9 < row[f"critic/{COSINE}"] < 1.0
            assert 1e-4 < row[f"critic/{ERROR}"] < 0.3
    assert seen == [True, False, False, True, False, False, True]


def test_comparing_changes_nothing():
    one, other = trainer(precision_every=1), trainer(precision_every=0)
    for _ in range(3):
        one.iterate()
        other.iterate()
    for name, network in one.composition.networks.items():
        theirs = other.composition.networks[name].state_dict()
        assert all(torch.equal(mine, theirs[key]) for key, mine in network.state_dict().items())


def test_a_run_in_full_precision_compares_nothing():
    run = trainer(precision="32", precision_every=1)
    run.iterate()
    assert not [name for name in run.flush() if "bf16" in name]


def test_agreement_is_that_of_the_vectors():
    low, full = torch.tensor([3.0, 4.0]), torch.tensor([5.0, 0.0])
    assert [float(each) for each in agreement(low, full)] == pytest.approx([0.6, 20**0.5 / 5])
    zero = torch.zeros(2)
    assert [float(each) for each in agreement(zero, zero)] == [1.0, 0.0]
    assert float(agreement(low, zero)[0]) == 0.0


def test_a_gradient_that_is_turned_away_is_told():
    assert list(warnings({"step": 50, f"critic/{COSINE}": 0.995, "critic_loss": 0.1}, "bf16")) == []
    (said,) = warnings({"step": 50, f"critic/{COSINE}": 0.97}, "bf16")
    assert "at step 50 the gradient of the critic phase in bf16 has a cosine of 0.970" in said


class Cancelling(Critic):
    """A score in which bf16 loses nearly all: the small difference of two large numbers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)

    def forward(self, samples, condition=None):
        large = self.layer(samples * 1e3)
        return (large - nn.functional.linear(samples * 1e3, self.layer.weight.round(decimals=3))).squeeze(1)


def test_a_training_whose_gradient_is_lost_warns(capsys, tmp_path):
    zoo.train(
        "wgan-gp",
        dataset="ring",
        critic=Cancelling(),
        precision="bf16",
        steps=2,
        out=tmp_path,
        batch_size=8,
        device="cpu",
        settings={"train.penalty_precision": "same"},
    )
    assert "has a cosine of" in capsys.readouterr().err


def slopes_in(precision):
    """How far the slopes of a critic are from 1 that is as steep in full precision: its weights are no bf16 numbers."""

    class Unit(Critic):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)
            self.layer.weight.data = torch.tensor([[0.6, 0.8]])

        def forward(self, samples, condition=None):
            return self.layer(samples).squeeze(1)

    run = trainer(Unit(), penalty_precision=precision)
    game = run._source._losses["critic"].game(run._source._draw_real, run.draws, None, 0)
    with torch.no_grad():
        assert not torch.equal(game.real_scores, run.composition.networks["critic"](game.real))
    game = run._source._losses["critic"].game(run._source._draw_real, run.draws, None, 0)
    return float((game.slopes("segment").detach() - 1).abs().max())


def test_slopes_may_have_full_precision_in_a_bf16_run():
    assert slopes_in("32") < 1e-6
    assert 1e-4 < slopes_in("same") < 1e-2


def test_full_precision_within_full_precision_ends_with_the_outer_one():
    network = LowPrecision(torch.nn.Linear(2, 1), torch.device("cpu"))
    with full_precision([network]):
        with full_precision([network]):
            pass
        assert not network.lowered
    assert network.lowered


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 2), (5, 3, 2), (7, 2, 3)])
@pytest.mark.parametrize("size", [(1, 1), (4, 1), (2, 2)])
def test_gradients_of_convolutions_of_narrow_images_are_right(kernel, stride, padding, size):
    """torch leaves taps that meet only padding as they lay in memory; so that memory is filled with NaN first."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(32, 32, kernel, stride, padding, bias=False)
    network = LowPrecision(nn.Sequential(convolution), torch.device("cpu"))
    for _ in range(8):
        images = torch.randn(16, 32, *size)
        filled = [torch.full((n,), torch.nan) for n in (100_000, convolution.weight.numel())]
        del filled
        convolution.weight.grad = None
        outputs = network(images)
        by_outputs = torch.randn_like(outputs)
        outputs.backward(by_outputs)
        expected = torch.nn.grad.conv2d_weight(images, convolution.weight.shape, by_outputs, stride, padding)
        torch.testing.assert_close(convolution.weight.grad, expected, rtol=0.1, atol=0.05 * float(expected.abs().max()))


class Smooth(Critic):
    """Convolutions that keep the size of images, and a score."""

    def __init__(self, width=16):
        super().__init__()
        maps = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.layers = nn.Sequential(maps[0], nn.SiLU(), maps[1], nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, samples, condition=None):
        return self.layers(samples).flatten(1).mean(1)


def by_penalty(critic, samples, fakes):
    """The gradient of a gradient penalty by the critic's parameters."""
    batch = Batch(critic=critic, real=samples, fake=fakes, draws=Draws(0))
    found = torch.autograd.grad(batch.slopes("segment").sub(1).square().mean(), list(critic.parameters())[::2])
    return torch.cat([gradient.double().flatten() for gradient in found])


@pytest.mark.parametrize(("samples", "size"), [(4, 16), (8, 8), (8, 12), (8, 16), (12, 8), (16, 12)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_slopes_are_right_whatever_the_number_of_samples(samples, size, layout):
    """With AMX torch gets convolutions wrong whose kernels are as large as images of these widths: a cosine near 0."""
    torch.manual_seed(0)
    critic = Smooth()
    exact = copy.deepcopy(critic).double()
    images = torch.randn(2, samples, 3, size, size)
    expected = by_penalty(exact, *images.double())
    critic = critic.to(memory_format=layout)
    found = by_penalty(LowPrecision(critic, torch.device("cpu")), *(each.to(memory_format=layout) for each in images))
    cosine, error = agreement(found, expected)
    assert cosine > 0.999
    assert error < 0.03


def derivatives(run, images, weights, *by):
    """What a convolution gives, its gradients by both operands, and those of these gradients by the other operand."""
    images, weights = (each.detach().requires_grad_() for each in (images, weights))
    outputs = run(images, weights)
    first = torch.autograd.grad(outputs, (images, weights), by[0].expand_as(outputs), create_graph=True)
    second = [
        torch.autograd.grad((gradient * each).sum(), operand, retain_graph=True)[0]
        for gradient, each, operand in zip(first, by[1:], (weights, images), strict=True)
    ]
    return [outputs, *first, *second]


@pytest.mark.parametrize(
    ("name", "channels", "kernel", "size", "settings"),
    [
        ("conv2d", 8, (12, 12), (12, 12), {"padding": 1}),
        ("conv2d", 4, (1, 16), (3, 18), {}),
        ("conv2d", 12, (3, 8), (6, 12), {"stride": (2, 1), "groups": 2}),
        ("conv2d", 4, (3, 3), (12, 4), {"stride": 2}),
        ("conv2d", 16, (4, 4), (1, 1), {"stride": 2, "padding": 2}),
        ("conv_transpose2d", 4, (4, 4), (12, 12), {"padding": 1}),
        ("conv1d", 8, (12,), (20,), {}),
        ("conv3d", 8, (2, 2, 12), (4, 4, 16), {}),
    ],
)
def test_convolutions_of_every_kind_are_right_and_rounded(name, channels, kernel, size, settings):
    torch.manual_seed(0)
    groups, run = settings.get("groups", 1), getattr(nn.functional, name)
    images, weights = torch.randn(8, channels * groups, *size), torch.randn(channels * groups, channels, *kernel)
    numbers = [each.bfloat16().double() for each in (images, weights, torch.randn(()), images + 1, weights + 1)]

    def low(images, weights):
        with torch.autocast("cpu", torch.bfloat16), RoundedConvolutions():
            found = run(images, weight=weights, **settings)
        assert found.dtype == torch.bfloat16
        return found

    expected = derivatives(lambda images, weights: run(images, weights, **settings), *numbers)
    for one, other in zip(derivatives(low, *(each.float() for each in numbers)), expected, strict=True):
        cosine, error = agreement(one.double().flatten(), other.flatten())
        assert cosine > 0.9999
        assert 1e-4 < error < 0.01


def test_convolutions_are_rounded_in_low_precision_only():
    images, weights = torch.randn(2, 3, 4, 4), torch.randn(3, 3, 3, 3)
    expected = nn.functional.conv2d(images, weights)
    with RoundedConvolutions():
        assert torch.equal(nn.functional.conv2d(images, weights), expected)
        assert nn.functional.conv2d(images.bfloat16(), weights.bfloat16()).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            assert nn.functional.conv2d(images.double(), weights.double()).dtype == torch.float64
