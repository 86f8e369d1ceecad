"""`zoo encode` and `zoo interpolate`: what their files hold, against the run's networks at points worked out here."""

import functools

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo import Draws
from zoo.latent import encoded, generated

SIDE = 8
NAMED = [f"{name}.png" for name in "abc"]


def trained(tmp_path_factory, variant, **table):
    out = tmp_path_factory.mktemp("runs")
    quick = {"dataset": "digits", "steps": 1, "batch_size": 8, "average": 0.0, "device": "cpu"}
    zoo.train(variant, **{**quick, **table}, out=str(out), name="run")
    return out / "run"


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return trained(tmp_path_factory, "vae", generator={"name": "mlp", "width": 16, "latent_dim": 3})


@pytest.fixture(scope="module")
def cvae(tmp_path_factory):
    generator = {"name": "mlp", "width": 16, "latent_dim": 3, "condition": "concat"}
    return trained(tmp_path_factory, "cvae", generator=generator)


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Latent points begin with a category of three and a number, and are normal behind these four entries."""
    generator = {"name": "mlp", "width": 16, "latent_dim": 7, "categories": 3, "continuous": 1}
    return trained(tmp_path_factory, "aae", generator=generator)


@functools.cache
def loaded(run):
    return zoo.load(run, device="cpu")


def network(run, name):
    return loaded(run).composition.networks[name].eval()


def made(run, points, labels=None):
    """By the generator itself, in evaluation mode, of points `(..., D)`."""
    generator = network(run, "generator")
    points = torch.as_tensor(np.asarray(points), dtype=torch.float32)
    flat = points.reshape(-1, points.shape[-1])
    with torch.no_grad():
        images = generator(flat) if labels is None else generator(flat, torch.as_tensor(labels).reshape(-1))
    return images.view(*points.shape[:-1], 1, SIDE, SIDE).numpy()


def codes(run, images, labels=None):
    """By the encoder itself, whose first numbers are a latent point; a VAE's log-variances are behind them."""
    seen = torch.as_tensor(images)
    if labels is not None:
        planes = torch.as_tensor(np.eye(10, dtype=np.float32)[labels])[..., None, None]
        seen = torch.cat([seen, planes.expand(-1, -1, SIDE, SIDE)], dim=1)
    with torch.no_grad():
        told = network(run, "encoder")(torch.zeros(len(seen), 0), seen)
    return told[:, : network(run, "generator").latent_dim].numpy()


def way(start, end, columns, straight=0):
    """From start to end: in the plane of both by equal angles from the first, with a length that changes evenly."""
    points = []
    for share in np.linspace(0, 1, columns):
        a, b = start[straight:].astype(float), end[straight:].astype(float)
        one = a / np.linalg.norm(a)
        across = b - (b @ one) * one
        angle = np.arctan2(np.linalg.norm(across), b @ one)
        direction = np.cos(share * angle) * one + np.sin(share * angle) * across / np.linalg.norm(across)
        length = (1 - share) * np.linalg.norm(a) + share * np.linalg.norm(b)
        points.append([*((1 - share) * start[:straight] + share * end[:straight]), *(length * direction)])
    return np.array(points)


def ways(starts, ends, columns, straight=0):
    return np.stack([way(*pair, columns, straight) for pair in zip(starts, ends, strict=True)])


def cells(path, rows, columns):
    """The pictures of a grid in the order of reading, each with a line of grey around it, in [-1, 1]."""
    with Image.open(path) as picture:
        values = np.asarray(picture.convert("L"), dtype=np.float32)
    scale = values.shape[1] // (columns * (SIDE + 1) + 1)
    values = values[::scale, ::scale]
    assert values.shape == (rows * (SIDE + 1) + 1, columns * (SIDE + 1) + 1)
    starts = [(1 + row * (SIDE + 1), 1 + column * (SIDE + 1)) for row in range(rows) for column in range(columns)]
    return np.stack([values[top : top + SIDE, left : left + SIDE] for top, left in starts])[:, None] / 127.5 - 1


