"""What layers are good for: the figures against theory and scikit-learn, blocks, runs before and after, refusals."""

import json
import math

import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import ArrayDataset, BadData, IncompatibleParts
from zoo.api import start
from zoo.backbones import Backbone, Stage
from zoo.cli.layers import layers as command
from zoo.errors import BadRun, UsageError
from zoo.testing.networks import SmallBackbone
from zoo.tuning.blocks import blocks_of
from zoo.tuning.judging import outputs
from zoo.tuning.layers import study_layers
from zoo.tuning.places import features_of, place_of, places_of
from zoo.tuning.probing import average_precision, chance, linear_probe, nearest_neighbours, retrieval_map
from zoo.tuning.standing import named_backbone, run_backbone
from zoo.tuning.study import LayerFigures, Study, standard_error
from zoo.tuning.tune import composed, tuning_table

MODEL, SHAPE = "timm:test_resnet", (1, 8, 8)
CPU = torch.device("cpu")


class Knowing(Backbone):
    """Images whose first pixel says the class: noise, the class with noise, the class, one direction each."""

    stages = (Stage("noise", 6, 1), Stage("hint", 4, 1), Stage("class", 4, 1))

    def forward(self, images):
        draws = torch.Generator().manual_seed(int(images.double().sum().abs() * 1e6) % 2**31)
        label = ((images[:, 0, 0, 0] + 1) * 2).round().long()
        known = F.one_hot(label, 4).float()
        noise = torch.randn(len(images), 10, generator=draws)
        maps = [noise[:, :6], known + 0.6 * noise[:, 6:], known]
        return [each[:, :, None, None].expand(-1, -1, 2, 2) for each in maps]


def labelled(per_class=60, classes=4, shape=SHAPE):
    torch.manual_seed(3)
    labels = torch.arange(classes).repeat(per_class)
    images = torch.rand(len(labels), *shape) * 2 - 1
    images[:, 0, 0, 0] = labels / 2 - 1
    return ArrayDataset(images, labels)


# The figures


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties):
    torch.manual_seed(0)
    scores = torch.randint(4, (50, 30)).double() if ties else torch.randn(50, 30).double()
    relevant = torch.rand(50, 30) < 0.2
    relevant[:, 0] = True
    expected = [average_precision_score(r, s) for r, s in zip(relevant.numpy(), scores.numpy(), strict=True)]
    assert average_precision(scores, relevant).tolist() == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_a_ranking_by_hand():
    found = average_precision(torch.tensor([[5.0, 4, 3, 2]]), torch.tensor([[True, False, True, False]]))
    assert float(found) == pytest.approx((1 + 2 / 3) / 2)


def test_retrieval_is_by_cosine_among_all_others(monkeypatch):
    monkeypatch.setattr("zoo.tuning.probing.QUERIES", 7)
    torch.manual_seed(0)
    features, labels = torch.randn(40, 5) * torch.rand(40, 1) * 9, torch.randint(3, (40,))
    features[0], labels[0] = features[1], 5  # alone in its class, and so no query
    expected = []
    for query in range(1, 40):
        others = torch.tensor([n for n in range(40) if n != query])
        scores = F.cosine_similarity(features[others].double(), features[query].double()[None], dim=1)
        expected.append(average_precision_score(labels[others] == labels[query], scores))
    assert retrieval_map(features, labels) == pytest.approx(sum(expected) / 39, abs=1e-9)


def test_chance_is_what_features_that_say_nothing_get():
    torch.manual_seed(0)
    labels = torch.tensor([0] * 30 + [1] * 15 + [2] * 5)
    accuracy, retrieval = chance(labels)
    assert accuracy == 0.6
    found = [retrieval_map(torch.randn(50, 8), labels) for _ in range(200)]
    assert retrieval == pytest.approx(sum(found) / 200, abs=0.004)


