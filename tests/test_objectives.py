"""Objectives: whose losses their terms are added to, what they train and when, their state, and who refuses them."""

import copy
import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from zoo import Critic, IncompatibleParts, Objective, Scores
from zoo.api import compose_table, start
from zoo.devices import seeded
from zoo.dividing import check_split
from zoo.errors import BadRecipe
from zoo.plugins import Plugins
from zoo.processes import Group
from zoo.recipe import normalized
from zoo.testing.training import flattened
from zoo.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from telling import Telling
from test_compile import as_traced

FILE = Path(__file__).with_name("telling.py")
BASE = {
    "dataset": "ring",
    "generator": {"name": "mlp", "width": 8, "depth": 1, "latent_dim": 4},
    "critic": {"name": "mlp", "width": 8, "depth": 1, "activation": "tanh"},
    "distance": "wasserstein",
    "train": {"batch_size": 8, "steps": 6, "optimizer": {"name": "SGD", "lr": 0.05}},
}
PHASES = [("critic",), ("generator",), ("critic", "generator"), ()]


class Constant(Objective):
    """10 for the critic, 20 for the generator."""

    trained_with = ()

    def critic_loss(self, batch):
        return 10 + 0 * batch.fake_scores.sum()

    def generator_loss(self, batch):
        return 20 + 0 * batch.fake_scores.sum()


class OfTheCritic(Constant):
    """10 for the critic, and nothing for the generator."""

    def generator_loss(self, batch):
        return None


class Spread(Objective):
    """A loss of the set."""

    trained_with = ()

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight

    def generator_loss(self, batch):
        return -self.weight * batch.fake.std(0).sum()


