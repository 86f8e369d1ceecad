"""The tables of all variants: from a comparison to a document."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.comparing.results import Budget, Cell, Comparison, Contender, Point, Scale

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import collection  # noqa: E402


def cell(label, seed, modes, quality):
    figures = {"mode-coverage modes": modes, "mode-coverage high-quality": quality}
    return Cell(label, seed, "finished", points=(Point(100, 9.5, figures),))


@pytest.fixture
def comparison():
    scale = Scale("mode-coverage", "modes", "higher", 8.0, 0.0)
    return Comparison(
        dataset="ring",
        budget=Budget("seconds", 20),
        seeds=(0, 1, 2),
        contenders=tuple(Contender(label, {}, 100, 100) for label in ("broken", "good", "poor")),
        scales={"mode-coverage modes": scale, "mode-coverage high-quality": scale},
        samples=2500,
        command="zoo compare broken good poor --out somewhere/ring --seeds 3",
        cells=(
            *(cell("good", seed, 8.0, quality) for seed, quality in enumerate((0.9, 0.95, 0.91))),
            *(cell("poor", seed, 3.0 + seed, 0.99) for seed in range(3)),
            *(Cell("broken", seed, "failed", "a loss became NaN") for seed in range(3)),
        ),
    )


def test_medians_and_failures_are_kept(comparison):
    rows = collection.condensed(comparison)["variants"]
    assert rows["good"]["figures"]["mode-coverage high-quality"] == [0.91, 0.9, 0.95]
    assert (rows["broken"]["failures"], rows["broken"]["figures"]) == (3, {})
    assert rows["broken"]["errors"] == ["a loss became NaN"]
    assert rows["poor"]["seconds"] == 9.5


def test_the_table_has_the_best_first_and_who_failed_last(comparison):
    lines = list(collection.table(json.loads(json.dumps(collection.condensed(comparison)))))
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["good", "poor", "broken"]
    assert "| 8 | 0.91 (0.9 to 0.95) | 100 | 0 of 3 |" in rows[0]
    assert rows[2].endswith("| - | - | 100 | 3 of 3 |")
    assert "zoo compare broken good poor --seeds 3\n" in "\n".join(lines)


def test_a_document_without_marks_is_refused(comparison, monkeypatch, tmp_path):
    (tmp_path / "ring-grid.md").write_text("nothing")
    monkeypatch.setattr(collection, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="begin of benchmarks/collection"):
        collection.write_table(collection.condensed(comparison))


def test_rows_of_a_later_comparison_replace_those_before(comparison):
    old = collection.condensed(comparison)
    later = replace(
        comparison, contenders=comparison.contenders[2:], cells=(cell("poor", 0, 8.0, 0.5),), command="zoo compare poor"
    )
    found = collection.renewed(old, collection.condensed(later))
    assert found["variants"]["poor"]["figures"]["mode-coverage modes"] == [8.0, 8.0, 8.0]
    assert found["variants"]["good"] == old["variants"]["good"]
    assert found["command"].splitlines()[-1] == "zoo compare poor"
    other = collection.condensed(replace(later, budget=Budget("seconds", 30)))
    with pytest.raises(ValueError, match="the budget of the two comparisons differ"):
        collection.renewed(old, other)
