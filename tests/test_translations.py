"""Samples that are made from sources: pairs stay together, unpaired ones are drawn on their own, runs go on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from zoo import BadData, Generator, Translations
from zoo import data as data_module
from zoo.api import compose_table
from zoo.cli import main
from zoo.components import Described
from zoo.data import Batches
from zoo.devices import seeded
from zoo.errors import UsageError
from zoo.fingerprints import fingerprint
from zoo.folder import Folder
from zoo.previews import beside, preview
from zoo.processes import Group
from zoo.recipe import Choice
from zoo.run import CHUNK
from zoo.testing.parts import small_translations
from zoo.testing.training import require_training
from zoo.trainer import Trainer
from zoo.translating import translated

CPU = torch.device("cpu")
SIZE, SOURCES = 23, 31


def numbered(n, channels=1):
    """uint8 images that hold their number on the left and 200 on the right, so that mirrored ones can be told."""
    images = torch.full((n, channels, 2, 2), 200, dtype=torch.uint8)
    images[..., 0] = torch.arange(n, dtype=torch.uint8).view(n, 1, 1)
    return images


def pairs(mapped=False):
    return Translations(numbered(SIZE), numbered(SIZE, 3), mapped=mapped)


def strangers(mapped=False):
    return Translations(numbered(SIZE), numbered(SOURCES, 3), paired=False, mapped=mapped)


def numbers(images):
    """The number of each image, and whether it is mirrored."""
    values = images.add(1).mul(127.5).round().long()[:, 0, 0]
    return values.min(1).values, values[:, 1] < values[:, 0]


def drawn(dataset, n=5, count=12, seed=3, **options):
    batches = Batches(dataset, CPU, seed, **options)
    return [batches.draw(n) for _ in range(count)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
def test_pairs_stay_together_through_shuffling_mirroring_and_gathering(flip, ahead, monkeypatch):
    if ahead:
        monkeypatch.setattr(data_module, "SHARE", 0.0)
    found = drawn(pairs(mapped=ahead), flip=flip)
    mirrored = []
    for samples, sources in found:
        assert all(torch.equal(one, other) for one, other in zip(numbers(samples), numbers(sources), strict=True))
        mirrored.append(numbers(samples)[1])
    assert bool(torch.cat(mirrored).any()) == flip
    order = torch.cat([numbers(samples)[0] for samples, _ in found])
    assert not torch.equal(order[:SIZE], torch.arange(SIZE))
    assert order[:SIZE].sort().values.tolist() == list(range(SIZE))


@pytest.mark.parametrize("dataset", [pairs, strangers])
def test_gathered_ahead_they_are_the_same_as_held(dataset, monkeypatch):
    held = drawn(dataset(), flip=True)
    monkeypatch.setattr(data_module, "SHARE", 0.0)
    for one, other in zip(held, drawn(dataset(mapped=True), flip=True), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("dataset", [pairs, strangers])
def test_processes_take_their_rows_of_what_one_would_draw(dataset):
    whole = drawn(dataset(), n=6, flip=True)
    shares = [drawn(dataset(), n=3, flip=True, group=Group(rank, 2)) for rank in range(2)]
    for one, first, second in zip(whole, *shares, strict=True):
        for part in range(2):
            assert torch.equal(one[part], torch.cat([first[part], second[part]]))


def test_sources_without_pairs_are_drawn_evenly_and_apart_from_the_samples():
    found = drawn(strangers(), n=20, count=400)
    samples = torch.cat([numbers(s)[0] for s, _ in found])
    sources = torch.cat([numbers(s)[0] for _, s in found])
    counts = torch.bincount(sources, minlength=SOURCES).double()
    expected = len(sources) / SOURCES
    # Chi-square of 30 degrees of freedom: above 60 once in a thousand.
    assert float(((counts - expected) ** 2 / expected).sum()) < 60
    table = torch.zeros(SIZE, SOURCES, dtype=torch.double).index_put_(
        (samples, sources), torch.ones(len(samples), dtype=torch.double), accumulate=True
    )
    expected = table.sum(1, keepdim=True) * table.sum(0) / len(samples)
    freedom = (SIZE - 1) * (SOURCES - 1)
    assert abs(float(((table - expected) ** 2 / expected).sum()) - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("dataset", [pairs, strangers])
@pytest.mark.parametrize("ahead", [False, True])
def test_the_stream_goes_on_where_it_was(dataset, ahead, monkeypatch):
    if ahead:
        monkeypatch.setattr(data_module, "SHARE", 0.0)
    batches = Batches(dataset(mapped=ahead), CPU, 1, flip=True)
    for _ in range(7):
        batches.draw(5)
    state = batches.state_dict()
    expected = [batches.draw(5) for _ in range(6)]
    again = Batches(dataset(mapped=ahead), CPU, 2, flip=True)
    again.load_state_dict(state)
    for one in expected:
        other = again.draw(5)
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_pairs_need_as_many_sources_as_samples():
    with pytest.raises(BadData, match="23 samples have 31 sources"):
        Translations(numbered(SIZE), numbered(SOURCES))
    with pytest.raises(BadData, match="empty"):
        Translations(numbered(SIZE), numbered(0), paired=False)


def test_the_fingerprint_changes_when_a_source_or_the_pairing_does():
    changed = pairs()
    changed.sources = changed.sources.clone()
    changed.sources[5, 0, 0, 0] += 1
    loose = Translations(numbered(SIZE), numbered(SIZE, 3), paired=False)
    found = [fingerprint(each, Choice("x")) for each in (pairs(), pairs(), changed, loose)]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert "23 sources" in found[0]


class Translator(Generator):
    """A matrix of the source."""

    latent_dim = 0
    conditional = True

    def __init__(self, shape=(1, 8, 8), source=(1, 8, 8)):
        super().__init__()
        self.shape = shape
        self.matrix = nn.Linear(torch.Size(source).numel(), torch.Size(shape).numel())

    def forward(self, z, condition=None):
        return self.matrix(condition.flatten(1)).tanh().view(-1, *self.shape)


class Back(zoo.Procedure):
    """Both ways, each by squared error."""

    def wants(self, about):
        return {"generator": zoo.Want("generator"), "backward": zoo.Want("generator")}

    def phases(self, parts):
        def loss(batch):
            there = (batch.fake - batch.real).square().mean()
            made = parts["backward"](batch.z, batch.real)
            return {"there": there, "back": (made - batch.real_condition).square().mean()}

        return [zoo.Phase("both", ("generator", "backward"), loss)]


def both_ways():
    with seeded(0, "translators"):
        return {"procedure": Back(), "generator": Translator(), "backward": Translator()}


def composed(paired=True, **train):
    table = {"train": {"steps": 20, "batch_size": 8, **train}}
    given = {"dataset": small_translations((1, 8, 8), paired), **both_ways()}
    return compose_table(table, device="cpu", given=given)


@pytest.mark.parametrize("paired", [True, False])
def test_a_training_on_sources_goes_on_bit_for_bit(paired):
    require_training(lambda: composed(paired), "sources")


def test_micro_batches_have_their_own_sources():
    whole, parts = (Trainer(composed(micro_batches=n)) for n in (1, 4))
    # As many rows are drawn in the same order, and the loss is a mean: gradients are the same but for rounding.
    for trainer in (whole, parts):
        for _ in range(3):
            trainer.iterate()
    for one, other in zip(whole.generator.parameters(), parts.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_procedures_and_factories_are_told_of_sources_and_pairs():
    seen = []

    class Asking(Back):
        def wants(self, about):
            seen.append((about.source, about.paired))
            return super().wants(about)

    for paired in (True, False):
        given = {"dataset": small_translations((1, 8, 8), paired), **both_ways(), "procedure": Asking()}
        compose_table({"train": {"steps": 1, "batch_size": 8}}, device="cpu", given=given)
    assert set(seen) == {((1, 8, 8), True), ((1, 8, 8), False)}
    assert Described((2,), None, None, (3,), False).paired is False


def test_a_picture_has_each_source_beside_what_was_made_of_it(tmp_path):
    one, two = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    assert beside(one, two).flatten(1).mean(1).tolist() == [0, 1, 0, 1]
    assert torch.equal(beside(torch.zeros(2, 3, 2, 2), two), two)
    composition = composed()
    folder = Folder.create(tmp_path / "run", composition.recipe)
    with Image.open(preview(Trainer(composition), folder)) as picture:
        grid = torch.from_numpy(np.array(picture.convert("L"))).float()
    scale = grid.shape[0] // (8 * 9 + 1)
    cell = grid[scale : 9 * scale : scale, scale : 9 * scale : scale]
    expected = composition.dataset.sources[0, 0].add(1).mul(127.5)
    torch.testing.assert_close(cell, expected, rtol=0, atol=1.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on pairs of digits, trained by name, so that the command line finds its parts."""
    out = tmp_path_factory.mktemp("runs")
    settings = {"dataset.task": "inverted", "dataset.split": "train"}
    zoo.train(
        "pix2pix", dataset="digit-translation", steps=3, out=str(out), name="run", device="cpu", settings=settings
    )
    return out / "run"


