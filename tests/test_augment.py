"""Augmentation against what it is by definition, and in training: slopes at the points, exact resume, refusals."""

import pytest
import torch
from torch import nn

import zoo
from zoo import ArrayDataset, Batch, Critic, Density, Draws, IncompatibleParts, losses
from zoo.api import compose_table
from zoo.augment import augmentation, brightness, color, contrast, cutout, saturation, translation
from zoo.errors import BadSetting
from zoo.trainer import Trainer

ALL = ("color", "translation", "cutout")
SEEDS = range(40)


def images(n=6, channels=3, height=16, width=24):
    return torch.tanh(torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(1))).double()


def test_brightness_adds_one_number_to_all_values_of_an_image():
    added = brightness(images(), Draws(0)) - images()
    first = added[:, :1, :1, :1]
    torch.testing.assert_close(added, first.expand_as(added))
    assert first.unique().numel() == 6
    many = brightness(torch.zeros(20_000, 1, 1, 1), Draws(0))
    assert -0.5 <= many.min() < -0.499
    assert 0.499 < many.max() < 0.5
    assert abs(many.mean()) < 4 * (1 / 12 / 20_000) ** 0.5


def test_saturation_keeps_the_mean_of_each_pixels_channels_and_scales_what_differs():
    given, seen = images(), saturation(images(), Draws(0))
    mean = given.mean(1, keepdim=True)
    torch.testing.assert_close(seen.mean(1, keepdim=True), mean)
    factors = (seen - mean) / (given - mean)
    torch.testing.assert_close(factors, factors[:, :1, :1, :1].expand_as(factors))
    many = saturation(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(20_000, 2, 1, 1), Draws(0))[:, 0]
    assert 0 <= many.min() < 0.002
    assert 1.998 < many.max() < 2


def test_contrast_keeps_the_mean_of_an_image_and_scales_what_differs():
    given, seen = images(), contrast(images(), Draws(0))
    mean = given.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(seen.mean((1, 2, 3), keepdim=True), mean)
    factors = (seen - mean) / (given - mean)
    torch.testing.assert_close(factors, factors[:, :1, :1, :1].expand_as(factors))
    many = contrast(torch.tensor([1.0, -1.0]).view(1, 1, 1, 2).expand(20_000, 1, 1, 2), Draws(0))[..., 0]
    assert 0.5 <= many.min() < 0.501
    assert 1.499 < many.max() < 1.5


def test_color_is_brightness_saturation_and_contrast_in_that_order():
    draws = Draws(3)
    expected = contrast(saturation(brightness(images(), draws), draws), draws)
    assert torch.equal(color(images(), Draws(3)), expected)


def moved(image, down, right):
    """By slices: the independent definition."""
    height, width = image.shape[-2:]
    seen = torch.zeros_like(image)
    rows, columns = (slice(max(0, -d), size - max(0, d)) for d, size in ((down, height), (right, width)))
    into = [slice(max(0, d), size - max(0, -d)) for d, size in ((down, height), (right, width))]
    seen[:, into[0], into[1]] = image[:, rows, columns]
    return seen


def test_translation_is_by_whole_pixels_with_zeros_from_outside():
    """By up to an eighth of each side: 2 rows and 3 columns here."""
    found = set()
    for seed in SEEDS:
        for image, seen in zip(images(), translation(images(), Draws(seed)), strict=True):
            shifts = [(d, r) for d in range(-2, 3) for r in range(-3, 4) if torch.equal(seen, moved(image, d, r))]
            assert len(shifts) == 1
            found.update(shifts)
    assert len(found) == 5 * 7


