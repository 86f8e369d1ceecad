"""Neural distances are the truth where it is known, whatever the unit of the data and the strength of the penalty."""

import json
import math

import numpy as np
import pytest
import torch

from zoo import neural_distance
from zoo.draws import Draws
from zoo.errors import BadData, UnknownName, UsageError
from zoo.neural import critic as training
from zoo.neural.critic import LOOKS, PATIENCE, train_critic
from zoo.neural.game import Plan, game
from zoo.neural.judging import Judgement, judge
from zoo.neural.pair import LEAST, Pair, halves, paired, parts, standardised
from zoo.plugins import installed

QUICK = {"train.steps": 200, "critic.width": 32}
WEIGHT = "lipschitz_constraint.gradient-penalty.weight"


def normals(shift, n=4000, dimension=1):
    draws = Draws(3)
    one, other = draws.randn(n, dimension), draws.randn(n, dimension)
    other[:, 0] += shift
    return one, other


def measured(variant, one, other, **options):
    settings = {**QUICK, **options.pop("settings", {})}
    return neural_distance(variant, one, other, settings=settings, device="cpu", **{"seeds": 1, "floors": 0, **options})


@pytest.mark.parametrize(("variant", "dimension"), [("wgan-lp", 1), ("wgan-gp", 2)])
def test_w1_of_shifted_normals_is_the_shift(variant, dimension):
    found = measured(variant, *normals(3.0, dimension=dimension), settings={"train.steps": 500})
    assert found.distance == pytest.approx(3.0, rel=0.07)
    assert (found.estimates, found.constant, found.size) == ("W1", 1.0, 4000)


def test_js_of_shifted_normals():
    found = measured("vanilla", *normals(2.0), settings={"train.steps": 100})
    assert found.distance == pytest.approx(0.336831, rel=0.1)
    assert found.distance == found.estimate


@pytest.mark.parametrize("weight", [1.0, 10.0])
def test_between_two_points_a_penalty_is_exceeded_as_theory_says_and_the_slope_corrects_it(weight):
    # At unit scale two points are 2 apart, so that the slope is 1 + 2 / (2 weight).
    settings = {WEIGHT: weight, "train.steps": 500}
    found = measured("wgan-lp", torch.zeros(400), torch.full((400,), 3.0), own_weight=True, settings=settings)
    assert found.scale == pytest.approx(1.5)
    assert found.estimate / 3 == pytest.approx(1 + 1 / weight, rel=0.03)
    assert found.distance == pytest.approx(3.0, rel=0.03)


def test_penalties_are_raised_until_slopes_keep_their_constant():
    raised, kept = (
        measured("wgan-lp", *normals(3.0), own_weight=own, settings={WEIGHT: 1.0, "train.steps": 300})
        for own in (False, True)
    )
    assert raised.critics[0].stiffness > 5
    assert kept.critics[0].stiffness == 1.0
    assert raised.estimate == pytest.approx(3.0, rel=0.2)
    assert kept.estimate > 3.0 * 1.5


def test_the_distance_is_that_of_slope_1_whatever_the_constant():
    settings = {"lipschitz_constraint.gradient-penalty.constant": 2.0, WEIGHT: 30.0, "train.steps": 400}
    found = measured("wgan-lp", *normals(3.0), own_weight=True, settings=settings)
    assert found.constant == 2.0
    assert found.estimate == pytest.approx(6.0, rel=0.15)
    assert found.distance == pytest.approx(3.0, rel=0.07)


def test_w1_has_the_unit_of_the_data_and_js_has_none():
    one, other = normals(3.0, n=400)
    few = {"train.steps": 20}
    for variant, unit in (("wgan-lp", 1024.0), ("vanilla", 1.0)):
        plain = measured(variant, one, other, settings=few)
        scaled = measured(variant, one * 1024, other * 1024, settings=few)
        assert scaled.distance == pytest.approx(unit * plain.distance, rel=1e-3)
        assert scaled.slope == pytest.approx(plain.slope, rel=1e-3)


def test_equal_distributions_are_no_further_apart_than_their_floor():
    found = measured("wgan-lp", *normals(0.0, n=1000), seeds=2, floors=2, settings={"train.steps": 40})
    assert found.floor.size == 500
    assert abs(found.distance) < 0.3
    assert abs(found.floor.mean) < 0.3
    assert found.floor.spread > 0
    assert found.spread == pytest.approx(np.std([critic.distance for critic in found.critics], ddof=1))


