"""Every loop, network, method and precision on one GPU: steps per second, memory, shares of what the card can do.

Usage: python benchmarks/gpu.py [--seconds N] [--out FOLDER] [--smoke]

Writes gpu-NAME.json in docs/results and prints the table, within 8 minutes: what --seconds (380) leave no time for is
left out and named. WGAN-GP and the R1 game on MLP, DCGAN and ResNet (benchmarks/cases.py), each by the common public
style, by hand, and by our trainer: eager, with CUDA graphs, and compiled. In bf16 the hand-written loop and ours lay
images out as channels_last. Loops of a group are timed interleaved in random order, medians over rounds; the control is
the hand-written loop against a second copy of itself, and a group whose control is off by more than 3% is void. Graphs
and compiled losses are held against eager ones: thirty iterations from the same seed, beside two eager runs. `--smoke`
tries all of it but compiling on the CPU, with tiny networks and batches, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cases import CASES, Case, handwritten, naive, ours
from counting import Counter, copy_peak, counted, matmul_peak
from rounds import CONTROL, interleaved, ratio

from zoo.errors import ZooError
from zoo.trainer import Trainer
from zoo.training import Train

RESULTS = Path(__file__).parent.parent / "docs" / "results"
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
GOALS = {"mlp": 3.0, "dcgan-32": 3.0, "resnet-64": 1.5}
"""How many times naive the best of ours should be, WGAN-GP, at the same precision."""
MODES: dict[str, dict[str, Any]] = {
    "ours, eager": {"compile": False, "cuda_graphs": "off"},
    "ours, graphs": {"compile": False, "cuda_graphs": "on"},
    "ours, compiled": {"compile": True, "cuda_graphs": "off"},
}
TOLERANCE = 1e-4
"""How far weights may be from eager ones after some iterations, relative to their norm; where two eager runs are
farther than a third of that from each other, three times as far as these are."""
ITERATIONS, WARM, LOG_EVERY = 30, 15, 50
"""Steps are recorded as graphs after eleven of their kind: most of ITERATIONS, and the last of WARM, are replayed."""
Iterate = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    device: str
    cases: dict[str, Case]
    methods: tuple[str, ...]
    precisions: tuple[str, ...]
    rounds: int
    slice: float
    """Seconds for which a loop runs in a round."""


FULL = Size("cuda", CASES, ("wgan-gp", "r1"), ("fp32", "tf32", "bf16"), 5, 0.1)
SMOKE = Size(
    "cpu",
    {name: replace(CASES[name], batch_size=2, critic_steps=1, width=8) for name in ("mlp", "dcgan-32")},
    ("wgan-gp", "r1"),
    ("fp32", "bf16"),
    2,
    0.01,
)


@dataclass
class Report:
    """What was found."""

    about: dict[str, Any]
    ceilings: dict[str, float]
    groups: list[dict[str, Any]] = field(default_factory=list)
    equal: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def goals(self) -> Iterator[tuple[str, str]]:
        """A line for each goal, and what became of it."""
        best: dict[tuple[str, str], tuple[bool, float, str]] = {}
        for group in self.groups:
            if group["case"] in GOALS and group["method"] == "wgan-gp":
                own = [row for row in group["rows"] if row["loop"].startswith("ours")]
                key = group["case"], group["precision"]
                found = [(not group["void"], row["speed"], row["loop"]) for row in own]
                best[key] = max([best.get(key, (False, 0.0, "")), *found])
        for (case, precision), (valid, speed, loop) in best.items():
            line = f"{case} {precision}: {loop} is {speed:.2f}x naive, goal >= {GOALS[case]}"
            yield line, verdict(speed >= GOALS[case]) if valid else "void"
        for check in self.equal:
            line = f"{check['case']}: {check['loop']} is within {check['difference']:.1e} of eager"
            yield f"{line}, itself within {check['floor']:.1e}", verdict(check["equal"])


def verdict(met: bool) -> str:
    """How a goal that was, or was not, reached is told."""
    return "PASS" if met else "MISSED"


def train_settings(mode: str, case: Case, precision: str) -> dict[str, Any] | None:
    """The training settings of one of our loops; None if this version of the zoo has no such mode."""
    known = {f.name for f in fields(Train)}
    wanted = MODES[mode]
    if any(name not in known and value not in (False, "off") for name, value in wanted.items()):
        return None
    return {**{name: value for name, value in wanted.items() if name in known}, **flavour(case, precision)}


def flavour(case: Case, precision: str) -> dict[str, Any]:
    """What a precision means for the loops that know what they do."""
    return {"precision": "bf16", "channels_last": len(case.shape) == 3} if precision == "bf16" else {}


def set_precision(precision: str) -> None:
    """Whether matrix products and convolutions in float32 may use TF32; in bf16 runs, what is left in float32 may."""
    kind = "ieee" if precision == "fp32" else "tf32"
    torch.backends.cuda.matmul.fp32_precision = kind
    torch.backends.cudnn.conv.fp32_precision = kind


class Bench:
    """Measures groups until the time is over.

    Args:
        size: How much is measured.
        seconds: When to stop.
    """

    def __init__(self, size: Size, seconds: float) -> None:
        self.size, self._start, self._seconds = size, time.monotonic(), seconds
        self._said: list[str] = []
        self.report = Report(about(size.device), self._ceilings())

    def run(self) -> Report:
        """Everything, what the goals are about first, and what takes longest last."""
        first = sorted(self.size.cases, key=lambda name: name not in GOALS)
        for method in self.size.methods:
            for name in first:
                for precision in self.size.precisions:
                    self._group(name, method, precision, ["ours, eager", "ours, graphs"])
                if method == "wgan-gp":
                    self._compare(name, "ours, graphs")
        if self.size.device != "cuda":
            self._leave_out("ours, compiled: it takes too long for a smoke test")
            first = []
        for name in first:
            for precision in self.size.precisions[::-1]:
                self._group(name, "wgan-gp", precision, ["ours, compiled"])
            self._compare(name, "ours, compiled")
        self.report.seconds = time.monotonic() - self._start
        return self.report

    def _ceilings(self) -> dict[str, float]:
        """FLOP/s of matrix products by precision, and bytes/s of copies."""
        device, side = self.size.device, 8192 if self.size.device == "cuda" else 512
        found = {}
        for precision, dtype in DTYPES.items():
            set_precision(precision)
            found[precision] = matmul_peak(dtype, device, side)
        return {**found, "copy": copy_peak(device, 2**30 if device == "cuda" else 2**24)}

    def _group(self, name: str, method: str, precision: str, modes: list[str]) -> None:
        """Times the loops of one case side by side."""
        where = f"{name} {method} {precision} ({', '.join(modes)})"
        if self._late():
            self._leave_out(f"{where}: out of time")
            return
        case = replace(self.size.cases[name], method=method)
        set_precision(precision)
        self._said = []
        loops, memory = self._built(where, self._makers(case, precision, modes))
        eager = train_settings("ours, eager", case, precision) or {}
        work = counted(ours(case, self.size.device, **eager).iterate)
        iterations = max(1, int(self.size.slice / self._clock(loops["hand-written"], 1)))
        times = interleaved(loops, self.size.rounds, lambda iterate: self._clock(iterate, iterations))
        control = ratio(times, "control", "hand-written")
        rows = [self._row(loop, times, case, work, precision, memory[loop]) for loop in loops]
        group = {"case": name, "method": method, "precision": precision, "control": control, "rows": rows}
        self.report.groups.append({**group, "said": self._said, "void": abs(control - 1) > CONTROL})
        print_group(self.report.groups[-1])
        del loops, times
        self._free()

    def _built(
        self, where: str, makers: dict[str, Callable[[], Iterate]]
    ) -> tuple[dict[str, Iterate], dict[str, float | None]]:
        """The loops of a group, warm, and the memory of each; what cannot be made is left out."""
        loops, memory = {}, {}
        for loop, make in makers.items():
            try:
                loops[loop], memory[loop] = self._made(make)
            except (ZooError, RuntimeError) as error:
                self._leave_out(f"{where}, {loop}: {str(error).splitlines()[0]}")
        return loops, memory

    def _makers(self, case: Case, precision: str, modes: list[str]) -> dict[str, Callable[[], Iterate]]:
        device, low = self.size.device, flavour(case, precision)
        common = {name: value for name, value in low.items() if name != "channels_last"}
        makers: dict[str, Callable[[], Iterate]] = {
            "naive": lambda: naive(case, device, **common).iterate,
            "hand-written": lambda: handwritten(case, device, **low).iterate,
            "control": lambda: handwritten(case, device, **low).iterate,
        }
        for mode in modes:
            settings = train_settings(mode, case, precision)
            if settings is None:
                self._leave_out(f"{mode}: this version of the zoo does not have it")
            elif mode == "ours, graphs" and device != "cuda":
                self._leave_out(f"{mode}: there are no CUDA graphs on {device}")
            else:
                told = partial(self._tell, mode)
                makers[mode] = lambda settings=settings, told=told: logging(ours(case, device, told, **settings))
        return makers

    def _made(self, make: Callable[[], Iterate]) -> tuple[Iterate, float | None]:
        """A loop that is warm, and the most MiB of the GPU that it held on the way."""
        if self.size.device != "cuda":
            iterate = make()
            iterate()
            return iterate, None
        self._free()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        iterate = make()
        # Graphs are captured after some iterations, and cuDNN tries its algorithms in the first.
        for _ in range(WARM):
            iterate()
        torch.cuda.synchronize()
        return iterate, (torch.cuda.max_memory_allocated() - before) / 2**20

    def _row(
        self, loop: str, times: dict[str, list[float]], case: Case, work: Counter, precision: str, memory: float | None
    ) -> dict[str, Any]:
        seconds = statistics.median(times[loop])
        return {
            "loop": loop,
            "iterations": 1 / seconds,
            "images": case.images_an_iteration / seconds,
            "speed": ratio(times, "naive", loop),
            "mib": memory,
            "of_matmul": work.flops / seconds / self.report.ceilings[precision],
            "of_copy": work.bytes / seconds / self.report.ceilings["copy"],
        }

    def _compare(self, name: str, mode: str) -> None:
        """Iterations in fp32 in a mode and eagerly, from the same seed: how far the weights are from each other."""
        case = self.size.cases[name]
        settings, eager = (train_settings(each, case, "fp32") for each in (mode, "ours, eager"))
        if self._late() or settings is None or eager is None or (mode == "ours, graphs" and self.size.device != "cuda"):
            self._leave_out(f"{name}, {mode} against eager")
            return
        set_precision("fp32")
        one, other, mine = (iterated(ours(case, self.size.device, **each)) for each in (eager, eager, settings))
        difference, floor = distance(mine, one), distance(other, one)
        found = {"case": name, "loop": mode, "difference": difference, "floor": floor}
        self.report.equal.append({**found, "equal": difference <= max(TOLERANCE, 3 * floor)})
        print(f"{name}, {mode} and eager after {ITERATIONS} iterations: {difference:.1e}; eager twice: {floor:.1e}")
        self._free()

    def _clock(self, iterate: Iterate, iterations: int) -> float:
        """Wall-clock seconds per iteration, until the device is done."""
        wait = torch.cuda.synchronize if self.size.device == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        for _ in range(iterations):
            iterate()
        wait()
        return (time.perf_counter() - start) / iterations

    def _tell(self, mode: str, text: str) -> None:
        self._said.append(f"{mode}: {text}")

    def _leave_out(self, what: str) -> None:
        if what not in self.report.left_out:
            self.report.left_out.append(what)

    def _late(self) -> bool:
        return time.monotonic() - self._start > self._seconds

    def _free(self) -> None:
        gc.collect()
        if self.size.device == "cuda":
            torch.cuda.empty_cache()


def logging(trainer: Trainer) -> Iterate:
    """An iteration of the trainer, and every fiftieth time what a line of metrics costs, as in a run."""

    def iterate() -> None:
        trainer.iterate()
        if trainer.iteration % LOG_EVERY == 0:
            trainer.flush()

    return iterate


def iterated(trainer: Trainer) -> Trainer:
    """The trainer after some iterations."""
    for _ in range(ITERATIONS):
        trainer.iterate()
    return trainer


def distance(one: Trainer, other: Trainer) -> float:
    """How far two trainers' weights are from each other, relative to their norm; the farthest network counts."""
    far = []
    for name, network in one.composition.networks.items():
        mine, its = (
            torch.cat([p.detach().flatten().double() for p in n.parameters()])
            for n in (network, other.composition.networks[name])
        )
        far.append(float((mine - its).norm() / its.norm()))
    return max(far)