@pytest.mark.parametrize("sides", [(16, 24), (7, 9), (1, 1)])
def test_cutout_zeroes_one_square_of_half_the_side(sides):
    """Its centre is anywhere, so at the border half of it is cut off; all places occur along both axes."""
    found = ([], [])
    for seed in SEEDS:
        for hole in cutout(torch.ones(6, 3, *sides), Draws(seed)) == 0:
            assert torch.equal(hole, hole[:1].expand_as(hole))
            spans = [hole[0].any(axis).nonzero().flatten().tolist() for axis in (1, 0)]
            assert hole[0].sum() == len(spans[0]) * len(spans[1])
            for span, places in zip(spans, found, strict=True):
                assert span == list(range(span[0], span[-1] + 1))
                places.append((span[0], span[-1]))
    for side, places in zip(sides, found, strict=True):
        size = int(side / 2 + 0.5)
        firsts = range(-(size // 2), side + 1 - size // 2 - size % 2)
        assert set(places) == {(max(0, first), min(side, first + size) - 1) for first in firsts}


def test_what_is_not_cut_out_is_unchanged():
    seen = cutout(images(), Draws(0))
    assert torch.equal(seen[seen != 0], images()[seen != 0])
    assert (seen == 0).flatten(1).any(1).all()


def test_the_mean_over_draws_of_color_is_the_image():
    """Each factor has mean 1 and the shift mean 0, independently."""
    given = images(1, 3, 2, 2)
    seen = color(given.expand(10_000, -1, -1, -1), Draws(0))
    error = (seen.mean(0) - given[0]).abs() / (seen.std(0) / 100)
    assert error.max() < 5


def test_operations_are_done_in_the_order_named_with_the_runs_numbers():
    draws = Draws(5)
    expected = cutout(color(images(), draws), draws)
    assert torch.equal(augmentation(["color", "cutout"])(images(), Draws(5)), expected)
    assert not torch.equal(augmentation(["cutout", "color"])(images(), Draws(5)), expected)


def test_no_operation_is_no_augmentation():
    assert augmentation([]) is None


def test_samples_have_numbers_of_their_own_whatever_stands_beside_them():
    same = images(1).expand(5, -1, -1, -1)
    for operation in ALL:
        seen = augmentation([operation])(same, Draws(0))
        assert len({tuple(each.flatten().tolist()) for each in seen}) > 1
        changed = same.clone()
        changed[3] = 0.3
        again = augmentation([operation])(changed, Draws(0))
        assert torch.equal(seen[[0, 1, 2, 4]], again[[0, 1, 2, 4]])


def test_of_several_tensors_the_images_are_augmented():
    codes = torch.ones(6, 4)
    seen = augmentation(["cutout"])((images(), codes), Draws(0))
    assert torch.equal(seen[0], cutout(images(), Draws(0)))
    assert seen[1] is codes


@pytest.mark.parametrize("operation", ALL)
def test_gradients_pass_through_twice(operation):
    augment = augmentation([operation])
    assert torch.autograd.gradcheck(lambda x: augment(x, Draws(2)), images(2, 2, 5, 6).requires_grad_())
    assert torch.autograd.gradgradcheck(lambda x: augment(x, Draws(2)).square(), images(2, 2, 4, 4).requires_grad_())


class Weighted(Critic):
    """The mean of the squares."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, samples, condition=None):
        return self.weight * samples.square().flatten(1).sum(1)


def game(operations, **more):
    return Batch(
        critic=Weighted(), real=images(), fake=-images(), draws=Draws(7), augment=augmentation(operations), **more
    )


def test_the_critic_sees_augmented_samples_real_and_generated():
    draws = Draws(7)
    real, fake = (color(samples, draws) for samples in (images(), -images()))
    batch = game(["color"])
    torch.testing.assert_close(batch.real_scores, real.square().flatten(1).sum(1))
    torch.testing.assert_close(batch.fake_scores, fake.square().flatten(1).sum(1))
    assert torch.equal(batch.real, images())


@pytest.mark.parametrize("where", ["real", "fake", "segment"])
def test_slopes_are_by_the_points_themselves_through_the_augmentation(where):
    """Of the sum of squares the gradient is 2x, but 0 where the image is cut out, and by the critic's own weights."""
    batch = game(["cutout"])
    gradients = batch.gradients(where).view(6, 3, 16, 24)
    points = batch._point(where).detach()
    hole = gradients == 0
    assert torch.equal(gradients[~hole], 2 * points[~hole])
    assert hole.flatten(1).any(1).all()
    torch.testing.assert_close(batch.slopes(where), (2 * points * ~hole).flatten(1).norm(dim=1))
    (gradient,) = torch.autograd.grad(batch.slopes(where).sum(), batch.critic.weight)
    torch.testing.assert_close(gradient.double(), batch.slopes(where).detach().sum()[None])


def test_scores_and_slopes_are_of_the_same_augmentation():
    """Of a sum of squares, |gradient|^2 = 4 score; so it is with what is cut out."""
    batch = game(["translation", "cutout"])
    torch.testing.assert_close(batch.slopes("real").square(), 4 * batch.real_scores)


def test_another_game_on_the_same_draw_is_augmented_too():
    batch = game(["cutout"])
    other = batch.versus(Weighted(), torch.ones(6, 1, 8, 8), torch.ones(6, 5))
    assert (other.real_scores < 64).all()
    assert (other.fake_scores == 5).all()


def data(n=32):
    return ArrayDataset((127.5 * (images(n, 1, 8, 8) + 1)).to(torch.uint8))


NETWORKS = {"generator": {"name": "mlp", "width": 8}, "critic": {"name": "mlp", "width": 8}}


def trainer(variant="wgan-gp", dataset=None, **train):
    table = {"variant": variant, **NETWORKS, "train": {"batch_size": 8, **train}}
    return Trainer(compose_table(table, device="cpu", given={"dataset": dataset or data()}))


def weights(trained):
    return [p for network in trained.composition.networks.values() for p in network.parameters()]


@pytest.mark.parametrize("variant", ["wgan-gp", "r3gan", "vanilla", "wgan"])
def test_training_with_it_is_resumed_to_the_same_bits(variant):
    settings = {"augment": list(ALL), "flip": True}
    whole, first, second = (trainer(variant, **settings) for _ in range(3))
    for each, iterations in ((whole, 4), (first, 2)):
        torch.manual_seed(0)  # What dropout draws from, as a run has its own.
        for _ in range(iterations):
            each.iterate()
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.iterate()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    plain = trainer(variant)
    for _ in range(4):
        plain.iterate()
    assert not all(torch.equal(a, b) for a, b in zip(weights(whole), weights(plain), strict=True))


def test_real_and_generated_images_are_augmented_in_both_phases(monkeypatch):
    seen = []
    augment = augmentation(["color"])

    def watched(operations):
        return lambda samples, draws: seen.append(samples.requires_grad) or augment(samples, draws)

    monkeypatch.setattr(losses, "augmentation", watched)
    trained = trainer(augment=["color"])
    seen.clear()
    trained.iterate()
    steps = trained.train.critic_steps
    assert len(seen) == 3 * steps + 1  # real, fake and the segment in each critic step, the fake in the generator's


def test_the_trainer_draws_flipped_images_where_it_is_asked_to():
    dataset = ArrayDataset(torch.arange(8.0).expand(32, 1, 8, 8) / 8)
    for flip in (False, True):
        real = trainer(dataset=dataset, flip=flip).batches.draw(32)[0]
        assert bool((real[..., 0] > 0).any()) is flip


class Grey(Density):
    def __init__(self):
        self.shape = (1, 8, 8)

    def sample(self, n, draws):
        return draws.rand(n, 1, 8, 8)


@pytest.mark.parametrize(
    ("dataset", "train", "words"),
    [
        (ArrayDataset(torch.zeros(9, 2)), {"augment": ["color"]}, r"train\.augment is for images .* shape \(2,\)"),
        (ArrayDataset(torch.zeros(9, 2)), {"flip": True}, r"train\.flip is for images .* shape \(2,\)"),
        (Grey(), {"flip": True}, r"train\.flip mirrors the images of an array, and Grey is none"),
    ],
)
def test_what_cannot_be_augmented_is_refused(dataset, train, words):
    with pytest.raises(IncompatibleParts, match=words):
        trainer(dataset=dataset, **train)


def test_without_a_critic_there_is_nothing_to_augment():
    with pytest.raises(IncompatibleParts, match=r"train\.augment changes what a critic sees, and this recipe has none"):
        compose_table(
            {
                "variant": "histogram-js",
                "generator": {"name": "mlp", "width": 8},
                "train": {"augment": ["color"], "batch_size": 8},
            },
            device="cpu",
            given={"dataset": data()},
        )


@pytest.mark.parametrize("value", ["color", ["colour"], [1]])
def test_what_is_no_operation_is_refused(value):
    with pytest.raises(BadSetting, match=r"train\.augment must be .*\"color\" \| \"translation\" \| \"cutout\""):
        trainer(augment=value)


def test_the_command_takes_it_and_the_run_goes_on_with_it(zoo_command, tmp_path):
    settings = ("--set", 'train.augment=["translation"]', "--set", "train.flip=true")
    zoo_command("train", "vanilla", "--dataset", "digits", *settings, "--steps", 2, "--name", "run", "--quiet")
    zoo_command("train", "--resume", "runs/run", "--steps", 3, "--quiet")
    recipe = zoo.load(tmp_path / "runs" / "run", device="cpu").composition.recipe
    assert recipe.train["augment"] == ["translation"]
    assert recipe.train["flip"] is True


def test_a_neural_distance_is_of_the_samples_as_they_are(monkeypatch):
    from zoo.neural.game import _table

    class Plan:
        variant = "wgan-gp"

    train = _table(Plan, data(), 0)["train"]
    assert (train["augment"], train["flip"]) == ([], False)