def test_the_same_seed_measures_the_same():
    first, again, other = (
        measured("wgan-lp", *normals(1.0, n=200), seed=seed, settings={"train.steps": 20}) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.distance != other.distance


def test_images_have_distances_too():
    dark, light = (Draws(0).rand(100, 1, 8, 8) * 0.5 + shift for shift in (-0.75, 0.25))
    found = measured("vanilla", dark, light, settings={"train.steps": 40, "train.batch_size": 32})
    assert found.distance == pytest.approx(math.log(2), rel=0.1)


def test_no_sample_is_in_two_parts_and_four_critics_hold_out_each_once():
    pair = Pair(torch.arange(101.0), torch.arange(101.0))
    held_out = []
    for turn in range(4):
        split = parts(pair, turn, 4)
        rows = [part.real.tolist() for part in (split.train, split.look, split.held_out)]
        assert [len(part) for part in rows] == [50, 25, 26]
        assert sorted(rows[0] + rows[1] + rows[2]) == pair.real.tolist()
        held_out += rows[2]
    assert set(held_out) == set(pair.real.tolist())


def test_standardised_samples_keep_their_proportions():
    one, other = Draws(0).randn(500, 2) * torch.tensor([1.0, 9.0]) + 5, Draws(1).randn(500, 2) + 5
    pair, scale = standardised(Pair(one, other))
    both = torch.cat([pair.real, pair.fake])
    assert both.mean(0).abs().max() < 1e-5
    assert both.square().mean().item() == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose((pair.real[0] - pair.fake[0]) * scale, one[0] - other[0], rtol=1e-4)


def plan(variant="wgan-lp", **settings):
    assignments = [(name.split("."), value) for name, value in {**QUICK, **settings}.items()]
    return Plan(variant, assignments, torch.device("cpu"), installed())


def ready(shift=3.0, n=400):
    return parts(standardised(paired(*normals(shift, n), Draws(0)))[0], 0, 4)


def told(monkeypatch, distances):
    """Has looks at a critic say these distances, one after the other, and the last judgement what is true."""
    said, states = iter(distances), []

    def look(played, pair):
        states.append(
            {name: value.clone() for name, value in played.composition.networks["critic"].state_dict().items()}
        )
        true = judge(played, pair)
        return Judgement(true.estimate, true.slope, true.steepest, 1.0, next(said, true.distance))

    monkeypatch.setattr(training, "judge", look)
    return states


def test_training_stops_when_held_out_samples_see_no_gain_and_the_best_state_is_judged(monkeypatch):
    states = told(monkeypatch, [1.0, 3.0, *[2.0] * PATIENCE])
    looks = []
    found = train_critic(plan(**{"train.steps": 40}), ready(), 0, lambda: looks.append(1))
    assert found.step == 4
    assert len(looks) == LOOKS
    assert len(states) == 2 + PATIENCE + 1  # the last one is the judgement
    kept = found.game.composition.networks["critic"].state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in kept.items())


def test_only_the_critic_is_trained_and_the_fakes_stay():
    split = ready()
    played = game(plan(), split.train, 0)
    assert [phase.name for phase in played.composition.phases] == ["critic"]
    before = played.composition.networks["generator"].samples.clone()
    training.Trainer(played.composition).iterate()
    assert torch.equal(before, played.composition.networks["generator"].samples)


def test_points_have_narrow_critics_unless_told_otherwise():
    split = ready()
    widths = [
        game(Plan("wgan-gp", given, torch.device("cpu"), installed()), split.train, 0).composition.recipe.axes["critic"]
        for given in ([], [(["critic", "width"], 100)])
    ]
    assert [choice.settings["width"] for choice in widths] == [64, 100]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (torch.randn(LEAST - 1, 1), torch.randn(100, 1), f"needs {LEAST} samples of each kind or more; there are 63"),
        (torch.randn(100, 1), torch.randn(100, 2), "have no distance"),
        (torch.ones(100), torch.ones(100), "all samples of both kinds are equal"),
        (torch.full((100,), math.nan), torch.ones(100), "the first has values that are NaN"),
        (np.array(["a"] * 100), torch.ones(100), "the first holds <U1"),
        (np.full(100, 1e300), torch.ones(100), "beyond single precision"),
    ],
)
def test_samples_that_have_no_distance(one, other, words):
    with pytest.raises(BadData, match=words):
        neural_distance("wgan-lp", one, other, floors=0)


def test_a_floor_needs_halves_and_that_of_a_constant_is_0():
    with pytest.raises(BadData, match="128 samples and not 100; do without with --floors 0"):
        neural_distance("wgan-lp", torch.randn(100), torch.randn(100) + 1)
    with pytest.raises(BadData, match="128 samples"):
        halves(torch.randn(127, 1), Draws(0))
    points = measured("vanilla", torch.zeros(200), torch.ones(200), floors=1, settings={"train.steps": 20})
    assert points.floor.mean == 0.0


