"""BigGAN's generator: what each part of a latent point and the class reach, its norms against their formula, shapes."""

import copy

import pytest
import torch
from torch import nn
from zoo_networks import BigGANGenerator
from zoo_networks.conditions import ToldNorm
from zoo_networks.resnet import ResidualBlock

from zoo import BadSetting, Draws, IncompatibleParts

SHAPE, CLASSES = (3, 32, 32), 4


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(shape=SHAPE, classes=None, *, seed=0, **settings):
    torch.manual_seed(seed)
    return BigGANGenerator(shape, classes, **{"width": 4, "latent_dim": 22, "embedding": 6} | settings)


def seen_by_norms(network, *inputs):
    """What the two norms of each block are told."""
    told = []
    handles = [
        module.register_forward_hook(lambda _m, given, _o: told.append(given[1]))
        for module in network.modules()
        if isinstance(module, ToldNorm)
    ]
    network(*inputs)
    for handle in handles:
        handle.remove()
    return told[::2], told[1::2]


def test_a_block_is_told_its_part_of_the_latent_point_and_the_class_that_all_share():
    network, draws = built(classes=CLASSES, condition="shared"), Draws(0)
    z, labels = draws.randn(5, 22), torch.tensor([0, 1, 2, 3, 3])
    assert network.sizes == [7, 5, 5, 5]  # Three doublings from 4x4, and what is left over goes to the first.
    first, second = seen_by_norms(network, z, labels)
    assert len(first) == 3
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        expected = torch.cat([network.classes(labels), z[:, 7 + 5 * number : 12 + 5 * number]], 1)
        assert torch.equal(one, expected)
        assert torch.equal(other, expected)


def test_parts_of_a_latent_point_reach_the_maps_of_their_block_and_later_ones():
    network = built().eval()
    z = Draws(0).randn(1, 22)
    maps = []
    for block in network.blocks:
        block.register_forward_hook(lambda _m, _i, output: maps.append(output.detach()))
    network(z)
    before = [each.clone() for each in maps]
    maps.clear()
    z[:, 12:17] += 1  # The second block's.
    network(z)
    assert [torch.equal(one, other) for one, other in zip(before, maps, strict=True)] == [True, False, False]


def test_scales_and_shifts_are_linear_in_what_a_norm_is_told():
    torch.manual_seed(0)
    norm = ToldNorm(nn.BatchNorm2d(3, affine=False), 3, 2)
    maps, vectors = Draws(0).randn(4, 3, 5, 5), Draws(1).randn(4, 2)
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), unbiased=False, keepdim=True)
    plain = (maps - mean) / (variance + 1e-5).sqrt()
    for n in range(4):
        for c in range(3):
            scale = 1 + float(norm.scales.weight[c].detach() @ vectors[n])
            shift = float(norm.shifts.weight[c].detach() @ vectors[n])
            torch.testing.assert_close(norm(maps, vectors)[n, c], scale * plain[n, c] + shift, rtol=1e-4, atol=1e-5)


def test_weights_are_orthogonal_at_first():
    network = built(classes=CLASSES, condition="shared")
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight.detach().flatten(1)
            rows = weight if len(weight) <= weight.shape[1] else weight.T
            torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 25, 30), (3, 96, 96)])
@pytest.mark.parametrize("settings", [{}, {"condition": "shared"}])
def test_images_of_any_size_and_every_parameter_learns(shape, settings):
    network = built(shape, CLASSES, width=2, **settings)
    z, labels = network.latent(3, Draws(0)), torch.tensor([0, 1, 3])
    images = network(z, labels)
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    (images * Draws(1).randn(*images.shape)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_attention_stands_behind_the_map_of_its_side():
    network = built(attention=16)
    sides = []
    for block in network.blocks:
        block.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
    network(network.latent(2, Draws(0)))
    assert sides == [8, 16, 16, 32]
    assert [isinstance(block, ResidualBlock) for block in network.blocks] == [True, True, False, True]


def test_the_same_network_after_a_copy_and_its_state():
    network, other = built(seed=1).eval(), built(seed=2).eval()
    other.load_state_dict(copy.deepcopy(network).state_dict())
    z = network.latent(2, Draws(0))
    assert torch.equal(network(z), other(z))


def test_what_cannot_be_is_refused():
    with pytest.raises(BadSetting, match="latent_dim = 3 is too few for 4 parts"):
        built(latent_dim=3)
    with pytest.raises(BadSetting, match="attention = 7: no feature map has that side; .* 4, 8, 16, 32"):
        built(attention=7)
    with pytest.raises(IncompatibleParts, match="these data have no labels"):
        built(condition="shared")
    with pytest.raises(IncompatibleParts, match="biggan is for images"):
        built((2,))
