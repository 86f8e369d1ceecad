"""Latent points: found by a run's encoder, walked between, swept over codes; and the commands that show it."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from zoo import ArrayDataset, Density, Draws, Generator, IncompatibleParts, Phase, Procedure, Want
from zoo.errors import UsageError
from zoo.latent import DRAWN, between, drawn, encoded, generated, real_samples, swept
from zoo.run import CHUNK

SHAPE, D = (1, 8, 8), 5
SIZE = 24


class Line(Density):
    shape = (1,)

    def sample(self, n, draws):
        return draws.randn(n, 1)


class Spread(Generator):
    """A latent point at the beginning of an image of zeros, and the class at its end."""

    latent_dim = D

    def __init__(self, categories=0, continuous=0, conditional=False):
        super().__init__()
        self.categories, self.continuous, self.conditional = categories, continuous, conditional
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z, condition=None):
        image = torch.cat([self.scale * z, z.new_zeros(len(z), 64 - D)], dim=1)
        if self.conditional:
            image[:, -1] = condition
        return image.view(-1, *SHAPE)


class Inverse(Procedure):
    """The first entries of a sample are its latent point; with labels, the class is taken off."""

    def wants(self, about):
        return {"generator": Want("generator")}

    def phases(self, parts):
        return [Phase("generator", ("generator",), lambda batch: {"loss": batch.fake.square().mean()})]

    def encode(self, parts, samples, condition=None):
        points = samples.flatten(1)[:, :D]
        return points if condition is None else points - condition[:, None]


class Mute(Inverse):
    encode = Procedure.encode


def data(labels=False):
    return ArrayDataset(torch.tanh(Draws(1).randn(SIZE, *SHAPE)), torch.arange(SIZE) % 3 if labels else None)


@pytest.fixture
def made(tmp_path):
    def make(procedure=None, labels=False, **codes):
        given = {"dataset": data(labels), "generator": Spread(conditional=labels, **codes)}
        return zoo.train(
            "vanilla",
            **given,
            procedure=procedure or Inverse(),
            critic="none",
            distance="none",
            steps=1,
            batch_size=4,
            average=0.0,
            out=str(tmp_path),
            name="run",
            device="cpu",
        )

    return make


def test_samples_have_the_points_that_the_procedure_finds(made):
    run = made()
    samples = data().samples
    assert torch.equal(encoded(run, samples), samples.flatten(1)[:, :D])
    points = drawn(run, 300, seed=3)
    torch.testing.assert_close(encoded(run, generated(run, points)), points, rtol=5e-3, atol=1e-3)
    assert not torch.equal(points, drawn(run, 300, seed=4))


def test_a_conditional_run_is_told_classes(made):
    run = made(labels=True)
    samples, labels = real_samples(run.dataset, 7)
    assert labels == [0, 1, 2, 0, 1, 2, 0]
    expected = samples.flatten(1)[:, :D] - torch.tensor(labels)[:, None]
    assert torch.equal(encoded(run, samples, labels), expected)
    assert torch.equal(encoded(run, samples, [0, 1, 2]), expected)
    assert torch.equal(generated(run, drawn(run, 4), [2, 1]).flatten(1)[:, -1], torch.tensor([2.0, 1, 2, 1]))
    with pytest.raises(UsageError, match="say which: --labels"):
        generated(run, drawn(run, 4))
    with pytest.raises(UsageError, match="labels must be from 0 to 2"):
        encoded(run, samples, [3])


def test_images_are_encoded_in_the_range_of_the_data_and_densities_by_draws_of_one_seed():
    images = torch.arange(256, dtype=torch.uint8).view(-1, 1, 8, 8)
    found, labels = real_samples(ArrayDataset(images), None)
    torch.testing.assert_close(found, images / 127.5 - 1)
    assert labels is None
    for count, n in ((7, 7), (None, DRAWN)):
        found, labels = real_samples(Line(), count)
        assert torch.equal(found, Draws(0).randn(n, 1))
        assert labels is None


def test_each_of_many_samples_has_the_class_of_its_own(made):
    """More than the networks are given at once, with classes that do not begin again where the next ones begin."""
    run, n = made(labels=True), 2 * CHUNK + 44
    assert CHUNK % 3
    labels = torch.arange(n) % 3
    samples = Draws(2).randn(n, *SHAPE)
    for told in (labels.tolist(), [0, 1, 2]):
        points = encoded(run, samples, told)
        assert torch.equal(points, samples.flatten(1)[:, :D] - labels[:, None])
        images = generated(run, points, told).flatten(1)
        assert torch.equal(images[:, -1], labels.float())
        assert torch.equal(images[:, :D], run.composition.networks["generator"].scale.detach() * points)


def test_what_has_no_encoder_or_another_shape_is_refused(made):
    run = made(Mute())
    with pytest.raises(IncompatibleParts, match="zoo search encoder"):
        encoded(run, data().samples)
    with pytest.raises(UsageError, match=r"encodes samples \(1, 8, 8\), not \(1, 4, 4\)"):
        encoded(run, torch.zeros(2, 1, 4, 4))


def angles(one, other):
    """In radians, by the lengths of the chords of unit vectors, `(...)`."""
    one, other = (each / each.norm(dim=-1, keepdim=True) for each in (one.double(), other.double()))
    return 2 * ((one - other).norm(dim=-1) / 2).asin()


@pytest.mark.parametrize("length", [1.0, 3.0, 0.2])
def test_the_way_between_turns_by_equal_angles_in_one_plane_and_its_length_changes_evenly(length):
    starts, ends = torch.nn.functional.normalize(Draws(0).randn(2, 50, 6), dim=2)
    way = between(starts, length * ends, 9)
    torch.testing.assert_close(way[:, 0], starts)
    torch.testing.assert_close(way[:, -1], length * ends)
    whole = angles(starts, ends)
    assert whole.min() < 1 < 2 < whole.max()
    torch.testing.assert_close(
        angles(way[:, :-1], way[:, 1:]), (whole / 8)[:, None].expand(50, 8), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(angles(way[:, 2], ends), whole * 6 / 8, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(way.norm(dim=2), torch.linspace(1, length, 9).expand(50, 9))


def test_a_way_between_unequal_ends_is_never_longer_than_the_longer_one():
    """In two dimensions such ends are common, and a circle of one of their lengths would leave them far behind."""
    way = between(Draws(5).randn(500, 2), Draws(6).randn(500, 2), 21).norm(dim=2)
    least, most = (bound(way[:, 0], way[:, -1]) for bound in (torch.minimum, torch.maximum))
    assert ((way <= 1.001 * most[:, None]) & (way >= 0.999 * least[:, None])).all()


def test_what_is_normal_at_both_ends_is_as_long_on_the_way():
    """The reason for the circle (White, section 2.1): halfway on a straight line lengths are less by the root of 2."""
    starts, ends = Draws(1).randn(2, 2000, 100)
    expected = starts.norm(dim=1).mean()
    assert between(starts, ends, 3)[:, 1].norm(dim=1).mean() == pytest.approx(float(expected), rel=0.01)
    assert ((starts + ends) / 2).norm(dim=1).mean() == pytest.approx(float(expected) / 2**0.5, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_way_between_is_in_the_precision_of_its_ends(dtype):
    one, other = torch.eye(3, dtype=dtype)[:2, None]
    way = between(one, other, 4)
    assert way.dtype == dtype
    angle = torch.linspace(0, torch.pi / 2, 4, dtype=torch.float64)
    expected = torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1)
    torch.testing.assert_close(way[0].double(), expected, rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("end", [[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
def test_points_without_an_angle_between_them_go_straight(end):
    way = between(torch.tensor([[1.0, 0.0]]), torch.tensor([end]), 3)[0]
    torch.testing.assert_close(way[1], (torch.tensor([1.0, 0.0]) + torch.tensor(end)) / 2)


def test_codes_go_straight_while_the_rest_turns():
    way = between(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0, 1.0]]), 3, codes=2)[0]
    torch.testing.assert_close(way[1], torch.tensor([0.5, 0.5, 0.5**0.5, 0.5**0.5]))


def test_a_sweep_changes_one_code_and_nothing_else(made):
    run = made(categories=3, continuous=1)
    points = swept(run, "category", 4, 10)
    assert points.shape == (4, 3, D)
    assert torch.equal(points[2, :, :3], torch.eye(3))
    assert torch.equal(points[:, 0, 3:], points[:, 2, 3:])
    assert not torch.equal(points[0, 0, 3:], points[1, 0, 3:])
    points = swept(run, "1", 4, 5)
    assert points.shape == (3, 5, D)
    assert torch.equal(points[:, 0, :3], torch.eye(3))
    assert points[1, :, 3].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert torch.equal(points[0, 0, 4:], points[2, 4, 4:])
    for code in ("2", "categories"):
        with pytest.raises(UsageError, match=f"no code '{code}' to sweep; those of .* are category, 1"):
            swept(run, code, 4, 5)


def test_a_sweep_without_categories_has_a_row_a_point(made):
    run = made(continuous=2)
    points = swept(run, "2", 4, 5)
    assert points.shape == (4, 5, D)
    assert not torch.equal(points[0, 0, 2:], points[1, 0, 2:])


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    zoo.train("vae", dataset="digits", steps=30, out=str(out), name="vae", device="cpu")
    return out / "vae"


def test_zoo_encode_saves_points_and_a_picture(vae, tmp_path, zoo_command):
    out, grid = tmp_path / "more" / "codes.npy", tmp_path / "rebuilt.png"
    told = json.loads(zoo_command("encode", vae, "--out", out, "--grid", grid, "-n", 50, "--json").stdout)
    assert (told["n"], told["latent_dim"], told["files"]) == (50, np.load(out).shape[1], [str(out), str(grid)])
    run = zoo.load(vae, device="cpu")
    expected = encoded(run, run.dataset.samples[:50].float())
    np.testing.assert_allclose(np.load(out), expected.numpy(), rtol=1e-5, atol=1e-5)
    assert grid.exists()


def test_zoo_encode_and_interpolate_read_pictures(vae, tmp_path, zoo_command):
    for number in range(3):
        Image.new("L", (20, 30), 80 * number).save(tmp_path / f"{number}.png")
    said = zoo_command("encode", vae, tmp_path, "--out", tmp_path / "codes.npy").stdout
    assert said.startswith("3 latent points of")
    assert len(np.load(tmp_path / "codes.npy")) == 3
    zoo_command("interpolate", vae, tmp_path / "0.png", tmp_path / "2.png", "--out", tmp_path / "way.npy")
    assert np.load(tmp_path / "way.npy").shape == (1, 10, 1, 8, 8)


def test_zoo_interpolate_draws_rows(vae, tmp_path, zoo_command):
    words = ("--out", tmp_path / "way.npy", "-n", 3, "--columns", 4)
    told = json.loads(zoo_command("interpolate", vae, *words, "--grid", tmp_path / "way.png", "--json").stdout)
    assert (told["rows"], told["columns"]) == (3, 4)
    first = np.load(tmp_path / "way.npy")
    assert first.shape == (3, 4, 1, 8, 8)
    zoo_command("interpolate", vae, *words)
    assert np.array_equal(first, np.load(tmp_path / "way.npy"))
    zoo_command("interpolate", vae, *words, "--seed", 1)
    assert not np.array_equal(first, np.load(tmp_path / "way.npy"))


def test_pictures_for_a_conditional_run_come_with_classes(tmp_path, zoo_command):
    zoo.train("cvae", dataset="digits", steps=2, out=str(tmp_path), name="cvae", device="cpu")
    Image.new("L", (20, 30), 80).save(tmp_path / "one.png")
    words = ("encode", tmp_path / "cvae", tmp_path / "one.png", "--out", tmp_path / "c.npy")
    assert "say which: --labels" in zoo_command(*words, code=2).stderr
    zoo_command(*words, "--labels", "3")
    three = np.load(tmp_path / "c.npy")
    zoo_command(*words, "--labels", "4")
    assert not np.array_equal(three, np.load(tmp_path / "c.npy"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("encode",), "--out FILE.npy or --grid FILE.png"),
        (("encode", "--out", "codes.csv"), "arrays are saved as .npy"),
        (("encode", "--out", "c.npy", "-n", "0"), "-n must be at least 1"),
        (("encode", "--out", "c.npy", "--labels", "1"), "--labels are for IMAGES"),
        (("encode", "--out", "c.npy", "nowhere.png"), "nowhere.png"),
        (("interpolate",), "--grid FILE.png or --out FILE.npy"),
        (("interpolate", "--grid", "g.png", "--columns", "1"), "--columns must be at least 2"),
        (("interpolate", "--grid", "g.png", "--sweep", "category"), "no code 'category' to sweep; .* has none"),
        (("interpolate", "--grid", "g.png", "--labels", "1"), "not conditional"),
    ],
)
def test_misuse_is_told(vae, zoo_command, words, said, tmp_path):
    command, *others = words
    assert re.search(said, zoo_command(command, vae, *others, code=2).stderr)
    assert list(tmp_path.iterdir()) == []
