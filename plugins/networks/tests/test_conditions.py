"""Networks that are told a class: each way against its formula, in every architecture."""

import copy

import numpy as np
import pytest
import torch
import zoo_networks
from torch import nn
from zoo_networks.conditions import ConditionalNorm, Projection
from zoo_networks.layers import norm_layer

from zoo import BadSetting, Batch, IncompatibleParts

GENERATORS, CRITICS = zoo_networks.generator(), zoo_networks.critic()
CLASSES = 4
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
SHAPES = [("mlp", (2,)), ("mlp", (1, 9, 11)), ("dcgan", (1, 9, 11)), ("dcgan", (3, 25, 25)), ("resnet", (2, 13, 8))]
MADE = [(name, shape, how) for name, shape in SHAPES for how in ("concat", "embed", "norm")]
SCORED = [(name, shape, how) for name, shape in SHAPES for how in ("concat", "embed", "projection")]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(networks, name, shape, how, *, norm=None, **settings):
    torch.manual_seed(0)
    if networks is GENERATORS:
        settings = {"norm": norm or "batch", "latent_dim": 5, **settings}
    return networks[name](shape, CLASSES, width=6, condition=how, embedding=3, **settings).double()


def tables(network):
    """The weights of every table that has a row a class."""
    return [m.weight for m in network.modules() if isinstance(m, nn.Embedding)]


def apart(network):
    """The classes' rows made different, where they start alike, as scales and shifts do."""
    with torch.no_grad():
        for seed, table in enumerate(tables(network)):
            table += drawn(*table.shape, seed=seed)
    return network


@pytest.mark.parametrize(("name", "shape", "how"), MADE)
def test_what_a_generator_makes_depends_on_the_class_of_its_sample_alone(name, shape, how):
    generator = apart(built(GENERATORS, name, shape, how)).eval()
    assert generator.conditional
    z = drawn(3, 5)
    one, other = generator(z, torch.tensor([0, 1, 2])), generator(z, torch.tensor([0, 3, 2]))
    assert one.shape == (3, *shape)
    assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [True, False, True]