def close(found, expected, atol=1e-4):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def shown(path, rows, columns, expected):
    """That a grid shows these pictures, to the nearest of 256 greys."""
    close(cells(path, rows, columns), expected.reshape(-1, 1, SIDE, SIDE), atol=0.009)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of noise, darker and darker, as files and as samples."""
    values = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE)) // np.array([1, 2, 4])[:, None, None]
    for name, each in zip(NAMED, values.astype(np.uint8), strict=True):
        Image.fromarray(each).save(tmp_path / name)
    return (values[:, None] / 127.5 - 1).astype(np.float32)


def test_a_row_goes_from_one_drawn_point_to_another(vae, tmp_path, zoo_command):
    words = ("-n", 3, "--columns", 5, "--seed", 2, "--out", "way.npy", "--grid", "way.png")
    zoo_command("interpolate", vae, *words)
    ends = Draws(2).randn(6, 3).numpy()
    expected = made(vae, ways(ends[:3], ends[3:], 5))
    close(np.load(tmp_path / "way.npy"), expected)
    shown(tmp_path / "way.png", 3, 5, expected)
    # A straight way would not be mistaken for it.
    straight = made(vae, (ends[:3] + ends[3:]) / 2)
    assert abs(straight - expected[:, 2]).max() > 1e-3


def test_a_row_goes_from_each_picture_to_the_next_one(vae, pictures, tmp_path, zoo_command):
    zoo_command("interpolate", vae, *NAMED, "--columns", 4, "--out", "way.npy", "--grid", "way.png")
    points, found = codes(vae, pictures), np.load(tmp_path / "way.npy")
    close(found[:, 0], made(vae, points[:2]))
    close(found[:, -1], made(vae, points[1:]))
    assert abs(found[0, 0] - found[0, -1]).max() > 1e-3
    expected = made(vae, ways(points[:2], points[1:], 4))
    close(found, expected)
    shown(tmp_path / "way.png", 2, 4, expected)


def test_the_classes_of_rows_are_told_in_turn(cvae, tmp_path, zoo_command):
    words = ("-n", 3, "--columns", 4, "--out", "way.npy", "--labels", "3,7")
    zoo_command("interpolate", cvae, *words)
    ends, labels = Draws(0).randn(6, 3).numpy(), np.repeat([[3], [7], [3]], 4, axis=1)
    points = ways(ends[:3], ends[3:], 4)
    close(np.load(tmp_path / "way.npy"), made(cvae, points, labels))
    assert abs(made(cvae, points, labels) - made(cvae, points, 10 - labels)).max(axis=(2, 3, 4)).min() > 1e-3


def test_untold_a_row_has_one_class_of_the_seeds(cvae, tmp_path, zoo_command):
    found = {}
    for seed in (0, 1):
        zoo_command("interpolate", cvae, "-n", 8, "--columns", 3, "--seed", seed, "--out", "way.npy")
        ends, samples = Draws(seed).randn(16, 3).numpy(), np.load(tmp_path / "way.npy")
        points = ways(ends[:8], ends[8:], 3)
        of_all = np.stack([made(cvae, points, np.full((8, 3), label)) for label in range(10)])
        gaps = abs(of_all - samples).max(axis=(3, 4, 5))
        assert (gaps < 1e-4).sum() == 24, "each sample is of one class"
        labels = gaps.argmin(0)
        assert (labels == labels[:, :1]).all()
        found[seed] = labels[:, 0].tolist()
    assert found[0] == Draws(0).randint(10, 8).tolist()
    assert found[0] != found[1]
    assert len(set(found[0])) > 3


def test_pictures_are_encoded_as_of_the_classes_that_their_rows_are_made_of(cvae, pictures, tmp_path, zoo_command):
    zoo_command("interpolate", cvae, *NAMED, "--columns", 3, "--labels", "2,5", "--out", "way.npy")
    points = codes(cvae, pictures, [2, 5, 2])
    expected = made(cvae, ways(points[:2], points[1:], 3), [[2] * 3, [5] * 3])
    close(np.load(tmp_path / "way.npy"), expected)


def test_codes_go_straight_between_drawn_points_and_between_pictures(coded, pictures, tmp_path, zoo_command):
    zoo_command("interpolate", coded, "-n", 2, "--columns", 3, "--out", "way.npy")
    ends = network(coded, "generator").latent(4, Draws(0)).numpy()
    assert set(ends[:, :3].flatten()) == {0, 1}
    close(np.load(tmp_path / "way.npy"), made(coded, ways(ends[:2], ends[2:], 3, straight=4)))
    zoo_command("interpolate", coded, *NAMED, "--columns", 3, "--out", "way.npy")
    points = codes(coded, pictures)
    expected = made(coded, ways(points[:2], points[1:], 3, straight=4))
    close(np.load(tmp_path / "way.npy"), expected)
    assert abs(made(coded, ways(points[:2], points[1:], 3)) - expected).max() > 1e-3


def test_a_sweep_is_of_the_seeds_points(coded, tmp_path, zoo_command):
    zoo_command("interpolate", coded, "--sweep", "1", "--columns", 5, "--seed", 3, "--out", "way.npy")
    (point,) = network(coded, "generator").latent(1, Draws(3)).numpy()
    points = np.tile(point, (3, 5, 1))
    points[:, :, :3] = np.eye(3)[:, None]
    points[:, :, 3] = [-1, -0.5, 0, 0.5, 1]
    close(np.load(tmp_path / "way.npy"), made(coded, points))


@pytest.mark.parametrize(("n", "rows", "columns"), [(3, 2, 4), (40, 8, 8)])
def test_a_picture_has_each_sample_and_on_its_right_what_is_rebuilt_of_it(
    cvae, tmp_path, zoo_command, n, rows, columns
):
    """Of 32 at most, with an even number of columns so that no pair is torn apart."""
    zoo_command("encode", cvae, "--grid", "rebuilt.png", "-n", n)
    dataset, count = loaded(cvae).dataset, min(n, 32)
    samples, labels = dataset.samples[:count].float().numpy(), dataset.labels[:count].numpy()
    expected = np.stack([samples, made(cvae, codes(cvae, samples, labels), labels)], axis=1)
    found = cells(tmp_path / "rebuilt.png", rows, columns)
    close(found[: 2 * count], expected.reshape(-1, 1, SIDE, SIDE), atol=0.009)
    assert abs(expected[:, 0] - expected[:, 1]).max() > 0.5


def test_all_of_the_data_are_encoded_in_their_order_each_as_of_its_class(cvae, tmp_path, zoo_command):
    zoo_command("encode", cvae, "--out", "codes.npy")
    dataset = loaded(cvae).dataset
    expected = codes(cvae, dataset.samples.float().numpy(), dataset.labels.numpy())
    close(np.load(tmp_path / "codes.npy"), expected)
    assert len(expected) == 1797


def test_a_plot_has_what_is_rebuilt_of_points_and_the_data_behind_it(
    tmp_path, tmp_path_factory, zoo_command, monkeypatch
):
    table = {"dataset": "ring", "generator": {"width": 8}, "parts": {"encoder": {"width": 8}}}
    run, seen = trained(tmp_path_factory, "vae", **table), []
    monkeypatch.setattr("zoo.pictures.save_picture", lambda *given, **options: seen.append((given, options)))
    zoo_command("encode", run, "--grid", "rebuilt.png", "-n", 20)
    (((path, points, dataset), options),) = seen
    generator, encoder = network(run, "generator"), network(run, "encoder")
    samples = loaded(run).dataset.sample(20, Draws(0)).float()
    with torch.no_grad():
        expected = generator(encoder(torch.zeros(20, 0), samples)[:, :2])
    # In pairs, which are joined by a line: a sample, and what is rebuilt of it.
    torch.testing.assert_close(points[::2], samples)
    torch.testing.assert_close(points[1::2], expected)
    assert (path.name, dataset.kind, options) == ("rebuilt.png", loaded(run).dataset.kind, {"columns": 2})


def test_on_the_line_the_histogram_is_of_what_is_rebuilt_alone(tmp_path_factory, zoo_command, monkeypatch):
    table = {"dataset": "gaussian-1d", "generator": {"width": 8}, "parts": {"encoder": {"width": 8}}}
    run, seen = trained(tmp_path_factory, "vae", **table), []
    monkeypatch.setattr("zoo.pictures.save_picture", lambda *given, **options: seen.append((given, options)))
    zoo_command("encode", run, "--grid", "rebuilt.png", "-n", 20)
    (((_, points, _), options),) = seen
    assert (points.shape, options) == ((20, 1), {})


def test_an_earlier_checkpoint_is_asked_where_its_step_is_named(tmp_path, tmp_path_factory, zoo_command):
    settings = {"train.checkpoint_every": 1}
    run = trained(
        tmp_path_factory, "vae", generator={"name": "mlp", "width": 8, "latent_dim": 3}, steps=2, settings=settings
    )
    for step in (1, 2):
        zoo_command("interpolate", run, "-n", 1, "--columns", 2, "--step", step, "--out", "way.npy")
        zoo_command("encode", run, "-n", 4, "--step", step, "--out", "codes.npy")
        then = zoo.load(run, device="cpu", step=step)
        codes_then = encoded(then, then.dataset.samples[:4].float()).numpy()
        close(np.load(tmp_path / "way.npy")[0], generated(then, Draws(0).randn(2, 3)).numpy())
        close(np.load(tmp_path / "codes.npy"), codes_then)
    assert abs(codes_then - codes(run, loaded(run).dataset.samples[:4].float())).max() < 1e-5
    earlier = zoo.load(run, device="cpu", step=1)
    assert abs(encoded(earlier, earlier.dataset.samples[:4].float()).numpy() - codes_then).max() > 1e-3
