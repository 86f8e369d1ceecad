"""The backbone: what it returns, what it feeds the model, what it loads, what it freezes."""

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from zoo_timm_backbones import TimmBackbone
from zoo_timm_backbones.images import varied_images
from zoo_timm_backbones.models import _Hardsigmoid

from zoo import Backbone

ANY_SIDE = ["test_resnet", "mobilenetv3_small_050", "test_efficientnet"]
SIDE_OF_32 = ["test_convnext", "test_vit"]
SHAPES = [(1, 25, 25), (3, 32, 32), (1, 64, 64)]
WIDE_SAMPLE = [
    "edgenext_xx_small",
    "ghostnet_050",
    "hardcorenas_a",
    "lcnet_035",
    "mobilevit_xxs",
    "pvt_v2_b0",
    "regnetx_002",
    "test_byobnet",
    "test_mambaout",
    "test_maxvit",
    "test_nfnet",
    "test_vit_relpos",
]
CASES = [(model, shape) for model in ANY_SIDE + SIDE_OF_32 for shape in SHAPES]
CASES += [(model, (3, 32, 32)) for model in ["resnet18", *WIDE_SAMPLE]]


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def images(n, shape, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def scattered(model):
    """A whole model of timm in evaluation mode, with every parameter and statistic away from its initial value."""
    network = timm.create_model(model).eval()
    generator = torch.Generator().manual_seed(5)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data.mul_(0.9 + 0.2 * noise).add_(0.02 * noise)
    return network


def normalised(images, network):
    about = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(about[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((images + 1) / 2 - mean) / std


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_maps_have_the_channels_and_strides_of_their_stages(model, shape):
    side = shape[1] if model in ANY_SIDE else 32
    backbone = TimmBackbone(shape, model=model, input_size=None if model in ANY_SIDE else side)
    maps = backbone(images(2, shape))
    expected = [(2, stage.channels, *[-(-side // stage.stride)] * 2) for stage in backbone.stages]
    assert [tuple(m.shape) for m in maps] == expected
    assert all(m.isfinite().all() and m.std() > 0 for m in maps)


def test_it_is_a_backbone_whose_first_setting_is_the_model():
    assert issubclass(TimmBackbone, Backbone)
    assert next(iter(TimmBackbone.__init__.__kwdefaults__)) == "model"


def test_maps_are_channels_first_where_timm_gives_channels_last():
    backbone = TimmBackbone((3, 32, 32), model="test_mambaout").eval()
    x = images(2, (3, 32, 32))
    last = backbone.network(normalised(x, backbone.network))[0]
    assert last.shape == (2, 8, 8, 16)
    assert torch.allclose(backbone(x)[0], last.movedim(3, 1), atol=1e-5)


def test_grey_images_are_repeated():
    backbone = TimmBackbone((1, 32, 32), model="test_resnet").eval()
    grey = images(2, (1, 32, 32))
    for one, three in zip(backbone(grey), backbone(grey.repeat(1, 3, 1, 1)), strict=True):
        assert torch.equal(one, three)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_the_model_is_fed_what_timm_would_feed_it(model):
    backbone = TimmBackbone((3, 32, 32), model=model, input_size=32)
    about = timm.data.resolve_model_data_config(timm.create_model(model))
    about.update(input_size=(3, 32, 32), crop_pct=1.0)
    raw = torch.randint(256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = timm.data.create_transform(**about)(Image.fromarray(raw.numpy()))
    fed = backbone.images(raw.permute(2, 0, 1)[None] / 127.5 - 1)[0]
    assert torch.allclose(fed, expected, atol=1e-5)


@pytest.mark.parametrize("side", [20, 48])
def test_images_are_resized_as_pillow_does(side):
    backbone = TimmBackbone((1, 32, 32), model="test_resnet", input_size=side)
    raw = torch.randint(256, (32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pillow = Image.fromarray(raw.numpy()).resize((side, side), Image.Resampling.BILINEAR)
    expected = torch.tensor(list(pillow.tobytes())).view(1, 1, side, side) / 127.5 - 1
    fed = backbone.images(raw[None, None] / 127.5 - 1)
    assert (fed - normalised(expected, backbone.network)).abs().max() < 1 / 50


def test_without_input_size_images_keep_theirs_unless_the_model_has_but_one():
    free = TimmBackbone((3, 40, 56), model="test_efficientnet")(images(1, (3, 40, 56)))
    fixed = TimmBackbone((3, 40, 56), model="test_vit")(images(1, (3, 40, 56)))
    assert free[1].shape[2:] == (10, 14)
    assert fixed[-1].shape[2:] == (160 // 16, 160 // 16)


def test_out_chooses_the_stages():
    everything = TimmBackbone((3, 32, 32), model="test_resnet")
    torch.manual_seed(0)
    some = TimmBackbone((3, 32, 32), model="test_resnet", out=[1, 3])
    assert some.stages == [everything.stages[1], everything.stages[3]]
    x = images(2, (3, 32, 32))
    every = everything.eval()(x)
    assert [m.shape for m in some.eval()(x)] == [every[1].shape, every[3].shape]


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("test_resnet", ".pth"),
        ("test_resnet", ".safetensors"),
        ("test_resnet", "wrapped"),
        ("mobilenetv3_small_050", ".pth"),
        ("test_convnext", ".pth"),
    ],
)
def test_a_file_gives_the_maps_of_the_plain_model(model, suffix, tmp_path):
    plain = scattered(model)
    file = tmp_path / ("weights.pth" if suffix == "wrapped" else f"weights{suffix}")
    if suffix == ".safetensors":
        save_file(plain.state_dict(), file)
    else:
        torch.save({"state_dict": plain.state_dict()} if suffix == "wrapped" else plain.state_dict(), file)
    backbone = TimmBackbone((3, 64, 64), model=model, checkpoint=str(file)).eval()
    x, seen = images(2, (3, 64, 64)), {}
    for stage in backbone.stages:
        plain.get_submodule(stage.name).register_forward_hook(
            lambda _module, _inputs, output, name=stage.name: seen.update({name: output.clone()})
        )
    plain(normalised(x, plain))
    for stage, found in zip(backbone.stages, backbone(x), strict=True):
        assert torch.allclose(found, seen[stage.name], rtol=1e-4, atol=1e-5), stage


def test_a_file_gives_the_tokens_of_the_plain_transformer(tmp_path):
    plain = scattered("test_vit")
    torch.save(plain.state_dict(), tmp_path / "vit.pth")
    backbone = TimmBackbone((3, 40, 40), model="test_vit", checkpoint=str(tmp_path / "vit.pth")).eval()
    x = images(2, (3, 40, 40))
    large = F.interpolate(x, size=(160, 160), mode="bilinear", antialias=True)
    tokens = plain.forward_features(normalised(large, plain))
    found = plain.norm(backbone(x)[-1].flatten(2).movedim(1, 2))
    assert torch.allclose(found, tokens[:, 1:], rtol=1e-3, atol=1e-4)


def test_a_file_fits_at_another_side_and_with_another_classifier(tmp_path):
    plain = timm.create_model("test_vit", num_classes=7)
    torch.save(plain.state_dict(), tmp_path / "vit.pth")
    backbone = TimmBackbone((3, 32, 32), model="test_vit", input_size=32, checkpoint=str(tmp_path / "vit.pth"))
    assert torch.equal(backbone.network.model.blocks[0].attn.qkv.weight, plain.blocks[0].attn.qkv.weight)
    bare = timm.create_model("test_resnet", num_classes=0)
    torch.save(bare.state_dict(), tmp_path / "bare.pth")
    backbone = TimmBackbone((3, 32, 32), model="test_resnet", checkpoint=str(tmp_path / "bare.pth"))
    assert torch.equal(backbone.network.conv1[0].weight, bare.conv1[0].weight)


def test_the_same_seed_builds_the_same_backbone():
    torch.manual_seed(3)
    first = TimmBackbone((1, 32, 32), model="test_resnet").state_dict()
    after = torch.rand(1)
    torch.manual_seed(3)
    second = TimmBackbone((1, 32, 32), model="test_resnet").state_dict()
    assert after == torch.rand(1)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("model", ["resnet18", "regnetx_002", "lcnet_035"])
def test_random_weights_neither_vanish_nor_explode_nor_overlook_the_image(model):
    backbone = TimmBackbone((1, 32, 32), model=model).eval()
    waves = torch.linspace(0, 6, 32).sin()
    smooth = torch.stack([(waves * (k + 1) / 4 + waves[:, None] * (4 - k) / 4)[None].tanh() for k in range(4)])
    for x in (images(8, (1, 32, 32)), smooth):
        last = backbone(x.requires_grad_())[-1]
        assert 0.05 < last.std() < 5
        assert last.mean(dim=(2, 3)).std(dim=0).mean() > 0.005
        (gradient,) = torch.autograd.grad(last, x, torch.randn_like(last))
        assert (gradient != 0).any(dim=0).float().mean() > 0.9


def test_a_file_of_untrained_weights_is_left_as_it_is_and_taken_though_it_sees_little(tmp_path):
    plain = timm.create_model("resnet18")
    torch.save(plain.state_dict(), tmp_path / "weights.pth")
    network = TimmBackbone((3, 32, 32), model="resnet18", checkpoint=str(tmp_path / "weights.pth")).network
    assert not plain.layer2[0].bn2.weight.any()
    for name in ("bn1.running_var", "bn1.running_mean", "bn1.weight"):
        assert torch.equal(network.state_dict()[name], plain.state_dict()[name])
    assert not network.layer2[0].bn2.weight.any()


def test_images_to_calibrate_with_are_always_the_same_and_of_every_kind():
    some = varied_images(32, (3, 16, 16))
    assert torch.equal(some, varied_images(32, (3, 16, 16)))
    assert some.abs().max() <= 1
    steps = [(x[..., 1:] - x[..., :-1]).abs().mean() / x.std() for x in (some[0], some[30])]
    assert steps[0] < 0.2 < 0.5 < steps[1]


@pytest.mark.parametrize("freeze", ["all", 2, 5])
def test_what_is_frozen_does_not_move_and_what_is_not_does(freeze):
    backbone = TimmBackbone((1, 32, 32), model="test_resnet", freeze=freeze)
    stages = {"all": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], 2: ["conv1", "bn1", "layer1"]}
    still = tuple(stages.get(freeze, stages["all"]))
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    x = images(4, (1, 32, 32)).requires_grad_()
    loss = sum(m.square().mean() for m in backbone.train()(x))
    loss.backward()
    for parameter in backbone.parameters():
        assert parameter.requires_grad or parameter.grad is None
        if parameter.grad is not None:
            parameter.data -= 0.1 * parameter.grad
    assert x.grad.abs().sum() > 0
    moved = {name for name, value in backbone.network.state_dict().items() if not torch.equal(value, before[name])}
    named = {name.split(".")[0] for name in moved}
    assert not any(name.startswith(still) for name in named)
    assert moved == {name for name in before if not name.startswith(still)}


@pytest.mark.parametrize("model", ["test_vit", "test_efficientnet"])
def test_freezing_some_stages_freezes_exactly_what_they_are_computed_from(model):
    backbone = TimmBackbone((3, 32, 32), model=model, input_size=32, freeze=1)
    frozen = {name for name, p in backbone.network.named_parameters() if not p.requires_grad}
    trained = {name for name, p in backbone.network.named_parameters() if p.requires_grad}
    block = backbone.stages[0].name
    assert any(block in name for name in frozen)
    assert frozen
    assert trained
    first, *_, last = backbone.eval()(images(1, (3, 32, 32)))
    assert not first.requires_grad
    assert last.requires_grad


def test_frozen_layers_stay_in_evaluation_mode():
    backbone = TimmBackbone((3, 32, 32), model="test_resnet", freeze=3)
    layers = [backbone.network.layer2, backbone.network.layer3]
    for mode in (True, False, True):
        backbone.train(mode)
        assert [any(m.training for m in layer.modules()) for layer in layers] == [False, mode]


def test_nothing_is_frozen_unless_asked():
    backbone = TimmBackbone((3, 32, 32), model="test_resnet")
    assert all(p.requires_grad for p in backbone.parameters())
    assert all(m.training for m in backbone.modules())


def test_the_twice_differentiable_hardsigmoid_is_the_same_function():
    x = torch.linspace(-5, 5, 101)
    assert torch.allclose(_Hardsigmoid()(x), F.hardsigmoid(x), atol=1e-7)
