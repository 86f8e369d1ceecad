"""Each architecture: its sizes, its resolutions and its initialisation, against figures worked out here."""

import inspect
import math

import pytest
import torch
from torch import nn
from zoo_networks import (
    DCGANCritic,
    DCGANGenerator,
    MLPCritic,
    MLPGenerator,
    R3GANCritic,
    R3GANGenerator,
    ResNetCritic,
    ResNetGenerator,
)
from zoo_networks.layers import CentreCrop, halved, halvings


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def maps_of(network, kinds, inputs):
    """The (channels, height, width) of the feature maps that layers of `kinds` make, in order."""
    shapes = []
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape[1:])))
    network(inputs)
    return shapes


def linear_sizes(network):
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


def linear(inputs, outputs):
    return inputs * outputs + outputs


def conv(inputs, outputs, side, *, bias):
    return inputs * outputs * side * side + (outputs if bias else 0)


def test_every_side_is_halved_to_a_base_from_4_to_7_that_covers_it():
    for side in range(8, 257):
        stages = halvings((side, side))
        base, _ = halved((side, side), stages)
        assert 4 <= base <= 7
        assert 0 <= base * 2**stages - side < 2**stages


def test_the_crop_is_the_centre():
    row = torch.arange(7.0).expand(1, 1, 7, 7)
    assert CentreCrop((3, 4))(row)[0, 0, 0].tolist() == [1, 2, 3, 4]
    assert CentreCrop((3, 4))(row.mT)[0, 0, :, 0].tolist() == [2, 3, 4]


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_mlp_has_depth_hidden_layers_of_the_given_width(depth):
    hidden = [11] * depth
    generator = MLPGenerator((1, 3, 5), width=11, depth=depth, latent_dim=7)
    assert linear_sizes(generator) == list(zip([7, *hidden], [*hidden, 15], strict=True))
    critic = MLPCritic((1, 3, 5), width=11, depth=depth)
    assert linear_sizes(critic) == list(zip([15, *hidden], [*hidden, 1], strict=True))


def test_mlp_of_depth_0_is_linear():
    critic = MLPCritic((3,), depth=0)
    x, y = torch.randn(2, 5, 3)
    assert torch.allclose(critic(2 * x - y).values, 2 * critic(x).values - critic(y).values, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.2 * x)),
        ("tanh", torch.tanh),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("silu", lambda x: x * torch.sigmoid(x)),
    ],
)
def test_mlp_uses_the_activation_asked_for(activation, function):
    critic = MLPCritic((3,), width=4, depth=1, activation=activation)
    first, last = (m for m in critic.modules() if isinstance(m, nn.Linear))
    x = torch.randn(6, 3)
    assert torch.allclose(critic(x).values, last(function(first(x)))[:, 0], atol=1e-6)


def test_mlp_has_he_weights_in_hidden_layers_and_xavier_weights_in_the_last():
    critic = MLPCritic((100,), width=300, depth=2)
    *hidden, last = (m for m in critic.modules() if isinstance(m, nn.Linear))
    for layer in hidden:
        assert_uniform(layer.weight, math.sqrt(6 / layer.in_features))
    assert_uniform(last.weight, math.sqrt(6 / 301))


def test_dcgan_sizes_are_those_worked_out_by_hand_for_32x32():
    generator = (
        linear(128, 256 * 4 * 4)
        + 2 * 256
        + conv(256, 128, 4, bias=False)
        + 2 * 128
        + conv(128, 64, 4, bias=False)
        + 2 * 64
        + conv(64, 3, 4, bias=True)
    )
    critic = (
        conv(3, 64, 4, bias=True) + conv(64, 128, 4, bias=True) + conv(128, 256, 4, bias=True) + linear(256 * 4 * 4, 1)
    )
    assert (generator, critic) == (1_187_715, 662_977)
    assert parameters(DCGANGenerator((3, 32, 32))) == generator
    assert parameters(DCGANCritic((3, 32, 32))) == critic


