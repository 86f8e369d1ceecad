"""Self-attention against its formula, and where the networks put it."""

import numpy as np
import pytest
import torch
import zoo_networks
from zoo_networks import ResNetCritic, ResNetGenerator
from zoo_networks.attention import SelfAttention

from zoo import BadSetting, Batch


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(network, shape, *, seed=0, **settings):
    torch.manual_seed(seed)
    return network(shape, **{"width": 16} | settings)


def awake(network, gamma=1.0):
    """The network with every residual weight gamma."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.gamma.fill_(gamma)
    return network


def attended(layer, maps):
    """Pixel by pixel: an average of the values of 2x2 windows, weighted by a softmax of products with their keys."""
    weight = {name: each.detach().numpy()[:, :, 0, 0] for name, each in layer.named_parameters() if name != "gamma"}
    images = maps.numpy()
    made = np.empty_like(images)
    for n, image in enumerate(images):
        query, key, value = (
            np.tensordot(weight[f"{name}.weight"], image, axes=1) for name in ("queries", "keys", "values")
        )
        corners = [(i, j) for i in range(0, image.shape[1], 2) for j in range(0, image.shape[2], 2)]
        key, value = (
            np.array([each[:, i : i + 2, j : j + 2].max((1, 2)) for i, j in corners]) for each in (key, value)
        )
        for i, j in np.ndindex(image.shape[1:]):
            odds = np.exp(key @ query[:, i, j])
            made[n, :, i, j] = weight["out.weight"] @ (odds / odds.sum() @ value)
    return made


@pytest.mark.parametrize("shape", [(16, 4, 6), (24, 5, 7), (8, 8, 1), (3, 4, 4)])
def test_it_begins_as_the_identity_and_then_adds_gamma_times_softmax_attention(shape):
    torch.manual_seed(0)
    layer, maps = SelfAttention(shape[0]).double(), drawn(2, *shape)
    assert torch.equal(layer(maps), maps)
    expected = attended(layer, maps)
    assert np.abs(expected).max() > 0.1
    for gamma in (1.0, -0.5):
        found = awake(layer, gamma)(maps).detach().numpy()
        np.testing.assert_allclose(found, maps.numpy() + gamma * expected, rtol=1e-10, atol=1e-10)


def test_queries_and_keys_have_an_eighth_of_the_channels_values_half_and_none_has_a_bias():
    shapes = {name: tuple(p.shape) for name, p in SelfAttention(32).named_parameters()}
    assert shapes == {
        "gamma": (),
        "queries.weight": (4, 32, 1, 1),
        "keys.weight": (4, 32, 1, 1),
        "values.weight": (16, 32, 1, 1),
        "out.weight": (32, 16, 1, 1),
    }


def test_gamma_learns_at_once_and_all_the_others_with_it():
    torch.manual_seed(0)
    layer, maps = SelfAttention(16).double(), drawn(2, 16, 4, 6)
    for gamma, learning in ((0.0, {"gamma"}), (1.0, set(dict(layer.named_parameters())))):
        layer.zero_grad()
        (awake(layer, gamma)(maps) * drawn(*maps.shape, seed=2)).sum().backward()
        assert {name for name, p in layer.named_parameters() if p.grad.abs().max() > 1e-9} == learning


@pytest.mark.parametrize(
    ("network", "shape", "sides"),
    [
        (ResNetGenerator, (1, 8, 8), [4, 8]),
        (ResNetGenerator, (3, 32, 32), [4, 8, 16, 32]),
        (ResNetGenerator, (1, 25, 40), [7, 14, 28]),
        (ResNetGenerator, (1, 96, 64), [4, 8, 16, 32, 64]),
        (ResNetCritic, (1, 8, 8), [4]),
        (ResNetCritic, (3, 32, 32), [8, 16]),
        (ResNetCritic, (1, 25, 40), [7, 13]),
        (ResNetCritic, (1, 96, 64), [8, 16, 32]),
    ],
)
def test_it_stands_behind_the_map_whose_shorter_side_is_asked_for(network, shape, sides):
    latent = {"latent_dim": 5} if network is ResNetGenerator else {}
    plain = built(network, shape, width=8, **latent)
    inputs = drawn(2, *([5] if latent else shape), dtype=torch.float32)
    for side in sides:
        told, seen = built(network, shape, width=8, attention=side, **latent), []
        (layer,) = (module for module in told.modules() if isinstance(module, SelfAttention))
        layer.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape))  # noqa: B023
        one, other = (each(inputs) if latent else each(inputs).values for each in (told, plain))
        assert [min(each[2:]) for each in seen] == [side]
        # From the same seed, it begins as the network without.
        assert torch.equal(one, other)
        after = awake(told)(inputs)
        assert not torch.equal(after if latent else after.values, other)
    for side in (1, sides[-1] + 1, 2 * sides[-1]):
        with pytest.raises(BadSetting, match=rf"attention = {side}: .*have {', '.join(map(str, sides))}\.$"):
            built(network, shape, attention=side)


def test_a_conditional_network_takes_it_as_well():
    labels = torch.tensor([0, 2, 1])
    for network, inputs, how in ((ResNetGenerator, (3, 128), "norm"), (ResNetCritic, (3, 1, 8, 8), "projection")):
        torch.manual_seed(0)
        told = awake(network((1, 8, 8), 3, width=8, condition=how, attention=4))
        made = told(drawn(*inputs, dtype=torch.float32), labels)
        assert len(made if network is ResNetGenerator else made.values) == 3


# Names and a sum of the weights, with signs and sizes that no permutation keeps, from before there was attention.
BEFORE = {
    ResNetGenerator: (["layers.0", "layers.2", "layers.3", "layers.4", "layers.6"], 26_014, 18.64821711817076),
    ResNetCritic: (["blocks.0", "blocks.1", "blocks.2", "blocks.3", "score"], 1_101, 1.001767536412491),
}


@pytest.mark.parametrize("network", BEFORE)
def test_without_it_weights_and_their_names_are_what_they_were(network):
    saved = built(network, (1, 25, 25), width=4).state_dict()
    names = dict.fromkeys(name if "score" in (name := key.rsplit(".", 1)[0]) else key[:8] for key in saved)
    values = torch.cat([value.flatten().double() for value in saved.values()])
    signs = torch.arange(len(values), dtype=torch.float64).cos()
    assert (list(names), len(values)) == BEFORE[network][:2]
    assert (values * signs).sum().item() == pytest.approx(BEFORE[network][2], abs=1e-6)


def test_a_score_depends_on_its_own_sample_alone():
    critic = awake(built(ResNetCritic, (1, 12, 9), attention=5).double())
    samples = drawn(2, 1, 12, 9).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(samples).values[0], samples)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


def test_a_gradient_penalty_reaches_its_weights_by_the_right_amount():
    critic = awake(built(ResNetCritic, (1, 9, 9), attention=5).double())
    real, fake = drawn(2, 1, 9, 9), drawn(2, 1, 9, 9, seed=2)
    layer = next(module for module in critic.modules() if isinstance(module, SelfAttention))

    def penalty():
        return (Batch(critic=critic, real=real, fake=fake).slopes("real") - 1).square().mean()

    weights = list(layer.parameters())
    directions = [drawn(*weight.shape, seed=seed) for seed, weight in enumerate(weights)]
    gradients = torch.autograd.grad(penalty(), weights)
    step, values = 1e-6, []
    for move in (step, -2 * step):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(direction, alpha=move)
        values.append(penalty())
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    assert abs(expected) > 1e-4
    assert torch.isclose((values[0] - values[1]) / (2 * step), expected, rtol=1e-4)


def test_bf16_slopes_and_their_gradients_agree_with_fp32():
    critic = awake(built(ResNetCritic, (1, 12, 12), attention=6))
    samples = drawn(4, 1, 12, 12, dtype=torch.float32).requires_grad_()
    gradients = []
    for low in (False, True):
        critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            values = critic(samples).values
        (slopes,) = torch.autograd.grad(values.float().sum(), samples, create_graph=True)
        slopes.flatten(1).norm(dim=1).sub(1).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in critic.parameters() if p.grad is not None]))
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_the_setting_is_of_both_networks_and_has_no_negative_sides():
    for networks in (zoo_networks.generator(), zoo_networks.critic()):
        with pytest.raises(BadSetting, match="attention = -1"):
            networks["resnet"]((1, 8, 8), width=8, attention=-1)
