"""GAN transfer: first weights from another run, and what of networks is never trained."""

import copy
import shutil

import pytest
import torch
from torch import nn

import zoo
from zoo.api import compose_table
from zoo.errors import BadCheckpoint, BadRecipe, BadRun, BadSetting, IncompatibleParts, UnknownName
from zoo.folder import Folder
from zoo.freezing import freeze, stages_of
from zoo.testing.training import flattened

QUICK = {"steps": 2, "batch_size": 8, "log_every": 1, "sample_every": 1, "checkpoint_every": 1, "keep": 9}
MLP = {"generator": {"name": "mlp", "width": 8, "depth": 2, "norm": "batch"}, "critic": {"name": "mlp", "width": 8}}
DCGAN = {"generator": {"name": "dcgan", "width": 4}, "critic": {"name": "dcgan", "width": 4, "norm": "batch"}}
HEADS = {
    "generator": {"name": "dcgan", "width": 4},
    "critic": {"name": "backbone-heads", "norm": "batch"},
    "backbone": {"name": "timm", "model": "test_resnet"},
}
NETWORKS = {"mlp": MLP, "dcgan": DCGAN, "backbone-heads": HEADS}
FIRST_STAGES = {
    "mlp": ("layers.0.", "layers.3."),
    "dcgan": ("layers.0.", "layers.2.", "layers.3."),
    "backbone-heads": ("backbone.network.conv1", "backbone.network.bn1", "backbone.network.layer1."),
}
"""What the first two stages of each critic consist of."""
SCALES = {
    "mlp": ("layers.1.", "layers.4."),
    "dcgan": ("layers.2.", "layers.5."),
    "backbone-heads": ("layers.2.", "layers.5."),
}
"""Where the normalisations of each generator are."""
FIRST_OF_DCGAN = ("layers.0.", "layers.2.")


def trained(path, networks, **train):
    table = {"variant": "vanilla", "dataset": {"name": "digits"}, **networks, "train": {**QUICK, **train}}
    zoo.api.start(compose_table(table, device="cpu"), path)
    return Folder(path)


def weights(folder, step=None):
    return flattened(folder.load(step)["networks"])


