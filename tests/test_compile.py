"""Compiled losses: the gradients of eager ones, and eager runs where something cannot be compiled."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo import Distance, LipschitzConstraint
from zoo.api import compose_table
from zoo.trainer import Trainer

CASES = [
    ("wgan-gp", "ring", {}),
    ("wgan-gp", "ring", {"micro_batches": 2}),
    ("wgan-gp", "ring", {"precision": "bf16"}),
    ("wgan-gp", "digits", {"precision": "bf16"}),
    ("wgan-lp", "digits", {}),
    ("wgan", "digits", {}),
    ("vanilla", "digits", {}),
    ("vanilla-minimax", "ring", {}),
    ("rpgan", "ring", {}),
    ("r3gan", "digits", {}),
    ("ls-gan", "ring", {}),
    ("gls-gan", "digits", {}),
    ("deligan", "ring", {}),
    ("histogram-js", "gaussian-1d", {}),
    ("projected-gan", "digits", {}),
    ("sngan", "digits", {}),
    ("sngan", "ring", {"precision": "bf16"}),
    ("dragan", "ring", {}),
    ("gan-r1", "ring", {}),
    ("lecam-gan", "ring", {}),
    ("wgan-groupsort", "digits", {}),
    ("wgan-ct", "ring", {}),
    ("lsgan", "ring", {}),
    ("hinge-gan", "ring", {}),
    ("ragan", "digits", {}),
    ("fgan-kl", "ring", {}),
    ("fgan-reverse-kl", "ring", {}),
    ("fgan-pearson", "ring", {}),
    ("fgan-hellinger", "ring", {}),
    ("fgan-js", "ring", {}),
    ("pix2pix", "digit-translation", {}),
    ("cyclegan", "digit-translation", {}),
    ("cgan", "digits", {}),
    ("projection-gan", "digits", {}),
    ("cramer-gan", "ring", {}),
    ("mmd-gan", "digits", {}),
    ("sinkhorn-gan", "digits", {}),
    ("ebgan", "digits", {}),
    ("began", "digits", {"micro_batches": 2}),
    ("pacgan", "ring", {}),
    ("acgan", "digits", {}),
    ("infogan", "digits", {}),
    ("vae", "digits", {}),
    ("cvae", "digits", {"micro_batches": 2}),
    ("dvae", "digits", {}),
    ("aae", "ring", {}),
    ("bigan", "digits", {}),
]


TINY = {
    "ring": {"generator": {"name": "mlp", "width": 8, "depth": 1}, "critic": {"name": "mlp", "width": 8, "depth": 1}},
    "gaussian-1d": {},
    "digits": {},
    "digit-translation": {},
}


def as_traced(graph, **settings):
    """In the place of `torch.compile`, which takes seconds: the graph as it was traced."""
    assert settings["fullgraph"]
    return graph


def pair(variant, dataset, train, said=None, given=None):
    """The same training twice: eagerly and compiled."""
    table = {"variant": variant, "dataset": {"name": dataset}, "train": {"batch_size": 8, **train}, **TINY[dataset]}
    if variant == "projected-gan":
        table |= {"backbone": {"name": "timm", "model": "test_resnet"}, "critic": {"stages": [0, 1, 2]}}
    both = []
    for compile_ in (False, True):
        settings = {**table, "train": {**table["train"], "compile": compile_}}
        composition = compose_table(
            settings, device="cpu", given={name: make() for name, make in (given or {}).items()}
        )
        both.append(Trainer(composition, None if said is None else said.append))
    return both


def gradients(trainer, phase):
    trainer.trainable.only(phase, trainer.iteration)
    trainer.optimizers[phase.name].zero_grad(set_to_none=True)
    torch.manual_seed(0)  # Of dropout.
    trainer._source.evaluate(phase, trainer._due(phase), trainer._inputs(phase), 0, eager=False)
    return [parameter.grad for parameter in trainer._inputs(phase)]


def same_state(one, other, tolerance=0.0):
    for name, network in one.composition.networks.items():
        theirs = other.composition.networks[name].state_dict()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, theirs[key], rtol=tolerance, atol=tolerance)


def test_every_variant_is_in_the_cases():
    assert {case[0] for case in CASES} == {entry.name for entry in zoo.list_components("variant")}


@pytest.mark.parametrize(("variant", "dataset", "train"), CASES)
def test_what_is_traced_gives_the_gradients_of_an_eager_step(variant, dataset, train, monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    said = []
    eager, traced = pair(variant, dataset, train, said)
    for ours, theirs in zip(traced.composition.phases, eager.composition.phases, strict=True):
        for one, other in zip(gradients(traced, ours), gradients(eager, theirs), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
            assert one is None or one.stride() == other.stride()
    same_state(traced, eager)
    assert said == []


COMPILED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_compile import gradients, pair
said, (dataset, precision) = [], sys.argv[2:]
eager, fast = pair("wgan-gp", dataset, {"precision": precision}, said)
found = [gradients(trainer, trainer.composition.phases[0]) for trainer in (fast, eager)]
print(max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(*found)), *said)
"""


