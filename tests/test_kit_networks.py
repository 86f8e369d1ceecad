"""The conformance kit's checks of networks, data and compositions: each catches what it is for, and nothing else."""

import random
import re
from typing import Annotated

import numpy as np
import pytest
import torch
from torch import nn

from zoo import (
    ArrayDataset,
    Backbone,
    BadData,
    Critic,
    Density,
    Draws,
    Generator,
    IncompatibleParts,
    Phase,
    Procedure,
    Scores,
    Setting,
    Stage,
    Variant,
    Want,
)
from zoo.testing import cases_of, check_component
from zoo.testing.synchronisation import Watch


def failures(hook, component):
    """What fails, by the check's name."""
    results = [case.result() for case in cases_of(hook, component)]
    return {result.check: result.detail for result in results if result.bad}


class Good(Generator):
    """A small one."""

    latent_dim = 6

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, torch.Size(shape).numel())

    def forward(self, z, condition=None):
        samples = self.out(torch.relu(self.norm(self.hidden(z)))).view(-1, *self.shape)
        return samples.tanh() if len(self.shape) == 3 else samples


class Labelled(Good):
    """For labelled data only."""

    conditional = True

    def __init__(self, shape, classes):
        if classes is None:
            raise IncompatibleParts("labels are needed; use another generator.")
        super().__init__(shape)
        self.embedding = nn.Embedding(classes, 6)

    def forward(self, z, condition=None):
        return super().forward(z + self.embedding(condition))


class WrongShape(Good):
    def forward(self, z, condition=None):
        return super().forward(z).flatten(1)


class OutOfRange(Good):
    def forward(self, z, condition=None):
        return self.out(self.hidden(z)).view(-1, *self.shape)


class Waits(Good):
    def forward(self, z, condition=None):
        samples = super().forward(z)
        return samples / max(1.0, samples.abs().max().item())


class WaitsBackwards(Good):
    def forward(self, z, condition=None):
        samples = super().forward(z)
        if samples.requires_grad:
            samples.register_hook(lambda gradient: gradient if gradient.sum() > -1e9 else 0 * gradient)
        return samples