def test_probe_and_neighbours_of_what_is_known():
    labels = torch.arange(4).repeat(10)
    known = (F.one_hot(labels).float(), labels)
    assert linear_probe(*known, *known) == nearest_neighbours(*known, *known) == 1
    # Few samples, fewer than neighbours; a column that never changes; scales that differ a million times.
    few = torch.tensor([[1.0, 0, 7], [1e6, 1e-6, 7]])
    assert linear_probe(few, labels[:2], few, labels[:2]) == 1
    assert nearest_neighbours(few[:1], labels[:1], few, labels[:2]) == 0.5


def test_a_backbone_whose_last_stage_is_the_class_is_found_out():
    study = study_layers(Knowing(), labelled(), device="cpu")
    noise, hint, label = study.layers
    assert label.linear_probe == label.k_nn == label.retrieval_map == (1.0, 1.0, 1.0)
    assert study.chance[0] == 0.25
    assert noise.mean("linear_probe") == pytest.approx(0.25, abs=0.1)
    assert noise.mean("k_nn") == pytest.approx(0.25, abs=0.1)
    assert noise.mean("retrieval_map") == pytest.approx(study.chance[1], abs=0.03)
    assert 0.5 < hint.mean("retrieval_map") < 0.95
    assert (study.search_by.layer, study.kept.layer, study.way, study.tuned) == ("class", "class", "head", [])
    assert (study.train, study.test, study.which) == (120, 120, "all")


# What follows


def study_of(probes, maps=None, blocks=(), test=100):
    maps = maps or probes
    found = [
        LayerFigures(f"s{n}", n, "as given", 4, (1, 1), (probe,), (0.5,), (mean,))
        for n, (probe, mean) in enumerate(zip(probes, maps, strict=True))
    ]
    for stage, probe in blocks:
        found.insert(stage, LayerFigures(f"s{stage}.0", stage, "as given", 4, (1, 1), (probe,), (0.5,), (0.1,)))
    return Study("b", "d", "all", 100, test, "average", 1, (0.1, 0.1), found)


@pytest.mark.parametrize(
    ("probes", "kept", "way"),
    [
        ([0.5, 0.6, 0.7, 0.8], "s3", "head"),
        ([0.5, 0.8, 0.8, 0.7], "s1", "last-2"),
        ([0.5, 0.78, 0.81, 0.8], "s1", "last-2"),  # 0.03 is less than 0.042, the standard error of 0.78
        ([0.5, 0.74, 0.81, 0.8], "s2", "last-1"),
        ([0.9, 0.8, 0.7, 0.6], "s0", "last-3"),
        ([0.8, 0.6, 0.95, 0.9], "s2", "last-1"),
    ],
)
def test_what_is_behind_the_first_stage_that_no_later_one_is_better_than_is_tuned(probes, kept, way):
    study = study_of(probes)
    assert (study.kept.layer, study.way) == (kept, way)
    assert study.tuned == [f"s{n}" for n in range(int(kept[1]) + 1, 4)]


def test_blocks_count_for_searching_and_not_for_tuning():
    study = study_of([0.5, 0.6], [0.2, 0.3], blocks=[(1, 0.9)])
    assert [each.layer for each in study.layers] == ["s0", "s1.0", "s1"]
    assert (study.kept.layer, study.way) == ("s1", "head")


def test_search_is_by_the_highest_map():
    assert study_of([0.9, 0.5, 0.5], [0.3, 0.6, 0.4]).search_by.layer == "s1"


def test_more_samples_tell_finer_differences():
    assert study_of([0.78, 0.81], test=100).kept.layer == "s0"
    assert study_of([0.78, 0.81], test=1000).kept.layer == "s1"
    assert standard_error(0.5, 98) == pytest.approx(0.05)
    assert standard_error(1.0, 98) == pytest.approx(math.sqrt(0.99 * 0.01 / 100))


# Layers


class Blocky(Backbone):
    """Two stages: one of three blocks, which write into their input; and one of one block."""

    stages = (Stage("first", 4, 1), Stage("second", 4, 1))

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(Residual(1), Residual(4, inplace=True), Residual(4, inplace=True))
        self.second = nn.Sequential(Residual(4))

    def forward(self, images):
        first = self.first(images)
        return [first, self.second(first)]


