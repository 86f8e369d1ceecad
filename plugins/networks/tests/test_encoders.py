"""Encoders: what they make of samples, and of which samples they can."""

import pytest
import torch
from torch import nn
from zoo_networks import ConvEncoder, DCGANCritic, MLPEncoder

from zoo import Draws, IncompatibleParts

IMAGES = Draws(0).randn(5, 3, 16, 12)
NOTHING = torch.empty(5, 0)


@pytest.mark.parametrize("kind", [MLPEncoder, ConvEncoder])
def test_samples_become_points_without_noise(kind):
    encoder = kind((7,), (3, 16, 12), width=8).eval()
    points = encoder(NOTHING, IMAGES)
    assert (points.shape, encoder.latent_dim, encoder.conditional) == ((5, 7), 0, True)
    assert encoder.latent(5, Draws(0)).shape == (5, 0)
    torch.testing.assert_close(points[2:3], encoder(NOTHING[:1], IMAGES[2:3]))
    assert points.abs().max() > 0


def test_points_are_linear_and_images_are_bounded():
    encoder = MLPEncoder((7,), (4,), depth=0)
    one, other = Draws(1).randn(5, 4), Draws(2).randn(5, 4)
    made = [encoder(NOTHING, each) for each in (one, other, one + other, 0 * one)]
    torch.testing.assert_close(made[0] + made[1], made[2] + made[3])
    images = MLPEncoder((1, 8, 8), (4,))(NOTHING, 1000 * one)
    assert images.shape == (5, 1, 8, 8)
    assert images.abs().max() <= 1


def test_the_convolutions_are_those_of_dcgan():
    encoder, critic = ConvEncoder((7,), (3, 16, 12), width=8), DCGANCritic((3, 16, 12), width=8)
    features = critic(IMAGES).features
    for ours, theirs in zip(encoder.layers, critic.layers, strict=False):
        if isinstance(ours, nn.Conv2d):
            ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(encoder.layers[:-2](IMAGES), features)
    assert float(encoder.layers[-2].weight.detach().std()) == pytest.approx(0.02, rel=0.2)


def test_perceptrons_are_built_as_they_are_asked_for():
    encoder = MLPEncoder((7,), (3, 16, 12), width=10, depth=2, activation="tanh", norm="layer").double()
    linear = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(576, 10), (10, 10), (10, 7)]
    values = IMAGES.double().flatten(1)
    for layer in linear[:-1]:
        values = values @ layer.weight.T
        # A new LayerNorm scales by 1 and shifts by 0.
        values = (values - values.mean(1, keepdim=True)) / (values.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        values = values.tanh()
    torch.testing.assert_close(encoder(NOTHING, IMAGES.double()), linear[-1](values))


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("none", ()), ("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm), ("instance", nn.InstanceNorm2d)],
)
def test_convolutions_have_the_norm_and_the_first_weights_that_are_asked_for(norm, kind):
    torch.manual_seed(0)
    paper, torchs = (ConvEncoder((7,), (3, 16, 12), width=16, norm=norm, init=init) for init in ("paper", "torch"))
    convolutions = [[m for m in each.modules() if isinstance(m, nn.Conv2d)] for each in (paper, torchs)]
    for ours, theirs in zip(*convolutions, strict=True):
        assert float(ours.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        # torch draws uniform weights of the variance 1 / (3 fan_in).
        expected = (3 * theirs.weight[0].numel()) ** -0.5
        assert float(theirs.weight.detach().std()) == pytest.approx(expected, rel=0.1)
    norms = [m for m in paper.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d))]
    assert len(norms) == (0 if norm == "none" else len(convolutions[0]) - 1)
    assert all(isinstance(each, kind) for each in norms)


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        (MLPEncoder, None, "mlp-encoder reads samples, and these data have no sources"),
        (ConvEncoder, None, "parts.encoder"),
        (ConvEncoder, (4,), "conv-encoder is for images"),
        (ConvEncoder, (1, 4, 8), "height 4"),
    ],
)
def test_what_they_cannot_read_is_refused(kind, source, message):
    with pytest.raises(IncompatibleParts, match=message):
        kind((7,), source)
