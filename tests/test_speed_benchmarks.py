"""The speed benchmarks: the same mathematics in every loop, right counts and ratios, and a GPU script that runs."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import gpu
import peers
from cases import CASES, composition, naive, ours
from counting import counted
from memory import summary
from rounds import interleaved, ratio
from step import Goal, Result, goals, rows

from zoo import Draws


def small(name, **changes):
    return dataclasses.replace(CASES[name], batch_size=4, critic_steps=2, width=8, **changes)


class Shares(Draws):
    """Draws that give the same uniform numbers to both."""

    def __init__(self, values):
        super().__init__(0)
        self.values = values

    def rand(self, *shape):
        return self.values.view(*shape)


@pytest.mark.parametrize("method", ["wgan-gp", "r1"])
@pytest.mark.parametrize("name", ["mlp", "dcgan-32"])
def test_the_naive_loop_has_the_same_losses(name, method, monkeypatch):
    case = small(name, method=method)
    loop, parts = naive(case), composition(case)
    real, fake = (torch.rand(4, *case.shape, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    shares = torch.tensor([0.1, 0.4, 0.6, 0.9])
    # The naive loop's share is that of the real sample, as ours is.
    monkeypatch.setattr(np.random, "random", lambda shape: shares.view(shape).numpy())
    batch = parts.batch(real=real, fake=fake, draws=Shares(shares))
    ours = {phase.name: sum(phase.loss(batch).values()) for phase in parts.phases}
    torch.testing.assert_close(loop.critic_loss(real, fake), ours["critic"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loop.generator_loss(loop.scores(fake)), ours["generator"], rtol=1e-4, atol=1e-6)


def test_the_naive_loop_trains_both_networks():
    loop = naive(small("mlp"))
    before = [p.clone() for network in (loop.generator, loop.critic) for p in network.parameters()]
    for _ in range(3):
        loop.iterate()
    after = [p for network in (loop.generator, loop.critic) for p in network.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim > 1)
    assert len(loop.losses) == 9


def test_operations_are_counted_through_double_backward():
    weight = torch.randn(8, 5, requires_grad=True)
    points = torch.randn(3, 8, requires_grad=True)

    def penalised():
        (gradient,) = torch.autograd.grad((points @ weight).square().sum(), points, create_graph=True)
        gradient.square().sum().backward(inputs=[weight])

    one = 2 * 3 * 8 * 5
    # Forward; gradient by the points; and by the weight: of both products it is in, and of the scores between them.
    assert counted(penalised).flops == 5 * one
    assert counted(lambda: torch.zeros(10).add(1)).bytes == 10 * 4 * 3


def test_an_iteration_costs_the_naive_loop_more_operations():
    case = small("dcgan-32")
    assert counted(naive(case).iterate).flops > 1.1 * counted(ours(case).iterate).flops


def test_ratios_are_medians_within_rounds():
    times = {"a": [1.0, 10.0, 3.0], "b": [1.0, 5.0, 1.0]}
    assert ratio(times, "a", "b") == 2.0


def test_every_loop_is_timed_once_a_round():
    calls = []
    loops = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = interleaved(loops, 4)
    assert {name: len(each) for name, each in times.items()} == {"a": 4, "b": 4, "c": 4}
    rounds = [calls[start : start + 3] for start in range(3, 15, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)


def test_goals_are_judged_and_void_where_the_control_is_off():
    times = {
        "naive": [4.0, 4.0],
        "hand-written": [2.0, 2.0],
        "ours, fp32": [2.2, 2.2],
        "ours, bf16": [1.0, 1.0],
        "ours, bf16 channels_last": [1.6, 1.6],
    }
    exact, low, overhead = goals("mlp", times)
    assert (exact.value, exact.met) == (pytest.approx(4 / 2.2), True)
    assert (low.what, low.value, low.met) == ("naive / ours, bf16", 4.0, True)
    assert (overhead.value, overhead.met) == (pytest.approx(1.1), False)
    assert "void" in overhead.line(void=True)
    assert [Result("mlp", control, [], []).void for control in (0.96, 1.02, 1.04)] == [True, False, True]
    assert Goal("at most", 1.05, 1.05, at_most=True).met
    table = rows(times, {"naive": 8, "ours": 6}, {"fp32": 10.0, "bf16": 20.0})
    assert [row["of_peak"] for row in table[:2]] == [0.2, 0.3]
    assert table[3]["of_peak"] == pytest.approx(0.3)


def test_memory_is_judged_after_the_warm_up():
    mib = 2**20
    flat = [(step, (500 if step > 20 else 100) * mib) for step in range(1, 101)]
    assert summary(flat)["departure"] == 0
    growing = [(step, (500 + step) * mib) for step in range(1, 101)]
    assert summary(growing)["departure"] == pytest.approx(79 / 521)
    assert summary(growing)["per_1000_steps"] == pytest.approx(1000)


def test_peers_see_this_environment_through_their_own(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(peers.subprocess, "run", lambda command, **named: started.append(command))
    site = tmp_path / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    assert peers.prepare(tmp_path) == str(tmp_path / "bin" / "python")
    paths = (site / "shared.pth").read_text().splitlines()
    assert str(Path(torch.__file__).parent.parent) in paths
    assert str(Path(peers.__file__).parent) not in paths
    assert any(command[2:4] == ["pip", "--python"] for command in started)
    peers.prepare(tmp_path)
    assert len(started) == 2


def test_the_gpu_script_runs_on_the_cpu(tmp_path, capsys):
    assert gpu.main(["--smoke", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu-smoke.json").read_text())
    found = {(group["case"], group["method"], group["precision"]) for group in report["groups"]}
    assert found == {(c, m, p) for c in ("mlp", "dcgan-32") for m in ("wgan-gp", "r1") for p in ("fp32", "bf16")}
    for group in report["groups"]:
        loops = {row["loop"]: row for row in group["rows"]}
        assert set(loops) == {"naive", "hand-written", "control", "ours, eager"}
        assert loops["naive"]["speed"] == 1
        assert all(row["iterations"] > 0 and 0 < row["of_matmul"] < 1 for row in loops.values())
    assert "ours, graphs: there are no CUDA graphs on cpu" in report["left_out"]
    assert "times naive" in capsys.readouterr().out


def test_the_gpu_script_leaves_out_what_there_is_no_time_for():
    report = gpu.Bench(gpu.SMOKE, seconds=-1).run()
    assert report.groups == []
    assert "dcgan-32 r1 bf16 (ours, eager, ours, graphs): out of time" in report.left_out


def test_weights_are_compared_with_eager_ones():
    case = small("mlp")
    same = [gpu.iterated(ours(case, seed=seed)) for seed in (0, 0, 1)]
    assert gpu.distance(same[0], same[1]) == 0
    assert gpu.distance(same[0], same[2]) > 0.1


def test_gpu_goals_are_of_like_with_like():
    def group(case, precision, void, **speeds):
        rows = [{"loop": loop.replace("_", ", "), "speed": speed} for loop, speed in speeds.items()]
        return {"case": case, "method": "wgan-gp", "precision": precision, "void": void, "rows": rows}

    groups = [
        group("mlp", "fp32", False, naive=1.0, ours_eager=1.5, ours_graphs=4.0),
        group("mlp", "fp32", False, naive=1.0, ours_compiled=2.0),
        group("mlp", "bf16", True, naive=1.0, ours_eager=9.0),
        group("dcgan-32", "fp32", False, naive=9.0, ours_eager=2.9),
        group("dcgan-64", "fp32", False, naive=1.0, ours_eager=1.0),
    ]
    equal = [{"case": "mlp", "loop": "ours, graphs", "difference": 1e-7, "floor": 0.0, "equal": True}]
    found = dict(gpu.Report({}, {}, groups=groups, equal=equal).goals())
    assert list(found.values()) == ["PASS", "void", "MISSED", "PASS"]
    assert "mlp fp32: ours, graphs is 4.00x naive, goal >= 3.0" in found
