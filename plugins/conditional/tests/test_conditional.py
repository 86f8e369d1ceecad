"""The conditional variants: they learn the classes that they are asked for, and refuse data without any."""

from importlib.metadata import distribution

import pytest
import torch
import zoo_conditional
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import zoo
from zoo import IncompatibleParts
from zoo.api import compose_table

VARIANTS = ("cgan", "projection-gan")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def composed(variant, dataset="digits", **table):
    about = dataset if isinstance(dataset, dict) else {"name": dataset}
    return compose_table({"variant": variant, "dataset": about, **table}, device="cpu")


def test_the_metadata_declare_what_the_hook_returns():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-conditional").entry_points}
    assert declared == {("variant", name) for name in zoo_conditional.variant()} == {("variant", n) for n in VARIANTS}


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("variant", VARIANTS)
def test_both_networks_are_told_the_class(variant, side):
    small = {"generator": {"width": 4}, "critic": {"width": 4}}
    composition = composed(variant, {"name": "digits", "side": side}, **small)
    assert all(network.conditional for network in composition.networks.values())
    generator, critic = (composition.networks[part].eval() for part in ("generator", "critic"))
    z, labels = torch.randn(3, generator.latent_dim), torch.tensor([0, 4, 9])
    images = generator(z, labels)
    scores = [critic(images, each).values for each in (labels, labels.flip(0))]
    assert (scores[0] != scores[1]).tolist() == [True, False, True]


def test_the_projection_gan_is_that_of_the_paper():
    composition = composed("projection-gan")
    assert type(composition.parts.distance).__name__ == "Hinge"
    assert list(composition.parts.constraints) == ["spectral-norm"]
    kinds = {part: {type(m).__name__ for m in network.modules()} for part, network in composition.networks.items()}
    assert "ConditionalNorm" in kinds["generator"]
    assert "BatchNorm2d" not in {type(m).__name__ for m in composition.networks["critic"].modules()}
    assert "Projection" in kinds["critic"]
    # The paper normalises the embedding as it does the other weights.
    embedding = composition.networks["critic"].projection.embedding.weight
    assert torch.linalg.matrix_norm(embedding.detach(), 2).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_data_without_labels_are_refused(variant):
    with pytest.raises(IncompatibleParts, match=r"these data have no labels.*digits.*condition = 'none'"):
        composed(variant, "ring")


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_classifier_of_real_digits_finds_the_class_that_was_asked_for(variant, tmp_path):
    run = zoo.train(variant, dataset="digits", steps=800, out=tmp_path, name="run", device="cpu")
    labels = [label for label in range(10) for _ in range(50)]
    samples = run.sample(len(labels), labels=labels).flatten(1).numpy()
    bunch = load_digits()
    found = SVC(gamma=0.03).fit(bunch.data / 8 - 1, bunch.target).predict(samples)
    shares = [float((found[label * 50 : label * 50 + 50] == label).mean()) for label in range(10)]
    assert sum(shares) / 10 >= 0.9, shares
    assert min(shares) >= 0.6, shares
