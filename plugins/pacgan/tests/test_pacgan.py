"""PacGAN's variant: a critic of pairs. tests/test_packing.py holds the packing itself against a step by hand."""

from importlib.metadata import distribution

import pytest
import torch
import zoo_pacgan

from zoo.api import compose_table


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-pacgan").entry_points}
    assert declared == {("variant", name) for name in zoo_pacgan.variant()}


@pytest.mark.parametrize("dataset", ["ring", "digits"])
def test_its_critic_sees_pairs(dataset):
    composition = compose_table({"variant": "pacgan", "dataset": {"name": dataset}}, device="cpu")
    assert composition.procedure.packed == 2
    shape = composition.dataset.shape
    samples = torch.rand(6, *shape)
    seen = composition.seen(samples)
    assert tuple(seen.shape) == (3, 2 * shape[0], *shape[1:])
    assert composition.networks["critic"](seen).values.shape == (3,)
    torch.testing.assert_close(seen[1], torch.cat([samples[2], samples[3]]))