def about(device: str) -> dict[str, Any]:
    """What it was measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, a smoke test"
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()}


def print_group(group: dict[str, Any]) -> None:
    """A table of one group."""
    void = ", VOID" if group["void"] else ""
    print(f"\n{group['case']} {group['method']} {group['precision']}: control {group['control']:.3f}{void}")
    print("| loop | iterations/s | images/s | times naive | MiB | of matmul | of copy |\n|---|---|---|---|---|---|---|")
    for row in group["rows"]:
        mib = "-" if row["mib"] is None else f"{row['mib']:.0f}"
        print(
            f"| {row['loop']} | {row['iterations']:.1f} | {row['images']:.0f} | {row['speed']:.2f} | {mib} "
            f"| {row['of_matmul']:.1%} | {row['of_copy']:.0%} |",
            flush=True,
        )
    for line in group["said"]:
        print(f"said by {line}", flush=True)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=380, help="Nothing new is begun after that.")
    parser.add_argument("--out", type=Path, help="Folder of the JSON file; docs/results, and with --smoke nowhere.")
    parser.add_argument("--smoke", action="store_true", help="Tiny, and on the CPU.")
    arguments = parser.parse_args(words)
    if not arguments.smoke and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --smoke tries the script on the CPU")
    bench = Bench(SMOKE if arguments.smoke else FULL, arguments.seconds)
    print(", ".join(f"{key} {value}" for key, value in bench.report.about.items()))
    print("ceilings:", ", ".join(f"{kind} {rate:.3g}/s" for kind, rate in bench.report.ceilings.items()), flush=True)
    report = bench.run()
    print(f"\n{report.seconds:.0f} s")
    for line in report.left_out:
        print(f"left out: {line}")
    verdicts = [] if arguments.smoke else list(report.goals())
    for line, became in verdicts:
        print(f"{line}: {became}")
    folder = arguments.out or (None if arguments.smoke else RESULTS)
    if folder is not None:
        name = "smoke" if arguments.smoke else re.sub(r"\W+", "-", report.about["device"].lower()).strip("-")
        (folder / f"gpu-{name}.json").write_text(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if all(became == "PASS" for _, became in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