class NumPyWeights(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.out.bias.data += torch.from_numpy(np.random.randn(*self.out.bias.shape)).float()


class PythonWeights(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.out.bias.data += random.random()


class GlobalLatent(Good):
    def latent(self, n, draws):
        return torch.randn(n, self.latent_dim)


class ConstantLatent(Good):
    def latent(self, n, draws):
        return torch.ones(n, self.latent_dim)


class WrongLatent(Good):
    def latent(self, n, draws):
        return draws.randn(n, 6, 1)[..., 0].T.contiguous().T[:, :5]


class PlainState(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.shift = torch.randn(torch.Size(shape).numel())

    def forward(self, z, condition=None):
        return super().forward(z) * 0.5 * self.shift.sigmoid().view(self.shape)


class StateInEvaluation(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, z, condition=None):
        self.calls += 1
        return super().forward(z)


class Unused(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.spare = nn.Linear(3, 3)


class Detached(Good):
    def forward(self, z, condition=None):
        return super().forward(z).detach()


class ChangesInput(Good):
    def forward(self, z, condition=None):
        if not z.requires_grad:
            z.mul_(1.001)
        return super().forward(z)


class Noisy(Good):
    def forward(self, z, condition=None):
        return super().forward(z + 0.1 * torch.randn_like(z))


class Mixed(Good):
    def forward(self, z, condition=None):
        return super().forward(z - z.mean(0))


class ForgetsLatent(Good):
    def forward(self, z, condition=None):
        return super().forward(0 * z)


class SinglePrecision(Good):
    def forward(self, z, condition=None):
        return super().forward(z + torch.ones(6, dtype=torch.float32)).float()


class Unpicklable(Good):
    def __init__(self, shape):
        super().__init__(shape)
        self.activation = lambda x: x


class BadRefusal(Good):
    def __init__(self, shape):
        if len(shape) == 1:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        super().__init__(shape)


class Nowhere(Good):
    def __init__(self, shape):
        raise IncompatibleParts("it takes nothing; use another.")


class WantsMore(Good):
    def __init__(self, shape, discriminator):
        super().__init__(shape)


class NotANumber(Good):
    def forward(self, z, condition=None):
        return super().forward(z) + (z[:, :1].sum() * 0).log().exp().log() * 0


GENERATORS = [
    (WrongShape, "shapes"),
    (OutOfRange, "images-in-range"),
    (Waits, "no-synchronisation"),
    (WaitsBackwards, "no-synchronisation"),
    (NumPyWeights, "repeatable"),
    (PythonWeights, "repeatable"),
    (GlobalLatent, "latent"),
    (ConstantLatent, "latent"),
    (WrongLatent, "latent"),
    (PlainState, "state"),
    (StateInEvaluation, "state"),
    (Unused, "gradients"),
    (Detached, "gradients"),
    (ChangesInput, "does-not-change-its-inputs"),
    (Noisy, "deterministic"),
    (Mixed, "sample-independence"),
    (ForgetsLatent, "uses-latent-points"),
    (SinglePrecision, "precision"),
    (Unpicklable, "copies"),
    (BadRefusal, "builds"),
    (Nowhere, "builds"),
    (WantsMore, "builds"),
    (NotANumber, "shapes"),
]


class Scorer(Critic):
    """A small one."""

    def __init__(self, shape):
        super().__init__()
        self.hidden = nn.Linear(torch.Size(shape).numel(), 8)
        self.out = nn.Linear(8, 1)

    def forward(self, samples, condition=None):
        return self.out(self.hidden(samples.flatten(1)).tanh()).squeeze(1)


class OnABackbone(Critic):
    """Uses the first stage only, so that the rest of the kit's backbone gets no gradient."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.stages[0].channels, 1, 1)

    def forward(self, samples, condition=None):
        patches = self.head(self.backbone(samples)[0]).squeeze(1)
        return Scores((patches, patches.mean((1, 2))), features=patches)


class Column(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(samples)[:, None]


class FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * (1 - x.tanh().square())


class NoSecondDerivative(Scorer):
    def forward(self, samples, condition=None):
        return self.out(FirstOrder.apply(self.hidden(samples.flatten(1)))).squeeze(1)


class SlopeWithoutGradient(Scorer):
    """A slope that autograd cannot differentiate at all."""

    def forward(self, samples, condition=None):
        return FirstOrder.apply(samples.flatten(1)).sum(1) + 0 * super().forward(samples).detach() + self.out.bias


class SpreadAtTies(Scorer):
    """The batch's standard deviation has an infinite derivative where all samples are equal."""

    def forward(self, samples, condition=None):
        spread = (samples - samples.mean(0)).square().mean().sqrt()
        return super().forward(samples) + spread


class LengthAtZero(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(samples) + samples.flatten(1).square().sum(1).sqrt()


class ScoresNothing(Scorer):
    def forward(self, samples, condition=None):
        return super().forward(0 * samples)


CRITICS = [
    (Column, "shapes"),
    (NoSecondDerivative, "second-derivatives"),
    (SlopeWithoutGradient, "slopes"),
    (SpreadAtTies, "slopes-at-ties"),
    (LengthAtZero, "slopes-at-ties"),
    (ScoresNothing, "uses-samples"),
]


class Bone(Backbone):
    """A small one."""

    stages = (Stage("low", 4, 2), Stage("high", 6, 4))

    def __init__(self, shape):
        super().__init__()
        if len(shape) != 3:
            raise IncompatibleParts("it takes images.")
        self.low = nn.Sequential(nn.Conv2d(shape[0], 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.high = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, images):
        low = self.low(images).relu()
        return [low, self.high(low)]


class Frozen(Bone):
    """Its first stage is frozen."""

    def __init__(self, shape):
        super().__init__(shape)
        self.low.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.low.eval()
        return self


class ByASetting(Frozen):
    """All of it can be frozen."""

    def __init__(self, shape, *, freeze: Annotated[bool, Setting("all of it")] = False):
        super().__init__(shape)
        self.requires_grad_(not freeze)


class WrongChannels(Bone):
    stages = (Stage("low", 4, 2), Stage("high", 7, 4))


class WrongStride(Bone):
    stages = (Stage("low", 4, 2), Stage("high", 6, 8))


class TooManyStages(Bone):
    stages = (*Bone.stages, Stage("top", 6, 8))


class StatisticsMove(Frozen):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


class Thaws(Frozen):
    def train(self, mode=True):
        super().train(mode)
        return self.requires_grad_(True)


class Blocks(Frozen):
    def forward(self, images):
        with torch.no_grad():
            low = self.low(images).relu()
        return [low, self.high(low)]


class Flat(Bone):
    """Divides by the contrast of each image."""

    def forward(self, images):
        return super().forward(images / images.std((1, 2, 3), keepdim=True))


BACKBONES = [
    (WrongChannels, "taps"),
    (WrongStride, "taps"),
    (TooManyStages, "taps"),
    (StatisticsMove, "freeze"),
    (Thaws, "freeze"),
    (Blocks, "freeze"),
    (Flat, "extremes"),
]


class Pair(Density):
    """Two Gaussians in the plane."""

    sigma = 0.2

    def __init__(self):
        self.shape = (2,)
        self.centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])

    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + self.sigma * draws.randn(n, 2)

    def log_density(self, points):
        squares = (points[:, None] - self.centres).square().sum(2)
        peak = torch.tensor(2 * torch.pi * self.sigma**2 * 2).log()
        return torch.logsumexp(-squares / (2 * self.sigma**2), dim=1) - peak


class OffByAConstant(Pair):
    def log_density(self, points):
        return super().log_density(points) + 0.1


class OtherDensity(Pair):
    """Its samples lean to one centre, its log density does not know."""

    def sample(self, n, draws):
        return self.centres[(draws.rand(n) < 0.95).long()] + self.sigma * draws.randn(n, 2) * draws.rand(n, 1)


class GlobalNumbers(Pair):
    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + self.sigma * torch.randn(n, 2)


class MissesACentre(Pair):
    def sample(self, n, draws):
        return self.centres[1] + self.sigma * draws.randn(n, 2)


class WrongSigma(Pair):
    def sample(self, n, draws):
        return self.centres[draws.randint(2, n)] + 1.1 * self.sigma * draws.randn(n, 2)


class WaitsForEach(Pair):
    def sample(self, n, draws):
        modes = draws.randint(2, n).tolist()
        return self.centres[modes] + self.sigma * draws.randn(n, 2)


class DoublePrecision(Pair):
    def sample(self, n, draws):
        return super().sample(n, draws).double()


def images():
    """Four images."""
    return ArrayDataset(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 2, 1, 2]))


def too_bright():
    return ArrayDataset(torch.rand(4, 1, 8, 8) * 3)


def wrong_labels():
    dataset = images()
    dataset.classes = 2
    return dataset


def wrong_size():
    dataset = images()
    dataset.size = 5
    return dataset


def refuses_without_reason():
    raise BadData("")


DATASETS = [
    (OffByAConstant, "log-density"),
    (OtherDensity, "log-density"),
    (GlobalNumbers, "draws"),
    (MissesACentre, "modes"),
    (WrongSigma, "modes"),
    (WaitsForEach, "no-synchronisation"),
    (DoublePrecision, "draws"),
    (too_bright, "samples"),
    (wrong_labels, "samples"),
    (wrong_size, "samples"),
    (refuses_without_reason, "builds"),
]


class Play(Procedure):
    """A critic and a generator."""

    def wants(self, about):
        return {"generator": Want("generator"), "critic": Want("critic")}

    def phases(self, parts):
        return [
            Phase("critic", ("critic",), lambda batch: {"critic_loss": parts.distance.critic_loss(batch)}),
            Phase("generator", ("generator",), lambda batch: {"generator_loss": parts.distance.generator_loss(batch)}),
        ]


class IdlePart(Play):
    def phases(self, parts):
        return super().phases(parts)[1:]


class UnknownPart(Play):
    def phases(self, parts):
        first, second = super().phases(parts)
        return [first, Phase("generator", ("generator", "mapper"), second.loss)]


class SameNames(Play):
    def phases(self, parts):
        return [Phase("step", phase.trains, phase.loss) for phase in super().phases(parts)]


class UnknownHook(Play):
    def wants(self, about):
        return {**super().wants(about), "mapper": Want("mapper")}


class NoGradient(Play):
    def phases(self, parts):
        first, second = super().phases(parts)
        return [
            first,
            Phase("generator", ("generator",), lambda batch: {"loss": second.loss(batch)["generator_loss"].detach()}),
        ]


class PerSample(Play):
    def phases(self, parts):
        return [Phase("both", ("critic", "generator"), lambda batch: {"loss": batch.real_scores - batch.fake_scores})]


class Remembers(Play):
    """Counts its calls where no checkpoint sees it."""

    def phases(self, parts):
        calls = []

        def loss(batch):
            calls.append(0)
            return {"critic_loss": parts.distance.critic_loss(batch) * len(calls)}

        return [Phase("critic", ("critic",), loss), super().phases(parts)[1]]


PROCEDURES = [
    (IdlePart, "trains-every-part"),
    (UnknownPart, "phases"),
    (SameNames, "phases"),
    (UnknownHook, "wants"),
    (NoGradient, "losses"),
    (PerSample, "losses"),
    (Remembers, "trains-and-resumes"),
]

TABLE = {
    "distance": "wasserstein",
    "generator": {"name": "mlp", "width": 8},
    "critic": {"name": "mlp", "width": 8},
    "train": {"optimizer": {"name": "Adam", "lr": 1e-3}},
}


def variant(summary="A small one.", **changes):
    return Variant(summary=summary, table={**TABLE, **changes})


GOOD_VARIANTS = [
    variant(),
    variant(**{"for": {"vector": {"generator": "dcgan"}}}),
    variant(dataset="ring"),
    variant(train={"critic_steps": 5, "average": 0, "schedule": "linear", "micro_batches": 3}),
]

VARIANTS = [
    (variant(summary=" "), "summary"),
    (variant(summary="x" * 161), "summary"),
    (variant(summary="One line.\nAnother."), "summary"),
    (variant(critic={"name": "mlp", "wdith": 8}), "settings"),
    (variant(generator={"name": "mlp", "width": -8}), "settings"),
    (variant(train={"leraning_rate": 1}), "settings"),
    (variant(**{"for": {"image": {"critic": {"name": "mlp", "norm": "spectral"}}}}), "settings"),
    (variant(critik="mlp"), "recipe"),
    (variant(critic="not-there"), "recipe"),
    (variant(lipschitz_constraint=["not-there"]), "recipe"),
    (variant(generator={"name": "mlp", "width": None}), "round-trip"),
    (variant(train={"optimizer": {"name": "SGD", "lr": 1e30}}), "trains-and-resumes"),
    (variant(train={"optimizers": {"kritic": {"lr": 1e-3}}}), "trains-and-resumes"),
    (variant(**{"for": {"vector": {"generator": "dcgan"}, "image": {"distance": "none"}}}), "trains-and-resumes"),
]


@pytest.mark.parametrize(
    ("hook", "component"),
    [
        ("generator", Good),
        ("generator", Labelled),
        ("critic", Scorer),
        ("critic", OnABackbone),
        ("backbone", Bone),
        ("backbone", Frozen),
        ("backbone", ByASetting),
        ("dataset", Pair),
        ("dataset", images),
        ("procedure", Play),
        *(("variant", each) for each in GOOD_VARIANTS),
    ],
)
def test_a_correct_component_passes(hook, component):
    assert failures(hook, component) == {}
    check_component(hook, component)


@pytest.mark.parametrize(
    ("hook", "component", "check"),
    [
        *(("generator", *each) for each in GENERATORS),
        *(("critic", *each) for each in CRITICS),
        *(("backbone", *each) for each in BACKBONES),
        *(("dataset", *each) for each in DATASETS),
        *(("procedure", *each) for each in PROCEDURES),
        *(("variant", *each) for each in VARIANTS),
    ],
)
def test_a_broken_component_is_caught_by_the_check_for_it(hook, component, check):
    results = [case.result() for case in cases_of(hook, component) if case.what.name == check]
    assert [result.status for result in results] == ["failed"]


@pytest.mark.parametrize(
    ("hook", "component", "text"),
    [
        ("generator", Waits, r"item\(\) at .*test_kit_networks.py:\d+ \(return samples / max"),
        ("generator", Unused, "2 parameters get no gradient, such as spare"),
        ("generator", BadRefusal, "RuntimeError: mat1.*IncompatibleParts"),
        ("generator", WantsMore, "'discriminator', which the core does not give to a generator"),
        ("critic", Column, r"\(1, 1\); it must be \(1,\)"),
        ("dataset", OffByAConstant, r"integrates to 1\.10"),
        ("procedure", IdlePart, "no phase trains critic"),
        ("variant", VARIANTS[8][0], "critic 'not-there'"),
    ],
)
def test_the_message_says_what_is_wrong(hook, component, text):
    assert any(re.search(text, detail) for detail in failures(hook, component).values())


def test_a_density_in_need_of_a_path_is_skipped():
    def wants_a_path():
        """What a path leads to."""
        raise BadData("give a path.")

    statuses = {case.result().status for case in cases_of("dataset", wants_a_path)}
    assert "failed" not in statuses
    assert "skipped" in statuses


def test_a_state_that_is_not_saved_is_found_in_a_resumed_variant(plugins_of, install, monkeypatch):
    """A distance that counts its calls in an attribute; the same with a buffer is correct."""
    code = """
import torch
from zoo import Distance, hookimpl


class Counts(Distance):
    def __init__(self):
        super().__init__()
        self.count = torch.ones(())

    def critic_loss(self, batch):
        return (batch.fake_scores - batch.real_scores).mean() * self.count

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

    def after_step(self, means):
        self.count.mul_(1.1)


class Saves(Counts):
    def __init__(self):
        super().__init__()
        del self.count
        self.register_buffer("count", torch.ones(()))


@hookimpl
def distance():
    return {"counts": Counts, "saves": Saves}
"""
    install("counting", "[zoo.v1.distance]\ncounts = counting\nsaves = counting\n", code)
    from zoo.plugins import installed

    installed.cache_clear()
    try:
        broken = failures("variant", variant(distance="counts"))
        assert set(broken) == {"trains-and-resumes"}
        assert "some state is not saved" in broken["trains-and-resumes"]
        assert failures("variant", variant(distance="saves")) == {}
    finally:
        installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("item()", lambda x: x.sum().item()),
        ("item()", lambda x: 1 if x.sum() > 0 else 2),
        ("item()", lambda x: float(x.sum())),
        ("tolist()", lambda x: x.tolist()),
        ("numpy()", lambda x: x.numpy()),
        ("cpu()", lambda x: x.cpu()),
        ("to()", lambda x: x.to("cpu")),
        ("__array__()", np.asarray),
        ("index()", lambda x: x[x > 0]),
        ("nonzero()", lambda x: torch.where(x > 0)),
        ("masked_select()", lambda x: x.masked_select(x > 0)),
        ("_unique2()", lambda x: x.unique()),
        ("equal()", lambda x: torch.equal(x, x)),
        ("allclose()", lambda x: torch.allclose(x, x)),
    ],
)
def test_watch_sees_what_waits(name, run):
    with Watch() as watch:
        run(torch.ones(3))
    assert watch.seen[0].startswith(f"{name} at {__file__}:")


def test_watch_is_silent_where_nothing_waits():
    with Watch() as watch:
        x = Draws(1).randn(4, 3).requires_grad_()
        y = torch.where(x > 0, x, -x)
        y = y.clone().masked_fill(y > 1, 0.0)[torch.tensor([0, 1])]
        y[y > 0.5] = 0.0
        y.repeat_interleave(2).sum().backward()
    assert watch.seen == []
