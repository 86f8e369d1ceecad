"""What benchmarks/gan_transfer.py trains, measures with and prints, apart from training."""

import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.api import compose_table
from zoo.folder import Folder

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import gan_transfer
from gan_transfer import HELD_OUT, SOURCE, VARIANT, WAYS, Job, held_out
from gan_transfer_tables import BEGIN, COLUMNS, END, lines, written


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a source of one step, and the same with its average."""
    out = tmp_path_factory.mktemp("runs")
    dataset = {"name": "digits", "classes": SOURCE}
    zoo.train(VARIANT, name="source-seed0", out=out, device="cpu", dataset=dataset, steps=1, batch_size=8, average=0.5)
    gan_transfer.source(0, out)
    return out


@pytest.mark.parametrize("way", WAYS)
def test_each_way_begins_with_the_weights_that_it_says(way, begun):
    composition = compose_table({"variant": VARIANT, **Job(way, 10, 0, 5).table(begun)}, device="cpu")
    first = composition.networks["generator"].state_dict()
    state = Folder(begun / "source-seed0").load()
    equal = {
        name: all(torch.equal(first[key], value) for key, value in weights.items())
        for name, weights in (("source", state["networks"]["generator"]), ("averaged", state["average"]))
    }
    assert equal == {name: name == WAYS[way].start for name in equal}
    assert composition.dataset.size == 10
    assert composition.training.train.freeze == WAYS[way].train.get("freeze", [])


def test_nothing_that_is_measured_with_was_trained_on():
    dataset, trained, others = held_out(100, seed=1)
    assert (len(trained), len(others)) == (100, HELD_OUT)
    assert torch.cdist(trained.values.flatten(1), others.values.flatten(1)).min() > 0
    assert set(others.labels.tolist()) == set(range(5))
    everything = dataset.samples.flatten(1)
    assert float(torch.cdist(others.values.flatten(1), everything).min(1).values.max()) == 0


def row(way, seed, frechet, samples=10, **more):
    figures = dict.fromkeys(COLUMNS, 0.5) | {"frechet:classifier": frechet}
    return {"way": way, "samples": samples, "seed": seed, **figures, **more}


def test_a_line_holds_the_mean_over_seeds_with_its_error():
    rows = [row("plain", 0, 1.0, steps=9), row("plain", 1, 3.0, steps=9), row("real", 0, 0.25)]
    rows += [row("plain", 0, 9.0, samples=25, steps=9), row("plain", 0, 8.0, steps=1000)]
    text = list(lines(rows))
    titles = [line for line in text if line.startswith("###")]
    sizes = ["10 samples, 9 iterations", "10 samples, 1,000 iterations", "25 samples, 9 iterations"]
    assert titles == [f"### {size}\n" for size in sizes]
    assert text[3].startswith("| real, not trained on | 0.250 | 0.500 |")
    assert "| plain | 2.000 ± 1.000 | 0.500 ± 0.000 |" in text[4]
    assert text[4].endswith("| 2 |")
    assert text[9].startswith("| real, not trained on | 0.250 |")
    assert text[10].startswith("| plain | 8.000 |")


def test_only_the_text_between_the_marks_is_written():
    document = written(f"before\n{BEGIN}\nold\n{END}\nafter\n", [row("plain", 0, 1.0, steps=5)])
    assert document.startswith(f"before\n{BEGIN}\n### 10")
    assert document.endswith(f"{END}\nafter\n")
    assert "old" not in document
    with pytest.raises(ValueError, match="has no"):
        written("nothing", [])
