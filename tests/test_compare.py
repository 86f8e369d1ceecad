"""`zoo compare`: alike for all, repeatable, resumable, and never stopped by a run that fails."""

import json
import math
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import pytest
import torch

import zoo
from zoo.comparing import rates, run
from zoo.comparing.jobs import Executor, Pool, attempt, executor_of
from zoo.comparing.measures import chosen
from zoo.comparing.place import Place, alone, missing
from zoo.comparing.plan import Request, labels, plan
from zoo.comparing.results import Cell
from zoo.comparing.run import Way, carry_out
from zoo.errors import UsageError
from zoo.folder import Folder
from zoo.measuring import real_evidence
from zoo.plugins import installed
from zoo.previews import preview

BREAKING = Path(__file__).with_name("breaking.py")
SMALL = {"generator.width": 8, "critic.width": 8, "train.batch_size": 8}
QUICK = {
    "dataset": "ring",
    "seeds": 2,
    "steps": 6,
    "metrics": ("sliced-wasserstein",),
    "samples": 40,
    "points": 3,
    "device": "cpu",
    "assignments": [(key.split("."), value) for key, value in SMALL.items()],
}
HERE = Way(jobs=1, files=(BREAKING,))


def compared(out, *contenders, way=HERE, **more):
    return carry_out(Request(contenders=contenders, **{**QUICK, **more}), out, way, print)[1]


def recipe(folder, name="tripping", **settings):
    """A recipe file of a run that breaks."""
    constraint = json.dumps({"name": "trip", **settings}).replace('":', '" =')
    path = folder / f"{name}.toml"
    path.write_text(f'variant = "vanilla"\nlipschitz_constraint = [{constraint}]\n')
    return str(path)


def figures(comparison):
    return {(cell.contender, cell.seed): [point.figures for point in cell.points] for cell in comparison.cells}