class Plain(Critic):
    """Scores without features."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, samples, condition=None):
        return self.layer(samples).squeeze(1)


class Featured(Critic):
    """Two features, and their sum."""

    feature_size = 2

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, samples, condition=None):
        features = self.layer(samples)
        return Scores(features.sum(1), features)


class Latent:
    """As much of a generator as it takes to build one."""

    latent_dim = 4


def telling(weight=0.1):
    with seeded(7):
        return {"telling": Telling((2,), Latent(), weight=weight)}


def composed(objectives=None, table=None, plugins=None, assignments=(), **given):
    given |= {"objective": objectives} if objectives else {}
    table = normalized({**BASE, **(table or {})})
    return compose_table(table, assignments, device="cpu", given=given, plugins=plugins)


def named():
    plugins = Plugins()
    plugins.add_file(FILE)
    return plugins


def evaluated(trainer, phase):
    trainer.trainable.only(phase, 0)
    trainer.optimizers[phase.name].zero_grad()
    return trainer._source.evaluate(phase, None, trainer._inputs(phase), 0, eager=True)


def states(composition):
    return {name: copy.deepcopy(network.state_dict()) for name, network in composition.networks.items()}


def moved(before, after, parameters=("weight", "bias")):
    ends = {(n, k) for n in before for k in before[n] if k.endswith(parameters)}
    return {name for name, key in ends if not torch.equal(before[name][key], after[name][key])}


def test_each_term_is_added_to_the_loss_of_its_phase_and_logged_under_its_name():
    trainer = Trainer(composed({"both": Constant(), "one": OfTheCritic()}))
    found = {}
    for phase in trainer.composition.phases:
        each, _ = evaluated(trainer, phase)
        found[phase.name] = {name: float(value) for name, value in each[0].terms.items()}
    assert found["critic"].keys() == {"critic_loss", "both", "one"}
    assert (found["critic"]["both"], found["critic"]["one"]) == (10, 10)
    assert found["generator"].keys() == {"generator_loss", "both"}
    assert found["generator"]["both"] == 20
    trainer.iterate()
    assert trainer.flush().keys() >= {"critic/both", "generator/both", "one", "critic_loss", "generator_loss"}


@pytest.mark.parametrize("name", ["critic", "generator"])
def test_the_gradient_is_that_of_the_sum(name):
    gradients = []
    for objectives, alone in ((None, False), (telling(), False), (telling(), True)):
        trainer = Trainer(composed(objectives))
        phase = next(p for p in trainer.composition.phases if p.name == name)
        inputs = list(trainer.composition.networks[name].parameters())
        if alone:
            trainer.trainable.only(phase, 0)
            source = trainer._source
            batch = source._losses[name].game(source._draw_real, trainer.draws, None, 0)
            loss = getattr(objectives["telling"], f"{name}_loss")(batch)
            gradients.append(torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))
            continue
        evaluated(trainer, phase)
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad for p in inputs])
    assert any(bool(gradient.any()) for gradient in gradients[2])
    for without, whole, own in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, without + own)


@pytest.mark.parametrize("phases", PHASES)
def test_its_parameters_are_trained_in_exactly_the_phases_that_it_says(phases):
    objectives = telling(weight=1.0)
    objectives["telling"].trained_with = phases
    trainer = Trainer(composed(objectives))
    for phase in trainer.composition.phases:
        before = states(trainer.composition)
        trainer._step(phase, estimate=False)
        own = {"telling"} if phase.name in phases else set()
        assert moved(before, states(trainer.composition)) == {phase.name} | own
        assert all(p.requires_grad == bool(own) for p in objectives["telling"].parameters())


def test_after_step_is_told_the_means_of_both_phases():
    trainer = Trainer(composed(telling()))
    trainer.iterate()
    assert trainer.composition.parts.objectives["telling"].steps.item() == 2
    assert trainer.flush().keys() >= {"critic/telling_error", "generator/telling_error"}


def test_its_context_is_the_data_the_generator_and_the_critics_features(tmp_path):
    file = tmp_path / "seeing.py"
    file.write_text(
        "import zoo\n"
        "class Seeing(zoo.Objective):\n"
        "    trained_with = ()\n"
        "    def __init__(self, shape, classes, source, generator, features):\n"
        "        super().__init__()\n"
        "        self.seen = shape, classes, source, generator.latent_dim, features\n"
        "    def generator_loss(self, batch):\n"
        "        return batch.fake.mean()\n"
        "@zoo.hookimpl\n"
        "def objective():\n"
        "    return {'seeing': Seeing}\n"
    )
    plugins = Plugins()
    plugins.add_file(file)
    table = {"objective": ["seeing"]}
    seen = composed(table=table, plugins=plugins, critic=Featured()).parts.objectives["seeing"].seen
    assert seen == ((2,), None, None, 4, 2)
    plain = composed(table=table, plugins=plugins, critic=Plain()).parts.objectives["seeing"].seen
    assert plain[-1] is None


def test_the_same_seed_gives_the_same_weights_and_other_parts_keep_theirs():
    one, other, without = (
        states(composed(table={"objective": names}, plugins=named())) for names in (["telling"], ["telling"], [])
    )
    assert all(torch.equal(one["telling"][key], value) for key, value in other["telling"].items())
    for name in without:
        assert all(torch.equal(one[name][key], value) for key, value in without[name].items())


@pytest.mark.parametrize("given", [False, True])
def test_saved_and_resumed_it_ends_as_if_it_had_not_stopped(tmp_path, given):
    settings = {"batch_size": 8, "checkpoint_every": 3, "log_every": 3, "optimizer": {"name": "Adam", "lr": 0.01}}
    table = normalized({**BASE, "objective": [] if given else ["telling"], "train": settings})
    found = []
    for name, stops in (("straight", [6]), ("stopped", [3, 6])):
        for steps in stops:
            (own,) = telling().values()
            if steps == stops[0]:
                mine = {"objective": {"given Telling": own}} if given else {}
                assignments = [(("train", "steps"), steps), (("train", "schedule_steps"), 6)]
                start(compose_table(table, assignments, device="cpu", given=mine, plugins=named()), tmp_path / name)
            else:
                mine = {"objective": [own]} if given else {}
                zoo.resume(tmp_path / name, steps=steps, device="cpu", given=mine, plugins=named())
        saved = torch.load(max((tmp_path / name / "checkpoints").glob("*.pt")), weights_only=True)
        found.append({k: v for k, v in flattened(saved).items() if not k.startswith("schedule")})
    straight, stopped = found
    own = {name.rpartition(".")[2] for name in straight if "elling" in name}
    assert own >= {"weight", "bias", "level", "steps"}
    assert [
        n for n in straight if isinstance(straight[n], torch.Tensor) and not torch.equal(straight[n], stopped[n])
    ] == []


class Following(Objective):
    """State, and no parameters, so that it is among no networks."""

    trained_with = ()

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(()))

    def critic_loss(self, batch):
        batch.record(level=batch.real_scores.mean())
        return (batch.real_scores - self.level).square().mean()

    def after_step(self, means):
        if "level" in means:
            self.level.lerp_(means["level"], 0.1)


def test_state_without_parameters_is_saved_as_well():
    trainer, again = (Trainer(composed({"following": Following()})) for _ in range(2))
    for _ in range(3):
        trainer.iterate()
    again.load_state_dict(trainer.state_dict())
    for each in (trainer, again):
        each.iterate()
    one, other = (each.composition.parts.objectives["following"].level for each in (trainer, again))
    assert one != 0
    assert torch.equal(one, other)


def test_it_is_named_set_and_left_out_on_the_command_line(zoo_command, tmp_path):
    command = ("train", "wgan", "--dataset", "ring", "--plugin", FILE, "--dry-run", "--objective", "telling")

    def recipe(*more):
        return json.loads(zoo_command(*command, "--json", *more).stdout)["recipe"]

    assert recipe()["objective"] == [{"name": "telling", "weight": 0.1}]
    assert recipe("--set", "objective.telling.weight=0.5")["objective"] == [{"name": "telling", "weight": 0.5}]
    file = tmp_path / "own.toml"
    file.write_text('variant = "wgan"\ndataset = "ring"\nobjective = [{ name = "telling", weight = 0.3 }]\n')
    again = ("train", file, "--plugin", FILE, "--dry-run", "--json")
    read = [json.loads(zoo_command(*again, *more).stdout)["recipe"] for more in ((), ("--objective", "none"))]
    assert [each["objective"] for each in read] == [[{"name": "telling", "weight": 0.3}], []]
    assert "--objective none" not in zoo_command(*command, "--set", "objective.telling.wieght=1", code=2).stderr


def test_an_objective_of_the_callers_own_is_trained(tmp_path):
    (mine,) = telling(weight=1.0).values()
    before = copy.deepcopy(mine.state_dict())
    run = zoo.train(
        **{**BASE, "train": {}}, objective=[mine], steps=2, batch_size=8, out=tmp_path, name="own", device="cpu"
    )
    assert mine.steps.item() == 4
    assert not torch.equal(before["layer.weight"], mine.layer.weight)
    assert run.metrics[-1].keys() >= {"critic/given Telling", "generator/given Telling"}


REFUSED = {
    "has no place for one": {
        **dict.fromkeys(("generator", "critic", "distance"), "none"),
        **{"procedure": "supervised", "dataset": "digits", "backbone": "timm:test_resnet"},
    },
    "packs its samples": {"procedure": {"name": "adversarial", "packed": 2}},
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_procedure_without_a_place_for_it_refuses_it(why):
    with pytest.raises(BadRecipe, match=f"its procedure {why}; leave them out: --objective none"):
        composed({"one": Constant()}, REFUSED[why])


def test_two_things_of_one_name_are_refused():
    with pytest.raises(BadRecipe, match="an objective and a part are both called critic"):
        composed({"critic": Constant()})


def test_micro_batches_equal_the_whole_where_it_is_a_mean():
    found = []
    for parts in (1, 2, 4):
        trainer = Trainer(composed(telling(weight=1.0), {"train": {**BASE["train"], "micro_batches": parts}}))
        phase = trainer.composition.phases[1]
        real, z = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), trainer.draws.randn(8, 4)
        own = trainer.composition.networks["telling"]
        trainer.trainable.only(phase, 0)
        rows = [(real[k::parts], z[k::parts]) for k in range(parts)]
        for points, latents in rows:
            with torch.enable_grad():
                generator = trainer.composition.networks["generator"]
                batch = trainer.composition.batch(real=points, fake=generator(latents), z=latents, track=False)
                total, _, _ = trainer._source._losses["generator"](batch)
                total.backward()
        found.append([p.grad.clone() for p in (*own.parameters(), *generator.parameters())])
    for one, *others in zip(*found, strict=True):
        for other in others:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 1e-3])
def test_micro_batches_of_a_loss_of_the_set_are_refused(weight):
    composed({"spread": Spread(weight)})
    with pytest.raises(IncompatibleParts, match="the objective spread is no mean over samples"):
        composed({"spread": Spread(weight)}, {"train": {**BASE["train"], "micro_batches": 2}})


def test_several_processes_are_refused_for_a_loss_of_the_set():
    among_two = dataclasses.replace(composed({"spread": Spread()}), group=Group(0, 2))
    with pytest.raises(IncompatibleParts, match="use one process"):
        check_split(among_two)
    check_split(dataclasses.replace(composed(telling()), group=Group(0, 2)))


def test_what_is_measured_before_leaves_it_as_it_was():
    (mine,) = telling().values()
    before = copy.deepcopy(mine.state_dict())
    composed({"mine": mine}, {"train": {**BASE["train"], "micro_batches": 2}})
    assert mine.training
    assert all(torch.equal(value, mine.state_dict()[key]) for key, value in before.items())


def test_its_loss_is_traced_as_it_is_eagerly(monkeypatch):
    monkeypatch.setattr(torch, "compile", as_traced)
    said, trainers = [], []
    for compiled in (False, True):
        table = {"train": {**BASE["train"], "compile": compiled}}
        trainers.append(Trainer(composed(telling(), table), said.append))
    for _ in range(3):
        for trainer in trainers:
            trainer.iterate()
    one, other = (states(trainer.composition) for trainer in trainers)
    for name in one:
        for key in one[name]:
            torch.testing.assert_close(one[name][key], other[name][key], rtol=1e-5, atol=1e-6)
    assert said == []
