"""The networks of R3GAN: resampling, blocks and initialisation against their formulas, and what every network does."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from zoo_networks import R3GANCritic, R3GANGenerator
from zoo_networks.r3gan import Basis, Block
from zoo_networks.resampling import Downsampling, Upsampling

from zoo import BadSetting, Batch, Draws, IncompatibleParts

SHAPES = [(1, 8, 8), (3, 13, 9), (1, 25, 25), (3, 32, 32), (2, 65, 8), (1, 57, 60), (1, 256, 256)]
CONDITIONS = [
    *((R3GANGenerator, how) for how in ("concat", "embed")),
    *((R3GANCritic, how) for how in ("concat", "embed", "projection")),
]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(network, shape, classes=None, *, seed=0, **settings):
    torch.manual_seed(seed)
    return network(shape, classes, **{"width": 4, "groups": 2, "blocks": 1} | settings)


def awake(network):
    """The network with last convolutions of its blocks that are no longer 0, as after some steps."""
    with torch.no_grad():
        for seed, block in enumerate(blocks_of(network)):
            last = block.residual[-1].weight
            last += 0.2 * drawn(*last.shape, seed=seed, dtype=last.dtype)
    return network


def blocks_of(network):
    return [module for module in network.modules() if isinstance(module, Block)]


def maps_of(network, kind, inputs):
    """The (channels, height, width) of the feature maps that layers of a kind make, in order."""
    shapes = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape[1:])))
    network(inputs)
    return shapes


def silent(network, output):
    """The names of the parameters that a loss of the output does not reach."""
    (output * drawn(*output.shape, dtype=output.dtype)).sum().backward()
    largest = {name: p.grad.abs().max().item() for name, p in network.named_parameters()}
    assert all(math.isfinite(value) for value in largest.values())
    return {name for name, value in largest.items() if value == 0}


def low_passed(image):
    """[1, 2, 1] x [1, 2, 1] / 16 over each pixel's neighbourhood, with zeros beyond the border."""
    taps, padded = np.array([1, 2, 1]) / 4, np.pad(image, 1)
    rows, columns = image.shape
    windows = [[padded[i : i + 3, j : j + 3] for j in range(columns)] for i in range(rows)]
    return np.array([[taps @ window @ taps for window in row] for row in windows])


@pytest.mark.parametrize("sides", [(4, 6), (5, 7), (1, 3)])
def test_resampling_is_a_low_pass_of_the_zero_filled_or_of_every_second_pixel(sides):
    maps = drawn(2, 3, *sides)
    larger, smaller = Upsampling().double()(maps), Downsampling().double()(maps)
    for n, c in np.ndindex(2, 3):
        image = maps[n, c].numpy()
        filled = np.zeros((2 * sides[0], 2 * sides[1]))
        filled[::2, ::2] = image
        np.testing.assert_allclose(larger[n, c].numpy(), 4 * low_passed(filled), atol=1e-12)
        np.testing.assert_allclose(smaller[n, c].numpy(), low_passed(image)[::2, ::2], atol=1e-12)


def test_upsampling_keeps_pixels_and_is_linear_between_them_and_both_keep_a_constant_inside():
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)
    assert Upsampling()(ramp)[0, 0, 2, :9].tolist() == [i / 2 for i in range(9)]
    assert torch.equal(Upsampling()(torch.ones(1, 1, 4, 4))[..., :7, :7], torch.ones(1, 1, 7, 7))
    assert torch.equal(Downsampling()(torch.ones(1, 1, 8, 8))[..., 1:, 1:], torch.ones(1, 1, 3, 3))
    # The finest stripes, which every second pixel alone would take for a constant, are not seen.
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    assert Downsampling()(stripes)[..., 1:].abs().max() < 1e-6