@pytest.mark.parametrize(("dataset", "precision"), [("ring", "32"), ("digits", "bf16")])
def test_compiled_gradients_of_a_gradient_penalty_are_those_of_an_eager_step(dataset, precision):
    # In a process of its own: torch's compiler imports what setuptools replaces, and minds who came first.
    command = [sys.executable, "-c", COMPILED, str(Path(__file__).parent), dataset, precision]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1e-6, done.stdout


@pytest.mark.parametrize(("variant", "dataset"), [("deligan", "ring"), ("r3gan", "digits")])
def test_iterations_are_those_of_eager_runs_with_lazy_terms_and_layouts(variant, dataset, monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    eager, traced = pair(variant, dataset, {})
    for step in range(6):
        for trainer in (eager, traced):
            trainer.iterate(estimate=step == 3)
    same_state(traced, eager)
    assert traced.flush() == pytest.approx(eager.flush())
    assert torch.equal(traced.draws.randn(3), eager.draws.randn(3))


class Counting(LipschitzConstraint):
    """A penalty with state: a running mean of slopes that it pushes them towards; and what it records."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def penalty(self, batch):
        slopes = batch.slopes("segment")
        batch.record(slope=slopes.mean())
        return (slopes - self.mean).square().mean()

    def after_step(self, means):
        if "slope" in means:
            self.mean.lerp_(means["slope"], 0.5)


def test_state_that_components_update_is_seen_by_the_compiled_function(monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    eager, traced = pair("vanilla", "ring", {}, given={"lipschitz_constraint": lambda: {"c": Counting()}})
    for _ in range(4):
        eager.iterate()
        traced.iterate()
    ours, theirs = (next(iter(t.composition.parts.constraints.values())) for t in (traced, eager))
    assert ours.mean != 1.0
    assert torch.equal(ours.mean, theirs.mean)
    same_state(traced, eager)


class Reading(Distance):
    """The difference of means, with something in it that cannot be captured."""

    def critic_loss(self, batch):
        return self.hinder(batch) * (batch.fake_scores.mean() - batch.real_scores.mean())

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


class Stepping(Reading):
    def hinder(self, batch):
        return 1.0 + batch.step


class Waiting(Reading):
    def hinder(self, batch):
        return 2.0 if batch.fake_scores.mean().item() > 0 else 1.0


@pytest.mark.parametrize(
    ("distance", "why"), [(Stepping, "reads the number of the iteration"), (Waiting, "get value out of a tracing")]
)
def test_what_cannot_be_compiled_runs_eagerly_and_is_said_once(distance, why, monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    said = []
    eager, traced = pair("vanilla", "ring", {}, said, {"distance": distance})
    for _ in range(3):
        eager.iterate()
        traced.iterate()
    same_state(traced, eager)
    (line,) = said
    assert line.startswith("the critic phase is not compiled, and runs eagerly: ")
    assert why in line


class Elsewhere(Distance):
    """Weights of samples that numpy computes: a trace keeps those of the first batch."""

    def critic_loss(self, batch):
        ranks = torch.as_tensor(np.argsort(np.argsort(batch.fake[:, 0].detach().numpy())).copy()).float()
        return (batch.fake_scores * ranks).mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def test_what_is_computed_outside_of_torch_is_found_out(monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    said = []
    both = pair("wgan", "ring", {}, said, {"distance": Elsewhere})
    for _ in range(3):
        for trainer in both:
            trainer.iterate()
    same_state(*both)
    assert said[0].startswith("the critic phase is not compiled, and runs eagerly: ")
    assert len(said) == 1
