"""Metrics are measured beside their floors, of runs and of files; what cannot be measured is said before it costs."""

import json
import re

import numpy as np
import pytest
import torch

import zoo
from zoo import ArrayDataset, BadData, Evidence, IncompatibleParts, Metric, Sample
from zoo.draws import Draws
from zoo.errors import BrokenPlugin, UnknownName, UsageError
from zoo.measuring import evaluate, evidence_of, fitting
from zoo.sources import samples_of

QUICK = {"steps": 2, "batch_size": 8, "generator": {"name": "mlp", "width": 8}, "critic": {"name": "mlp", "width": 8}}


class Gap(Metric):
    """The distance of the means."""

    figures = {"gap": "lower", "real-mean": ""}  # noqa: RUF012

    def measure(self, evidence):
        real, fake = evidence.real.values.mean(), evidence.fake.values.mean()
        return {"gap": (real - fake).abs(), "real-mean": real}


def never():
    raise AssertionError("a sample was made")


def evidence(real=None, fake=None, size=100, **more):
    real = torch.arange(100.0)[:, None] if real is None else real
    fake = real + 1 if fake is None else fake
    return Evidence((1,), None, size, lambda: Sample(real), lambda: Sample(fake), **more)


def test_a_figure_stands_beside_its_floor():
    gap, mean = evaluate({"gap": Gap()}, evidence())
    assert (gap.metric, gap.name, gap.value, gap.better, gap.size) == ("gap", "gap", 1.0, "lower", 100)
    assert gap.floor.size == 50
    # Halves of 0, ..., 99 differ in their means by 2 sqrt(var / n (1 / 2)) or so; see sampling without replacement.
    deviation = 2 * torch.arange(100.0).std().item() / 10
    assert 0 < gap.floor.mean < 3 * deviation
    assert 0 < gap.floor.spread < 3 * deviation
    assert mean.value == 49.5
    assert mean.floor is not None


def test_the_floor_of_a_density_has_as_many_samples_as_are_judged(small):
    found = Evidence((1,), None, 400, never, never, dataset=small["dataset"])
    found._kept.update(real=Sample(torch.zeros(400, 1)), fake=Sample(torch.zeros(400, 1)))
    gap, _ = evaluate({"gap": Gap()}, found, floors=20)
    # The means of two samples of N(m, 1) differ by |N(0, 2 / 400)|, whose mean is sqrt(4 / (400 pi)).
    expected = (4 / (400 * torch.pi)) ** 0.5
    assert gap.floor.size == 400
    assert gap.floor.mean == pytest.approx(expected, rel=0.5)


class Draw(Metric):
    """A random number."""

    figures = {"number": ""}  # noqa: RUF012
    compares = False

    def measure(self, evidence):
        return {"number": evidence.draws.rand(1).item()}


def test_a_metric_draws_the_same_whatever_was_measured_before():
    first, second = evaluate({"one": Draw(), "other": Draw()}, evidence())
    assert first.value == second.value


def test_without_floors_none_is_measured():
    assert [figure.floor for figure in evaluate({"gap": Gap()}, evidence(), floors=0)] == [None, None]


class Picky(Gap):
    least = 50

    def refuse(self, evidence):
        if evidence.classes is None:
            raise IncompatibleParts("it needs labels.")


