"""Fine-tuning: what each way of tuning changes, learning rates, splits, caching, validation."""

import itertools
import json

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import ArrayDataset, BadData, BadSetting, IncompatibleParts
from zoo.api import resume, start
from zoo.errors import BadRecipe, BadRun, UsageError
from zoo.exporting import export
from zoo.folder import Folder
from zoo.testing.networks import SmallBackbone
from zoo.trainer import Trainer
from zoo.tuning.classifier import BackboneClassifier, pooled
from zoo.tuning.judging import confusion
from zoo.tuning.splits import Splitting
from zoo.tuning.supervised import Supervised
from zoo.tuning.tune import composed, tuning_table
from zoo.tuning.ways import layers_of, starts

STAGES = ["first", "second"]
MODEL = "timm:test_resnet"


def tuned(tmp_path, name="run", backbone=MODEL, **options):
    """A short fine-tuning on digits, from a checkpoint at its start."""
    options = {"steps": 4, "batch_size": 8, "validate_every": 0, "checkpoint_every": 0, **options}
    composition = composed(tuning_table(backbone, "digits", options), device="cpu")
    start(composition, tmp_path / name)
    return zoo.load(tmp_path / name, device="cpu")


def classifier(seed=0):
    torch.manual_seed(seed)
    return BackboneClassifier((1, 8, 8), 3, SmallBackbone((1, 8, 8)))


def small_data(per_class=20, classes=3):
    torch.manual_seed(1)
    labels = torch.arange(classes).repeat(per_class)
    return ArrayDataset(torch.tanh(torch.randn(len(labels), 1, 8, 8) + labels.view(-1, 1, 1, 1) - 1), labels)


def composition_of(dataset, backbone=None, **options):
    table = tuning_table("timm:test_resnet", "digits", {"batch_size": 4, "steps": 12, **options})
    table |= {"dataset": {}, "backbone": {}}
    given = {"dataset": dataset, "backbone": backbone or SmallBackbone((1, 8, 8))}
    return zoo.api.compose_table(table, given=given, device="cpu")


