"""AAE and BiGAN: whose game it is, the losses against the papers' formulas, and what is learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn
from torch.nn.functional import softplus
from zoo_encoders.bidirectional import Bidirectional, Reversed
from zoo_encoders.codes import AdversarialCodes

import zoo
from zoo import Batch, Critic, Draws, Generator, Parts, Scores
from zoo.api import compose_table
from zoo.recipe import normalized
from zoo.trainer import Trainer

N, D, SHAPE = 6, 3, (1, 2, 2)


class Maker(Generator):
    """Linear, from latent points to samples."""

    latent_dim = D

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(D, 4), nn.Unflatten(1, SHAPE))

    def forward(self, z, condition=None):
        return self.layers(z)


class Reader(Generator):
    """Linear, from samples to latent points."""

    latent_dim, conditional = 0, True

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, D))

    def forward(self, z, condition=None):
        return self.layers(condition)


class Score(Critic):
    def __init__(self, size):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 1))

    def forward(self, samples, condition=None):
        return self.layers(samples).squeeze(1)


def composed(table):
    return compose_table(normalized(table), device="cpu")


def made(size, **more):
    torch.manual_seed(0)
    distance = zoo.create("distance", "non-saturating")
    networks = {"generator": Maker(), "encoder": Reader(), "critic": Score(size)}
    return Parts(networks=networks, distance=distance, **more)


def game(parts, trained=True):
    """As the trainer makes it: fakes have a graph where the generator is trained."""
    draws = Draws(3)
    real, z = draws.randn(N, *SHAPE), draws.randn(N, D)
    with torch.set_grad_enabled(trained):
        return Batch(critic=parts["critic"], real=real, fake=parts["generator"](z), z=z, draws=draws)


def losses(procedure, parts):
    found = {}
    for phase in procedure.phases(parts):
        batch = game(parts, "generator" in phase.trains)
        found[phase.name] = (phase, batch, phase.loss(phase.played(batch)))
    return found


def reached(parts, term):
    """The parts that a loss has a gradient by."""
    names = [(name, p) for name, part in parts.networks.items() for p in part.parameters()]
    gradients = torch.autograd.grad(term, [p for _, p in names], allow_unused=True)
    return {name for (name, _), gradient in zip(names, gradients, strict=True) if gradient is not None}


def test_the_adversarial_autoencoder_plays_for_codes_against_latent_points():
    parts = made(D)
    found = losses(AdversarialCodes(reconstruction=2.0), parts)
    _, batch, terms = found["autoencoder"]
    code = parts["encoder"](None, batch.real)
    error = (parts["generator"](code) - batch.real).flatten(1).square().sum(1).mean()
    assert torch.allclose(terms["reconstruction"], 2 * error)
    assert torch.allclose(batch.records["rebuilding_error"][0], error)
    _, batch, terms = found["critic"]
    # -log D(z) - log(1 - D(E(x))): the prior's points are real (section 2).
    z, code = parts["critic"](batch.z).detach().numpy(), parts["critic"](code).detach().numpy()
    expected = -np.log(expit(z)).mean() - np.log(1 - expit(code)).mean()
    assert float(terms["critic_loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert reached(parts, terms["critic_loss"]) == {"critic"}
    phase, batch, terms = found["encoder"]
    assert float(terms["encoder_loss"].detach()) == pytest.approx(-np.log(expit(code)).mean(), rel=1e-5)
    assert (phase.trains, reached(parts, terms["encoder_loss"])) == (("encoder",), {"critic", "encoder"})


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # Makhzani et al., section 2: reconstruction first, then the critic, then the encoder that confuses it.
        ("aae", {"autoencoder": ("generator", "encoder"), "critic": ("critic",), "encoder": ("encoder",)}),
        ("bigan", {"critic": ("critic",), "generator": ("generator", "encoder")}),
    ],
)
def test_phases_have_the_papers_order_and_the_critic_as_many_steps_as_are_asked_for(variant, expected):
    small = {"generator": {"width": 8}, "critic": {"width": 8}, "parts": {"encoder": {"width": 8}}}
    train = {"steps": 2, "batch_size": 8, "critic_steps": 3}
    trainer, moved = Trainer(composed({"variant": variant, "dataset": "digits", **small, "train": train})), []
    phases = trainer.composition.phases
    assert [(phase.name, phase.trains) for phase in phases] == list(expected.items())
    for phase in phases:
        trainer.optimizers[phase.name].register_step_post_hook(lambda *_, name=phase.name: moved.append(name))
    for _ in range(2):
        trainer.iterate()
    once = [name for name in expected for _ in range(3 if name == "critic" else 1)]
    assert moved == 2 * once
    trainer.release()


class Noisy(Reader):
    """An encoder with latent points of its own, which it adds."""

    latent_dim = D

    def forward(self, z, condition=None):
        self.drawn = z
        return super().forward(None, condition) + z


@pytest.mark.parametrize(("procedure", "size"), [(AdversarialCodes(), D), (Bidirectional(), 4 + D)])
def test_an_encoder_with_latent_points_is_noisy_in_games_and_not_when_it_is_asked_for_codes(procedure, size):
    parts = made(size)
    noisy = Noisy()
    noisy.load_state_dict(parts["encoder"].state_dict())
    parts = Parts(networks={**parts.networks, "encoder": noisy}, distance=parts.distance)
    real = Draws(4).randn(N, *SHAPE)
    assert torch.equal(procedure.encode(parts, real), Reader.forward(noisy, None, real))
    assert not noisy.drawn.any()
    for phase in procedure.phases(parts):
        noisy.drawn = None
        draws = Draws(6)
        many = Batch(
            critic=parts["critic"],
            real=draws.randn(4000, *SHAPE),
            fake=draws.randn(4000, *SHAPE),
            z=draws.randn(4000, D),
            draws=draws,
        )
        phase.loss(phase.played(many))
        assert noisy.drawn.shape == (4000, D)
        assert float(noisy.drawn.mean()) == pytest.approx(0, abs=0.04)
        assert float(noisy.drawn.std()) == pytest.approx(1, abs=0.04)


class Labelled(Maker):
    """The linear one, with the class added to every value."""

    conditional = True

    def forward(self, z, condition=None):
        return super().forward(z) + condition.view(-1, 1, 1, 1)


def test_the_adversarial_autoencoder_rebuilds_each_sample_as_of_its_class():
    parts = made(D)
    maker = Labelled()
    parts = Parts(networks={**parts.networks, "generator": maker}, distance=parts.distance)
    draws, labels = Draws(3), torch.arange(N) % 4
    real = draws.randn(N, *SHAPE)
    (phase, *_) = AdversarialCodes().phases(parts)
    batch = Batch(real=real, real_condition=labels, fake_condition=labels.flip(0), draws=draws)
    error = phase.loss(batch)["reconstruction"].detach()
    code = parts["encoder"](None, real)
    rebuilt = Maker.forward(maker, code) + labels.view(-1, 1, 1, 1)
    assert torch.allclose(error, (rebuilt - real).square().sum((1, 2, 3)).mean())


CONDITIONAL = {
    "generator": {"name": "mlp", "width": 16, "latent_dim": 4, "condition": "concat"},
    "critic": {"name": "mlp", "width": 16},
    "parts": {"encoder": {"name": "mlp-encoder", "width": 16}},
}


@pytest.mark.parametrize("procedure", [AdversarialCodes(), Bidirectional()])
def test_encoder_and_critic_are_not_told_that_there_are_classes(procedure):
    wants = procedure.wants(zoo.About((1, 8, 8), 10))
    for name in ("encoder", "critic"):
        assert {"classes": None, "paired": None}.items() <= wants[name].context.items()
    assert wants["critic"].context["source"] is None
    assert wants["encoder"].context["source"] == (1, 8, 8)
    assert wants["generator"].context == {}


@pytest.mark.parametrize("variant", ["aae", "bigan"])
def test_a_critic_that_is_to_be_told_the_class_is_refused(variant):
    table = {"variant": variant, "dataset": "digits", "critic": {"name": "mlp", "condition": "concat"}}
    with pytest.raises(zoo.IncompatibleParts, match="set condition = 'none'"):
        composed({**table, "train": {"steps": 1}})


@pytest.mark.parametrize("variant", ["aae", "bigan"])
def test_conditional_ones_are_trained_and_told_the_labels(variant):
    table = {"variant": variant, "dataset": "digits", **CONDITIONAL, "train": {"steps": 3, "batch_size": 16}}
    found = {}
    for told in (True, False):
        trainer = Trainer(composed(table))
        generator, seen = trainer.composition.networks["generator"], []
        generator.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[1]))
        before = generator.layers[0].weight.detach().clone()
        if not told:
            generator.register_forward_pre_hook(lambda _, given: (given[0], 9 - given[1]))
        for _ in range(3):
            trainer.iterate()
        found[told] = trainer.flush()
        moved = (generator.layers[0].weight - before).detach().abs().amax(0)
        assert all(np.isfinite(value) for value in found[told].values())
        assert len(set(torch.cat(seen).tolist())) == 10
        assert (moved > 0).all(), "the columns of the classes learn as those of the latent points do"
        trainer.release()
    assert found[True] != found[False]


def test_bigan_plays_for_pairs_and_both_makers_fool_the_critic():
    parts = made(4 + D)
    found = losses(Bidirectional(), parts)
    batch = game(parts)
    generator, encoder, critic = (parts[name] for name in ("generator", "encoder", "critic"))
    real = critic(torch.cat([batch.real.flatten(1), encoder(None, batch.real)], 1))
    fake = critic(torch.cat([generator(batch.z).flatten(1), batch.z], 1))
    phase, _, terms = found["critic"]
    assert torch.allclose(terms["critic_loss"], softplus(-real).mean() + softplus(fake).mean())
    assert (phase.trains, reached(parts, terms["critic_loss"])) == (("critic",), {"critic"})
    phase, _, terms = found["generator"]
    assert torch.allclose(terms["generator_loss"], softplus(-fake).mean())  # -log D(G(z), z)
    assert torch.allclose(terms["encoder_loss"], softplus(real).mean())  # -log(1 - D(x, E(x)))
    assert phase.trains == ("generator", "encoder")
    assert reached(parts, terms["encoder_loss"]) == {"critic", "encoder"}


def test_swapped_labels_of_least_squares_are_its_targets_swapped():
    parts = replace(made(4 + D), distance=zoo.create("distance", "least-squares"))
    _, batch, terms = losses(Bidirectional(), parts)["generator"]
    real = parts["critic"](torch.cat([batch.real.flatten(1), parts["encoder"](None, batch.real)], 1))
    # Fakes aim at 1, what is real to the critic, and so the encoder's pairs at 0: not at -1.
    assert torch.allclose(terms["encoder_loss"], real.square().mean() / 2)


def test_pairs_may_be_images_with_further_channels():
    parts = made(4 * (1 + D))
    for _, _, terms in losses(Bidirectional(pairs="channels"), parts).values():
        assert all(term.isfinite() for term in terms.values())
    phase = Bidirectional(pairs="channels").phases(parts)[0]
    batch = game(parts)
    played = phase.played(batch)
    assert played.fake.shape == (N, 1 + D, 2, 2)
    assert torch.equal(played.fake[:, 1:, 1, 0], batch.z)
    assert torch.equal(played.real[:, :1], batch.real)


def test_reversed_scores_are_negative_and_features_are_kept():
    class Heads(Critic):
        def forward(self, samples, condition=None):
            return Scores((samples[:, 0], 2 * samples[:, 1]), samples)

    points = Draws(0).randn(4, 2)
    found = Reversed(Heads())(points)
    assert torch.equal(found.values[1], -2 * points[:, 1])
    assert torch.equal(found.features, points)
    one_head = Score(2)
    assert torch.equal(Reversed(one_head)(points).values, -one_head(points))


@pytest.mark.parametrize("variant", ["aae", "bigan"])
@pytest.mark.parametrize(
    ("distance", "constraint"),
    [("wasserstein", "gradient-penalty"), ("hinge", "spectral-norm"), ("relativistic", "r2")],
)
def test_both_go_with_any_distance_and_constraint(variant, distance, constraint):
    named = {"variant": variant, "dataset": "digits", "distance": distance, "lipschitz_constraint": [constraint]}
    trainer = Trainer(composed({**named, "train": {"steps": 2, "batch_size": 16}}))
    for _ in range(2):
        trainer.iterate(estimate=True)
    assert all(abs(value) < 1e6 for value in trainer.flush().values())
    trainer.release()


@pytest.mark.parametrize("variant", ["aae", "bigan"])
def test_codes_and_pairs_cannot_be_augmented(variant):
    train = {"steps": 1, "augment": ["color"]}
    with pytest.raises(zoo.IncompatibleParts, match="this critic sees something made of them"):
        composed({"variant": variant, "dataset": "digits", "train": train})


def test_a_penalty_is_of_the_codes_that_the_critic_sees():
    seen = []

    class Watching(zoo.LipschitzConstraint):
        def penalty(self, batch):
            seen.append(batch.slopes("real").shape + batch.real.shape)
            return batch.slopes("segment").mean()

    parts = made(D, constraints={"watching": Watching()})
    losses(AdversarialCodes(), parts)
    assert seen == [(N, N, D)]


def test_pairs_of_inverse_makers_cannot_be_told_apart():
    """Theorem 2: the game of a critic of pairs is undecided where E inverts G and G makes the data."""
    torch.manual_seed(0)
    maker, wrong, draws = nn.Linear(D, D).double(), nn.Linear(D, D).double(), Draws(1)
    critic = nn.Sequential(nn.Linear(2 * D, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0)).double()
    real, z = maker(draws.randn(20_000, D).double()), draws.randn(20_000, D).double()

    class Given(Generator):
        latent_dim, conditional = 0, True

        def __init__(self, matrix):
            super().__init__()
            self.matrix = matrix

        def forward(self, z, condition=None):
            return (condition - maker.bias) @ self.matrix.T

    gaps = []
    for matrix in (maker.weight.inverse(), wrong.weight):
        parts = Parts(
            networks={"generator": Maker(), "encoder": Given(matrix), "critic": critic},
            distance=zoo.create("distance", "non-saturating"),
        )
        phase = Bidirectional().phases(parts)[0]
        played = phase.played(Batch(critic=critic, real=real, fake=maker(z), z=z, draws=draws))
        gaps.append(float((played.real_scores.mean() - played.fake_scores.mean()).abs().detach()))
    error = float(played.real_scores.std().detach()) * (2 / 20_000) ** 0.5
    assert gaps[0] < 4 * error < gaps[1]


@pytest.mark.parametrize(("variant", "steps", "share"), [("aae", 100, 0.3), ("bigan", 300, 0.9)])
def test_what_is_rebuilt_is_nearer_to_its_sample_than_to_others(variant, steps, share):
    trainer = Trainer(composed({"variant": variant, "dataset": "digits", "train": {"steps": steps}}))
    for _ in range(steps):
        trainer.iterate()
    parts, real = trainer.composition.parts, trainer.composition.dataset.samples.float()
    with torch.no_grad():
        rebuilt = parts["generator"](trainer.composition.procedure.encode(parts, real))
    errors = [float((each - real).square().mean()) for each in (rebuilt, rebuilt.roll(1, 0))]
    assert errors[0] < share * errors[1], errors
    trainer.release()