def test_zoo_sample_draws_sources_of_the_data(run, tmp_path):
    loaded = zoo.load(run, device="cpu")
    assert loaded.composition.dataset.paired
    assert tuple(loaded.sample(5).shape) == (5, 1, 8, 8)
    assert torch.equal(loaded.sample(5), loaded.sample(5))
    assert not torch.equal(loaded.sample(5), loaded.sample(5, seed=1))
    with pytest.raises(UsageError, match="zoo translate"):
        loaded.sample(5, labels=[1])


@pytest.fixture
def zoo_command(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr("sys.argv", ["zoo", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code or 0
        return (code, *capsys.readouterr())

    return call


def pictures(folder, names, value=90):
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(np.full((10, 12), value, np.uint8)).save(folder / name)
    return folder


def test_zoo_translate_writes_a_picture_each_and_a_grid(run, tmp_path, zoo_command):
    given = pictures(tmp_path / "in", ["b.png", "a.png"])
    pictures(tmp_path / "more", ["a.png"], 10)
    words = ("--out", tmp_path / "out", "--grid", tmp_path / "g.png", "--json", "--device", "cpu")
    code, out, _ = zoo_command("translate", run, given, tmp_path / "more" / "a.png", *words)
    assert code == 0
    found = json.loads(out)
    names = [str(tmp_path / "out" / name) for name in ("a.png", "b.png", "a-2.png")]
    assert [each["made"] for each in found["images"]] == names
    source = torch.full((1, 1, 8, 8), 90 / 127.5 - 1)
    expected = translated(zoo.load(run, device="cpu"), source)[0, 0].add(1).mul(127.5)
    with Image.open(names[0]) as picture:
        got = torch.from_numpy(np.array(picture.convert("L"))).float()
    torch.testing.assert_close(got, expected, rtol=0, atol=1.0)
    with Image.open(tmp_path / "g.png") as picture:
        grid = np.array(picture.convert("L"))
    scale = grid.shape[1] // (4 * 9 + 1)
    assert grid[2 * scale, 2 * scale] == 90
    assert abs(int(grid[2 * scale, 11 * scale]) - float(expected[1, 1])) < 1.1


class Noisy(Translator):
    """A matrix of the source, moved by a latent number."""

    latent_dim = 1

    def forward(self, z, condition=None):
        return super().forward(None, condition) + z.view(-1, 1, 1, 1)


def test_each_of_many_images_is_translated_with_a_latent_point_of_the_seeds(tmp_path):
    """More than the networks are given at once, in their order; there and back each by its own network."""
    with seeded(0, "noisy"):
        given = {"procedure": Back(), "generator": Noisy(), "backward": Translator()}
    data = small_translations((1, 8, 8), True)
    options = {"steps": 1, "batch_size": 4, "average": 0.0, "device": "cpu", "out": str(tmp_path), "name": "run"}
    made = zoo.train("vanilla", dataset=data, critic="none", distance="none", **options, **given)
    images = torch.tanh(zoo.Draws(8).randn(CHUNK + 30, 1, 8, 8))
    generator, backward = (made.composition.networks[name] for name in ("generator", "backward"))
    with torch.no_grad():
        there, back = Translator.forward(generator, None, images), backward(None, images)
    for seed in (0, 5):
        draws = zoo.Draws(seed)
        moved = torch.cat([draws.randn(CHUNK, 1), draws.randn(30, 1)]).view(-1, 1, 1, 1)
        torch.testing.assert_close(translated(made, images, seed=seed), there + moved)
        torch.testing.assert_close(translated(made, images, backward=True, seed=seed), back)


def test_zoo_translate_refuses_what_it_cannot_do(run, tmp_path, zoo_command):
    given = pictures(tmp_path / "in", ["a.png"])
    assert "--out FOLDER or --grid" in zoo_command("translate", run, given)[2]
    code, _, said = zoo_command("translate", run, given, "--out", tmp_path / "o", "--backward")
    assert code == 2
    assert "no way back" in said
    assert "no picture" in zoo_command("translate", run, tmp_path / "none", "--out", tmp_path / "o")[2]
    assert "write over" in zoo_command("translate", run, given, "--out", given)[2]
    assert "is a file" in zoo_command("translate", run, given, "--out", given / "a.png")[2]
    plain = tmp_path / "plain"
    zoo.train("wgan", dataset="ring", steps=1, batch_size=4, out=str(tmp_path), name="plain", device="cpu")
    code, _, said = zoo_command("translate", plain, given, "--out", tmp_path / "o")
    assert code == 2
    assert "translates nothing" in said
    with pytest.raises(UsageError, match=r"translates images \(1, 8, 8\)"):
        translated(zoo.load(run, device="cpu"), torch.zeros(1, 1, 9, 9))
