"""CycleGAN: the losses of both games against the authors' formula, the gradients, and what is refused."""

import copy

import pytest
import torch
import zoo_cyclegan
from torch import nn
from zoo_cyclegan import Cycle

import zoo
from zoo import About, Batch, Critic, Distance, Draws, Generator, IncompatibleParts, LipschitzConstraint, Parts
from zoo.api import compose_table
from zoo.processes import Group
from zoo.sets import OverSet
from zoo.testing.parts import small_translations
from zoo.trainer import Trainer

N, D = 5, 4


class Shift(Generator):
    """Multiplies and adds, so that every term has a closed form."""

    latent_dim = 0
    conditional = True

    def __init__(self, scale, shift):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))

    def forward(self, z, condition=None):
        assert z.shape == (len(condition), 0)
        return self.scale * condition + self.shift


class Sum(Critic):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, samples, condition=None):
        return self.weight * samples.flatten(1).sum(1)


class Mean(Distance):
    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


def game(parts, a, b):
    return Batch(
        critic=parts["critic"],
        real=b,
        fake=lambda: parts["generator"](torch.empty(len(a), 0), a),
        real_condition=a,
        fake_condition=a,
        draws=Draws(0),
    )


def parts(**changes):
    networks = {
        "generator": Shift(2.0, 1.0),
        "backward": Shift(-1.0, 0.5),
        "critic": Sum(0.3),
        "backward_critic": Sum(-0.7),
    }
    return Parts(networks=networks, distance=changes.pop("distance", Mean()), **changes)


def sets():
    draws = Draws(1)
    return draws.randn(N, D), draws.randn(N, D) + 1


def phases(made, **settings):
    return {phase.name: phase for phase in Cycle(**settings).phases(made)}


def test_the_generators_loss_is_the_authors():
    made, (a, b) = parts(), sets()
    batch = game(made, a, b)
    terms = phases(made, cycle=10.0, identity=5.0)["generators"].loss(batch)
    a64, b64 = a.double().numpy(), b.double().numpy()
    there, back = 2 * a64 + 1, -b64 + 0.5
    expected = {
        "generator_loss": -(0.3 * there.sum(1)).mean(),
        "backward_loss": -(-0.7 * back.sum(1)).mean(),
        "cycle": 10 * (abs(-there + 0.5 - a64).mean() + abs(2 * back + 1 - b64).mean()),
        "identity": 5 * (abs(2 * b64 + 1 - b64).mean() + abs(-a64 + 0.5 - a64).mean()),
    }
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, rel=1e-5)
    (error,) = batch.records["cycle_error"]
    assert error.item() == pytest.approx(expected["cycle"] / 20, rel=1e-5)


def test_each_critic_plays_its_own_game_and_leaves_the_generators_alone():
    made, (a, b) = parts(), sets()
    found = phases(made)
    there, back = 2 * a + 1, -b + 0.5
    with torch.no_grad():
        batch = game(made, a, b)
        assert batch.fake is not None
    loss = found["critic"].loss(batch)["critic_loss"]
    assert loss.item() == pytest.approx(float(0.3 * (there.sum(1).mean() - b.sum(1).mean())), rel=1e-5)
    batch = game(made, a, b)
    loss = found["backward_critic"].loss(found["backward_critic"].played(batch))["backward_critic_loss"]
    loss.backward()
    assert [p.grad for p in made["backward"].parameters()] == [None, None]
    assert loss.item() == pytest.approx(float(-0.7 * (back.sum(1).mean() - a.sum(1).mean())), rel=1e-5)
    assert found["critic"].trains == ("critic",)
    assert found["backward_critic"].trains == ("backward_critic",)
    assert found["generators"].trains == ("generator", "backward")


def test_the_cycle_is_seen_by_both_generators():
    made, (a, b) = parts(), sets()
    cycle = phases(made)["generators"].loss(game(made, a, b))["cycle"]
    networks = (made["generator"], made["backward"])
    gradients = torch.autograd.grad(cycle, [p for network in networks for p in network.parameters()])
    step, index = 1e-3, 0
    for network in networks:
        for parameter in network.parameters():
            values = []
            for sign in (1, -2):
                parameter.data += sign * step
                values.append(float(phases(made)["generators"].loss(game(made, a, b))["cycle"].detach()))
            parameter.data += step
            assert gradients[index].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2)
            assert gradients[index].item() != 0
            index += 1


class Noisy(Shift):
    """With latent points of its own."""

    latent_dim = 3

    def __init__(self):
        super().__init__(1.0, 0.0)
        self.seen = []

    def forward(self, z, condition=None):
        self.seen.append(z)
        return condition + z.mean(1, keepdim=True)


