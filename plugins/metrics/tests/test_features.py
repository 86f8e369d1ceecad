"""Features: what they are, that they are always the same, and what is said when they cannot be had."""

import importlib.util
import io
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from zoo_metrics import classifier, features, images
from zoo_metrics.features import Extractor
from zoo_metrics.frechet import Frechet

import zoo
from zoo import ArrayDataset, BadData, BadSetting, Draws, Evidence, IncompatibleParts, MissingPackage, Sample


@pytest.fixture(autouse=True)
def _nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    built = features._built
    built.cache_clear()
    yield
    built.cache_clear()


def never():
    raise AssertionError("a sample was made")


def unsampled(shape=(3, 16, 16), dataset=None):
    return Evidence(shape, getattr(dataset, "classes", None), 10, never, never, dataset)


def sampled(values, dataset=None):
    sample = Sample(values)
    return Evidence(tuple(values.shape[1:]), None, len(values), lambda: sample, lambda: sample, dataset)


def pictures(n=6, channels=3, side=16):
    return Draws(0).rand(n, channels, side, side) * 2 - 1


def digits(n=None):
    bunch = load_digits()
    return ArrayDataset(torch.from_numpy(bunch.images[:n])[:, None] / 8 - 1, torch.from_numpy(bunch.target[:n]))


def of_classifier(data):
    return Extractor("classifier").features(sampled(data.samples, data))[0]


def test_pixels_are_the_samples_as_rows():
    x = pictures()
    real, fake = Extractor("pixels").features(sampled(x))
    assert torch.equal(real, x.double().view(6, 768))
    assert torch.equal(fake, real)


@pytest.mark.parametrize("name", ["", "pixel", "timm", "timm:", "inception:v3", "classifier:2"])
def test_other_names_are_refused(name):
    with pytest.raises(BadSetting, match="pixels, classifier, timm:MODEL or inception"):
        Extractor(name)


def test_weights_are_for_large_networks():
    with pytest.raises(BadSetting, match="'pixels' have no weights"):
        Frechet(features="pixels", weights="file.pth")


def test_a_classifier_learns_features_in_which_digits_are_separable():
    data = digits()
    found = of_classifier(data)
    assert found.shape == (1797, 64)
    assert found.min() == 0
    half = LogisticRegression(max_iter=2000).fit(found[::2], data.labels[::2])
    assert half.score(found[1::2], data.labels[1::2]) > 0.98


def test_a_classifier_is_always_the_same_and_disturbs_no_random_numbers(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 30)
    torch.manual_seed(0)
    first = classifier.train(digits(100))
    assert torch.equal(torch.rand(1), torch.manual_seed(0) and torch.rand(1))
    with torch.inference_mode():
        second = classifier.train(digits(100))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert not first.weight.requires_grad


def test_a_classifier_is_trained_once_and_kept_on_disk(monkeypatch, tmp_path):
    trained = []
    original = classifier.train
    monkeypatch.setattr(classifier, "STEPS", 30)
    monkeypatch.setattr(classifier, "train", lambda data: trained.append(data) or original(data))
    data = digits(100)
    first = of_classifier(data)
    assert torch.equal(of_classifier(data), first)
    assert torch.equal(of_classifier(digits(100)), first)
    assert len(trained) == 1
    (file,) = (tmp_path / "cache").iterdir()
    changed = digits(100)
    changed.samples[0, 0, 0, 0] += 0.5
    of_classifier(changed)
    relabelled = digits(100)
    relabelled.labels = relabelled.labels.flip(0)
    of_classifier(relabelled)
    assert len(trained) == 3
    other = io.BytesIO()
    np.savez(other, low=np.zeros(()), scale=np.ones(()), weight=np.zeros((3, 64)), bias=np.zeros(64))
    for damage in (b"", b"not an archive", file.read_bytes()[:200], other.getvalue()):
        file.write_bytes(damage)
        assert torch.equal(of_classifier(digits(100)), first)
    assert len(trained) == 7


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(monkeypatch, tmp_path):
    monkeypatch.setattr(classifier, "STEPS", 5)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "below"))
    assert of_classifier(digits(50)).shape == (50, 64)


def test_bytes_are_the_same_data_as_their_floats(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 20)
    values = Draws(0).randint(256, 40, 1, 4, 4)
    labels = Draws(1).randint(3, 40)
    as_bytes = classifier.train(ArrayDataset(values.to(torch.uint8), labels))
    as_floats = classifier.train(ArrayDataset(values / 127.5 - 1, labels))
    assert torch.allclose(as_bytes.weight, as_floats.weight, atol=1e-5)


def test_constant_data_have_finite_features(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 5)
    data = ArrayDataset(torch.ones(20, 3), torch.arange(20) % 2)
    assert of_classifier(data).isfinite().all()


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (None, "without their data set"),
        (ArrayDataset(torch.rand(10, 3)), "no labels"),
        (ArrayDataset(torch.rand(10, 3), torch.zeros(10)), "only one class"),
    ],
)
def test_a_classifier_without_labels_is_refused_before_a_sample_is_made(dataset, reason):
    with pytest.raises(IncompatibleParts, match=reason):
        Frechet(features="classifier").refuse(unsampled((3,), dataset))


