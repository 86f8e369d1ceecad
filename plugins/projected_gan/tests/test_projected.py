"""The projected critic: what is frozen stays so, its heads, its projections; and the variant's recipe."""

import copy
import itertools
from importlib.metadata import distribution

import pytest
import torch
import zoo_projected_gan
from torch import nn
from torch.nn import functional as F
from zoo_projected_gan import Projected
from zoo_projected_gan.projection import RandomProjection

from zoo import About, Adversarial, Backbone, BadSetting, Batch, Stage
from zoo.testing.parts import SmallGenerator, small_composition
from zoo.trainer import Trainer

SHAPE = (1, 32, 32)
SIDES = [16, 8, 4, 2, 1]


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


class Halving(Backbone):
    """Five stages of stride 2, with batch normalisation and dropout."""

    stages = tuple(Stage(f"s{n}", 3 + n, 2 ** (n + 1)) for n in range(5))

    def __init__(self):
        super().__init__()
        channels = [1, *(stage.channels for stage in self.stages)]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2), nn.Dropout(0.5))
            for i, o in itertools.pairwise(channels)
        )

    def forward(self, images):
        maps = []
        for block in self.blocks:
            maps.append(block(maps[-1] if maps else images))
        return maps


def critic(**settings):
    return Projected(SHAPE, Halving(), **{"width": 4, **settings})