@pytest.mark.parametrize(("name", "shape", "how"), SCORED)
def test_a_score_depends_on_the_class_of_its_sample_alone(name, shape, how):
    critic = built(CRITICS, name, shape, how)
    assert critic.conditional
    samples = drawn(3, *shape)
    one, other = critic(samples, torch.tensor([0, 1, 2])), critic(samples, torch.tensor([0, 3, 2]))
    assert one.values.shape == (3,)
    assert [a == b for a, b in zip(one.values.tolist(), other.values.tolist(), strict=True)] == [True, False, True]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_unconditional_networks_ignore_labels(name, shape):
    generator, critic = built(GENERATORS, name, shape, "none").eval(), built(CRITICS, name, shape, "none")
    z, samples, labels = drawn(3, 5), drawn(3, *shape), torch.tensor([0, 3, 2])
    assert not generator.conditional
    assert not critic.conditional
    assert torch.equal(generator(z, labels), generator(z))
    assert torch.equal(critic(samples, labels).values, critic(samples).values)


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_the_projection_is_a_linear_function_of_the_features_plus_their_product_with_the_class(name, shape):
    critic, labels = built(CRITICS, name, shape, "projection"), torch.tensor([2, 0, 2, 3, 1])
    found = critic(drawn(5, *shape), labels)
    (table,) = (each.detach().numpy() for each in tables(critic))
    last = [m for m in critic.modules() if isinstance(m, nn.Linear)][-1]
    phi = found.features.detach().numpy()
    psi = phi @ last.weight.detach().numpy()[0] + last.bias.item()
    expected = psi + np.array([table[label] @ row for label, row in zip(labels, phi, strict=True)])
    np.testing.assert_allclose(found.values.detach().numpy(), expected, rtol=1e-12)
    assert table.shape == (CLASSES, critic.feature_size)


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_one_hot_labels_are_further_inputs_and_further_channels(name, shape):
    generator, critic = built(GENERATORS, name, shape, "concat").eval(), built(CRITICS, name, shape, "concat")
    z, samples, labels = drawn(3, 5), drawn(3, *shape), torch.tensor([1, 3, 1])
    seen = []
    first = next(m for m in critic.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
    lowest = next(m for m in generator.modules() if isinstance(m, nn.Linear))
    for layer in (first, lowest):
        layer.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    critic(samples, labels), generator(z, labels)
    onehot = torch.from_numpy(np.eye(CLASSES)[labels])
    points = samples.flatten(1) if name == "mlp" else samples
    assert torch.equal(seen[0][:, : points.shape[1]], points)
    planes = seen[0][:, points.shape[1] :]
    assert torch.equal(planes, onehot.view(*onehot.shape, *[1] * (points.ndim - 2)).expand_as(planes))
    assert torch.equal(seen[1], torch.cat([z, onehot], dim=1))


@pytest.mark.parametrize(("networks", "name", "shape"), [(n, *case) for n in (GENERATORS, CRITICS) for case in SHAPES])
def test_a_class_is_embedded_in_as_many_numbers_as_are_asked_for(networks, name, shape):
    (table,) = tables(built(networks, name, shape, "embed"))
    assert table.shape == (CLASSES, 3)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance"])
def test_a_norm_that_is_told_the_class_has_no_other_scales_and_shifts(norm):
    sizes = {name: tuple(p.shape) for name, p in norm_layer(norm, 6, CLASSES).named_parameters()}
    assert sizes == {"scales.weight": (CLASSES, 6), "shifts.weight": (CLASSES, 6)}
    sizes = {name: tuple(p.shape) for name, p in norm_layer(norm, 6, told=2).named_parameters()}
    assert sizes == {"scales.weight": (6, 2), "shifts.weight": (6, 2)}


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_of_vectors_that_are_told_the_class_have_no_other_scales_and_shifts(norm):
    generator = built(GENERATORS, "mlp", (2,), "norm", norm=norm, depth=2)
    told = [m for m in generator.modules() if isinstance(m, ConditionalNorm)]
    assert [tuple(p.shape) for each in told for p in each.parameters()] == [(CLASSES, 6)] * 4


def test_projections_begin_with_glorots_variance():
    torch.manual_seed(0)
    table = Projection(300, 500).embedding.weight.detach()
    assert float(table.std()) == pytest.approx((2 / 800) ** 0.5, rel=0.02)
    assert float(table.abs().max()) == pytest.approx((6 / 800) ** 0.5, rel=0.01)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer", "instance"])
def test_a_conditional_norm_is_the_norm_with_that_classs_scale_and_shift(norm, training):
    conditional = apart(norm_layer(norm, 6, CLASSES).double()).train(training)
    maps, labels = drawn(8, 6, 3, 5), torch.tensor([0, 1, 2, 3, 3, 2, 2, 0])
    found = conditional(maps, labels)
    for label in range(CLASSES):
        plain = norm_layer(norm, 6).double().train(training)
        plain.weight.data.copy_(conditional.scales.weight[label])
        plain.bias.data.copy_(conditional.shifts.weight[label])
        torch.testing.assert_close(found[labels == label], plain(maps)[labels == label], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_conditional_norms_take_the_place_of_all_norms_and_begin_as_they_do(name, shape):
    settings = {"init": "torch"} if name == "dcgan" else {}
    told, plain = (built(GENERATORS, name, shape, how, **settings) for how in ("norm", "none"))
    norms = [m for m in plain.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert len([m for m in told.modules() if isinstance(m, ConditionalNorm)]) == len(norms) > 0
    layers = [[m for m in network.modules() if isinstance(m, WEIGHTED)] for network in (told, plain)]
    for ours, theirs in zip(*layers, strict=True):
        ours.load_state_dict(theirs.state_dict())
    z = drawn(3, 5)
    torch.testing.assert_close(told(z, torch.tensor([0, 3, 2])), plain(z), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("networks", "name", "shape", "how"), [
    *((GENERATORS, *case) for case in MADE if case[2] != "concat"),
    *((CRITICS, *case) for case in SCORED if case[2] != "concat"),
])  # fmt: skip
def test_gradients_reach_the_rows_of_those_classes_that_are_there(networks, name, shape, how):
    network, labels = apart(built(networks, name, shape, how)), torch.tensor([1, 3, 3])
    out = network(drawn(3, 5), labels) if networks is GENERATORS else network(drawn(3, *shape), labels).values
    (out * drawn(*out.shape, seed=9)).sum().backward()
    assert tables(network)
    for table in tables(network):
        assert table.grad.abs().amax(1).gt(0).tolist() == [False, True, False, True]


@pytest.mark.parametrize(("name", "shape", "how"), SCORED)
def test_slopes_on_the_segment_are_those_of_each_samples_class(name, shape, how):
    critic, labels = built(CRITICS, name, shape, how), torch.tensor([2, 0, 3])
    real, fake = drawn(3, *shape), drawn(3, *shape, seed=2)
    batch = Batch(critic=critic, real=real, fake=fake, real_condition=labels, fake_condition=labels)
    slopes = batch.slopes("segment")
    between, step = batch._point("segment").detach(), 1e-6
    gradients = batch.gradients("segment").view_as(between)
    scores = [critic(between + s * step * gradients.detach(), labels).values for s in (1, -1)]
    directional = (scores[0] - scores[1]) / (2 * step)
    torch.testing.assert_close(directional, slopes.square(), rtol=1e-4, atol=1e-8)
    (slopes - 1).square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


@pytest.mark.parametrize("networks", [GENERATORS, CRITICS], ids=["generator", "critic"])
@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_data_without_labels_are_refused_in_words_that_say_what_to_do(networks, name, shape):
    for how in ("concat", "embed", "norm" if networks is GENERATORS else "projection"):
        settings = {"norm": "batch"} if how == "norm" else {}
        with pytest.raises(IncompatibleParts, match=f"condition = '{how}' needs classes.*digits.*condition = 'none'"):
            networks[name](shape, None, condition=how, **settings)
        assert networks[name](shape, None).conditional is False


def test_a_norm_to_be_told_the_class_has_to_be_there():
    with pytest.raises(BadSetting, match="needs a normalisation.*norm = 'batch'"):
        GENERATORS["mlp"]((2,), CLASSES, condition="norm")


def test_a_conditional_network_that_gets_no_label_says_so():
    for how in ("concat", "embed", "projection"):
        with pytest.raises(IncompatibleParts, match="needs a class for every sample"):
            built(CRITICS, "mlp", (2,), how)(drawn(3, 2))


def test_dcgan_scales_of_the_norms_are_normal_as_in_the_paper():
    torch.manual_seed(0)
    generator = GENERATORS["dcgan"]((1, 32, 32), 10, condition="norm")
    scales = torch.cat([m.scales.weight.flatten() for m in generator.modules() if isinstance(m, ConditionalNorm)])
    assert scales.std().item() == pytest.approx(0.02, rel=0.05)
    assert scales.mean().item() == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize(("name", "shape", "how"), SCORED)
def test_copies_score_alike_and_one_hot_tables_are_not_saved(name, shape, how):
    critic, labels = built(CRITICS, name, shape, how), torch.tensor([2, 0, 3])
    samples = drawn(3, *shape)
    twin = copy.deepcopy(critic)
    assert torch.equal(twin(samples, labels).values, critic(samples, labels).values)
    assert not any("onehot" in key for key in critic.state_dict())