class Residual(nn.Module):
    def __init__(self, channels, inplace=False):
        super().__init__()
        self.layer, self.act = nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(inplace=inplace)

    def forward(self, inputs):
        inputs = self.act(inputs)
        return inputs[:, :1] + self.layer(inputs)


def test_blocks_are_found_in_order_and_the_last_one_of_a_stage_is_the_stage():
    torch.manual_seed(0)
    backbone = Blocky()
    places = places_of(backbone, SHAPE, blocks=True)
    assert [(p.name, p.stage, p.channels, p.size) for p in places] == [
        ("first.0", 0, 4, (8, 8)), ("first.1", 0, 4, (8, 8)), ("first", 0, 4, (8, 8)), ("second", 1, 4, (8, 8)),
    ]  # fmt: skip
    assert [p.name for p in places_of(backbone, SHAPE)] == ["first", "second"]


def test_features_are_those_of_the_layer_when_it_was_run():
    """The block behind it writes into its output."""
    torch.manual_seed(0)
    backbone, images = Blocky(), torch.rand(300, *SHAPE)
    places = places_of(backbone, SHAPE, blocks=True)
    found = features_of(backbone, places, images, "average", CPU)
    with torch.no_grad():
        output = backbone.first[0](images)
    assert bool((output < 0).any())
    assert torch.allclose(found[0], output.mean(dim=(2, 3)), atol=1e-6)
    assert not backbone.first[0]._forward_hooks


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("resnet18", ["layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "layer4.0", "layer4"]),
        ("test_vit", ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5"]),
    ],
)
def test_blocks_of_timm_models(model, expected):
    stand = named_backbone(f"timm:{model}", (3, 32, 32))
    names = [place.name for place in places_of(stand.backbone, stand.shape, blocks=True)]
    assert [name for name in names if name != "act1"] == expected


def test_blocks_of_a_transformer_are_its_tokens_without_those_of_the_class():
    images = torch.rand(2, 3, 32, 32)
    found = []
    for stages in ([4, 5], [3, 4, 5]):
        stand = named_backbone("timm:test_vit", (3, 32, 32), [(["backbone", "out"], stages)])
        place = place_of(stand.backbone, stand.shape, "blocks.3")
        assert bool(place.path) == (3 not in stages)
        found += features_of(stand.backbone, [place], images, "average", CPU)
    assert torch.allclose(found[0], found[1], atol=1e-6)


def test_every_module_keeps_its_mode():
    backbone = SmallBackbone(SHAPE).train()
    backbone.second.eval()
    blocks_of(backbone, SHAPE)
    places_of(backbone, SHAPE)
    assert (backbone.training, backbone.first.training, backbone.second.training) == (True, True, False)


def test_pooling_is_the_classifiers():
    backbone, data = SmallBackbone(SHAPE), labelled()
    place = place_of(backbone, SHAPE, "second")
    for pool in ("average", "max", "gem"):
        from zoo.tuning.classifier import pooled

        (found,) = features_of(backbone, [place], data.samples, pool, CPU)
        expected = outputs(backbone, lambda images, p=pool: pooled(backbone(images)[1], p), data.samples, CPU)
        assert torch.equal(found, expected)


# Runs


def tuned(tmp_path, name="run", backbone=MODEL, **options):
    options = {"steps": 30, "batch_size": 16, "validate_every": 0, "checkpoint_every": 0, "lr": 0.01, **options}
    composition = composed(tuning_table(backbone, "digits", options), device="cpu")
    start(composition, tmp_path / name)
    return str(tmp_path / name)


def same(one, other):
    mine, its = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], its[name]) for name in its)


