"""What cannot be built is refused, with what was wrong and what to do."""

import pickle
import warnings

import pytest
import timm
import torch
from timm.models import register_model
from torch import nn
from zoo_timm_backbones import TimmBackbone

from zoo import BadData, BadSetting, IncompatibleParts

RGB = (3, 32, 32)


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    return file


@pytest.mark.parametrize("shape", [(2,), (2, 32, 32), (32, 32)])
def test_samples_that_are_no_images(shape):
    with pytest.raises(IncompatibleParts, match="one or three channels"):
        TimmBackbone(shape)


@pytest.mark.parametrize(
    ("model", "near"),
    [("resnet81", "resnet18"), ("convnxt_tiny", "convnext_tiny"), ("no_such_thing_at_all", "list_models")],
)
def test_a_model_that_timm_does_not_know(model, near):
    with pytest.raises(BadSetting, match=rf"no model '{model}'.*{near}"):
        TimmBackbone(RGB, model=model)


def test_weights_that_timm_does_not_know():
    with pytest.raises(BadSetting, match=r"resnet18\.imagenet0.*resnet18\.a1_in1k"):
        TimmBackbone(RGB, model="resnet18.imagenet0")


def test_a_model_without_features():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @register_model
        def featureless_net(pretrained=False, **settings):
            return nn.Linear(3, 3)

    with pytest.raises(IncompatibleParts, match="featureless_net gives no feature maps"):
        TimmBackbone(RGB, model="featureless_net")


@pytest.mark.parametrize("out", [[], [3, 1], [1, 1], [-1]])
def test_stages_out_of_order(out):
    with pytest.raises(BadSetting, match=r"backbone\.out must list"):
        TimmBackbone(RGB, model="test_resnet", out=out)


def test_stages_that_the_model_does_not_have():
    with pytest.raises(BadSetting, match=r"backbone\.out: test_resnet has stages 0 to 4, not \[1, 7\]"):
        TimmBackbone(RGB, model="test_resnet", out=[1, 7])


def test_more_frozen_stages_than_there_are():
    with pytest.raises(BadSetting, match=r"backbone\.freeze: there are 5 stages, not 9"):
        TimmBackbone(RGB, model="test_resnet", freeze=9)


@pytest.mark.parametrize(
    ("model", "side", "settings", "advice"),
    [
        ("test_convnext", 25, {}, "input_size=32 or 160"),
        ("test_maxvit", 32, {"input_size": 25}, "input_size=32 or 160"),
    ],
)
def test_a_side_that_the_model_cannot_take(model, side, settings, advice):
    with pytest.raises(IncompatibleParts, match=rf"cannot take images of side 25.*{advice}"):
        TimmBackbone((1, side, side), model=model, **settings)


def test_patches_that_leave_out_much_of_the_image():
    with pytest.raises(IncompatibleParts, match=r"at side 40 .* leaves out 36% .*input_size=48 or 224"):
        TimmBackbone((3, 40, 40), model="vit_tiny_patch16_224", input_size=40, out=[0])


def test_weights_that_cannot_be_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadData, match=r"test_resnet cannot be loaded from the network.*backbone\.checkpoint=FILE"):
        TimmBackbone(RGB, model="test_resnet", pretrained=True)


def test_weights_that_nobody_has():
    with pytest.raises(BadSetting, match=r"no weights of botnet50ts_256.*backbone\.checkpoint=FILE"):
        TimmBackbone(RGB, model="botnet50ts_256", pretrained=True)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(BadData, match=r"there is no file .*nothing\.pth"):
        TimmBackbone(RGB, model="test_resnet", checkpoint=str(tmp_path / "nothing.pth"))


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_file_that_is_truncated(weights, name):
    cut = weights.with_name(name)
    cut.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BadData, match=rf"{name} cannot be read as weights"):
        TimmBackbone(RGB, model="test_resnet", checkpoint=str(cut))


def test_a_file_that_would_run_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"conv1.weight": Payload()}, tmp_path / "evil.pth", pickle_module=pickle)
    with pytest.raises(BadData, match=r"evil\.pth cannot be read as weights"):
        TimmBackbone(RGB, model="test_resnet", checkpoint=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}])
def test_a_file_without_weights(content, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(BadData, match=r"odd\.pth (holds no weights|cannot be read)"):
        TimmBackbone(RGB, model="test_resnet", checkpoint=str(tmp_path / "odd.pth"))


@pytest.mark.parametrize("model", ["test_byobnet", "test_efficientnet", "test_vit"])
def test_a_file_of_another_model(model, weights):
    with pytest.raises(BadData, match=rf"weights\.pth does not fit {model}: .*(Missing|size mismatch)"):
        TimmBackbone(RGB, model=model, input_size=32, checkpoint=str(weights))


def test_a_file_that_leaves_weights_random_where_timm_would_let_it(tmp_path):
    weights = timm.create_model("dla34").state_dict()
    del weights["level3.tree1.tree1.conv1.weight"]
    torch.save(weights, tmp_path / "holed.pth")
    with pytest.raises(BadData, match=r"holed\.pth does not fit dla34: it lacks 1 .*level3\.tree1\.tree1\.conv1"):
        TimmBackbone(RGB, model="dla34", checkpoint=str(tmp_path / "holed.pth"))


def test_a_deeper_model_of_the_same_kind(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "shallow.pth")
    torch.save(timm.create_model("resnet14t").state_dict(), tmp_path / "deep.pth")
    with pytest.raises(BadData, match=r"deep\.pth does not fit resnet10t: .*layer1\.0"):
        TimmBackbone(RGB, model="resnet10t", checkpoint=str(tmp_path / "deep.pth"))
    with pytest.raises(BadData, match=r"shallow\.pth does not fit resnet14t: .*layer1\.0"):
        TimmBackbone(RGB, model="resnet14t", checkpoint=str(tmp_path / "shallow.pth"))