def test_what_does_not_fit_is_said_before_anything_is_sampled():
    few = Evidence((1,), 10, 20, never, never)
    with pytest.raises(IncompatibleParts, match="picky needs 50 samples of each kind; there are 20"):
        list(evaluate({"gap": Gap(), "picky": Picky()}, few))
    unlabelled = Evidence((1,), None, 100, never, never)
    with pytest.raises(IncompatibleParts, match="picky does not fit: it needs labels"):
        list(evaluate({"gap": Gap(), "picky": Picky()}, unlabelled))
    fit, unfit = fitting({"gap": Gap(), "picky": Picky()}, unlabelled)
    assert (list(fit), list(unfit)) == (["gap"], ["picky"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_refused(value):
    with pytest.raises(BadData, match="the judged samples have values that are NaN or infinite"):
        list(evaluate({"gap": Gap()}, evidence(fake=torch.full((100, 1), value))))


def test_a_figure_that_is_missing_or_not_finite_is_an_error():
    class Forgets(Gap):
        def measure(self, evidence):
            return {"gap": 1.0}

    class Nothing(Gap):
        def measure(self, evidence):
            return {"gap": float("nan"), "real-mean": 0.0}

    with pytest.raises(BrokenPlugin, match=r"the metric mine declares .*'real-mean'.*but measures \['gap'\]"):
        list(evaluate({"mine": Forgets()}, evidence()))
    with pytest.raises(BadData, match="mine: gap is nan for these samples"):
        list(evaluate({"mine": Nothing()}, evidence()))


@pytest.fixture
def run(tmp_path):
    return zoo.train("wgan-gp", dataset="ring", out=tmp_path / "runs", name="ring", device="cpu", **QUICK)


def test_a_run_gives_its_samples_its_data_and_its_trained_critic(run):
    found = evidence_of(run, 30)
    assert found.real.values.shape == found.fake.values.shape == (30, 2)
    assert torch.equal(found.fake.values, run.sample(30, seed=1))
    saved = run.folder.load()["networks"]["critic"]
    assert all(torch.equal(value, saved[name]) for name, value in found.critic.state_dict().items())
    assert not found.critic.training
    assert [c.constant for c in found.constraints.values()] == [1.0]
    smaller = evidence_of(
        zoo.train("wgan-gp", dataset=ArrayDataset(torch.randn(20, 2)), out=run.folder.path, **QUICK), 30
    )
    assert smaller.size == 20


def test_a_data_set_gives_each_sample_once():
    data = ArrayDataset(torch.arange(10.0)[:, None], torch.arange(10))
    from zoo.measuring import real_sample

    sample = real_sample(data, 10, Draws(3))
    assert sorted(sample.values.flatten().tolist()) == list(range(10))
    assert torch.equal(sample.values.flatten().long(), sample.labels)


def test_sources_of_samples(tmp_path, run):
    array = np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", samples=array)
    np.save(tmp_path / "line.npy", array[:, 0])
    np.save(tmp_path / "bytes.npy", np.array([[0], [255]], dtype=np.uint8))
    for name in ("a.npy", "b.npz"):
        assert torch.equal(samples_of(str(tmp_path / name), 10).values, torch.tensor(array).float())
    assert len(samples_of(str(tmp_path / "a.npy"), 4)) == 4
    assert samples_of(str(tmp_path / "line.npy"), 10).values.shape == (6, 1)
    assert samples_of(str(tmp_path / "bytes.npy"), 10).values.flatten().tolist() == [-1.0, 1.0]
    assert samples_of(str(run.folder.path), 7).values.shape == (7, 2)
    assert samples_of("digits", 5).labels.shape == (5,)
    assert samples_of("gaussian-1d:3.0", 5).values.shape == (5, 1)


def test_sources_that_are_none(tmp_path):
    np.save(tmp_path / "object.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.array([[1.0], [np.nan]]))
    np.save(tmp_path / "empty.npy", np.zeros((0, 2)))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY nonsense")
    for name, words in {
        "object.npy": "is no array of numbers",
        "nan.npy": "NaN or infinite",
        "empty.npy": "it must be numbers",
        "text.npy": "it must be numbers",
        "two.npz": "holds 2 arrays",
        "broken.npy": "is no array of numbers",
    }.items():
        with pytest.raises(BadData, match=words):
            samples_of(str(tmp_path / name), 10)
    with pytest.raises(UsageError, match="No such file"):
        samples_of(str(tmp_path / "none.npy"), 10)
    with pytest.raises(BadData, match=f"the image folder '{tmp_path}' has no image"):
        samples_of(str(tmp_path), 10)
    with pytest.raises(UnknownName, match="Did you mean ring"):
        samples_of("rings", 10)


def test_the_command_evaluates_a_run(run, zoo_command):
    path = run.folder.path
    figures = json.loads(zoo_command("evaluate", path, "--metric", "energy", "-n", 50, "--json").stdout)
    assert [(f["run"], f["metric"], f["name"], f["size"]) for f in figures] == [(str(path), "energy", "energy", 50)]
    assert figures[0]["value"] > figures[0]["floor"]["mean"]
    table = zoo_command("evaluate", path, "--metric", "mode-coverage", "-n", 50, "--floors", 2).stdout
    assert "mode-coverage modes" in table
    assert "Floor: real samples against others, 50 of each" in table
    everything = zoo_command("evaluate", path, "-n", 50, "--floors", 1)
    left_out = everything.stderr.partition("Left out, since they do not fit: ")[2]
    assert "memorisation" in left_out
    assert "Times: the value over its floor" in everything.stdout
    assert re.search(r"lipschitz max +[\d.]+ +- +aim 1 +50 +[\d.]+\n", everything.stdout)
    assert "Aim: what the figure should come to" in everything.stdout


PICKY = """
from zoo import BadData, Metric, hookimpl


class Picky(Metric):
    figures = {"picky": ""}

    def measure(self, evidence):
        raise BadData("these samples are degenerate.")


@hookimpl
def metric():
    return {"picky": Picky}
"""


def test_a_metric_without_a_figure_for_these_samples_does_not_hide_the_others(run, zoo_command, tmp_path):
    (tmp_path / "picky.py").write_text(PICKY)
    arguments = ["--plugin", "picky.py", "--metric", "picky", "--metric", "energy", "-n", 20, "--json"]
    done = zoo_command("evaluate", run.folder.path, *arguments, code=2)
    assert [figure["metric"] for figure in json.loads(done.stdout)] == ["energy"]
    assert "these samples are degenerate." in done.stderr


def test_misuse_of_evaluate(run, zoo_command, tmp_path):
    path = run.folder.path
    assert "Did you mean frechet" in zoo_command("evaluate", path, "--metric", "frechett", code=2).stderr
    assert "histogram-js does not fit" in zoo_command("evaluate", path, "--metric", "histogram-js", code=2).stderr
    assert "metric of this evaluation" in zoo_command("evaluate", path, "--set", "fid.k=3", code=2).stderr
    assert (
        "setting of metric 'prdc'"
        in zoo_command("evaluate", path, "--metric", "prdc", "--set", "prdc.q=3", code=2).stderr
    )
    assert "needs" in zoo_command("evaluate", path, "--metric", "prdc", "-n", 1, code=2).stderr
    assert "is no run" in zoo_command("evaluate", tmp_path / "nothing", code=2).stderr


def test_the_command_measures_distances(zoo_command, tmp_path):
    points = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(tmp_path / "one.npy", points)
    np.save(tmp_path / "other.npy", points + 2)
    said = json.loads(zoo_command("distance", "one.npy", "other.npy", "--by", "wasserstein", "--json").stdout)
    assert said["by"] == "wasserstein"
    w1 = next(figure for figure in said["figures"] if figure["name"] == "w1")
    assert w1["value"] == pytest.approx(2.0, abs=1e-5)
    assert w1["floor"]["mean"] < 0.5
    assert "say what to measure by" in zoo_command("distance", "one.npy", "other.npy", code=2).stderr
    assert "have no distance" in zoo_command("distance", "one.npy", "digits", "--by", "energy", code=2).stderr
    assert "names no samples" in zoo_command("distance", "one.npy", "none", "--by", "energy", code=2).stderr
