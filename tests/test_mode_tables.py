"""The tables that benchmarks/mode_coverage.py writes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from mode_coverage import Job, trainable
from mode_tables import BEGIN, END, PUBLISHED, mean, summary, table, written


def run(modes=8.0, quality=0.98, kl=0.01, widths=(0.9, 1.1), **more):
    figures = {"modes": modes, "high-quality": quality, "reverse-kl": kl, "narrowest": widths[0], "widest": widths[1]}
    return {"networks": "own", "variant": "v", "data": "ring", "seed": 0, "steps": 50, "seconds": 2.0} | figures | more


def test_a_line_has_the_means_the_standard_errors_and_the_extreme_widths():
    cells = summary([run(8.0, 0.98, 0.01, (0.9, 1.1)), run(7.0, 0.96, 0.03, (0.8, 1.0))])
    assert cells[2:] == ["7.5 ± 0.5", "97.0 ± 1.0", "0.020 ± 0.010", "0.80 to 1.10", "2", "50", "2"]


def test_a_run_that_diverged_covers_nothing_and_is_counted():
    diverged = {"networks": "own", "variant": "v", "data": "ring", "seed": 1, "steps": 50, "diverged": True}
    cells = summary([run(8.0), diverged])
    assert cells[2] == "4.0 ± 4.0"
    assert cells[6] == "2, 1 diverged"
    assert summary([diverged])[2:7] == ["", "", "", "", "1, 1 diverged"]


def test_one_run_has_no_error():
    assert mean([7.0], 1) == "7.0"


def test_variants_networks_and_numbers_of_steps_have_lines_of_their_own():
    rows = [run(), run(seed=1), run(variant="w"), run(networks="small"), run(steps=60), run(data="grid")]
    lines = [line for line in table("ring", rows).splitlines() if "here" in line]
    assert len(lines) == 4
    assert " 2 | 50 |" in lines[0]


@pytest.mark.parametrize("data", PUBLISHED)
def test_every_published_row_stands_above_ours(data):
    lines = table(data, [run(data=data)]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line for line in lines if "here" in line] == lines[-1:]
    assert all(any(" | ".join(row[1:4]) in line for line in lines) for row in PUBLISHED[data])


def test_only_what_stands_between_the_marks_is_replaced():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = written(text, [run()])
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    assert written(once, [run()]) == once


def test_a_document_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="no part between"):
        written("nothing", [])


def test_what_cannot_be_trained_is_said_once_and_left_out(capsys):
    todo = [Job("small", variant, "ring", seed, 10) for seed in (0, 1) for variant in ("histogram-js", "wgan")]
    assert [job.variant for job in trainable(todo)] == ["wgan", "wgan"]
    assert capsys.readouterr().out.count("histogram-js cannot be trained on ring") == 1
