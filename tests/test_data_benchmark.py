"""benchmarks/data.py, on a few images."""

import importlib.util
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zoo.data


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """The benchmark, small and without processes, with a temporary place of its own."""
    spec = importlib.util.spec_from_file_location(
        "data_benchmark", Path(__file__).parent.parent / "benchmarks" / "data.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "data_benchmark", module)
    spec.loader.exec_module(module)
    small = {"FOLDERS": 2, "DRAWN": 4, "CASES": {"tiny": ({"name": "mlp", "width": 4}, 1, 4)}}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers))
    monkeypatch.setattr(module, "RESULT", tmp_path / "data.md")
    monkeypatch.setattr(zoo.data, "SHARE", zoo.data.SHARE)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "never"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "place"))
    (tmp_path / "place").mkdir()
    return module


def test_it_prints_its_tables_and_writes_nothing_unless_asked(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks/data.py", "--images", "80", "--rounds", "1"])
    benchmark.main()
    printed = capsys.readouterr().out
    assert "80 images of 32x32" in printed
    assert all(f"| {kind}" in printed for kind in ("1 thread", "2 threads", "2 processes", *benchmark.KINDS))
    assert "of 20 |" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert list((tmp_path / "place").glob("zoo-*")) == []
    assert os.environ["ZOO_CACHE"].startswith(str(tmp_path))


def test_a_control_that_is_off_makes_the_row_void(benchmark):
    def blocks(cpu):
        return [benchmark.Block(cpu, 2.0, 0.1, 0.5)] * 3

    figures, off = benchmark.compared(blocks(1.1), blocks(1.0))
    assert figures == ["1.100", "1.000", "25.00%", "9.09%"]
    assert off == pytest.approx(0.1)
    assert off > benchmark.CONTROL
