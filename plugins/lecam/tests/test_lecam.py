"""LeCam's penalty and averages against NumPy, and the LeCam divergence that its best critic shows."""

import copy
from importlib.metadata import distribution

import numpy as np
import pytest
import torch
import zoo_lecam
from torch import nn

import zoo
from zoo import Batch, Critic
from zoo.api import compose_table
from zoo.trainer import Trainer

LeCam = zoo_lecam.lipschitz_constraint()["lecam"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Itself(Critic):
    """Scores `(N, ...)` are the samples."""

    def forward(self, samples, condition=None):
        return samples


class Table(Critic):
    """A score of its own for each of the points 0, 1, 2, ..."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(torch.as_tensor(scores))

    def forward(self, samples, condition=None):
        return self.scores[samples.squeeze(1).long()]


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2.0, size=shape))


def scored(seed, n=16):
    return Batch(critic=Itself(), real=drawn(n, seed=seed), fake=drawn(n, seed=seed + 100))


def step(constraint, batch):
    value = constraint.penalty(batch)
    constraint.after_step({name: torch.stack(each).mean().float() for name, each in batch.records.items()})
    return value


def anchored(real, fake, **settings):
    """A constraint whose averages are these, and that has begun."""
    constraint = LeCam(start=0, **settings)
    constraint.real_average.fill_(real)
    constraint.fake_average.fill_(fake)
    constraint.steps.fill_(1)
    return constraint


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group.rpartition(".")[2], e.name) for e in distribution("zoo-lecam").entry_points}
    hooks = ("lipschitz_constraint", "variant")
    assert declared == {(hook, name) for hook in hooks for name in getattr(zoo_lecam, hook)()}


@pytest.mark.parametrize("shape", [(50,), (50, 2, 3)])
def test_both_forms_are_those_of_the_paper_and_of_the_code(shape):
    real, fake = drawn(*shape), drawn(*shape, seed=1)
    x, y = real.numpy(), fake.numpy()
    batch = Batch(critic=Itself(), real=real, fake=fake)
    paper = ((x - -0.5) ** 2).mean() + ((y - 0.25) ** 2).mean()
    code = (np.maximum(x - -0.5, 0) ** 2).mean() + (np.maximum(0.25 - y, 0) ** 2).mean()
    for form, expected in (("paper", paper), ("code", code)):
        value = anchored(0.25, -0.5, weight=3.0, form=form).penalty(batch)
        assert value.item() == pytest.approx(3 * expected, rel=1e-12)


def test_the_codes_form_moves_only_scores_that_are_beyond_the_other_sides_average():
    real = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    fake = torch.tensor([-3.0, 0.0, 2.0], requires_grad=True)
    anchored(1.0, -1.0, weight=3.0).penalty(Batch(critic=Itself(), real=real, fake=fake)).backward()
    assert real.grad.tolist() == pytest.approx([0, 2, 8])
    assert fake.grad.tolist() == pytest.approx([-8, -2, 0])


@pytest.mark.parametrize("start", [0, 1, 4])
def test_averages_and_penalties_over_steps_are_those_of_a_loop(start):
    constraint, means = LeCam(weight=2.0, decay=0.8, start=start), [0.0, 0.0]
    for count in range(8):
        batch = scored(count)
        x, y = batch.real.numpy(), batch.fake.numpy()
        begun = count >= max(start, 1)
        expected = (np.maximum(x - means[1], 0) ** 2).mean() + (np.maximum(means[0] - y, 0) ** 2).mean()
        assert step(constraint, batch).item() == pytest.approx(2 * expected * begun, rel=1e-5)
        keep = 0.8 if begun else 0.0
        means = [keep * old + (1 - keep) * new.mean() for old, new in zip(means, (x, y), strict=True)]
        assert [constraint.real_average.item(), constraint.fake_average.item()] == pytest.approx(means, rel=1e-5)
    assert constraint.steps.item() == 8


def test_a_generators_step_moves_no_average():
    constraint = anchored(1.0, -1.0)
    constraint.after_step({"something": torch.ones(())})
    assert (constraint.real_average.item(), constraint.fake_average.item(), constraint.steps.item()) == (1, -1, 1)


def test_a_batch_twice_over_has_the_same_penalty_and_averages():
    real, fake = drawn(8), drawn(8, seed=1)
    once, twice = LeCam(start=0), LeCam(start=0)
    for _ in range(3):
        value = step(once, Batch(critic=Itself(), real=real, fake=fake))
        again = step(twice, Batch(critic=Itself(), real=real.repeat(2), fake=fake.repeat(2)))
        torch.testing.assert_close(value, again)
    torch.testing.assert_close(once.state_dict(), twice.state_dict())


@pytest.mark.parametrize(("p", "q"), [((0.5, 0.3, 0.2), (0.1, 0.3, 0.6)), ((0.6, 0.4), (0.6, 0.4))])
@pytest.mark.parametrize(("weight", "anchor"), [(0.3, 1.0), (0.1, 2.0)])
def test_the_best_wasserstein_critic_shows_the_lecam_divergence(weight, anchor, p, q):
    """Of E D(x) - E D(y) - penalty in the paper's form, at D* = (1 / (2 weight) - a) (p - q) / (p + q)."""
    p, q = np.array(p), np.array(q)
    factor = 1 / (2 * weight) - anchor
    critic = Table(factor * (p - q) / (p + q))
    real, fake = (torch.cat([torch.full((round(40 * s), 1), float(k)) for k, s in enumerate(law)]) for law in (p, q))
    batch = Batch(critic=critic, real=real, fake=fake)
    gap = batch.real_scores.mean() - batch.fake_scores.mean()
    (slope,) = torch.autograd.grad(
        anchored(anchor, -anchor, weight=weight, form="paper").penalty(batch) - gap, critic.scores
    )
    assert slope.abs().max().item() < 1e-6
    assert gap.item() == pytest.approx(factor * ((p - q) ** 2 / (p + q)).sum(), rel=1e-6)


def test_the_linear_critic_of_two_diracs_stops_where_the_closed_form_says():
    """Real at 0, fake at t, scores s x: s t + w ((a_F)^2 + (s t - a_R)^2) is least at s t = a_R - 1 / (2 w)."""
    score = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    constraint, optimizer = anchored(0.4, 0.0, weight=2.0, form="paper"), torch.optim.SGD([score], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        batch = Batch(critic=Itself(), real=0 * score.repeat(4), fake=score.repeat(4))
        (batch.fake_scores.mean() - batch.real_scores.mean() + constraint.penalty(batch)).backward()
        optimizer.step()
    assert score.item() == pytest.approx(0.4 - 0.25, abs=1e-6)


def trainer(start):
    table = {
        "variant": "vanilla",
        "dataset": {"name": "ring"},
        "lipschitz_constraint": [{"name": "lecam", "start": start, "decay": 0.5}],
        "generator": {"width": 8, "depth": 1},
        "critic": {"width": 8, "depth": 1},
        "train": {"batch_size": 8, "micro_batches": 2},
    }
    return Trainer(compose_table(table, device="cpu"))


@pytest.mark.parametrize("start", [2, 5])
def test_a_run_that_is_stopped_before_or_after_the_start_goes_on_with_its_averages(start):
    first, second = trainer(start), trainer(start)
    for _ in range(3):
        first.iterate()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for run in (first, second):
        for _ in range(5):
            run.iterate()
    one, other = (run.composition.parts.constraints["lecam"].state_dict() for run in (first, second))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert one["steps"].item() == 8
    assert one["real_average"].item() != 0
    torch.testing.assert_close(
        *(run.composition.networks["critic"].state_dict() for run in (first, second)), rtol=0, atol=0
    )


@pytest.mark.parametrize(("setting", "value"), [("weight", -1.0), ("decay", 1.5), ("start", -1), ("form", "relu")])
def test_settings_without_meaning_are_refused_by_name(setting, value):
    with pytest.raises(zoo.BadSetting, match=setting):
        zoo.create("lipschitz_constraint", "lecam", **{setting: value})


def test_the_variant_has_the_settings_of_the_authors_script_for_a_fifth_of_cifar():
    variant = zoo_lecam.variant()["lecam-gan"]
    assert variant.table["distance"] == "hinge"
    assert variant.table["lipschitz_constraint"][1] == {
        "name": "lecam", "weight": 0.3, "form": "code", "decay": 0.99, "start": 1000,
    }  # fmt: skip
    assert variant.table["train"] == {
        "critic_steps": 4,
        "batch_size": 50,
        "optimizer": {"name": "Adam", "lr": 2e-4, "betas": [0.0, 0.999]},
    }
    assert (variant.paper, variant.year) == ("https://arxiv.org/abs/2104.03310", 2021)
