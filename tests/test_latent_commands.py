"""What `zoo encode`, `zoo interpolate` and `zoo sample` refuse, and what they say of what they made."""

import json
import re

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import nn

import zoo
from zoo import ArrayDataset, Draws, Generator, IncompatibleParts
from zoo.devices import refuse_beyond_memory
from zoo.errors import OutOfMemory, UsageError
from zoo.latent import encoded, real_samples
from zoo.pictures import save_picture

RECIPES = {
    "vae": {"variant": "vae", "dataset": "digits"},
    "told": {"variant": "aae", "dataset": "digits", "generator": {"name": "mlp", "condition": "concat"}},
    "codes": {"variant": "infogan", "dataset": "digits"},
    "ring": {"variant": "vae", "dataset": "ring"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, recipe in RECIPES.items():
        zoo.train(**recipe, steps=1, batch_size=4, device="cpu", out=folder, name=name)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("interpolate vae one.png one.png --grid g.png -n 3", "-n is for random points"),
        ("interpolate vae one.png one.png --grid g.png --seed 3", "--seed is for random points"),
        ("interpolate codes --grid g.png --sweep category --columns 4", "--columns says nothing where each category"),
        ("interpolate codes --grid g.png --sweep 1 -n 4", "-n says nothing where each category is a row"),
        ("interpolate codes --grid g.png --sweep ''", "there is no code '' to sweep"),
        ("interpolate vae --grid g.gif", r"--grid g\.gif: pictures are saved as \.png"),
        ("encode vae one.png --grid one.png", r"one\.png is one of the pictures that are read"),
        ("encode told one.png --out c.npy --labels 1,2", "--labels has 2 classes for 1 pictures"),
        ("sample told --out s.npy --labels 3,99,98,99", "labels must be from 0 to 9, not 98, 99"),
        ("encode vae --out c.npy -n 2000", "-n 2000 is more than the 1797 samples"),
        ("encode vae --grid c.npy --out c.npy", r"--grid c\.npy: pictures are saved as \.png"),
        ("sample vae --grid g.png --out g.png", r"--grid and --out are the same file"),
        ("sample told --grid g.png -n 2 --labels 1,2,3", "-n 2 is fewer samples than the 3 --labels"),
    ],
)
def test_what_would_not_be_heard_or_would_be_lost_is_refused(runs, words, said, tmp_path, zoo_command):
    picture = Image.new("L", (9, 9), 80)
    picture.save(tmp_path / "one.png")
    before = (tmp_path / "one.png").read_bytes()
    command, run, *others = [word.strip("'") for word in words.split()]
    assert re.search(said, zoo_command(command, runs / run, *others, code=2).stderr)
    assert [each.name for each in tmp_path.iterdir()] == ["one.png"]
    assert (tmp_path / "one.png").read_bytes() == before


@pytest.mark.parametrize("command", ["sample", "interpolate"])
def test_more_than_the_memory_holds_is_refused_before_it_is_asked_for(runs, command, zoo_command):
    said = zoo_command(command, runs / "vae", "-n", 10**12, "--out", "s.npy", code=1).stderr
    assert re.search(r"samples of shape \(1, 8, 8\) take [\d,]+ GiB, and this machine has \d+ GiB", said)
    refuse_beyond_memory(1000, (1, 8, 8))
    with pytest.raises(OutOfMemory, match="take 1,024 GiB"):
        refuse_beyond_memory(2**38, (1,))


def test_classes_are_needed_where_something_is_given_them(runs, tmp_path, zoo_command):
    """The encoder of an adversarial autoencoder sees none, the generator that rebuilds what it read does."""
    Image.new("L", (9, 9), 80).save(tmp_path / "one.png")
    words = ("encode", runs / "told", "one.png")
    zoo_command(*words, "--out", "c.npy")
    assert np.load(tmp_path / "c.npy").shape[0] == 1
    assert "say which: --labels" in zoo_command(*words, "--grid", "g.png", code=2).stderr
    zoo_command(*words, "--grid", "g.png", "--labels", 3)