def test_a_block_is_three_convolutions_of_which_the_second_is_grouped_beside_the_identity():
    torch.manual_seed(0)
    block, maps = awake(Block(4, 2, depth=3)).double(), drawn(2, 4, 5, 3)
    first, second, last = (layer for layer in block.residual if isinstance(layer, nn.Conv2d))
    with torch.no_grad():
        first.bias.normal_(), second.bias.normal_()
    weight = [layer.weight.detach().numpy() for layer in (first, second, last)]
    bias = [layer.bias.detach().numpy()[:, None, None] for layer in (first, second)]
    assert [each.shape for each in weight] == [(8, 4, 1, 1), (8, 4, 3, 3), (4, 8, 1, 1)]

    def leaky(values):
        return np.where(values > 0, values, 0.2 * values)

    for image, found in zip(maps.numpy(), block(maps).detach().numpy(), strict=True):
        hidden = leaky(np.tensordot(weight[0][:, :, 0, 0], image, axes=1) + bias[0])
        padded, mixed = np.pad(hidden, ((0, 0), (1, 1), (1, 1))), np.zeros_like(hidden)
        for out, i, j in np.ndindex(mixed.shape):
            half = slice(0, 4) if out < 4 else slice(4, 8)
            mixed[out, i, j] = (weight[1][out] * padded[half, i : i + 3, j : j + 3]).sum()
        expected = image + np.tensordot(weight[2][:, :, 0, 0], leaky(mixed + bias[1]), axes=1)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_the_basis_is_a_learnt_map_scaled_channel_by_channel():
    torch.manual_seed(0)
    basis, points = Basis(5, 3, (4, 6)).double(), drawn(2, 5)
    scales = points.numpy() @ basis.scales.weight.detach().numpy().T
    expected = scales[:, :, None, None] * basis.map.detach().numpy()
    np.testing.assert_allclose(basis(points).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("network", [R3GANGenerator, R3GANCritic])
def test_every_block_begins_as_the_identity_and_no_layer_normalises(network):
    made = built(network, (3, 32, 32), blocks=2)
    blocks = blocks_of(made)
    assert len(blocks) == 2 * 4
    for block in blocks:
        maps = drawn(2, 4, 3, 5, dtype=torch.float32)
        assert torch.equal(block(maps), maps)
        assert not torch.equal(awake(block)(maps), maps)
    norms = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
    assert not any(isinstance(module, norms) for module in made.modules())
    assert set(made.state_dict()) == {name for name, _ in made.named_parameters()}


@pytest.mark.parametrize(("network", "ends"), [(R3GANGenerator, 1), (R3GANCritic, 3)])
def test_weights_are_scaled_by_fan_in_and_in_blocks_by_the_depth(network, ends):
    made = built(network, (3, 32, 32), width=32, groups=4, blocks=2)
    gain, outside = math.sqrt(2 / 1.04) * (2 * 4) ** -0.25, 0
    for name, value in made.named_parameters():
        if name.endswith("residual.4.weight") or value.ndim == 1:
            assert (value == 0).all()
        elif name == "layers.0.map":
            assert_normal(value, 1.0)
        else:
            outside += ".residual." not in name
            std = (gain if ".residual." in name else 1.0) / math.sqrt(value[0].numel())
            assert_normal(value, std)
    # The scales of the basis are one more of the generator's.
    assert outside == ends + (network is R3GANGenerator)


def assert_normal(tensor, std):
    n = tensor.numel()
    assert abs(tensor.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(tensor.std().item() - std) < 5 * std / math.sqrt(2 * n)


@pytest.mark.parametrize(
    ("sides", "maps"),
    [
        ((8, 8), [(4, 4, 4), (4, 8, 8)]),
        ((25, 40), [(4, 7, 10), (4, 14, 20), (4, 28, 40)]),
        ((32, 32), [(4, 4, 4), (4, 8, 8), (4, 16, 16), (4, 32, 32)]),
        ((96, 96), [(32, 6, 6), (32, 12, 12), (16, 24, 24), (8, 48, 48), (4, 96, 96)]),
    ],
)
def test_there_are_blocks_of_every_resolution_whose_channels_double_for_large_images(sides, maps):
    generator, critic = built(R3GANGenerator, (1, *sides)), built(R3GANCritic, (1, *sides))
    assert maps_of(generator, Block, torch.randn(2, 64)) == maps
    halves = [(c, math.ceil(sides[0] / 2**n), math.ceil(sides[1] / 2**n)) for n, (c, _, _) in enumerate(maps[::-1])]
    assert maps_of(critic, Block, torch.randn(2, 1, *sides)) == halves
    for network in (generator, critic):
        convolutions = [block.residual[2] for block in blocks_of(network)]
        assert {each.weight.shape[1] for each in convolutions} == {4}


@pytest.mark.parametrize("shape", SHAPES)
def test_images_and_scores_have_their_shapes_and_all_weights_learn_once_blocks_are_awake(shape):
    width = 1 if max(shape) == 256 else 4
    generator, critic = (built(network, shape, width=width).double() for network in (R3GANGenerator, R3GANCritic))
    assert generator.latent(3, Draws(0)).shape == (3, 64)
    images = generator(drawn(3, 64))
    assert images.shape == (3, *shape)
    assert images.is_contiguous()
    assert images.std(0).min() > 0
    found = critic(images.detach())
    assert found.values.shape == (3,)
    assert found.features.shape == (3, critic.feature_size)
    by_hand = found.features.detach().numpy() @ critic.score.weight.detach().numpy()[0]
    assert by_hand == pytest.approx(found.values.detach().numpy(), rel=1e-9)
    for network, output in ((generator, images), (critic, found.values)):
        inside = {name for name, _ in network.named_parameters() if ".residual." in name and ".residual.4" not in name}
        assert silent(network, output) == inside
        network.zero_grad()
    awake(generator), awake(critic)
    assert silent(generator, generator(drawn(3, 64))) == set()
    assert silent(critic, critic(images.detach()).values) == set()


def test_images_stay_within_one_however_large_the_latent_points():
    images = built(R3GANGenerator, (1, 25, 25))(1e6 * drawn(4, 64, dtype=torch.float32))
    assert 0.99 < images.abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 9)])
def test_a_score_depends_on_every_pixel_of_its_own_sample_alone(shape):
    critic = awake(built(R3GANCritic, shape).double())
    samples = drawn(3, *shape).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(samples).values[0], samples)
    assert gradient[0].abs().amin() > 0
    assert gradient[1:].abs().max() == 0
    torch.testing.assert_close(critic(samples[:1]).values, critic(samples).values[:1], rtol=1e-12, atol=1e-12)


