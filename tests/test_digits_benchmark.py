"""What benchmarks/digits.py computes and prints, apart from training."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo.comparing.results import Budget, Cell, Comparison, Contender, Point, Scale

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import digits
from digits import gaussians, spent
from digits_tables import DIGITS, Found, lines, reached, spread, write_part

GOOD = {"frechet:classifier": 0.7, "prdc coverage": 0.9, "memorisation copies": 0.02}
FLOORS = {"frechet:classifier": (0.4, 0.1), "prdc coverage": (0.97, 0.01), "memorisation copies": (0.0, 0.01)}


def comparison(*runs, seeds=None):
    """A variant whose runs have these figures, those that they do not name being good; `None` is a failed one."""
    scales = {key: Scale(key.split()[0], key, "lower", *FLOORS.get(key, (0.5, 0.1))) for key in DIGITS.columns}
    cells = [
        Cell("mine", seed, "failed", "it diverged")
        if run is None
        else Cell("mine", seed, "finished", points=(Point(9, 1.0, dict.fromkeys(DIGITS.columns, 0.5) | GOOD | run),))
        for seed, run in enumerate(runs)
    ]
    contender = Contender("mine", {}, 2500, 5000)
    return Comparison(
        "digits",
        Budget("steps", 2500),
        tuple(range(seeds or len(runs))),
        (contender,),
        scales,
        1797,
        cells=tuple(cells),
    )


def row(text, name):
    return next(line for line in text if line.startswith(f"| {name} |")).split(" | ")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([{}], True),
        ([{}, {}, {"prdc coverage": 0.1}], True),  # The median counts, and not the worst run.
        ([{}, {"prdc coverage": 0.8}, {"prdc coverage": 0.1}], False),
        ([{"frechet:classifier": 0.79}], True),
        ([{"frechet:classifier": 0.81}], False),
        ([{"memorisation copies": 0.029}], True),
        ([{"memorisation copies": 0.031}], False),
        ([None], False),
        ([], False),
    ],
)
def test_the_goal_is_a_matter_of_medians_beside_the_floor(runs, expected):
    assert reached(comparison(*runs)) is expected


def test_a_goal_that_was_reached_is_said_to_be():
    text = "\n".join(
        lines(Found(DIGITS, comparisons={"good": comparison({}), "bad": comparison({"prdc coverage": 0})}))
    )
    assert "Reached by `good` (runs: 1)." in text


def test_a_spread_is_the_median_and_the_range():
    assert spread([0.25, 0.5, 0.125]) == "0.250 (0.125 to 0.500)"
    assert spread([1000.0, 1000.0]) == "1000"
    assert spread([]) == "-"


def test_rows_stand_by_the_first_figure_with_the_processor_time_of_a_run():
    far, near = ({"frechet:classifier": value} for value in (3.0, 0.1))
    found = Found(
        DIGITS,
        {"Gaussian": [dict.fromkeys(DIGITS.columns, 2.0)]},
        {"far": comparison(far), "near": comparison(near, near, None)},
        processor={"near": {"runs": 3, "seconds": 150}},
    )
    text = list(lines(found))
    order = [line.split(" | ")[0] for line in text if line.startswith("| ")]
    assert order == ["| samples", "| real, half against half: the floor", "| Gaussian", "| `near`", "| `far`"]
    assert row(text, "`near`")[1:2] + row(text, "`near`")[-2:] == ["0.100", "50", "2 |"]
    assert row(text, "real, half against half: the floor")[1] == "0.400 ± 0.100"


def test_what_is_missing_what_failed_and_what_does_not_fit_is_said():
    found = Found(DIGITS, {}, {"mine": comparison({}, None, seeds=4)}, {"other": "it is for points."}, ["new"])
    text = "\n".join(lines(found))
    assert "- `mine` failed with seed 1: it diverged" in text
    assert "- `mine`: still to be made with seed 2, 3." in text
    assert "- Not trained yet: `new`." in text
    assert "- `other` cannot be trained on these data: it is for points." in text


def test_only_what_stands_between_the_marks_is_written_anew(tmp_path):
    document = tmp_path / "digits.md"
    marks = [f"<!-- {word} of benchmarks/digits.py: digits -->" for word in ("begin", "end")]
    document.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    for _ in range(2):
        write_part(Found(DIGITS, comparisons={"mine": comparison({})}), document)
    text = document.read_text()
    assert text.startswith(f"before\n{marks[0]}\n| samples |")
    assert text.endswith(f"\n{marks[1]}\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="stacked-digits"):
        write_part(Found(replace(DIGITS, dataset="stacked-digits")), document)


def test_gaussians_have_each_class_s_mean_and_covariance_in_the_range_of_pixels():
    labels = torch.tensor([0, 1]).repeat_interleave(4000)
    values = torch.randn(8000, 1, 1, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    values[:4000, ..., 1] += values[:4000, ..., 0] + 0.3
    found = gaussians(values, labels, seed=0)
    for theirs, ours in ((values[:4000], found[:4000]), (values[4000:], found[4000:])):
        assert torch.allclose(theirs.mean(0), ours.mean(0), atol=0.01)
        assert np.allclose(*(np.cov(each.flatten(1).T.numpy()) for each in (theirs, ours)), atol=0.001)
    assert gaussians(values * 20, labels, seed=0).abs().max() == 1
    assert not torch.equal(found, gaussians(values, labels, seed=1))


def test_the_cost_is_that_of_the_timed_iterations_and_what_cannot_be_trained_is_left_out(monkeypatch):
    trainers, refused = digits.composed(DIGITS, ["wgan-gp", "nothing"], steps=50)
    assert (list(trainers), list(refused)) == (["wgan-gp"], ["nothing"])
    ticks = itertools.count()
    monkeypatch.setattr(digits.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(digits, "TIMED", 2)
    assert digits.seconds_of(trainers["wgan-gp"]) == 25  # One second in two iterations, by this clock.


def test_no_processor_time_is_noted_for_a_variant_that_was_not_trained(tmp_path):
    assert spent(tmp_path / "wgan-gp") == {"runs": 0, "seconds": 0.0}
    assert zoo.create("dataset", DIGITS.dataset).size == DIGITS.samples
