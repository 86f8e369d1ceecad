"""Instance noise: how much there is when, and what it does to a game that circles without it."""

from itertools import pairwise

import pytest
import torch

from zoo import ArrayDataset, Critic, Draws
from zoo.api import compose_table
from zoo.augment import FADED, InstanceNoise
from zoo.errors import IncompatibleParts
from zoo.trainer import Trainer

TINY = {"generator": {"name": "mlp", "width": 8, "depth": 1}, "critic": {"name": "mlp", "width": 8, "depth": 1}}


def trainer(variant="vanilla", networks=TINY, given=None, **train):
    table = {"variant": variant, "dataset": {"name": "ring"}, **networks, "train": {"batch_size": 8, **train}}
    return Trainer(compose_table(table, device="cpu", given=given or {}))


def test_variances_add_up():
    samples = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0)) * 3
    noisy = InstanceNoise(4.0)(samples, Draws(1))
    # The standard error of a variance v of n samples is v sqrt(2 / n).
    assert noisy.var().item() == pytest.approx(25.0, abs=5 * 25 * (2 / 1e5) ** 0.5)
    assert (noisy - samples).mean().item() == pytest.approx(0.0, abs=5 * 4 / 1e5**0.5)


def test_it_falls_by_the_same_factor_each_time_and_ends():
    noise = InstanceNoise(2.0)
    found = []
    for iteration in range(12):
        noise.fade(iteration, 10)
        found.append(noise.std.item())
    assert found[0] == 2.0
    assert found[10:] == [0.0, 0.0]
    ratios = [later / earlier for earlier, later in pairwise(found[:10])]
    assert ratios == pytest.approx([FADED**0.1] * 9, rel=1e-5)
    samples = torch.randn(5, 2)
    assert torch.equal(noise(samples, Draws(0)), samples)


def test_it_lasts_for_half_of_the_steps_unless_it_is_said():
    for steps, train in ((3, {"steps": 4, "noise_until": 0.75}), (4, {"steps": 8})):
        run = trainer(noise=1.0, **train)
        seen = []
        for _ in range(6):
            run.iterate()
            seen.append(run._source._losses["critic"].noise.std.item())
        assert [value > 0 for value in seen] == [iteration < steps for iteration in range(6)]


def test_a_run_with_noise_goes_on_where_it_was():
    whole, first, second = (trainer(noise=1.0, steps=20) for _ in range(3))
    for _ in range(6):
        whole.iterate()
    for _ in range(3):
        first.iterate()
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        second.iterate()
    for name, network in whole.composition.networks.items():
        theirs = second.composition.networks[name].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())


def test_steps_that_are_traced_once_see_it_fade(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **settings: graph)
    eager, traced = trainer(noise=1.0, steps=8), trainer(noise=1.0, steps=8, compile=True)
    for _ in range(6):
        eager.iterate()
        traced.iterate()
    for name, network in eager.composition.networks.items():
        theirs = traced.composition.networks[name].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())


class Shown(Critic):
    """Keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.1))
        self.shown = []

    def forward(self, samples, condition=None):
        self.shown.append(samples.detach())
        return self.weight * samples.flatten(1).mean(1)


def test_noise_lies_on_what_the_augmentation_made_of_images():
    """On what was cut out as well, which is 0 but for it; and on all others, which are as they were."""
    critic, size = Shown(), 40
    given = {"critic": critic, "dataset": ArrayDataset(torch.full((size, 1, 8, 8), 0.9))}
    table = {
        "variant": "vanilla",
        "generator": TINY["generator"],
        "train": {"batch_size": size, "noise": 0.01, "steps": 10, "augment": ["cutout"]},
    }
    run = Trainer(compose_table(table, device="cpu", given=given))
    critic.shown.clear()
    run.iterate()
    (seen,) = [each for each in critic.shown[:2] if each.mean() > 0.3]
    cut = seen < 0.45
    assert 0 < cut.flatten(1).sum(1).min() <= cut.flatten(1).sum(1).max() <= 16
    for values, level in ((seen[cut], 0.0), (seen[~cut], 0.9)):
        assert float(values.mean()) == pytest.approx(level, abs=0.002)
        assert float(values.std()) == pytest.approx(0.01, rel=0.1)


def test_without_a_critic_there_is_nothing_to_see_it():
    table = {"variant": "histogram-js", "dataset": {"name": "gaussian-1d"}, "train": {"noise": 1.0}}
    with pytest.raises(IncompatibleParts, match=r"train\.noise changes what a critic sees"):
        compose_table(table, device="cpu")