def test_a_run_is_looked_at_as_it_began_and_as_it_is(tmp_path):
    path = tuned(tmp_path)
    study = study_layers(path, device="cpu")
    assert [each.weights for each in study.layers] == ["before"] * 5 + ["after"] * 5
    assert study.which == "those that its run kept to test with"
    split = zoo.load(path, device="cpu").composition.procedure.split(zoo.load(path, device="cpu").dataset)
    assert study.train + study.test == len(split.test)
    stand = run_backbone(path, "cpu")
    fresh = composed(tuning_table(MODEL, "digits", {}), device="cpu").networks["classifier"].backbone
    assert same(stand.before, fresh)
    assert same(stand.backbone, zoo.load(path, device="cpu").composition.networks["classifier"].backbone)
    assert not same(stand.before, stand.backbone)
    before, after = study.of("before")[-1], study.of("after")[-1]
    assert after.mean("retrieval_map") > before.mean("retrieval_map") + 0.1
    assert (study.now, study.search_by.weights, study.kept.weights) == ("after", "after", "before")
    assert same(named_backbone(MODEL, SHAPE).backbone, fresh)


def test_a_run_that_began_from_a_run_is_put_back_to_there(tmp_path):
    first = tuned(tmp_path, "first")
    second = tuned(tmp_path, "second", backbone=first, tune="last-1")
    stand = run_backbone(second, "cpu")
    assert same(stand.before, zoo.load(first, device="cpu").composition.networks["classifier"].backbone)
    assert not same(stand.before, stand.backbone)


def test_a_run_that_began_from_a_file_of_weights_is_put_back_to_these(tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    file = str(tmp_path / "weights.safetensors")
    table = tuning_table(MODEL, "digits", {"steps": 2, "batch_size": 8, "validate_every": 0, "checkpoint_every": 0})
    start(composed(table, [(["backbone", "checkpoint"], file)], device="cpu"), tmp_path / "run")
    stand = run_backbone(tmp_path / "run", "cpu")
    assert same(stand.before, named_backbone(MODEL, SHAPE, [(["backbone", "checkpoint"], file)]).backbone)
    assert not same(stand.before, named_backbone(MODEL, SHAPE).backbone)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(BadData, match="there is no file .*weights.safetensors"):
        run_backbone(tmp_path / "run", "cpu")
    study = study_layers(str(tmp_path / "run"), seeds=1, device="cpu", began=False)
    assert [each.weights for each in study.layers] == ["after"] * 5


def test_weights_that_a_run_began_with_are_not_downloaded_unasked(tmp_path):
    path = tuned(tmp_path, steps=1)
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("pretrained = false", "pretrained = true"))
    with pytest.raises(BadRun, match="began with weights that are downloaded.* --allow-download"):
        study_layers(path, device="cpu")
    assert study_layers(path, seeds=1, device="cpu", began=False).now == "after"


def test_samples_that_a_run_never_saw_are_looked_at_under_any_name(tmp_path):
    path = tuned(tmp_path, steps=2)
    run = zoo.load(path, device="cpu")
    for data in ("digits", ArrayDataset(run.dataset.samples, run.dataset.labels)):
        assert study_layers(path, data, seeds=1, device="cpu").which == "those that its run kept to test with"
    other = ArrayDataset(run.dataset.samples.flip(3), run.dataset.labels)
    assert study_layers(path, other, seeds=1, samples=200, device="cpu").which.endswith("of all")


def test_a_critics_backbone_is_looked_at(tmp_path):
    zoo.train(
        "wgan", dataset="digits", critic="backbone-heads", backbone=MODEL, steps=2, batch_size=8, out=tmp_path,
        name="gan", device="cpu", settings={"train.critic_steps": 1},
    )  # fmt: skip
    study = study_layers(str(tmp_path / "gan"), samples=200, seeds=1, device="cpu")
    assert study.which.endswith("of all, and its run was trained on them")
    stand = run_backbone(tmp_path / "gan", "cpu")
    learnt = zoo.load(tmp_path / "gan", device="cpu").composition.networks["critic"].backbone
    assert same(stand.backbone, learnt)
    assert not same(stand.before, learnt)


def test_a_run_without_a_backbone_is_refused(tmp_path):
    zoo.train("wgan", dataset="ring", steps=1, batch_size=8, out=tmp_path, name="plain", device="cpu")
    with pytest.raises(BadRun, match="nothing in the run .*plain stands on a backbone"):
        study_layers(str(tmp_path / "plain"), "digits", device="cpu")


# Samples