# What is trained


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ("head", [None, None, None, None]),
        ("last-1", [None, None, None, 0.0]),
        ("last-3", [None, 0.0, 0.0, 0.0]),
        ("all", [0.0, 0.0, 0.0, 0.0]),
        ("lp-ft", [0.3, 0.3, 0.3, 0.3]),
        ("gradual", [0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_since_when_each_stage_is_trained(tune, expected):
    assert starts(tune, list("abcd"), probe=0.3) == expected


def test_a_way_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(BadSetting, match="procedure.tune is 'tail'; the ways are head, last-K"):
        starts("tail", STAGES)
    with pytest.raises(BadSetting, match="the backbone has 2 stages: first, second. Take last-1 to last-2"):
        starts("last-3", STAGES)


def test_stages_hold_every_parameter_once():
    network = classifier()
    layers = layers_of(network, (1, 8, 8), "all")
    assert [layer.name for layer in layers] == [*STAGES, "head"]
    found = [id(p) for layer in layers for p in layer.parameters]
    assert sorted(found) == sorted(id(p) for p in network.parameters())
    assert {id(p) for p in layers[0].parameters} == {id(p) for p in network.backbone.first.parameters()}


@pytest.mark.parametrize("decay", [1.0, 0.65])
def test_each_layer_learns_at_base_times_decay_to_the_distance_from_the_head(tmp_path, decay):
    composition = composed(tuning_table(MODEL, "digits", {"lr": 0.01, "layer_decay": decay, "steps": 3}), device="cpu")
    depth = len(composition.networks["classifier"].backbone.stages)
    groups = Trainer(composition).optimizers["tuning"].param_groups
    expected = [0.01 * decay ** (depth - i) for i in range(depth + 1)]
    assert [group["lr"] for group in groups] == pytest.approx(expected)


def changed(before, network):
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def states(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("tune", ["head", "last-1", "last-2", "all"])
def test_a_way_changes_its_stages_and_nothing_else(tune):
    """Of what is frozen the running statistics stay as well."""
    composition = composed(
        tuning_table("timm:test_resnet", "digits", {"tune": tune, "cache": False, "batch_size": 8, "lr": 0.1}),
        device="cpu",
    )
    network = composition.networks["classifier"]
    depth = len(network.backbone.stages)
    trainer, before = Trainer(composition), states(network)
    for _ in range(2):
        trainer.iterate()
    moved = changed(before, network)
    first = {"head": depth, "last-1": depth - 1, "last-2": depth - 2, "all": 0}[tune]
    stages = network.backbone.parameters_by_stage((1, 8, 8))
    names = {id(p): name for name, p in network.named_parameters()}
    frozen = {names[id(p)] for p in itertools.chain(*stages[:first])}
    tuned = {names[id(p)] for p in itertools.chain(*stages[first:], network.head.parameters())}
    assert not moved & frozen
    assert tuned <= moved
    norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    following = {name for name in norms if f"{name}.running_mean" in moved}
    assert following == {name for name in norms if f"{name}.weight" in tuned}


def test_frozen_stages_keep_no_graph():
    composition = composed(tuning_table(MODEL, "digits", {"tune": "head", "cache": False}), device="cpu")
    network = composition.networks["classifier"]
    Trainer(composition).iterate()
    assert not any(each.requires_grad for each in network.backbone(torch.zeros(2, 1, 8, 8)))


def test_stages_are_thawed_one_after_the_other():
    composition = composition_of(small_data(), tune="gradual", schedule="constant")
    network, trainer = composition.networks["classifier"], Trainer(composition)
    moved = []
    for _ in range(12):
        before = states(network)
        trainer.iterate()
        moved.append({name.split(".")[1] if "backbone" in name else "head" for name in changed(before, network)})
    assert moved == [{"head"}] * 4 + [{"head", "second"}] * 4 + [{"head", "second", "first"}] * 4


def test_dropout_and_statistics_of_what_is_not_thawed_yet_are_off():
    class Noisy(SmallBackbone):
        def __init__(self, shape):
            super().__init__(shape)
            self.first = nn.Sequential(self.first, nn.BatchNorm2d(4), nn.Dropout(0.5))

    composition = composition_of(small_data(), Noisy((1, 8, 8)), tune="lp-ft", probe=0.5)
    first, trainer = composition.networks["classifier"].backbone.first, Trainer(composition)
    modes = []
    for _ in range(8):
        trainer.iterate()
        modes.append([module.training for module in first])
    assert modes == [[False] * 3] * 6 + [[True] * 3] * 2


# Splits and shots


def test_a_split_is_of_each_class_alike_and_of_no_sample_twice():
    data = small_data(per_class=40)
    split = Splitting(validation=0.1, test=0.25).of(data)
    counts = [torch.bincount(split.labels(part)).tolist() for part in (split.trained, split.validation, split.test)]
    assert counts == [[26] * 3, [4] * 3, [10] * 3]
    assert sorted([*split.trained.tolist(), *split.validation.tolist(), *split.test.tolist()]) == list(range(120))


def test_seeds_of_the_run_choose_the_shots_and_leave_the_rest():
    data, splitting = small_data(per_class=40), Splitting(shots=3)
    one, other = splitting.of(data, seed=0), splitting.of(data, seed=1)
    assert torch.bincount(one.labels(one.trained)).tolist() == [3] * 3
    assert not torch.equal(one.trained, other.trained)
    assert torch.equal(one.test, other.test)
    assert torch.equal(one.validation, other.validation)
    assert torch.equal(one.trained, splitting.of(data, seed=0).trained)
    assert not set(one.trained.tolist()) & {*one.validation.tolist(), *one.test.tolist()}
    assert not torch.equal(one.test, Splitting(shots=3, seed=1).of(data).test)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(BadData, match="30 samples of each class are to be trained on, and class 0 has 14"):
        Splitting(shots=30).of(small_data())
    with pytest.raises(IncompatibleParts, match="no labels.*a sub-folder"):
        Splitting().of(ArrayDataset(torch.zeros(4, 1, 8, 8)))
    with pytest.raises(BadSetting, match="less than 1"):
        Splitting(validation=0.5, test=0.5).of(small_data())
    gap = ArrayDataset(torch.zeros(8, 1, 8, 8), torch.tensor([0, 2] * 4))
    with pytest.raises(BadData, match="class 1 has 0 samples"):
        Splitting().of(gap)
    one = ArrayDataset(torch.zeros(8, 1, 8, 8), torch.zeros(8).long())
    with pytest.raises(IncompatibleParts, match="all of one class"):
        composition_of(one)


# The loss


def test_the_loss_is_the_weighted_mean_cross_entropy():
    """Balanced weights are N / (classes N_c), so that each class has the same weight in the mean over the data."""
    labels = torch.tensor([0] * 20 + [1] * 10)
    data = ArrayDataset(torch.randn(30, 1, 8, 8), labels)
    composition = composition_of(data, class_weights="balanced", smoothing=0.1, validation=0.0, test=0.0)
    network = composition.networks["classifier"]
    nn.init.normal_(network.head[1].weight)
    assert composition.drawn.size == 30
    batch = composition.batch(real=data.samples[:25], real_condition=labels[:25])
    weights = torch.tensor([30 / (2 * 20), 30 / (2 * 10)])
    smooth = 0.9 * F.one_hot(labels[:25]).float() + 0.05
    each = -(smooth * weights * network(data.samples[:25]).log_softmax(1)).sum(1)
    assert torch.allclose(composition.phases[0].loss(batch)["classification_loss"], each.mean(), atol=1e-6)


def test_pools():
    maps = torch.rand(2, 3, 4, 4) + 0.1
    assert torch.allclose(pooled(maps, "average"), maps.flatten(2).mean(2))
    assert torch.allclose(pooled(maps, "max"), maps.flatten(2).max(2).values)
    assert torch.allclose(pooled(maps, "gem"), maps.flatten(2).pow(3).mean(2).pow(1 / 3))


def test_a_confusion_matrix_has_classes_as_rows():
    logits = torch.eye(3)[[0, 1, 1, 2]]
    assert confusion(logits, torch.tensor([0, 0, 1, 2])).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_augmentations_leave_images_in_their_range_and_are_drawn_anew():
    from zoo.tuning.augmenting import augmentation

    torch.manual_seed(0)
    for shape in ((1, 8, 8), (3, 16, 12)):
        images = torch.rand(4, *shape) * 2 - 1
        augment = augmentation(["flip", "crop", "trivial", "rand", "erase"], shape)
        one, other = augment(images), augment(images)
        assert one.shape == images.shape
        assert bool((one.abs() <= 1).all())
        assert not torch.equal(one, other)
    assert augmentation([], (1, 8, 8)) is None


# Caching


def test_a_head_learns_the_same_from_kept_features(tmp_path):
    one = tuned(tmp_path, "kept", tune="head", steps=20)
    other = tuned(tmp_path, "anew", tune="head", steps=20, cache=False)
    assert one.composition.procedure.caches
    assert not other.composition.procedure.caches
    mine, its = (run.composition.networks["classifier"].state_dict() for run in (one, other))
    assert max(float((mine[name].double() - its[name]).abs().max()) for name in mine) < 1e-5
    assert float(mine["head.1.weight"].abs().max()) > 1e-3


def test_nothing_is_kept_where_more_is_tuned_or_images_are_augmented():
    assert Supervised(tune="head").caches
    assert not Supervised(tune="head", augment=["flip"]).caches
    assert not Supervised(tune="last-1").caches


def test_mirroring_kept_features_is_refused():
    with pytest.raises(IncompatibleParts, match="train.flip is for images"):
        composition_of(small_data(), tune="head", flip=True)


# Validation, resuming, reopening


def test_the_best_weights_by_validation_are_the_ones_that_count(tmp_path, monkeypatch):
    figures = iter([0.5, 0.9, 0.7, 0.6])
    monkeypatch.setattr(Supervised, "validate", lambda self, parts, dataset: {"accuracy": next(figures)})
    run = tuned(tmp_path, steps=8, validate_every=2, keep=1)
    assert run.step == 4
    assert Folder(tmp_path / "run").steps() == [4, 8]
    rows = [row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row]
    assert rows == pytest.approx([0.5, 0.9, 0.7, 0.6])


def test_a_run_ends_when_validation_has_not_become_better(tmp_path, monkeypatch):
    figures = itertools.chain([0.5, 0.9], itertools.repeat(0.4))
    monkeypatch.setattr(Supervised, "validate", lambda self, parts, dataset: {"accuracy": next(figures)})
    run = tuned(tmp_path, steps=100, validate_every=1, patience=3)
    folder = Folder(tmp_path / "run")
    assert (run.step, folder.steps()[-1]) == (2, 5)
    assert folder.state()["state"] == "finished"
    with pytest.raises(BadRun, match="ended at step 5.*the best was at step 2"):
        resume(tmp_path / "run", device="cpu")


@pytest.mark.parametrize("options", [{"tune": "head"}, {"tune": "lp-ft", "augment": ["crop", "trivial"]}])
def test_a_resumed_run_is_the_same_to_the_bit(tmp_path, options):
    options = {"steps": 8, "validate_every": 2, "checkpoint_every": 4, "keep": 9, **options}
    whole = tuned(tmp_path, "whole", **options)
    composition = composed(tuning_table(MODEL, "digits", {**options, "batch_size": 8, "steps": 8}), device="cpu")
    start(composition, tmp_path / "parts")
    for file in (tmp_path / "parts" / "checkpoints").glob("*"):
        if int(file.name[5:13]) > 4:
            file.unlink()
    resume(tmp_path / "parts", device="cpu")
    parts = Folder(tmp_path / "parts").load()
    expected = Folder(tmp_path / "whole").load()
    assert whole.composition.recipe.train["steps"] == 8
    for name, value in expected["networks"]["classifier"].items():
        assert torch.equal(value, parts["networks"]["classifier"][name]), name
    assert parts["validation"] == expected["validation"]


def test_a_backbone_can_be_that_of_a_run(tmp_path):
    first = tuned(tmp_path, "first", steps=6, lr=0.05)
    second = tuned(tmp_path, "second", backbone=str(tmp_path / "first"), tune="head")
    mine, its = (run.composition.networks["classifier"].backbone.state_dict() for run in (first, second))
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    fresh = composed(tuning_table(MODEL, "digits", {}), device="cpu").networks["classifier"].backbone.state_dict()
    assert any(not torch.equal(fresh[name], its[name]) for name in its)


def test_a_critics_backbone_can_be_tuned(tmp_path):
    zoo.train(
        "wgan", dataset="digits", critic="backbone-heads", backbone=MODEL, steps=2, batch_size=8, out=tmp_path,
        name="gan", device="cpu", settings={"train.critic_steps": 1},
    )  # fmt: skip
    run = tuned(tmp_path, "tuned", backbone=str(tmp_path / "gan"), tune="head")
    learnt = Folder(tmp_path / "gan").load()["networks"]["critic"]
    mine = run.composition.networks["classifier"].backbone.state_dict()
    assert all(torch.equal(mine[name], learnt[f"backbone.{name}"]) for name in mine)


def test_kept_features_of_a_resumed_run_are_those_of_its_own_backbone(tmp_path):
    tuned(tmp_path, "first", steps=6, lr=0.05)
    options = {"tune": "head", "steps": 4, "keep": 9, "checkpoint_every": 4, "schedule": "constant"}
    tuned(tmp_path, "parts", backbone=str(tmp_path / "first"), **options)
    resume(tmp_path / "parts", steps=8, device="cpu")
    tuned(tmp_path, "whole", backbone=str(tmp_path / "first"), **{**options, "steps": 8})
    one, other = (Folder(tmp_path / name).load()["networks"]["classifier"] for name in ("parts", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_another_architecture_is_refused_with_the_first_weight_that_does_not_fit(tmp_path):
    tuned(tmp_path, "first")
    with pytest.raises(IncompatibleParts, match=r"no network fits what .*first has learnt .*classifier\.backbone: "):
        tuned(tmp_path, "second", backbone="timm:test_efficientnet", init_from=str(tmp_path / "first"))
    zoo.train("wgan", dataset="ring", steps=1, batch_size=8, out=tmp_path, name="plain", device="cpu")
    with pytest.raises(BadRun, match="stands on a backbone"):
        tuning_table(str(tmp_path / "plain"), "digits", {})


def test_what_is_frozen_is_not_tuned_without_a_word():
    with pytest.raises(BadSetting, match="trains the stage .*, and backbone.freeze or train.freeze keeps it"):
        composed(tuning_table(MODEL, "digits", {}), [(["backbone", "freeze"], "all")], device="cpu")
    partly = composed(tuning_table(MODEL, "digits", {"tune": "last-1"}), [(["backbone", "freeze"], 1)], device="cpu")
    assert [layer.name for layer in partly.phases[0].layers][-1] == "head"


# Weights from files and from the network


@pytest.fixture
def weights(tmp_path):
    """A local file of weights as timm makes it."""
    torch.manual_seed(5)
    model = timm.create_model("test_resnet", num_classes=7)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def from_file(tmp_path, weights, name="run"):
    options = {"steps": 2, "batch_size": 8, "tune": "head", "validate_every": 0}
    settings = [(["backbone", "checkpoint"], str(weights))]
    start(composed(tuning_table(MODEL, "digits", options), settings, device="cpu"), tmp_path / name)
    return zoo.load(tmp_path / name, device="cpu")


def test_a_local_file_of_weights_is_what_is_tuned(tmp_path, weights):
    mine = from_file(tmp_path, weights).composition.networks["classifier"].backbone.network.state_dict()
    theirs = torch.load(weights, weights_only=True)
    assert len(mine) > 10
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_a_run_can_be_reopened_and_resumed_without_the_file_that_it_began_from(tmp_path, weights):
    before = from_file(tmp_path, weights).composition.networks["classifier"].state_dict()
    weights.unlink()
    after = zoo.load(tmp_path / "run", device="cpu").composition.networks["classifier"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert resume(tmp_path / "run", steps=3, device="cpu").step == 3
    assert Folder(tmp_path / "run").recipe().axes["backbone"].settings["checkpoint"] == str(weights)


def test_a_recipe_file_does_not_download_without_leave(tmp_path, monkeypatch):
    recipe = tmp_path / "theirs.toml"
    recipe.write_text('procedure = "supervised"\ndataset = "digits"\nbackbone = { name = "timm", pretrained = true }\n')
    with pytest.raises(BadRecipe, match="backbone.pretrained would download weights.*--allow-download"):
        zoo.train(recipe, out=tmp_path, device="cpu")
    asked = []
    monkeypatch.setattr("zoo_timm_backbones.models.timm.create_model", lambda *a, **k: asked.append(k) or 1 / 0)
    with pytest.raises(zoo.ZooError):
        zoo.train(recipe, out=tmp_path, device="cpu", allow_download=True)
    assert asked[0]["pretrained"] is True


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:/some/where", "timm/resnet18.a1_in1k"])
def test_a_name_that_is_no_models_is_refused_before_anything_is_downloaded(name):
    with pytest.raises(BadSetting, match="timm has no model"):
        composed(tuning_table(f"timm:{name}", "digits", {}), device="cpu")


# Weights for others


def test_timm_alone_loads_what_was_tuned_and_gives_the_same_logits(tmp_path):
    run = tuned(tmp_path, steps=6, lr=0.01)
    files = {path.name for path in export(run, tmp_path / "out")}
    assert files == {"recipe.toml", "classifier.safetensors", "model.json", "model.safetensors", "model.pth"}
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    images = torch.rand(5, 1, 8, 8)
    ours = run.composition.networks["classifier"](images * 2 - 1)
    mean, std = (torch.tensor(about[name]).view(3, 1, 1) for name in ("mean", "std"))
    for file in ("model.safetensors", "model.pth"):
        model = timm.create_model(
            about["model"], num_classes=about["num_classes"], checkpoint_path=tmp_path / "out" / file
        ).eval()
        torch.testing.assert_close(model((images.expand(5, 3, 8, 8) - mean) / std), ours, rtol=1e-4, atol=1e-4)


def test_a_model_with_layers_behind_its_last_stage_is_exported_as_the_zoos_own_only(tmp_path):
    run = tuned(tmp_path, backbone="timm:test_efficientnet", tune="head", steps=1)
    export(run, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["library"] is None
    assert "test_efficientnet is not its last stage" in about["reason"]
    weights = load_file(tmp_path / "out" / "classifier.safetensors")
    mine = run.composition.networks["classifier"].state_dict()
    assert weights.keys() == mine.keys()
    assert all(torch.equal(weights[name], mine[name]) for name in mine)
    with pytest.raises(UsageError, match="out is there already"):
        export(run, tmp_path / "out")


def test_the_head_of_other_classes_is_not_taken_over_though_they_are_as_many(tmp_path):
    low, high = ([(["dataset", "classes"], classes)] for classes in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]))
    options = {"steps": 4, "batch_size": 8, "validate_every": 0, "lr": 0.05}
    start(composed(tuning_table(MODEL, "digits", options), low, device="cpu"), tmp_path / "low")
    table = tuning_table(str(tmp_path / "low"), "digits", options)
    heads = [composed(table, classes, device="cpu").networks["classifier"].head[1].weight for classes in (low, high)]
    assert float(heads[0].detach().abs().max()) > 0
    assert not heads[1].any()
