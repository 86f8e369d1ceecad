"""PacGAN is the original GAN on packed samples, with its authors' networks for points in the plane."""

from importlib.metadata import distribution

import pytest
import torch
import zoo_pacgan
from torch import nn
from torch.nn.functional import softplus

import zoo
from zoo.api import compose_table
from zoo.trainer import Trainer


def composed(dataset="ring", **train):
    return compose_table({"variant": "pacgan", "dataset": {"name": dataset}, "train": train}, device="cpu")


def test_the_metadata_declare_what_the_hook_returns():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-pacgan").entry_points}
    assert declared == {("variant", name) for name in zoo_pacgan.variant()} == {("variant", "pacgan")}


def test_the_networks_for_points_are_those_of_the_authors():
    networks = composed().networks
    layers = {name: [m for m in network.modules() if isinstance(m, nn.Linear)] for name, network in networks.items()}
    sizes = {name: [(m.in_features, m.out_features) for m in found] for name, found in layers.items()}
    assert sizes["generator"] == [(2, 400), (400, 400), (400, 400), (400, 400), (400, 2)]
    # Two points side by side; maxout of five pieces each.
    assert sizes["critic"] == [(4, 1000), (200, 1000), (200, 1000), (200, 1)]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in networks["generator"].modules()) == 4
    train = composed().recipe.train
    assert (train["optimizer"]["lr"], list(train["optimizer"]["betas"])) == (1e-4, [0.8, 0.999])
    assert train["batch_size"] == 2 * 100


@pytest.mark.parametrize("dataset", ["ring", "digits"])
def test_its_losses_are_the_original_ones_of_pairs(dataset):
    trainer = Trainer(composed(dataset, batch_size=8))
    critic_phase, generator_phase = trainer.composition.phases
    for phase in (critic_phase, generator_phase):
        trainer.trainable.only(phase, 0)
        found, batch = trainer._source.evaluate(phase, None, trainer._inputs(phase), 0, eager=True)
        real, fake = batch.real_scores.detach(), batch.fake_scores.detach()
        assert real.shape == fake.shape == (4,)
        expected = softplus(-real).mean() + softplus(fake).mean() if phase is critic_phase else softplus(-fake).mean()
        torch.testing.assert_close(found[0].terms[f"{phase.name}_loss"], expected)


def test_the_number_that_is_packed_is_a_setting(tmp_path):
    run = zoo.train(
        "pacgan", dataset="ring", settings={"procedure.packed": 4}, steps=2, batch_size=8, out=tmp_path, device="cpu"
    )
    assert run.composition.procedure.packed == 4
    assert run.sample(3).shape == (3, 2)