def test_of_many_samples_some_are_looked_at_each_class_alike():
    data = labelled(per_class=50)
    study = study_layers(Knowing(), data, samples=80, seeds=1, device="cpu")
    assert (study.which, study.train, study.test) == ("80 of 200 samples, each class alike, of all", 40, 40)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (ArrayDataset(torch.zeros(9, 1, 8, 8)), IncompatibleParts, "have no labels, by which layers are judged"),
        (ArrayDataset(torch.zeros(9, 1, 8, 8), torch.zeros(9)), IncompatibleParts, "all of one class"),
        (ArrayDataset(torch.zeros(9, 2), torch.arange(9)), IncompatibleParts, r"vectors \(2,\)"),
        (labelled(per_class=3), BadData, "class 0 has 3 samples among all; it needs 4"),
        (ArrayDataset(torch.rand(9, 1, 8, 8), torch.tensor([0, 2, 2] * 3)), BadData, "class 1 has 0 samples"),
    ],
)
def test_data_that_layers_cannot_be_judged_with_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        study_layers(SmallBackbone(SHAPE), data, device="cpu")


def test_what_cannot_be_looked_at_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--dataset NAME"):
        study_layers(MODEL, device="cpu")
    with pytest.raises(UsageError, match="no blocks were found.*leave --blocks out"):
        study_layers(SmallBackbone(SHAPE), labelled(), blocks=True, device="cpu")
    with pytest.raises(UsageError, match="train.lr is set, but here is only a backbone"):
        study_layers(MODEL, "digits", settings={"train.lr": 1}, device="cpu")
    with pytest.raises(UsageError, match="built already"):
        study_layers(SmallBackbone(SHAPE), labelled(), settings={"backbone.model": "resnet18"}, device="cpu")
    with pytest.raises(UsageError, match="one way at least, not 0"):
        study_layers(MODEL, "digits", seeds=0, device="cpu")
    path = tuned(tmp_path, steps=1)
    with pytest.raises(IncompatibleParts, match=r"is of images \(1, 8, 8\), and those of .* are \(3, 8, 8\)"):
        study_layers(path, labelled(shape=(3, 8, 8)), device="cpu")
    broken = SmallBackbone(SHAPE)
    broken.first.bias.data.fill_(torch.nan)
    with pytest.raises(IncompatibleParts, match="features of layer first are NaN"):
        study_layers(broken, labelled(), device="cpu")


# The command


def test_the_command_prints_a_table_and_writes_a_picture(tmp_path):
    options = [MODEL, "--dataset", "digits", "--samples", "200", "--seeds", "2", "--device", "cpu"]
    done = CliRunner().invoke(command, [*options, "--out", str(tmp_path / "out")], catch_exceptions=False)
    lines = done.output.splitlines()
    assert lines[0].split() == ["LAYER", "WEIGHTS", "CHANNELS", "PIXELS", "PROBE", "5-NN", "RETRIEVAL", "mAP"]
    assert [line.split()[0] for line in lines[1:7]] == ["act1", "layer1", "layer2", "layer3", "layer4", "chance"]
    assert (tmp_path / "out" / "layers.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "out" / "layers.json").read_text())
    printed = json.loads(CliRunner().invoke(command, [*options, "--json"], catch_exceptions=False).output)
    assert printed == {**written, "files": []}
    assert not printed["learnt"]
    assert "The weights are random" in done.output
    best = max(printed["layers"], key=lambda each: each["means"]["retrieval_map"])
    assert printed["search_by"] == best["layer"]
    assert f"Search by {best['layer']}: " in done.output
    assert f"--tune {printed['tune']})" in done.output
    assert printed["chance"]["accuracy"] == pytest.approx(0.1, abs=0.01)


def test_before_and_after_stand_one_below_the_other(tmp_path):
    done = CliRunner().invoke(
        command, [tuned(tmp_path, steps=2), "--seeds", "1", "--device", "cpu"], catch_exceptions=False
    )
    assert "The weights are random" not in done.output
    words = [line.split()[:2] for line in done.output.splitlines()[1:5]]
    assert words == [["act1", "before"], ["act1", "after"], ["layer1", "before"], ["layer1", "after"]]
