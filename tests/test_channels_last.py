"""The channels_last memory format: images and convolutions are laid out so, and what is computed stays the same."""

import pytest
import torch

import zoo
from zoo.api import compose_table
from zoo.samples import channels_last
from zoo.trainer import Trainer

NARROW = {"generator": {"name": "dcgan", "width": 8}, "critic": {"name": "resnet", "width": 8}}
QUICK = {"steps": 4, "batch_size": 8, "log_every": 2, "critic_steps": 1}


def trainer_of(layout, **train):
    rates = {"batch_size": 8, "critic_steps": 1, "optimizer": {"name": "SGD", "lr": 1e-2}, **train}
    table = {"variant": "wgan-gp", **NARROW, "train": {"channels_last": layout, **rates}}
    data = zoo.ArrayDataset(zoo.Draws(0).rand(32, 3, 8, 8) * 2 - 1)
    return Trainer(compose_table(table, device="cpu", given={"dataset": data}))


def laid_out(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def test_parameters_and_batches_are_laid_out_so():
    trainer = trainer_of(True)
    seen = []
    critic = trainer.composition.networks["critic"]
    for layer in (critic, critic.blocks[-1]):
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    trainer.iterate()
    assert laid_out(critic.blocks[1].residual[3].weight)
    assert laid_out(trainer.generator.layers[4].weight)
    assert len(seen) == 8
    assert all(laid_out(maps) for maps in seen)


def test_samples_of_several_channels_are_laid_out_so():
    images, points = torch.randn(4, 3, 5, 6), torch.randn(4, 2)
    assert laid_out(channels_last(images))
    assert torch.equal(channels_last(images), images)
    pair = channels_last((images, points))
    assert laid_out(pair[0])
    assert pair[1] is points


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("optimizer", [{"name": "SGD", "lr": 1e-2}, {"name": "Adam", "lr": 1e-2, "eps": 1e-2}])
def test_the_same_is_computed_to_rounding(optimizer, precision):
    plain, laid = (trainer_of(layout, precision=precision, optimizer=optimizer) for layout in (False, True))
    for _ in range(3):
        plain.iterate()
        laid.iterate()
    tolerance = 1e-5 if precision == "32" else 1e-2
    for name, network in plain.composition.networks.items():
        for one, other in zip(network.parameters(), laid.composition.networks[name].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_gradients_have_the_layout_of_their_weights():
    """Torch's fused Adam on the CPU reads a gradient of another layout in the wrong order, and says nothing."""
    trainer = trainer_of(True)
    trainer.iterate()
    weights = [p for network in trainer.composition.networks.values() for p in network.parameters()]
    assert any(laid_out(p) for p in weights)
    assert all(laid_out(p.grad) for p in weights if laid_out(p))


def test_a_resumed_run_equals_one_that_was_not_stopped(tmp_path):
    settings = {"generator.width": 8, "critic.width": 8, "train.channels_last": True}
    more = {"dataset": "digits", "generator": "dcgan", "critic": "resnet", "device": "cpu", "settings": settings}
    whole = zoo.train("wgan-gp", out=tmp_path, name="whole", **more, **QUICK)
    zoo.train("wgan-gp", out=tmp_path, name="part", **more, **{**QUICK, "steps": 2, "schedule_steps": 4})
    zoo.resume(tmp_path / "part", steps=4, device="cpu")
    part = zoo.load(tmp_path / "part", device="cpu")
    assert laid_out(part.composition.networks["generator"].layers[4].weight)
    assert torch.equal(part.sample(5), whole.sample(5))
    assert whole.sample(5).is_contiguous()


def test_the_command_line_has_it(zoo_command):
    printed = zoo_command("train", "wgan-gp", "--dataset", "digits", "--channels-last", "--dry-run").stdout
    assert "channels_last = true" in printed
    assert "channels_last = false" in zoo_command("train", "wgan-gp", "--dataset", "digits", "--dry-run").stdout