def test_a_gradient_penalty_reaches_the_weights_by_the_right_amount():
    critic = awake(built(R3GANCritic, (1, 9, 9)).double())
    real, fake = drawn(2, 1, 9, 9), drawn(2, 1, 9, 9, seed=2)

    def penalty():
        return Batch(critic=critic, real=real, fake=fake).slopes("real").square().mean()

    weights = [p for p in critic.parameters() if p.ndim > 1]
    directions = [drawn(*weight.shape, seed=seed) for seed, weight in enumerate(weights)]
    gradients = torch.autograd.grad(penalty(), weights)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    # So small a step that no LeakyReLU changes sides.
    step, values = 1e-7, []
    for move in (step, -2 * step):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(direction, alpha=move)
        values.append(penalty())
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    assert torch.isclose((values[0] - values[1]) / (2 * step), expected, rtol=1e-4)


def test_bf16_agrees_with_fp32_in_images_scores_and_gradients_of_slopes():
    # Not eight samples: with AMX, torch 2.15.0 (oneDNN) gets a bfloat16 convolution of eight channels with a 12x12
    # kernel wrong, which is how it computes the gradient by the weights of the slopes of eight samples of 12x12.
    generator, critic = (awake(built(network, (3, 12, 12))) for network in (R3GANGenerator, R3GANCritic))
    z, found = drawn(16, 64, dtype=torch.float32), []
    for low in (False, True):
        critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            images = generator(z)
            assert images.dtype == (torch.bfloat16 if low else torch.float32)
        samples = (images if not low else found[0][0]).detach().float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            values = critic(samples).values
        (slopes,) = torch.autograd.grad(values.float().sum(), samples, create_graph=True)
        slopes.square().sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in critic.parameters() if p.grad is not None])
        found.append((images.detach(), values.detach().float(), gradients))
    assert torch.allclose(found[1][0].float(), found[0][0], atol=0.05)
    assert torch.allclose(found[1][1], found[0][1], atol=0.05 * found[0][1].abs().max().item())
    assert torch.cosine_similarity(found[0][2], found[1][2], dim=0) > 0.99


@pytest.mark.parametrize("network", [R3GANGenerator, R3GANCritic])
def test_groups_that_do_not_divide_are_refused_with_one_that_does(network):
    with pytest.raises(BadSetting, match=r"groups = 6 does not divide the 8 channels.*width 4\..* such as 2, or"):
        network((1, 8, 8), width=4, groups=6)
    with pytest.raises(BadSetting, match="groups = 16 does not divide"):
        network((1, 8, 8), width=4, groups=16)
    assert network((1, 8, 8), width=5, groups=10)


@pytest.mark.parametrize("network", [R3GANGenerator, R3GANCritic])
@pytest.mark.parametrize(
    ("shape", "message"), [((2,), "is for images"), ((1, 7, 8), "height 7"), ((1, 8, 257), "width 257")]
)
def test_shapes_out_of_the_limits_are_refused(network, shape, message):
    with pytest.raises(IncompatibleParts, match=f"^r3gan .*{message}"):
        network(shape)


@pytest.mark.parametrize(("network", "how"), CONDITIONS)
def test_what_a_network_makes_depends_on_the_class_of_its_sample_alone(network, how):
    made = built(network, (1, 9, 11), 4, condition=how, embedding=3).double()
    assert made.conditional
    inputs = drawn(3, 64) if network is R3GANGenerator else drawn(3, 1, 9, 11)
    one, other = (made(inputs, torch.tensor([0, middle, 2])) for middle in (1, 3))
    if network is R3GANCritic:
        one, other = one.values, other.values
    assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [True, False, True]
    with pytest.raises(IncompatibleParts, match="needs classes"):
        built(network, (1, 9, 11), condition=how)
    with pytest.raises(IncompatibleParts, match="needs a class for every sample"):
        made(inputs)


def test_the_projection_is_added_to_the_score():
    critic, labels = built(R3GANCritic, (1, 8, 8), 4, condition="projection").double(), torch.tensor([2, 0, 3])
    found = critic(drawn(3, 1, 8, 8), labels)
    table, phi = critic.projection.embedding.weight.detach().numpy(), found.features.detach().numpy()
    expected = phi @ critic.score.weight.detach().numpy()[0] + (table[labels.numpy()] * phi).sum(1)
    np.testing.assert_allclose(found.values.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("network", [R3GANGenerator, R3GANCritic])
def test_copies_compute_the_same_and_the_seed_decides_the_weights(network):
    one, same, other = (built(network, (1, 8, 8), seed=seed) for seed in (3, 3, 4))
    inputs = drawn(2, *([64] if network is R3GANGenerator else (1, 8, 8)), dtype=torch.float32)
    results = [each(inputs) for each in (one, same, copy.deepcopy(one), other)]
    if network is R3GANCritic:
        results = [each.values for each in results]
    assert [torch.equal(results[0], each) for each in results[1:]] == [True, True, False]
