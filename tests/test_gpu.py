"""On a CUDA device: `make test-gpu`. Every variant trains, and checkpoints move between the device and the CPU."""

import pytest
import torch

import zoo
import zoo.data
from zoo.api import compose_table
from zoo.replayed import CHECKED, WARM
from zoo.trainer import Trainer

pytestmark = pytest.mark.gpu
VARIANTS = ["vanilla", "vanilla-minimax", "wgan", "wgan-gp", "wgan-lp", "ls-gan", "gls-gan"]
QUICK = {"steps": 20, "batch_size": 32, "log_every": 10, "checkpoint_every": 10}


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("dataset", ["digits", "faces"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_train_and_are_sampled_on_either_device(variant, dataset, precision, tmp_path):
    run = zoo.train(variant, dataset=dataset, out=tmp_path, name="run", device="cuda", precision=precision, **QUICK)
    assert next(run.composition.networks["generator"].parameters()).is_cuda
    assert torch.isfinite(run.sample(8)).all()
    on_cpu = zoo.load(tmp_path / "run", device="cpu")
    assert torch.isfinite(on_cpu.sample(8)).all()
    for ours, theirs in zip(
        on_cpu.composition.networks["generator"].parameters(),
        run.composition.networks["generator"].parameters(),
        strict=True,
    ):
        assert torch.equal(ours, theirs.cpu())


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_run_goes_on_on_another_device(first, second, tmp_path):
    zoo.train("wgan-gp", dataset="digits", out=tmp_path, name="run", device=first, **QUICK)
    outcome = zoo.resume(tmp_path / "run", steps=30, device=second)
    assert (outcome.state, outcome.step) == ("finished", 30)


def test_the_device_computes_what_the_cpu_does():
    """One iteration from the same weights on the same batch: random numbers differ, so both are given."""
    losses = {}
    for device in ("cpu", "cuda"):
        composition = compose_table({"variant": "wgan-gp", "dataset": {"name": "digits"}}, device=device)
        draws = torch.Generator().manual_seed(0)
        real, fake = (torch.tanh(torch.randn(32, 1, 8, 8, generator=draws)).to(device) for _ in range(2))
        batch = composition.batch(real=real, fake=fake)
        slopes = batch.slopes("real")
        losses[device] = torch.stack([batch.real_scores.mean(), batch.fake_scores.mean(), slopes.mean()]).cpu()
    torch.testing.assert_close(losses["cpu"], losses["cuda"], rtol=1e-3, atol=1e-4)


def test_batches_that_are_gathered_ahead_are_those_of_the_cpu(monkeypatch):
    monkeypatch.setattr(zoo.data, "SHARE", 0.0)
    dataset = zoo.create("dataset", "digits")
    ours, theirs = (zoo.data.Batches(dataset, torch.device(device), 3, flip=True) for device in ("cuda", "cpu"))
    for _ in range(100):
        (samples, labels), (expected, classes) = ours.draw(50), theirs.draw(50)
        assert samples.is_cuda
        assert torch.equal(samples.cpu(), expected)
        assert torch.equal(labels.cpu(), classes)


@pytest.mark.parametrize("share", [0.0, zoo.data.SHARE])
@pytest.mark.parametrize("train", [{}, {"augment": ["color", "translation", "cutout"], "flip": True}])
def test_an_iteration_waits_for_nothing(train, share, monkeypatch):
    monkeypatch.setattr(zoo.data, "SHARE", share)
    table = {"variant": "wgan-gp", "dataset": {"name": "digits"}, "train": train}
    composition = compose_table(table, device="cuda")
    trainer = Trainer(composition)
    for _ in range(WARM + CHECKED + 1):
        trainer.iterate()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            trainer.iterate()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.flush()
    assert len(trainer._source.replayer._steps) == 2


def test_backbone_critics_train():
    table = {
        "variant": "wgan-gp",
        "dataset": {"name": "faces"},
        "critic": {"name": "backbone-heads"},
        "backbone": {"name": "timm", "model": "resnet18"},
    }
    trainer = Trainer(compose_table(table, device="cuda"))
    for _ in range(3):
        trainer.iterate()
    assert all(value == value for value in trainer.flush().values())