def leaves(path, value):
    """The tensors and numbers of a checkpoint by their paths."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from leaves(f"{path}/{key}" if path else key, each)
    elif isinstance(value, (torch.Tensor, int, float)):
        yield path, value


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    return out, compared(out, "vanilla", "wgan")


def test_every_contender_is_trained_with_every_seed_and_measured_on_the_way(made):
    out, comparison = made
    assert [(c.contender, c.seed, c.state) for c in comparison.cells] == [
        ("vanilla", 0, "finished"), ("vanilla", 1, "finished"), ("wgan", 0, "finished"), ("wgan", 1, "finished"),
    ]  # fmt: skip
    for cell in comparison.cells:
        assert [point.step for point in cell.points] == [2, 4, 6]
        seconds = [point.seconds for point in cell.points]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0
        assert all(point.figures.keys() == comparison.scales.keys() for point in cell.points)
        assert (out / cell.picture).read_bytes().startswith(b"\x89PNG")
        assert Folder(out / cell.run).steps() == [6]
    assert list(missing(comparison)) == []
    assert Place(out).read() == comparison


def test_a_scale_knows_its_floor_and_the_budget_its_critic_updates(made):
    _, comparison = made
    scale = comparison.scales["sliced-wasserstein sliced"]
    assert (scale.metric, scale.name, scale.better) == ("sliced-wasserstein", "sliced", "lower")
    assert 0 < scale.floor < min(cell.figures["sliced-wasserstein sliced"] for cell in comparison.cells)
    assert scale.spread > 0
    assert (comparison.budget.kind, comparison.budget.amount) == ("steps", 6)
    # One critic step for each of the generator's in vanilla, five in wgan.
    assert [(c.steps, c.critic_updates) for c in comparison.contenders] == [(6, 6), (6, 30)]


def test_measuring_does_not_change_a_run(made, tmp_path):
    out, comparison = made
    cell = comparison.of("wgan")[1]
    measured = zoo.load(out / cell.run, device="cpu")
    alone = zoo.train("wgan", dataset="ring", steps=6, seed=1, settings=SMALL, out=tmp_path, device="cpu")
    first, second = (dict(leaves("", each.folder.load())) for each in (measured, alone))
    assert first.keys() == second.keys()
    for path in first.keys() - {"seconds"}:
        assert torch.equal(torch.as_tensor(first[path]), torch.as_tensor(second[path])), path


def test_all_contenders_are_measured_alike(made):
    """From the same latent points, beside the same real samples: what is left differs by the generator only."""
    out, comparison = made
    cell = comparison.of("vanilla")[0]
    again = zoo.load(out / cell.run, device="cpu")
    fake = again.sample(40, seed=1)
    real = again.dataset.sample(40, zoo.Draws(0))
    evidence = replace(
        real_evidence(again.dataset, 40), draw_real=lambda: zoo.Sample(real), draw_fake=lambda: zoo.Sample(fake)
    )
    expected = zoo.create("metric", "sliced-wasserstein").measure(evidence)["sliced"]
    assert cell.figures["sliced-wasserstein sliced"] == pytest.approx(expected, rel=1e-12)


def test_what_is_done_is_not_done_again_and_what_is_missing_comes_out_the_same(made):
    out, comparison = made
    files = sorted((out / "cells").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    files[1].unlink()
    assert [(c.label, seed) for c, seed in missing(Place(out).read())] == [("vanilla", 1)]
    again = compared(out, "vanilla", "wgan")
    changed = [file.name for file, old in zip(files, before, strict=True) if file.stat().st_mtime_ns != old]
    assert changed == ["vanilla-seed1.json"]
    assert figures(again) == figures(comparison)


def test_seeds_and_contenders_are_added(tmp_path):
    first = compared(tmp_path / "out", "vanilla", seeds=1, steps=2)
    both = compared(tmp_path / "out", "wgan", "vanilla", seeds=2, steps=2)
    assert [contender.label for contender in both.contenders] == ["vanilla", "wgan"]
    assert both.seeds == (0, 1)
    assert len(both.cells) == 4
    assert both.of("vanilla")[0] == first.cells[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"steps": 8}, "budget is 6 steps, not 8 steps"),
        ({"steps": None, "seconds": 8.0}, "budget is 6 steps, not 8 seconds"),
        ({"samples": 50}, "--samples is 40, not 50"),
        ({"points": 2}, "--points is 3, not 2"),
        ({"metrics": ("energy",)}, "metrics is sliced-wasserstein sliced, not energy"),
        ({"dataset": "grid"}, "--dataset is ring, not grid"),
        (
            {"assignments": [(["train", "batch_size"], 16)]},
            r"vanilla has critic\.width=8, not 512.*batch_size=8, not 16",
        ),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(made, more, message):
    out, _ = made
    before = (out / "comparison.json").read_bytes()
    with pytest.raises(UsageError, match=message):
        compared(out, "vanilla", "wgan", **more)
    assert (out / "comparison.json").read_bytes() == before


def test_a_run_that_diverges_is_a_result(tmp_path):
    comparison = compared(tmp_path / "out", recipe(tmp_path, at=4), "vanilla", seeds=1)
    failed, fine = comparison.cells
    assert (failed.contender, failed.state, fine.state) == ("tripping", "failed", "finished")
    assert "'trip' in the critic phase became nan at iteration 4" in failed.error
    assert [point.step for point in failed.points] == [2, 4]
    assert failed.figures == {}
    assert list(missing(comparison)) == []


def test_an_error_that_nobody_foresaw_is_a_result_with_its_traceback(tmp_path):
    comparison = compared(tmp_path / "out", recipe(tmp_path, how="error"), seeds=1)
    assert "lipschitz_constraint 'trip': ArithmeticError: tripped.\n" in comparison.cells[0].error
    assert f"(see {tmp_path / 'out/runs/tripping-seed0/traceback.txt'})" in comparison.cells[0].error
    assert 'raise ArithmeticError("tripped")' in (tmp_path / "out/runs/tripping-seed0/traceback.txt").read_text()


def test_what_failed_is_kept_until_it_is_to_be_retried(tmp_path):
    marker = tmp_path / "marker"
    contender = recipe(tmp_path, how="error", marker=str(marker))
    assert compared(tmp_path / "out", contender, seeds=1).cells[0].state == "failed"
    assert compared(tmp_path / "out", contender, seeds=1).cells[0].state == "failed"
    retried = compared(tmp_path / "out", contender, seeds=1, way=replace(HERE, retry_failed=True))
    assert retried.cells[0].state == "finished"


def test_a_comparison_that_was_interrupted_goes_on_where_it_was(tmp_path):
    contender = recipe(tmp_path, how="SIGINT", marker=str(tmp_path / "marker"), at=3)
    stopped = compared(tmp_path / "out", contender, "vanilla", seeds=1)
    assert stopped.cells == ()
    folder = Folder(tmp_path / "out/runs/tripping-seed0")
    assert folder.state()["state"] == "interrupted"
    assert folder.steps() == [2, 4]
    finished = compared(tmp_path / "out", contender, "vanilla", seeds=1)
    assert folder.recipe().train["schedule_steps"] == 6  # A run that was resumed names the end of its schedule.
    whole = compared(tmp_path / "whole", contender, "vanilla", seeds=1)
    assert figures(finished) == figures(whole)


def test_a_folder_of_an_older_recipe_is_not_gone_on_with(tmp_path):
    contender = recipe(tmp_path, how="SIGINT", marker=str(tmp_path / "marker"))
    compared(tmp_path / "out", contender, seeds=1)
    (tmp_path / "out/comparison.json").unlink()
    (tmp_path / "out/.running").rename(tmp_path / "elsewhere")
    folder = Folder(tmp_path / "out/runs/tripping-seed0")
    older = folder.recipe()
    folder.write_recipe(replace(older, train={**older.train, "batch_size": 4}))
    Place(tmp_path / "out").write(plan(Request(contenders=(contender,), **{**QUICK, "seeds": 1}), print).comparison)
    assert compared(tmp_path / "out", contender, seeds=1).cells[0].state == "finished"
    assert folder.recipe().train["batch_size"] == 8


def test_a_run_is_measured_as_it_is(tmp_path):
    trained = zoo.train(
        "wgan", dataset="ring", steps=3, seed=5, settings=SMALL, out=tmp_path, name="mine", device="cpu"
    )
    before = {file: file.stat().st_mtime_ns for file in trained.folder.path.rglob("*")}
    comparison = compared(tmp_path / "out", str(tmp_path / "mine"), "vanilla", dataset="", seeds=1)
    cell = comparison.of("mine")[0]
    assert (cell.seed, cell.state, cell.run) == (5, "finished", "../mine")
    assert [point.step for point in cell.points] == [3]
    assert cell.points[0].seconds > 0
    assert (tmp_path / "out" / cell.picture).is_file()
    assert comparison.contenders[0].critic_updates == 15
    assert {file: file.stat().st_mtime_ns for file in trained.folder.path.rglob("*")} == before


def test_variants_get_the_first_ones_networks_and_recipes_keep_theirs(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('variant = "vanilla"\ngenerator = { name = "mlp", width = 12 }\n')
    plugin = tmp_path / "wide.py"
    plugin.write_text(
        "import zoo\n"
        "@zoo.hookimpl\n"
        "def variant():\n"
        "    table = {'distance': 'wasserstein', 'generator': {'name': 'mlp', 'width': 24},\n"
        "             'critic': {'name': 'mlp', 'width': 20, 'depth': 2}}\n"
        "    return {'wide': zoo.Variant(summary='', paper='', authors='', year=2026, table=table)}\n"
    )
    installed().add_file(plugin)
    names = ("wide", "vanilla", str(own))

    def widths(networks):
        more = {**QUICK, "assignments": (), "networks": networks}
        contenders = plan(Request(contenders=names, **more), print).comparison.contenders
        return [
            (c.table["generator"]["width"], c.table["critic"]["width"], c.table["critic"]["depth"]) for c in contenders
        ]

    assert widths("same") == [(24, 20, 2), (24, 20, 2), (12, 512, 3)]
    assert widths("own") == [(24, 20, 2), (512, 512, 3), (12, 512, 3)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"contenders": ()}, "nothing to compare"),
        ({"contenders": ("vanila",)}, r"vanila: no variant is called 'vanila'.*Did you mean vanilla"),
        ({"contenders": ("vanilla", "vanilla")}, "vanilla is named twice"),
        ({"steps": 5, "seconds": 5.0}, "a budget is one of .*, not --steps and --seconds"),
        ({"steps": None, "seconds": -1.0}, "--seconds must be above 0"),
        ({"steps": 0}, "--steps must be above 0"),
        ({"steps": None, "critic_updates": 4}, r"wgan makes 5 critic updates in one step"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"samples": 0}, "--samples must be at least 1"),
        ({"points": 0}, "--points must be at least 1"),
        ({"dataset": ""}, "no data set: name one with --dataset"),
        ({"dataset": "rign"}, "no data set is called 'rign'"),
        ({"metrics": ("memorisation",)}, "vanilla: memorisation does not fit"),
        ({"metrics": ("fid",)}, "no metric is called 'fid'"),
        ({"assignments": [(["train", "seed"], 4)]}, "say how many with --seeds"),
        ({"assignments": [(["critic", "wdith"], 4)]}, "vanilla: .*'wdith'"),
    ],
)
def test_misuse_is_refused_before_anything_is_written(tmp_path, more, message):
    asked = {"contenders": ("vanilla", "wgan"), **QUICK, **more}
    with pytest.raises(UsageError, match=message):
        carry_out(Request(**asked), tmp_path / "out", HERE, print)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(UsageError, match="exists and holds no comparison"):
        compared(tmp_path, "vanilla")


def test_labels_are_unique_and_can_be_files(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    files = [str(folder / "mine.toml") for folder in (first, second)]
    assert labels(["wgan", "zoo-wgan/wgan", *files]) == ["wgan", "zoo-wgan-wgan", "mine", "mine~2"]


def test_critic_updates_are_a_budget():
    request = Request(contenders=("vanilla", "wgan"), **{**QUICK, "steps": None, "critic_updates": 33})
    contenders = plan(request, print).comparison.contenders
    assert [(c.steps, c.critic_updates) for c in contenders] == [(33, 33), (6, 30)]


def test_without_a_budget_it_is_the_first_contenders_own():
    request = Request(contenders=("vanilla", "wgan"), **{**QUICK, "steps": None})
    comparison = plan(request, print).comparison
    assert (comparison.budget.kind, comparison.budget.amount) == ("steps", 4000)


def test_seconds_become_steps_once_and_schedules_end_with_them(tmp_path, monkeypatch):
    speeds = {"vanilla": 20.0, "wgan": 8.0}
    monkeypatch.setattr(run, "rates", lambda contenders, *_: {each.label: speeds[each.label] for each in contenders})
    more = {"steps": None, "seconds": 0.3, "seeds": 1}
    more["assignments"] = [*QUICK["assignments"], (["train", "schedule"], "linear"), (["train", "schedule_steps"], 99)]
    comparison = compared(tmp_path / "out", "vanilla", "wgan", **more)
    assert [(c.steps, c.critic_updates) for c in comparison.contenders] == [(6, 6), (2, 10)]
    trained = Folder(tmp_path / "out" / comparison.of("vanilla")[0].run).recipe().train
    assert (trained["steps"], trained["schedule"], trained["schedule_steps"]) == (6, "linear", 0)
    speeds["vanilla"] = 1000.0
    assert [c.steps for c in compared(tmp_path / "out", "vanilla", "wgan", **{**more, "seeds": 2}).contenders] == [6, 2]


def test_a_speed_is_measured_for_as_many_at_once_as_will_be_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "LEAST", 0.05)
    seen = []
    contenders = plan(Request(contenders=("vanilla", "wgan"), **{**QUICK, "steps": None, "seconds": 1.0}), print)

    class Watching(Executor):
        def results(self, tasks, begun=None):
            seen.extend(task.name for task in tasks)
            yield from super().results(tasks)

    found = rates.rates(contenders.comparison.contenders, _shared(tmp_path), 1.0, Watching(4, 1, tmp_path))
    # Three rounds, filled up to the end of the last turn of four at once.
    assert seen == [f"{label}-rate{n}" for n, label in enumerate(["vanilla", "wgan"] * 4)]
    assert found["vanilla"] > found["wgan"] > 0  # Five critic steps for one.


def _shared(folder):
    return run.Shared(str(folder), ("sliced-wasserstein",), 40, 3, "cpu", (str(BREAKING),), 1)


def test_a_contender_whose_speed_cannot_be_measured_fails_and_the_others_go_on(tmp_path):
    more = {"steps": None, "seconds": 0.02, "seeds": 1}
    comparison = compared(tmp_path / "out", recipe(tmp_path, how="error", at=1), "vanilla", **more)
    failed, fine = comparison.cells
    assert failed.error == "its speed could not be measured: tripped"
    assert fine.state == "finished"


def test_seconds_are_of_training_alone_and_go_on_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.fit.preview", lambda *given: (time.sleep(1.0), preview(*given))[1])
    more = {"settings": SMALL, "sample_every": 2, "checkpoint_every": 2, "device": "cpu", "schedule_steps": 4}
    first = zoo.train("vanilla", dataset="ring", steps=2, out=tmp_path, name="run", **more).seconds
    assert 0 < first < 1.0
    zoo.resume(tmp_path / "run", steps=4, device="cpu")
    assert first < zoo.load(tmp_path / "run", device="cpu").seconds < first + 1.0


def test_the_metrics_that_tell_most_come_first():
    def names(dataset, **more):
        data = zoo.create("dataset", dataset, **more)
        return list(chosen((), data, {"any": real_evidence(data, 200)}, installed(), print))

    assert names("ring") == ["sliced-wasserstein", "mode-coverage", "prdc"]
    assert names("digits") == ["frechet:classifier", "prdc", "memorisation"]
    assert names("swiss-roll") == ["sliced-wasserstein", "prdc"]


@dataclass(frozen=True)
class Toy:
    """A task that needs no torch: it notes how often it was begun, and may kill its process."""

    folder: Path
    name: str
    kills: int = 0
    result: str | None = "done"

    def __call__(self):
        import os
        import signal
        import time

        with (self.folder / self.name).open("a") as file:
            file.write("begun\n")
        time.sleep(0.1)
        if len((self.folder / self.name).read_text().splitlines()) <= self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.result

    def failed(self, reason):
        return reason

    def begun(self):
        return len((self.folder / self.name).read_text().splitlines())


@pytest.fixture
def pool(tmp_path):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Pool(2, 1, tmp_path / "notes")
    yield made
    made.close()
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_process_that_dies_costs_only_the_task_that_kills_it(pool, tmp_path):
    tasks = [
        Toy(tmp_path, "good"),
        Toy(tmp_path, "once", 1),
        Toy(tmp_path, "always", 99),
        *(Toy(tmp_path, f"more{n}") for n in range(3)),
    ]
    turns = []
    found = {task.name: result for task, result in pool.results(tasks, turns.append)}
    died = "its process died 2 times: it was killed (for want of memory, perhaps) or it crashed."
    assert found == {"good": "done", "once": "done", "always": died, "more0": "done", "more1": "done", "more2": "done"}
    assert [task.begun() for task in tasks[1:3]] == [2, 2]
    assert set(turns) == set(found)
    assert not list((tmp_path / "notes").iterdir())


def test_a_task_that_was_interrupted_ends_the_pools_work(pool, tmp_path):
    tasks = [Toy(tmp_path, "stopped", result=None), *(Toy(tmp_path, f"more{n}") for n in range(6))]
    found = [task.name for task, _ in pool.results(tasks)]
    assert pool.stop.wanted
    assert "stopped" not in found
    # What stood in line behind it has not begun.
    assert len(list(tmp_path.glob("more*"))) <= 2


def test_a_task_whose_turn_comes_after_the_end_was_asked_for_does_not_begin(tmp_path):
    Executor(1, 1, tmp_path).stop.want()
    assert attempt(Toy(tmp_path, "task"), tmp_path) == ("task", None)
    assert not (tmp_path / "task").exists()


def test_a_task_that_killed_its_process_twice_is_given_up(tmp_path):
    task = Toy(tmp_path, "task")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/task.begun").write_text("2")
    name, result = attempt(task, tmp_path / "notes")
    assert name == "task"
    assert result.startswith("its process died 2 times")
    assert not (tmp_path / "task").exists()


def test_the_first_signal_asks_for_an_end_and_the_second_one_takes_it(tmp_path):
    executor = Executor(1, 1, tmp_path)
    tasks = [Toy(tmp_path, "first"), Toy(tmp_path, "second")]
    before = signal.getsignal(signal.SIGINT)
    with executor.stop.listening():
        found = []
        for task, _ in executor.results(tasks):
            found.append(task.name)
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert found == ["first"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cell_that_another_process_is_at_is_waited_for(tmp_path):
    order = []

    def second():
        with alone(tmp_path / "lock"):
            order.append("second")

    with alone(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_executors_are_named_rightly(tmp_path):
    for address in ("slurm://here", "dask://"):
        with pytest.raises(UsageError, match=f"there is no executor '{address}'; say dask://HOST:PORT"):
            executor_of(address, 1, 1, tmp_path)
    assert type(executor_of("", 1, 1, tmp_path)) is Executor
    assert type(executor_of("", 2, 1, tmp_path)) is Pool


OPTIONS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
OPTIONS += ["--dataset", "ring", "--seeds", 2, "--steps", 2, "--jobs", 1, "--device", "cpu", "--quiet", "-n", 40]


def test_the_command_prints_a_table_that_fits_and_a_verdict(zoo_command):
    out = zoo_command("compare", "vanilla", "wgan", *OPTIONS, "--out", "here")
    assert max(map(len, out.stdout.splitlines())) <= 100
    for text in (
        "CONTENDER  RUNS  MEAN ± STD",
        "2/2",
        "sliced-wasserstein sliced (lower is better, floor",
        "beats a run of the column",
    ):
        assert text in out.stdout
    assert "verdict  " in out.stdout
    assert "mode-coverage modes (higher)" in out.stdout
    page = Path("here/report.html").read_text()
    assert "wgan" in page
    assert out.stderr == "Seeds: 2 cannot decide between 2 contenders; 4 are the least that can.\n"
    found = json.loads(zoo_command("compare", "vanilla", "wgan", *OPTIONS, "--out", "here", "--json").stdout)
    assert found["missing"] == 0
    assert [each["label"] for each in found["summaries"]["prdc coverage"]] == ["vanilla", "wgan"]
    odds = {(each["label"], each["other"]): each["probability"] for each in found["odds"]["sliced-wasserstein sliced"]}
    assert odds["vanilla", "wgan"] == pytest.approx(1 - odds["wgan", "vanilla"])
    assert [Cell.of(cell).state for cell in found["cells"]] == ["finished"] * 4
    assert found["report"].endswith("here/report.html")
    assert found["verdict"]


def test_the_command_says_how_to_go_on(zoo_command, tmp_path):
    contender = recipe(tmp_path, how="SIGINT", marker=str(tmp_path / "marker"), at=1)
    out = zoo_command("compare", contender, "vanilla", *OPTIONS, "--plugin", BREAKING, "--steps", 6, code=130)
    assert out.stdout == ""
    assert "Stopped with 4 runs to go. Go on with the same command (--out " in out.stderr
    assert "comparisons/ring-tripping-vanilla" in out.stderr


def test_the_command_fails_if_every_run_does(zoo_command, tmp_path):
    arguments = (recipe(tmp_path, at=0), *OPTIONS, "--plugin", BREAKING, "--metric", "energy")
    out = zoo_command("compare", *arguments, code=1)
    assert "0/2" in out.stdout
    assert "tripping, seed 1, failed: 'trip' in the critic phase became nan" in out.stdout


def test_misuse_of_the_command_is_code_2(zoo_command, tmp_path):
    out = zoo_command("compare", "vanilla", *OPTIONS, "--seconds", 3, code=2)
    assert "Error: a budget is one of" in out.stderr
    zoo_command("compare", code=2)
    assert list(tmp_path.iterdir()) == []


def test_from_python(tmp_path):
    little = {"seeds": 1, "steps": 2, "samples": 40, "metrics": ["energy"], "settings": SMALL, "device": "cpu"}
    comparison = zoo.compare("vanilla", dataset="ring", out=tmp_path, jobs=1, **little)
    assert math.isfinite(comparison.cells[0].figures["energy"])
    assert (tmp_path / "report.html").is_file()


def test_runs_on_data_with_settings_that_are_none_can_be_compared(tmp_path):
    for seed in (0, 1):
        zoo.train(
            "wgan", dataset="digits", steps=1, batch_size=8, seed=seed, out=tmp_path, name=f"r{seed}", device="cpu"
        )
    runs = [str(tmp_path / f"r{seed}") for seed in (0, 1)]
    found = zoo.compare(*runs, metrics=["energy"], samples=50, out=tmp_path / "compared", jobs=1)
    assert {cell.state for cell in found.cells} == {"finished"}