def images(n, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def trained(network, steps=2):
    torch.manual_seed(1)  # One generator for all.
    composition = small_composition(
        Adversarial(), {"generator": SmallGenerator(SHAPE), "critic": network}, About(SHAPE, None), 9
    )
    trainer = Trainer(composition)
    for _ in range(steps):
        trainer.iterate()
    return trainer


def fixed(state):
    return {name: value for name, value in state.items() if name.startswith(("backbone.", "projection."))}


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-projected-gan").entry_points}
    offered = {("critic", name) for name in zoo_projected_gan.critic()}
    assert declared == offered | {("variant", name) for name in zoo_projected_gan.variant()}


@pytest.mark.parametrize("mixing", ["none", "channels", "scales"])
def test_the_last_four_stages_have_a_head_of_patches_each(mixing):
    heads = critic(mixing=mixing)(images(3)).values
    sides = [side if side < 8 else side // 2 for side in SIDES[1:]]
    assert [tuple(head.shape) for head in heads] == [(3, *[side - min(side, 4) + 1] * 2) for side in sides]
    assert len(list(Batch(critic=critic(), real=images(2), fake=images(2, 1)).heads())) == 4


def test_a_large_map_is_halved_until_it_is_scored_in_patches():
    network = Projected((1, 96, 96), Halving(), stages=[0, 1, 2], width=2)
    shapes = [tuple(head.shape) for head in network(torch.zeros(2, 1, 96, 96)).values]
    assert shapes == [(2, 3, 3)] * 3  # 48, 24 and 12 become 6.


def test_one_stage_gives_no_tuple():
    assert critic(stages=[-1])(images(3)).values.shape == (3, 1, 1)


@pytest.mark.parametrize("stages", [[], [5], [-6], [2, 1], [4, -1]])
def test_stages_that_are_not_there_or_in_disorder_are_refused(stages):
    with pytest.raises(BadSetting, match=r"critic\.stages.*0 to 4"):
        critic(stages=stages)


def test_channels_double_per_coarser_stage_and_half_of_them_are_left_by_the_mixing_of_scales():
    assert RandomProjection([3, 4, 5, 6], 8, scales=False).channels == [8, 16, 32, 64]
    assert RandomProjection([3, 4, 5, 6], 8, scales=True).channels == [8, 8, 16, 32]


def test_scales_are_mixed_from_the_coarsest_down_by_the_fixed_convolutions():
    projection = RandomProjection([2, 3, 4], 2, scales=True)
    maps = [torch.randn(2, channels, side, side) for channels, side in ((2, 8), (3, 4), (4, 1))]
    low, middle, high = [F.conv2d(m, c.weight, c.bias) for m, c in zip(maps, projection.across_channels, strict=True)]
    up, down = nn.functional.interpolate, projection.across_scales
    third = F.conv2d(high, down[2].weight, padding=1)
    second = F.conv2d(middle + up(third, size=(4, 4), mode="bilinear"), down[1].weight, padding=1)
    first = F.conv2d(low + up(second, size=(8, 8), mode="bilinear"), down[0].weight, padding=1)
    for found, expected in zip(projection(maps), (first, second, third), strict=True):
        torch.testing.assert_close(found, expected)


def test_random_weights_keep_the_size_of_features():
    projection = RandomProjection([64], 64, scales=False)
    found = projection([torch.randn(8, 64, 8, 8)])[0]
    assert 0.8 < found.std() < 1.25
    weights = projection.across_channels[0].weight
    assert weights.std().item() == pytest.approx(64**-0.5, rel=0.05)


def test_a_score_depends_on_its_own_sample_alone_unless_the_batch_normalises():
    shares = {}
    for norm in ("none", "group", "batch"):
        points = images(4).requires_grad_()
        scores = sum(head.flatten(1)[0].sum() for head in critic(norm=norm).train()(points).values)
        own, *others = torch.autograd.grad(scores, points)[0].flatten(1).norm(dim=1).tolist()
        shares[norm] = max(others) / own
    assert shares["none"] == shares["group"] == 0
    assert shares["batch"] > 1e-4


def test_training_moves_the_small_critics_and_nothing_of_backbone_or_projections():
    network = critic()
    assert not any(p.requires_grad for part in (network.backbone, network.projection) for p in part.parameters())
    trainer = trained(network, 0)
    mine = trainer.composition.networks["critic"]
    before = copy.deepcopy(mine.state_dict())
    for _ in range(2):
        trainer.iterate()
    after = mine.state_dict()
    assert fixed(before)
    for name, value in fixed(before).items():
        assert torch.equal(after[name], value), name
    own = {name for name, _ in mine.named_parameters() if name.startswith("critics.")}
    weights = {name for name in own if name.endswith("original")}
    assert len(weights) > 8
    # Biases before a normalisation, or behind all, do not count in a difference of scores.
    assert not [name for name in weights if torch.equal(after[name], before[name])]
    trainer.release()
    assert {name for name, p in mine.named_parameters() if p.requires_grad} == own


def test_the_generator_gets_gradients_through_what_is_frozen():
    trainer = trained(critic(), 0)
    generator = trainer.composition.networks["generator"]
    before = [p.clone() for p in generator.parameters()]
    trainer.iterate()
    assert all(not torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))


def test_the_backbone_is_in_evaluation_mode_whatever_is_asked_for():
    network = critic()
    for mode in (True, False, True):
        network.train(mode)
        assert not any(module.training for module in network.backbone.modules())
        assert network.critics.training is mode
    network.train()
    points = images(2)
    for one, other in zip(network.backbone(points), network.backbone(points), strict=True):
        assert torch.equal(one, other)


def test_projections_are_in_the_state_and_the_same_in_copies_and_after_resuming():
    first = critic()
    assert {"projection.across_channels.0.weight", "projection.across_scales.3.bias"} <= set(first.state_dict())
    other = critic()
    assert not torch.equal(other.projection.across_scales[0].weight, first.projection.across_scales[0].weight)
    copied = copy.deepcopy(first).eval()
    for one, two in zip(first.eval()(images(2)).values, copied(images(2)).values, strict=True):
        assert torch.equal(one, two)
    whole = trained(copy.deepcopy(first), 4)
    begun, resumed = trained(copy.deepcopy(first), 2), trained(other, 0)
    resumed.load_state_dict(begun.state_dict())
    for _ in range(2):
        resumed.iterate()
    ends = [each.composition.networks["critic"].state_dict() for each in (whole, resumed)]
    for name, value in ends[0].items():
        assert torch.equal(ends[1][name], value), name
    for name, value in fixed(ends[0]).items():
        assert torch.equal(value, first.state_dict()[name]), name


def test_convolutions_of_the_small_critics_have_singular_values_of_one_at_most():
    network = critic(norm="none").train()
    for _ in range(30):  # Each forward is a step of the power iteration.
        network(images(2))
    convolutions = [m for m in network.critics.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions
    for each in convolutions:
        largest = torch.linalg.matrix_norm(each.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.02)


def test_only_a_random_backbone_is_remarked_on():
    network = critic()
    assert network.remark == ""
    network.backbone.random = True
    assert "random weights" in network.remark
    assert "backbone.pretrained=true" in network.remark


def test_the_variant_has_the_papers_game_and_augments_images():
    table = zoo_projected_gan.variant()["projected-gan"].table
    assert table["distance"] == "hinge"
    image = table["for"]["image"]
    assert image["critic"] == "projected"
    assert image["backbone"] == {"name": "timm", "model": "tf_efficientnet_lite0", "out": [1, 2, 3, 4]}
    assert image["train"]["augment"] == ["color", "translation", "cutout"]
