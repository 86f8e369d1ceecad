"""Feature maps are those of timm's own `features_only` model, on images that timm would have normalised."""

import pytest
import timm
import torch
from zoo_timm_backbones import TimmBackbone

FAMILIES = {
    "resnet": ("resnet10t", None),
    "efficientnet": ("tf_efficientnet_lite0", None),
    "mobilenetv3": ("mobilenetv3_small_050", None),
    "convnext": ("test_convnext", None),
    "vision_transformer": ("test_vit", 32),
    "maxxvit": ("test_maxvit", 32),
    "mambaout": ("test_mambaout", None),
    "regnet": ("regnetx_002", None),
}


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def normalised(images, network):
    """As timm's transforms do it: from [0, 1], with the model's own mean and standard deviation."""
    about = timm.data.resolve_model_data_config(network)
    normalise = timm.data.create_transform(**about).transforms[-1]
    return normalise((images + 1) / 2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_maps_are_timms_own(family, channels):
    model, side = FAMILIES[family]
    assert model in timm.list_models(module=family)
    backbone = TimmBackbone((channels, 32, 32), model=model, input_size=side).eval()
    more = {} if side is None else {"img_size": side}
    plain = timm.create_model(model, features_only=True, **more).eval()
    # Attention without fused kernels and another Hardsigmoid have no weights; all the others must fit.
    plain.load_state_dict(backbone.network.state_dict())
    images = torch.rand(2, channels, 32, 32) * 2 - 1
    with torch.no_grad():
        ours = backbone(images)
        theirs = plain(normalised(images.expand(-1, 3, -1, -1), plain))
    if getattr(plain, "output_fmt", "NCHW") == "NHWC":
        theirs = [each.movedim(3, 1) for each in theirs]
    assert len(ours) == len(theirs) == len(backbone.stages)
    for one, other in zip(ours, theirs, strict=True):
        scale = other.abs().max().clamp(min=1)
        assert ((one - other).abs().max() / scale) < 1e-5


@pytest.mark.parametrize("family", ["resnet", "vision_transformer"])
def test_the_mode_of_training_is_timms_own_as_well(family):
    model, side = FAMILIES[family]
    backbone = TimmBackbone((3, 32, 32), model=model, input_size=side).train()
    plain = timm.create_model(model, features_only=True, **({} if side is None else {"img_size": side})).train()
    plain.load_state_dict(backbone.network.state_dict())
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    for one, other in zip(backbone(images), plain(normalised(images, plain)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(backbone.network.state_dict()[name], value)