def test_dcgan_sizes_are_those_worked_out_by_hand_for_8x8():
    critic = conv(1, 10, 4, bias=True) + conv(10, 20, 4, bias=True) + linear(20 * 2 * 2, 1)
    generator = linear(128, 20 * 2 * 2) + conv(20, 10, 4, bias=False) + 2 * 20 + 2 * 10 + conv(10, 1, 4, bias=True)
    assert parameters(DCGANCritic((1, 8, 8), width=10)) == critic
    assert parameters(DCGANGenerator((1, 8, 8), width=10)) == generator


@pytest.mark.parametrize(
    ("side", "generator", "critic"),
    [
        (8, [(2, 4), (1, 8)], [(2, 4), (4, 2)]),
        (14, [(2, 8), (1, 16)], [(2, 7), (4, 3)]),
        (15, [(2, 8), (1, 16)], [(2, 7), (4, 3)]),
        (25, [(2, 14), (1, 28)], [(2, 12), (4, 6)]),
        (32, [(4, 8), (2, 16), (1, 32)], [(2, 16), (4, 8), (8, 4)]),
        (96, [(8, 12), (4, 24), (2, 48), (1, 96)], [(2, 48), (4, 24), (8, 12), (16, 6)]),
        (
            256,
            [(16, 8), (16, 16), (8, 32), (4, 64), (2, 128), (1, 256)],
            [(2, 128), (4, 64), (8, 32), (16, 16), (16, 8), (16, 4)],
        ),
    ],
)
def test_dcgan_doubles_channels_where_it_halves_resolution(side, generator, critic):
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    made = maps_of(DCGANGenerator((1, side, side), width=2), convolutions, torch.randn(2, 128))
    assert made == [(c, s, s) for c, s in generator]
    scored = maps_of(DCGANCritic((1, side, side), width=2), convolutions, torch.randn(2, 1, side, side))
    assert scored == [(c, s, s) for c, s in critic]


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance"])
@pytest.mark.parametrize("network", [DCGANGenerator, DCGANCritic])
def test_dcgan_weights_are_normal_as_in_the_paper(network, norm):
    scales = []
    for name, tensor in network((3, 32, 32), norm=norm).named_parameters():
        if tensor.ndim > 1:
            assert_normal(tensor, 0.0, 0.02)
        elif name.endswith("bias"):
            assert (tensor == 0).all()
        else:
            scales.append(tensor)
    assert bool(scales) == (norm != "none")
    if scales:
        assert_normal(torch.cat(scales), 1.0, 0.02)


@pytest.mark.parametrize("network", [DCGANGenerator, DCGANCritic])
def test_dcgan_normalises_neither_images_nor_what_is_next_to_them(network):
    layers = [m for m in network((3, 32, 32), norm="batch").modules() if not list(m.children())]
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in layers)
    weighted = sum(isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) for m in layers)
    assert norms == (weighted - 1 if network is DCGANGenerator else weighted - 2)


@pytest.mark.parametrize(
    ("side", "generator", "critic"),
    [
        (8, [(2, 8)], [(2, 4)] * 3),
        (25, [(2, 14), (2, 28)], [(2, 13), (2, 7), (2, 7), (2, 7)]),
        (32, [(2, 8), (2, 16), (2, 32)], [(2, 16), (2, 8), (2, 8), (2, 8)]),
        (
            96,
            [(16, 12), (8, 24), (4, 48), (2, 96)],
            [(2, 48), (4, 24), (8, 12), (16, 6), (16, 6), (16, 6)],
        ),
    ],
)
def test_resnet_blocks_have_the_papers_resolutions(side, generator, critic):
    blocks = (
        type(ResNetGenerator((1, 8, 8), width=1).layers[2]),
        type(ResNetCritic((1, 8, 8), width=1).blocks[0]),
    )
    made = maps_of(ResNetGenerator((1, side, side), width=2), blocks, torch.randn(2, 128))
    assert made == [(c, s, s) for c, s in generator]
    scored = maps_of(ResNetCritic((1, side, side), width=2), blocks, torch.randn(2, 1, side, side))
    assert scored == [(c, s, s) for c, s in critic]


