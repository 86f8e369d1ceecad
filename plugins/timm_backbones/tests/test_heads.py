"""The critic of heads: its scores, its slopes, its batch normalisation."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from zoo_timm_backbones import BackboneHeads, TimmBackbone

from zoo import Backbone, BadSetting, Batch, Critic, Scores, Stage

GREY = (1, 32, 32)
DIFFERENTIATED = [
    "resnet18",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "test_maxvit",
    "test_nfnet",
    "test_vit_relpos",
]


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def images(n, shape=GREY, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def critic(model="test_resnet", shape=GREY, backbone=None, **settings):
    return BackboneHeads(TimmBackbone(shape, model=model, **(backbone or {})), **settings)


def influence(critic, n=4):
    """How much the first sample's score changes with each sample."""
    x = images(n).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).values[0], x)
    return gradient.flatten(1).norm(dim=1)


def penalty(critic, x):
    return (Batch(critic=critic, real=x, fake=x).slopes("real") - 1).square().mean()


def test_one_stage_gives_one_score_a_sample_and_its_features():
    network = critic()
    scores = network(images(3))
    assert isinstance(network, Critic)
    assert isinstance(scores, Scores)
    assert scores.values.shape == (3,)
    last = network.backbone(images(3))[-1]
    assert torch.allclose(scores.features, last.mean(dim=(2, 3)), atol=1e-6)


def test_each_stage_has_its_own_head():
    network = critic(stages=[1, -1])
    scores = network(images(3))
    assert [v.shape for v in scores.values] == [(3,), (3,)]
    assert scores.features.shape == (3, network.backbone.stages[-1].channels)
    assert [head[0].in_channels for head in network.heads] == [
        network.backbone.stages[index].channels for index in (1, -1)
    ]
    assert len(list(Batch(critic=network, real=images(2), fake=images(2, seed=1)).heads())) == 2


def test_without_pooling_every_pixel_is_scored():
    network = critic(stages=[1, 2], pool="none")
    first, second = network(images(3)).values
    assert first.shape == (3, 8, 8)
    assert second.shape == (3, 4, 4)


def test_width_is_the_hidden_channels():
    assert [layer.weight.shape[0] for layer in critic(width=5).heads[0][::2]] == [5, 1]


@pytest.mark.parametrize("stages", [[], [5], [-6], [1, 1], [4, -1]])
def test_stages_that_are_not_there_are_refused(stages):
    with pytest.raises(BadSetting, match=r"critic\.stages.*0 to 4"):
        critic(stages=stages)


@pytest.mark.parametrize("model", DIFFERENTIATED)
def test_a_gradient_penalty_trains_the_whole_critic(model):
    backbone = {"input_size": 64 if model == "vit_tiny_patch16_224" else 32}
    network = critic(model, backbone=backbone)
    loss = penalty(network, images(2))
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.ndim > 1]
    moving = [bool(g.abs().sum() > 0) for g in gradients]
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in gradients)
    assert moving[0]
    assert moving[-1]
    # Attention over the single pixel of a deep map, and branches that start at zero, do not move.
    assert sum(moving) > len(moving) / 3


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "test_vit"])
def test_the_gradient_of_a_penalty_is_its_slope(model):
    network = critic(model, backbone={"input_size": 32}).double()
    x = images(2, (1, 24, 24)).double()
    weight = next(p for name, p in network.named_parameters() if p.ndim > 1 and "blocks.1" in name)
    direction = torch.randn_like(weight)
    penalty(network, x).backward()
    values = []
    for step in (1e-6, -2e-6):
        weight.data += step * direction
        values.append(penalty(network, x).item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx((weight.grad * direction).sum().item(), rel=1e-3)


def test_frozen_and_group_score_each_sample_alone_and_batch_does_not():
    shares = {}
    for norm in ("frozen", "batch", "group"):
        own, *others = influence(critic(norm=norm).train()).tolist()
        shares[norm] = max(others) / own
    assert shares["frozen"] == 0
    assert shares["group"] == 0
    assert shares["batch"] > 1e-3


def test_frozen_normalisation_keeps_its_statistics_and_trains_its_scale():
    network = critic(norm="frozen").train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(images(4)).values.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert all(norm.weight.grad is not None and not norm.training for norm in norms)
    assert network.heads.training


def test_batch_normalisation_moves_its_statistics():
    network = critic(norm="batch").train()
    before = network.backbone.network.bn1.running_mean.clone()
    network(images(4))
    assert not torch.equal(network.backbone.network.bn1.running_mean, before)
    assert network.backbone.network.bn1.momentum == 0.1


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_frozen_backbone_stays_as_it_is_whatever_the_norm(norm):
    backbone = TimmBackbone(GREY, model="test_resnet", freeze="all")
    expected = [m.clone() for m in backbone.eval()(images(4))]
    network = BackboneHeads(backbone, norm=norm).train()
    assert all(torch.equal(m, e) for m, e in zip(network.backbone(images(4)), expected, strict=True))
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {"heads"}


def test_group_takes_over_scale_shift_and_activation():
    backbone = TimmBackbone(GREY, model="test_efficientnet")
    norms = {name: m for name, m in backbone.named_modules() if isinstance(m, _BatchNorm)}
    for norm in norms.values():
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    network = BackboneHeads(backbone, norm="group")
    assert not any(isinstance(m, _BatchNorm) for m in network.modules())
    for name, norm in norms.items():
        group = backbone.get_submodule(name)
        x = torch.randn(2, norm.num_features, 3, 3)
        expected = nn.functional.group_norm(x, group.num_groups, norm.weight, norm.bias, norm.eps)
        expected = norm.act(norm.drop(expected)) if hasattr(norm, "act") else expected
        assert torch.allclose(group(x), expected)
        assert norm.num_features // group.num_groups >= min(16, norm.num_features)


def test_scores_have_a_scale_to_start_from():
    network = critic("resnet18")
    batch = Batch(critic=network, real=images(16), fake=images(16, seed=1))
    assert 0.01 < batch.real_scores.std() < 1
    assert 0.1 < batch.slopes("real").mean() < 10


def test_any_backbone_will_do():
    class Tiny(Backbone):
        def __init__(self):
            super().__init__()
            self.stages = [Stage("only", 6, 2)]
            self.layers = nn.Sequential(nn.Conv2d(1, 6, 4, 2, 1), nn.BatchNorm2d(6), nn.ReLU())

        def forward(self, images):
            return [self.layers(images)]

    network = BackboneHeads(Tiny(), pool="none")
    assert network(images(3)).values.shape == (3, 16, 16)
    assert not network.backbone.layers[1].training