def test_generators_with_latent_points_are_given_fresh_normal_ones_each_time():
    made, n = parts(), 3000
    made.networks.update(generator=Noisy(), backward=Noisy())
    a, b = Draws(1).randn(2, n, D)
    draws = Draws(0)
    batch = Batch(critic=made["critic"], real=b, fake=b, z=None, real_condition=a, fake_condition=a, draws=draws)
    phases(made)["generators"].loss(batch)
    seen = made["generator"].seen + made["backward"].seen
    # Back for the game, there and back again, and both identities; the game's own fakes are the trainer's.
    assert len(seen) == 5
    for index, z in enumerate(seen):
        assert z.shape == (n, 3)
        assert float(z.mean()) == pytest.approx(0, abs=5 * (3 * n) ** -0.5)
        assert float(z.var()) == pytest.approx(1, abs=5 * (2 / (3 * n)) ** 0.5)
        assert not any(torch.equal(z, other) for other in seen[:index])


def test_two_inverse_generators_have_no_cycle_error():
    made, (a, b) = parts(), sets()
    made.networks["backward"].load_state_dict(Shift(0.5, -0.5).state_dict())
    terms = phases(made)["generators"].loss(game(made, a, b))
    assert terms["cycle"].item() == pytest.approx(0, abs=1e-5)
    assert terms["identity"].item() > 0.1


class Norm(LipschitzConstraint):
    def __init__(self):
        super().__init__()
        self.parametrized, self.projected = [], []

    def parametrize(self, critic):
        self.parametrized.append(critic)

    def penalty(self, batch):
        return batch.slopes("real").square().mean()

    def project(self, critic):
        self.projected.append(critic)


def test_a_constraint_is_laid_on_both_critics():
    made, (a, b) = parts(constraints={"norm": Norm()}), sets()
    found = phases(made)
    for name, weight in (("critic", 0.3), ("backward_critic", -0.7)):
        value = found[name].loss(found[name].played(game(made, a, b)))["norm"]
        assert value.item() == pytest.approx(D * weight**2, rel=1e-5)
        found[name].after()
    assert made.constraints["norm"].projected == [made["critic"], made["backward_critic"]]
    norm = Norm()
    small_composition(lipschitz_constraint={"norm": norm})
    assert len(norm.parametrized) == 2


def small_composition(steps=4, **given):
    tiny = {"name": "resnet-translator", "width": 2, "halvings": 1, "blocks": 1}
    table = {
        "variant": "cyclegan",
        "generator": tiny,
        "parts": {"backward": tiny},
        "train": {"steps": steps, "batch_size": 8},
    }
    return compose_table(table, device="cpu", given={"dataset": small_translations((1, 8, 8), paired=False), **given})


def test_one_game_leaves_the_other_ones_networks_as_they_are():
    trainer = Trainer(small_composition())
    composition = trainer.composition
    before = copy.deepcopy({name: network.state_dict() for name, network in composition.networks.items()})
    for phase in composition.phases:
        trainer._step(phase, False)
        for name, network in composition.networks.items():
            state = network.state_dict()
            moved = any(not torch.equal(state[key], before[name][key]) for key in state)
            assert moved == (name in phase.trains), (phase.name, name)
            before[name] = copy.deepcopy(state)


def test_a_component_that_follows_one_game_is_refused():
    class Following(Mean):
        def after_step(self, means):
            pass

    class Averaging(LipschitzConstraint):
        def after_step(self, means):
            pass

    with pytest.raises(IncompatibleParts, match="Following follows one game"):
        Cycle().phases(parts(distance=Following()))
    with pytest.raises(IncompatibleParts, match="Following follows one game"):
        Cycle().phases(parts(distance=OverSet(Following(), Group(0, 2))))
    with pytest.raises(IncompatibleParts, match="Averaging follows one game"):
        Cycle().phases(parts(constraints={"norm": Norm(), "averaging": Averaging()}))
    assert Cycle().phases(parts(distance=OverSet(Mean(), Group(0, 2)), constraints={"norm": Norm()}))


def test_data_without_sources_or_of_two_shapes_are_refused():
    with pytest.raises(IncompatibleParts, match="unpaired-folder"):
        Cycle().wants(About((1, 8, 8), None))
    two = About((3, 8, 8), None, (1, 8, 8), False)
    with pytest.raises(IncompatibleParts, match=r"procedure.identity = 0"):
        Cycle().wants(two)
    wanted = Cycle(identity=0.0).wants(two)
    assert wanted["backward"].context == {"shape": (1, 8, 8), "source": (3, 8, 8)}
    assert wanted["backward_critic"].context["shape"] == (1, 8, 8)


def test_the_cycle_error_falls_and_the_way_back_is_open(tmp_path):
    settings = {"dataset.task": "inverted", "dataset.paired": False, "train.log_every": 10}
    zoo.train(
        "cyclegan", dataset="digit-translation", steps=150, out=str(tmp_path), name="r", device="cpu", settings=settings
    )
    run = zoo.load(tmp_path / "r", device="cpu")
    errors = [row["cycle_error"] for row in run.metrics if "cycle_error" in row]
    assert errors[-1] < 0.6 * errors[0]
    from zoo.translating import translated

    images = run.dataset.sources[:6]
    there = translated(run, images)
    again = translated(run, there, backward=True)
    assert float((again - images).abs().mean()) < float((there - images).abs().mean())


def test_the_variant_says_where_to_use_it():
    variant = zoo_cyclegan.variant()["cyclegan"]
    assert "no pairs" in variant.summary