def test_resnet_sizes_are_those_worked_out_by_hand_for_32x32():
    up = 2 * 64 + conv(64, 64, 3, bias=False) + 2 * 64 + conv(64, 64, 3, bias=False) + conv(64, 64, 1, bias=False)
    generator = linear(128, 64 * 4 * 4) + 3 * up + 2 * 64 + conv(64, 3, 3, bias=True)
    first = conv(3, 64, 3, bias=True) + conv(64, 64, 3, bias=True) + conv(3, 64, 1, bias=False)
    plain = 2 * conv(64, 64, 3, bias=True)
    critic = first + (plain + conv(64, 64, 1, bias=False)) + 2 * plain + linear(64, 1)
    assert parameters(ResNetGenerator((3, 32, 32))) == generator
    assert parameters(ResNetCritic((3, 32, 32))) == critic


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance"])
@pytest.mark.parametrize("network", [ResNetGenerator, ResNetCritic])
def test_resnet_weights_are_xavier_uniform_with_he_gain_in_residual_branches(network, norm):
    for name, tensor in network((3, 32, 32), norm=norm, width=32).named_parameters():
        if tensor.ndim > 1:
            outputs, inputs, *kernel = tensor.shape
            gain = math.sqrt(2) if ".residual." in name else 1.0
            assert_uniform(tensor, gain * math.sqrt(6 / ((inputs + outputs) * math.prod(kernel))))
        else:
            assert (tensor == (0 if name.endswith("bias") else 1)).all()


def test_resnet_critic_at_the_lower_resolution_has_the_papers_shortcut():
    critic = ResNetCritic((1, 32, 32), width=4)
    block, maps = critic.blocks[1], torch.randn(2, 4, 16, 16)
    projection = next(m for m in block.shortcut if isinstance(m, nn.Conv2d))
    paper = nn.functional.avg_pool2d(projection(maps), 2)
    assert torch.allclose(block(maps) - block.residual(maps), paper, atol=1e-5)


def test_resnet_pools_by_mean_or_by_sum():
    mean = ResNetCritic((1, 32, 32), width=4)
    total = ResNetCritic((1, 32, 32), width=4, pooling="sum")
    total.load_state_dict(mean.state_dict())
    images = torch.randn(3, 1, 32, 32)
    # The biases are still 0, and so 8x8 sums are 64 times the means.
    assert torch.allclose(total(images).values, 64 * mean(images).values, rtol=1e-4, atol=1e-4)


MLP = {"width": 512, "depth": 3, "activation": "relu", "norm": "none"}

LABELS = {"condition": "none", "embedding": 32}
CODES = {"categories": 0, "continuous": 0}


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        (MLPGenerator, MLP | {"latent_dim": 128, "components": 1, "component_width": 0.2} | LABELS | CODES),
        (MLPCritic, MLP | {"waves": 0, "dropout": 0.0} | LABELS),
        (DCGANGenerator, {"width": 64, "norm": "batch", "latent_dim": 128, "init": "paper"} | LABELS | CODES),
        (DCGANCritic, {"width": 64, "norm": "none", "init": "paper", "dropout": 0.0} | LABELS),
        (ResNetGenerator, {"width": 64, "norm": "batch", "latent_dim": 128, "attention": 0} | LABELS | CODES),
        (ResNetCritic, {"width": 64, "norm": "none", "pooling": "mean", "dropout": 0.0, "attention": 0} | LABELS),
        (R3GANGenerator, {"width": 32, "blocks": 2, "groups": 4, "latent_dim": 64} | LABELS),
        (R3GANCritic, {"width": 32, "blocks": 2, "groups": 4} | LABELS),
    ],
)
def test_settings_are_keyword_only_with_these_defaults(network, settings):
    signature = inspect.signature(network).parameters.values()
    assert {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY} == settings
    assert [p.name for p in signature if p.kind is not p.KEYWORD_ONLY] == ["shape", "classes"]


def assert_normal(tensor, mean, std):
    n = tensor.numel()
    assert abs(tensor.mean().item() - mean) < 5 * std / math.sqrt(n)
    assert abs(tensor.std().item() - std) < 5 * std / math.sqrt(2 * n)


def assert_uniform(tensor, bound):
    """Within the bound, and of its variance: that of n draws is off by sqrt(0.8 / n)."""
    assert tensor.abs().max() <= bound
    assert abs(tensor.square().mean().item() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / tensor.numel())
