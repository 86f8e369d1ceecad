"""The composition of DeLiGAN: its parts, and that its mixture is trained with the generator."""

from importlib.metadata import distribution

import pytest
import torch
import zoo_deligan

from zoo.api import compose_table
from zoo.trainer import Trainer


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer(data):
    return Trainer(compose_table({"variant": "deligan", "dataset": {"name": data}}, device="cpu"))


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group, e.name) for e in distribution("zoo-deligan").entry_points}
    assert declared == {("zoo.v1.variant", name) for name in zoo_deligan.variant()}


def test_one_recipe_is_for_all_points_in_the_plane():
    ring, grid = (trainer(data).composition.recipe.table() for data in ("ring", "grid"))
    assert ring.pop("dataset") != grid.pop("dataset")
    assert ring == grid


def test_the_mixture_is_trained_and_averaged_with_the_generator():
    game = trainer("ring")
    before = {name: value.clone() for name, value in game.composition.networks["generator"].state_dict().items()}
    for _ in range(3):
        game.iterate()
    after, average = game.composition.networks["generator"].state_dict(), game.generator.state_dict()
    for name in ("mixture.means", "mixture.widths"):
        assert not torch.equal(after[name], before[name])
        assert not torch.equal(average[name], before[name])