def test_machines_are_told_which_row_is_what(runs, tmp_path, zoo_command):
    Image.new("L", (9, 9), 80).save(tmp_path / "one.png")
    told = json.loads(zoo_command("encode", runs / "vae", "one.png", "--out", "c.npy", "--json").stdout)
    assert (told["images"], told["labels"]) == (["one.png"], None)
    told = json.loads(zoo_command("encode", runs / "told", "-n", 3, "--out", "c.npy", "--json").stdout)
    assert (told["images"], told["labels"]) == (None, [0, 1, 2])
    told = json.loads(
        zoo_command("sample", runs / "told", "-n", 3, "--labels", "7,8", "--out", "s.npy", "--json").stdout
    )
    assert told["labels"] == [7, 8, 7]
    told = json.loads(zoo_command("sample", runs / "told", "-n", 6, "--out", "s.npy", "--json").stdout)
    again = np.load(tmp_path / "s.npy")
    run = zoo.load(runs / "told", device="cpu")
    draws = Draws(0)
    condition = draws.randint(10, 6)  # As the samples were made: classes, and then latent points.
    assert told["labels"] == condition.tolist()
    generator = run.composition.networks["generator"]
    np.testing.assert_allclose(again, generator(generator.latent(6, draws), condition).detach().numpy(), rtol=1e-5)
    words = ("interpolate", runs / "told", "-n", 3, "--out", "s.npy", "--json")
    assert json.loads(zoo_command(*words, "--labels", "7,8").stdout)["labels"] == [7, 8, 7]


def test_bytes_are_encoded_as_floats_and_nothing_is_refused(runs):
    run = zoo.load(runs / "vae", device="cpu")
    samples, _ = real_samples(run.dataset, 4)
    torch.testing.assert_close(encoded(run, run.dataset.samples[:4]), encoded(run, samples))
    assert samples.dtype == torch.float32
    with pytest.raises(UsageError, match="no samples"):
        encoded(run, samples[:0])


def test_a_generator_of_ones_own_says_the_size_of_its_points():
    class Mute(Generator):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def latent(self, n, draws):
            return draws.randn(n, 3)

        def forward(self, z, condition=None):
            return self.layer(z)

    for variant in ("vae", "aae", "bigan"):
        with pytest.raises(IncompatibleParts, match="no latent_dim"):
            zoo.train(variant, dataset="ring", generator=Mute(), steps=1, device="cpu")


def test_in_the_plane_ways_are_lines_and_what_lies_outside_is_counted(tmp_path, monkeypatch):
    drawn, titles = [], []
    monkeypatch.setattr(Axes, "plot", lambda self, *given, **how: drawn.append(given))
    monkeypatch.setattr(Axes, "set_title", lambda self, text, **how: titles.append(text))
    data = ArrayDataset(Draws(0).randn(50, 2).tanh())
    ways = torch.tensor([[[0.0, 0.0], [0.5, 0.1], [1.0, 0.2]], [[0.0, 1.0], [0.0, 0.5], [9.0, 0.0]]])
    save_picture(tmp_path / "ways.png", ways.flatten(0, 1), data, columns=3)
    xs, ys = drawn[0]
    np.testing.assert_allclose(xs, [[0.0, 0.0], [0.5, 0.0], [1.0, 9.0]])
    np.testing.assert_allclose(ys, [[0.0, 1.0], [0.1, 0.5], [0.2, 0.0]], rtol=1e-6)
    assert titles == ["1 of 6 points are outside of this picture"]
    save_picture(tmp_path / "points.png", ways.flatten(0, 1)[:5], data)
    assert (len(drawn), len(titles)) == (1, 1)


def test_zoo_encode_and_interpolate_draw_points_in_the_plane(runs, tmp_path, zoo_command):
    for command in ("encode", "interpolate"):
        zoo_command(command, runs / "ring", "--grid", f"{command}.png")
        with Image.open(tmp_path / f"{command}.png") as picture:
            assert picture.size == (500, 500)