def test_what_cannot_be_trained_alone_is_refused():
    pair = normals(1.0, n=100)
    with pytest.raises(UnknownName, match="Did you mean wgan-gp"):
        measured("wgan-gpp", *pair)
    for name in ("generator.width", "dataset.side"):
        with pytest.raises(UsageError, match=f"--set {name}: a neural distance trains a critic only"):
            measured("wgan-gp", *pair, settings={name: 3})
    with pytest.raises(UsageError, match="one seed or more"):
        measured("wgan-gp", *pair, seeds=0)


PLUGIN = """
import torch
from zoo import Adversarial, Critic, Distance, Want, hookimpl

class Mute(Distance):
    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()
    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

class Double(Adversarial):
    def wants(self, about):
        return {**super().wants(about), "second": Want("critic", default="mlp")}

class Labelled(Critic):
    conditional = True
    def __init__(self, shape):
        super().__init__()
        self.layer = torch.nn.Linear(shape[0], 1)
    def forward(self, samples, condition=None):
        return self.layer(samples).squeeze(1)

@hookimpl
def distance():
    return {"mute": Mute}

@hookimpl
def critic():
    return {"labelled": Labelled}

@hookimpl
def procedure():
    return {"double": Double}
"""


def test_variants_without_an_estimate_are_refused_and_others_named(tmp_path, zoo_command):
    (tmp_path / "mute.py").write_text(PLUGIN)
    (tmp_path / "mute.toml").write_text('distance = "mute"\ncritic = "mlp"\n')
    (tmp_path / "double.toml").write_text('variant = "wgan-gp"\nprocedure = "double"\n')
    (tmp_path / "labelled.toml").write_text('variant = "wgan-gp"\ncritic = "labelled"\n')
    (tmp_path / "alone.toml").write_text('variant = "wgan-gp"\ncritic = "none"\nlipschitz_constraint = []\n')
    np.save(tmp_path / "one.npy", normals(0.0, n=200)[0])
    for name, words in (
        ("mute", ("gives no estimate of how far samples are apart", "vanilla", "wgan-lp")),
        ("double", ("trains second beside its critic",)),
        ("labelled", ("judges samples by their labels",)),
        ("alone", ("has no critic that is trained",)),
    ):
        said = zoo_command(
            *("distance", "one.npy", "one.npy", "--by", f"neural:{name}.toml", "--plugin", "mute.py"), code=2
        ).stderr
        for word in words:
            assert word in said


def test_the_command_measures_neural_distances(tmp_path, zoo_command):
    one, other = normals(3.0, n=400)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "other.npy", other)
    common = ("distance", "one.npy", "other.npy", "--by", "neural:wgan-lp", "--seeds", 2, "--set", "critic.width=16")
    said = json.loads(zoo_command(*common, "--floors", 1, "--set", "train.steps=40", "--json").stdout)
    first = said["figures"][0]
    assert (said["by"], said["estimates"], said["constant"]) == ("neural:wgan-lp", "W1", 1.0)
    assert (first["metric"], first["name"], first["size"]) == ("neural:wgan-lp", "W1", 400)
    assert said["distance"] == first["value"] == pytest.approx(np.mean([c["distance"] for c in said["critics"]]))
    assert said["floor"] == first["floor"]
    assert said["floor"]["size"] == 200
    assert {f["name"]: f["aim"] for f in said["figures"]} == {"W1": None, "estimate": None, "slope": 1.0}
    table = zoo_command(*common, "--floors", 0, "--set", "train.steps=20").stdout
    assert "neural:wgan-lp W1" in table
    assert "2 critics, each on samples that were held out" in table
    assert "variant's critic" in zoo_command("distance", "one.npy", "one.npy", "--by", "neural", code=2).stderr


def test_the_command_names_the_first_figure_of_a_metric(tmp_path, zoo_command):
    points = torch.arange(40.0)
    np.save(tmp_path / "one.npy", points)
    np.save(tmp_path / "other.npy", points + 2)
    said = json.loads(zoo_command("distance", "one.npy", "other.npy", "--by", "wasserstein", "--json").stdout)
    assert said["distance"] == pytest.approx(2.0)
    assert said["floor"] == said["figures"][0]["floor"]
    np.save(tmp_path / "few.npy", points[:3])
    few = ("distance", "few.npy", "few.npy", "--by", "energy")
    assert "there must be 4 samples and not 3; do without with --floors 0" in zoo_command(*few, code=2).stderr
    assert json.loads(zoo_command(*few, "--floors", 0, "--json").stdout)["floor"] is None