@pytest.mark.parametrize("name", ["timm:test_resnet", "inception"])
@pytest.mark.parametrize("shape", [(2,), (8, 8), (2, 16, 16)])
def test_other_samples_than_grey_and_coloured_images_are_refused(name, shape):
    with pytest.raises(IncompatibleParts, match="looks at images of one or three channels"):
        Frechet(features=name).refuse(unsampled(shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_features_of_timm_are_its_last_stage_averaged(channels):
    x = pictures(70, channels, 32)
    torch.manual_seed(5)
    found = Extractor("timm:test_resnet", pretrained=False).features(sampled(x))[0]
    torch.manual_seed(0)
    backbone = zoo.create("backbone", "timm", shape=(channels, 32, 32), model="test_resnet").eval()
    with torch.no_grad():
        expected = backbone(x)[-1].mean(dim=(2, 3))
    assert found.dtype == torch.float64
    assert torch.allclose(found, expected.double(), atol=1e-5)


def test_weights_of_timm_are_read_from_a_file(tmp_path):
    torch.manual_seed(9)
    other = zoo.create("backbone", "timm", shape=(3, 32, 32), model="test_resnet").eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.01)
    torch.save(other.network.state_dict(), tmp_path / "bare.pth")
    timm = pytest.importorskip("timm")
    whole = timm.create_model("test_resnet", num_classes=10)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    x = pictures(4, 3, 32)
    found = Extractor("timm:test_resnet", str(tmp_path / "whole.pth")).features(sampled(x))[0]
    random = Extractor("timm:test_resnet", pretrained=False).features(sampled(x))[0]
    assert not torch.allclose(found, random)
    backbone = zoo.create(
        "backbone", "timm", shape=(3, 32, 32), model="test_resnet", checkpoint=str(tmp_path / "whole.pth")
    )
    with torch.no_grad():
        assert torch.allclose(found, backbone.eval()(x)[-1].mean(dim=(2, 3)).double(), atol=1e-5)


def test_what_timm_lacks_is_said_before_a_sample_is_made(tmp_path):
    with pytest.raises(BadData, match="there is no file.*setting weights"):
        Frechet(features="timm:test_resnet", weights=str(tmp_path / "missing.pth")).refuse(unsampled())
    with pytest.raises(BadSetting, match="no model 'resnet17'"):
        Frechet(features="timm:resnet17").refuse(unsampled())


def test_an_image_is_looked_at_once_however_often_it_is_asked_for(monkeypatch):
    seen = []
    network = images.Network(lambda x: seen.append(len(x)) or x.flatten(1))
    x = pictures(130)
    found = network.features(x)
    assert torch.equal(found, x.double().flatten(1))
    assert torch.equal(network.features(x.flip(0)[:50]), x.double().flatten(1).flip(0)[:50])
    network.features(torch.cat([x[:5], x[:5] + 0.1, x[:5] + 0.1]))
    assert seen == [64, 64, 2, 5]
    monkeypatch.setattr(images, "REMEMBERED", 10)
    assert torch.equal(network.features(x), found)


def test_images_become_bytes_as_inception_wants_them():
    grey = torch.tensor([-1.0, 1.0, 0.0, -1.5, 2.0, 3 / 127.5 - 1]).view(1, 1, 2, 3)
    found = images.as_bytes(grey)
    assert found.dtype == torch.uint8
    assert found.shape == (1, 3, 2, 3)
    assert found[0, 0].flatten().tolist() == [0, 255, 128, 0, 255, 3]
    every = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(images.as_bytes(every.float() / 127.5 - 1)[:, :1], every.to(torch.uint8))


def test_inception_needs_its_package(monkeypatch):
    original = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else original(name))
    with pytest.raises(MissingPackage, match=r"torch-fidelity: pip install 'zoo-metrics\[inception\]'"):
        Frechet(features="inception").refuse(unsampled())


def test_inception_without_weights_says_where_to_get_them_and_where_to_put_them(monkeypatch, tmp_path):
    pytest.importorskip("torch_fidelity")

    def offline(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(BadData, match="no network.*Fetch https://.*pth.*weights=FILE"):
        Frechet(features="inception").refuse(unsampled())
    with pytest.raises(BadData, match="there is no file"):
        Frechet(features="inception", weights=str(tmp_path / "missing.pth")).refuse(unsampled())


class Malice:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the file ran code')",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Malice(), "cannot be read as weights"),
        ({"a": Malice()}, "cannot be read as weights"),
        ([torch.ones(1)], "a dictionary of tensors"),
        ({"layer": torch.ones(1)}, "does not hold the weights of torch-fidelity's Inception"),
    ],
)
def test_a_file_that_is_not_inceptions_is_refused_and_runs_no_code(tmp_path, content, reason):
    pytest.importorskip("torch_fidelity")
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(BadData, match=reason):
        Frechet(features="inception", weights=str(tmp_path / "weights.pth")).refuse(unsampled())


def test_features_of_inception_are_torch_fidelitys_2048(tmp_path, monkeypatch):
    """With random weights: a published file cannot be had here."""
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = inception.FeatureExtractorInceptionV3("inception", ["2048"], verbose=False)
    torch.save(nn.Module.state_dict(network), tmp_path / "weights.pth")
    x = pictures(2, 1, 8)
    found = Extractor("inception", str(tmp_path / "weights.pth")).features(sampled(x))[0]
    (expected,) = network(((x + 1) * 127.5).round().to(torch.uint8).repeat(1, 3, 1, 1))
    assert found.shape == (2, 2048)
    assert torch.allclose(found, expected.double(), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0], found[1])


def test_features_that_are_not_finite_are_refused(monkeypatch):
    monkeypatch.setattr(features, "_built", lambda *_: images.Network(lambda x: x.flatten(1) / 0))
    with pytest.raises(BadData, match="NaN or infinite"):
        Extractor("inception").features(sampled(pictures()))