def changed(after, before):
    return {name for name in after if not torch.equal(after[name], before[name])}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A run of each kind of networks, to begin from."""
    place = tmp_path_factory.mktemp("sources")
    return {name: trained(place / name, networks, seed=1) for name, networks in NETWORKS.items()}


def begun(tmp_path, source, networks, freeze, **train):
    return trained(tmp_path / "run", networks, init_from=str(source.path), freeze=freeze, seed=2, **train)


@pytest.mark.parametrize("name", NETWORKS)
def test_plain_fine_tuning_begins_from_the_run_and_changes_everything(name, sources, tmp_path):
    source = weights(sources[name])
    composition = compose_table(
        {
            "variant": "vanilla",
            "dataset": {"name": "digits"},
            **NETWORKS[name],
            "train": {**QUICK, "init_from": str(sources[name].path)},
        },
        device="cpu",
    )
    first = flattened({part: network.state_dict() for part, network in composition.networks.items()})
    assert changed(first, source) == set()
    assert changed(weights(begun(tmp_path, sources[name], NETWORKS[name], [])), source) == set(source)


@pytest.mark.parametrize("name", NETWORKS)
def test_freeze_d_leaves_the_first_stages_of_the_critic_and_their_statistics(name, sources, tmp_path):
    source = weights(sources[name])
    run = begun(tmp_path, sources[name], NETWORKS[name], ["critic:stages<2"], steps=3)
    frozen = {each for each in source if each.startswith(tuple(f"critic.{part}" for part in FIRST_STAGES[name]))}
    assert 3 < len(frozen) < len(source)
    assert changed(weights(run), source) == set(source) - frozen


@pytest.mark.parametrize("name", NETWORKS)
def test_scale_shift_trains_nothing_else_of_the_generator_and_statistics_follow(name, sources, tmp_path):
    source = weights(sources[name])
    run = begun(tmp_path, sources[name], NETWORKS[name], ["generator:scale-shift"], steps=3)
    critic = {each for each in source if each.startswith("critic.")}
    norms = {each for each in source if each.startswith(tuple(f"generator.{part}" for part in SCALES[name]))}
    assert len(norms) == 10
    assert changed(weights(run), source) == critic | norms


def test_frozen_stages_of_a_generator_keep_statistics_whenever_pictures_are_made(sources, tmp_path):
    """A picture is made at each step, of the generator itself, which is in evaluation mode meanwhile."""
    source = weights(sources["dcgan"])
    run = begun(tmp_path, sources["dcgan"], DCGAN, ["generator:stages<1", "critic:stages<1"], steps=3, average=0.0)
    frozen = {each for each in source if each.startswith(tuple(f"generator.{part}" for part in FIRST_OF_DCGAN))}
    frozen |= {"critic.layers.0.weight", "critic.layers.0.bias"}
    assert len(frozen) == 9
    assert changed(weights(run), source) == set(source) - frozen


def test_what_is_named_none_is_trained(sources, tmp_path):
    source = weights(sources["mlp"])
    run = begun(tmp_path, sources["mlp"], MLP, ["generator:none", "critic:stages<0"])
    assert changed(weights(run), source) == set(source)


@pytest.mark.parametrize("name", ["dcgan", "backbone-heads"])
def test_a_resumed_run_freezes_the_same_and_comes_to_the_same_bits(name, sources, tmp_path):
    frozen = ["critic:stages<2", "generator:scale-shift"]
    whole = begun(tmp_path, sources[name], NETWORKS[name], frozen, steps=6)
    stopped = Folder(tmp_path / "stopped")
    shutil.copytree(whole.path, stopped.path)
    for later in (4, 5, 6):
        (stopped.checkpoints / f"step-{later:08d}.pt").unlink()
    zoo.resume(stopped.path, device="cpu")
    one, other = flattened(stopped.load()), flattened(whole.load())
    assert one.keys() == other.keys()
    assert [key for key in one if key != "seconds" and not _same(one[key], other[key])] == []
    assert stopped.recipe().train["freeze"] == frozen
    samples = [zoo.load(folder.path, device="cpu").sample(4) for folder in (stopped, whole)]
    assert torch.equal(*samples)


def _same(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_frozen_parts_stay_still_in_bf16_and_in_copies():
    composition = compose_table(
        {
            "variant": "vanilla",
            "dataset": {"name": "digits"},
            **DCGAN,
            "train": {**QUICK, "precision": "bf16", "freeze": ["critic:stages<2", "generator:stages<1"]},
        },
        device="cpu",
    )
    critic = composition.networks["critic"]
    composition.parts["critic"].train()
    assert (critic.layers[3].training, critic.layers[6].training) == (False, True)
    twin = copy.deepcopy(composition.networks["generator"])
    twin.train()
    assert [module.training for module in twin.layers[:6]] == [False, False, False, False, True, True]
    assert twin.layers[2].train.__self__ is twin.layers[2]


class Nested(nn.Module):
    """A critic of somebody else: a wrapper, a list of blocks, dropout, a first and a last normalisation."""

    def __init__(self):
        super().__init__()
        self.rescale = nn.LayerNorm(2)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, affine=False)), nn.Linear(4, 4), nn.Dropout(0.5)]
        )
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.head = nn.Linear(4, 1)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Nested()
        self.act = nn.ReLU()


def test_stages_are_the_outermost_blocks_with_what_stands_between_them():
    network = Wrapped()
    stages = stages_of(network, (2,))
    assert [stage.name for stage in stages] == ["inner.blocks.0", "inner.blocks.1", "inner.head"]
    inner = network.inner
    assert list(stages[0].modules) == [inner.rescale, inner.blocks[0]]
    assert list(stages[1].modules) == [inner.blocks[1], inner.blocks[2], inner.norm]
    assert [p.numel() for p in stages[0].parameters] == [2, 2, 8, 4]


def test_dropout_and_statistics_without_parameters_rest_with_their_stage():
    network = Wrapped()
    freeze({"critic": network}, ["critic:stages<2"], (2,))
    network.train()
    inner = network.inner
    still = [inner.rescale, inner.blocks[0][1], inner.blocks[1], inner.blocks[2], inner.norm]
    assert not any(module.training for module in still)
    assert inner.head.training
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        "inner.head.weight",
        "inner.head.bias",
    }


def test_a_layer_under_spectral_norm_is_one_stage():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3))
    network = nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 1))
    assert [stage.name for stage in stages_of(network, (2,))] == ["0", "2"]
    freeze({"critic": network}, ["critic:stages<1"], (2,))
    before = copy.deepcopy(network.state_dict())
    network.train()(torch.ones(4, 2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


WRONG = {
    "an unknown part": ("kritic:all", UnknownName, r"'kritic'.*critic"),
    "no part": ("all", BadSetting, "not of the form PART:WHAT"),
    "something unknown": ("critic:heads", BadSetting, "none, all, stages<K or scale-shift"),
    "a number that a shell took away": ("critic:stages", BadSetting, "in a shell with the quotes"),
    "a negative number": ("critic:stages<-1", BadSetting, "not of the form PART:WHAT"),
    "too many stages": (
        "critic:stages<5",
        BadSetting,
        "critic has no 5 stages to freeze; its stages: 0 layers.0, 1 layers.3, 2 layers.6, 3 layers.9",
    ),
    "scales that are not there": ("critic:scale-shift", IncompatibleParts, "this critic has none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_frozen_is_told(case):
    wish, kind, words = WRONG[case]
    table = {"variant": "vanilla", "dataset": {"name": "digits"}, **MLP, "train": {**QUICK, "freeze": [wish]}}
    with pytest.raises(kind, match=words):
        compose_table(table, device="cpu")


@pytest.mark.parametrize(
    ("wish", "phase"), [("critic:all", "critic"), ("critic:stages<4", "critic"), ("generator:all", "generator")]
)
def test_freezing_everything_leaves_nothing_to_train(wish, phase, tmp_path):
    with pytest.raises(BadRecipe, match=f"the {phase} phase has nothing to train"):
        trained(tmp_path / "run", MLP, freeze=[wish])
    assert not (tmp_path / "run").exists()


def test_a_run_of_other_networks_is_refused_by_the_first_weight_that_differs(sources, tmp_path):
    wider = {**MLP, "critic": {"name": "mlp", "width": 9}}
    with pytest.raises(
        IncompatibleParts, match=r"critic: layers\.0\.weight has shape \(8, 64\) there and \(9, 64\) here"
    ):
        begun(tmp_path, sources["mlp"], wider, [])
    with pytest.raises(IncompatibleParts, match=r"generator: layers\.0\.weight has shape \(8, \d+\) there"):
        begun(tmp_path, sources["mlp"], DCGAN, [])
    assert not (tmp_path / "run").exists()


def test_a_run_to_begin_from_must_be_there_and_have_a_checkpoint(sources, tmp_path):
    with pytest.raises(BadRun, match="is no run folder"):
        trained(tmp_path / "run", MLP, init_from=str(tmp_path / "nothing"))
    empty = Folder.create(tmp_path / "empty", sources["mlp"].recipe())
    with pytest.raises(BadRun, match="has no checkpoint to begin from"):
        trained(tmp_path / "run", MLP, init_from=str(empty.path))
    shutil.copytree(sources["mlp"].path, tmp_path / "damaged")
    for file in (tmp_path / "damaged" / "checkpoints").glob("*.pt"):
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BadCheckpoint):
        trained(tmp_path / "run", MLP, init_from=str(tmp_path / "damaged"))
    assert not (tmp_path / "run").exists()


def test_the_command_line_transfers_shows_and_keeps_what_is_frozen(sources, zoo_command, tmp_path):
    source = sources["dcgan"].path
    begin = [source / "recipe.toml", "--init-from", source, "--freeze", "critic:stages<2", "--device", "cpu", "--quiet"]
    dry = zoo_command("train", *begin, "--dry-run").stdout
    row = next(line for line in dry.splitlines() if line.startswith("critic "))
    # 4x4 kernels: 4 + 4 biases from 1 channel to 4, then 4 to 8 with normalisation, and 32 + 1 of the score.
    assert row.split()[1:] == [str(68 + 512 + 16 + 33), "33"]
    zoo_command("train", *begin, "--name", "run")
    assert 'freeze = [\n    "critic:stages<2",\n]' in (tmp_path / "runs" / "run" / "recipe.toml").read_text()
    refused = zoo_command("train", "--resume", "runs/run", "--freeze", "critic:all", "--steps", "4", code=2)
    assert "--freeze cannot be given" in refused.stderr
    assert "no run folder" in zoo_command("train", *begin, "--init-from", "nothing", code=2).stderr
