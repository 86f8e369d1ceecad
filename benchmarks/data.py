"""Whether the trainer waits for data: a folder of images decoded, reopened, and trained on from its file.

Usage: python benchmarks/data.py [--images N] [--rounds N] [--write]

Makes the folder, 32x32 JPEG and PNG, in a temporary place that is removed, with the cache of decoded images in it.
- Decoding: threads and processes, interleaved, in CPU time a picture and pictures a second.
- Reopening: what a second run waits for before it begins.
- Training: an iteration on the samples in memory, in memory again (the A/A control), from the file with a thread that
  gathers ahead, and from the file without one, iterations in random order. Medians over iterations of the CPU
  time of the trainer's thread, as a ratio to memory (a control off by more than 3% makes these void); of the share of
  the time, and of the CPU time, that passes in `draw`. Then, in a stretch of iterations on the file alone, how many
  batches were not ready when they were asked for.
`--write` replaces docs/results/data.md.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from zoo_datasets.folders import image_folder, read_image

import zoo.data
from zoo import ArrayDataset
from zoo.api import compose_table
from zoo.data import Batches
from zoo.trainer import Trainer

CONTROL = 0.03
SIDE, FOLDERS, DECODED, DRAWN = 32, 100, 1000, 1000
EXPLAINED = """
The rates of decoding say little where others use the cores; the CPU time of a picture does. An iteration of training is
five critic steps and a generator step of `wgan-gp` with batches of 64, and draws five batches. Ratios are medians over
iterations in random order, and void if the control is off by more than 3%. Time in `draw` includes what is done with a
batch in the trainer's thread; "not ready" counts the batches that were waited for, in a stretch without other trainers.
"""
RESULT = Path(__file__).parent.parent / "docs" / "results" / "data.md"
CASES = {
    "MLP, 128 wide": ({"name": "mlp", "width": 128}, 8, 100),
    "DCGAN, 16 wide": ({"name": "dcgan", "width": 16}, 1, 20),
}
"""Small networks, for which data must come fast; how many iterations a round has, and how many the stretch."""
KINDS = ("in memory", "in memory, again", "file, gathered ahead", "file, gathered when asked for")


def make_folder(folder: Path, count: int) -> None:
    """Smooth random images, half JPEG and half PNG, in sub-folders."""
    draws = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number % FOLDERS:03}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draws.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(place / f"{number:06}.{'jpg' if number // FOLDERS % 2 else 'png'}")


def all_cpu() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def decoding(folder: Path, rounds: int) -> Iterator[str]:
    """CPU time and rate of decoding some pictures, by way."""
    files = sorted(folder.rglob("*.*"))
    files = files[:: max(1, len(files) // DECODED)]
    forked = functools.partial(ProcessPoolExecutor, mp_context=get_context("fork"))
    ways: dict[str, Callable[[], Executor]] = {
        "1 thread": lambda: ThreadPoolExecutor(1),
        "1 thread, again": lambda: ThreadPoolExecutor(1),
        "2 threads": lambda: ThreadPoolExecutor(2),
        "4 threads": lambda: ThreadPoolExecutor(4),
        "2 processes": lambda: forked(2),
    }
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(max(1, rounds // 4)):
        for way in random.sample(list(ways), len(ways)):
            cpu, wall = all_cpu(), time.perf_counter()
            with ways[way]() as pool:
                list(pool.map(functools.partial(read_image, side=SIDE, channels=3), files, chunksize=32))
            times[way].append((all_cpu() - cpu, time.perf_counter() - wall))
    yield "| decoding by | CPU ms a picture | CPU, to 1 thread | pictures a second | rate, to 1 thread |"
    yield "|---|---|---|---|---|"
    for way, taken in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*taken, strict=True))
        first = times["1 thread"]
        costs = statistics.median(mine[0] / base[0] for mine, base in zip(taken, first, strict=True))
        faster = statistics.median(base[1] / mine[1] for mine, base in zip(taken, first, strict=True))
        yield (f"| {way} | {1000 * cpu / len(files):.3f} | {costs:.2f} | {len(files) / wall:,.0f} | {faster:.2f} |")


def opening(folder: Path) -> tuple[ArrayDataset, list[str]]:
    """The folder as a data set from its file, and the seconds of making and of reopening it."""
    lines = ["| | CPU seconds | seconds |", "|---|---|---|"]
    for what in ("decoding the folder, once", "opening it again"):
        cpu, wall = all_cpu(), time.perf_counter()
        dataset = image_folder(path=str(folder), side=SIDE)
        lines.append(f"| {what} | {all_cpu() - cpu:.2f} | {time.perf_counter() - wall:.2f} |")
    return dataset, lines


def forget_pages() -> None:
    """Asks the system to drop the file from its memory, so that training begins by reading it from the disk."""
    for file in Path(os.environ["ZOO_CACHE"]).glob("*.npy"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass
class Block:
    """What a block of iterations took in seconds, and what of that `draw` took."""

    cpu: float
    wall: float
    drawing_cpu: float
    drawing_wall: float


class Arm:
    """A trainer whose draws are timed."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.blocks: list[Block] = []
        self.drawn, self._cpu, self._wall = 0, 0.0, 0.0
        self._draw, trainer.batches.draw = trainer.batches.draw, self.draw  # type: ignore[method-assign]

    def draw(self, n: int) -> zoo.data.Pair:
        """A batch, timed."""
        cpu, wall = time.thread_time(), time.perf_counter()
        pair = self._draw(n)
        self._cpu += time.thread_time() - cpu
        self._wall += time.perf_counter() - wall
        self.drawn += 1
        return pair

    def block(self, iterations: int) -> None:
        """Some iterations, timed."""
        self._cpu = self._wall = 0.0
        cpu, wall = time.thread_time(), time.perf_counter()
        for _ in range(iterations):
            self.trainer.iterate()
        self.blocks.append(Block(time.thread_time() - cpu, time.perf_counter() - wall, self._cpu, self._wall))
        self.trainer.flush()

    def stretch(self, iterations: int) -> str:
        """How many batches were not ready in some iterations without a break."""
        late, drawn = self.trainer.batches.late, self.drawn
        for _ in range(iterations):
            self.trainer.iterate()
        return f"{self.trainer.batches.late - late} of {self.drawn - drawn:,}"


def arms(network: dict[str, object], dataset: ArrayDataset) -> dict[str, Arm]:
    """The same trainer on the same images, which come from different places."""
    memory = ArrayDataset(dataset.samples.clone(), dataset.labels)
    sources = dict(zip(KINDS, (memory, memory, dataset, dataset), strict=True))
    made = {}
    for kind, source in sources.items():
        table = {"variant": "wgan-gp", "generator": network, "critic": network, "train": {"seed": 0}}
        trainer = Trainer(compose_table(table, device="cpu", given={"dataset": source}))
        if kind == KINDS[3]:
            trainer.batches._ahead, trainer.batches._held = None, zoo.data._Held(source.samples, source.labels)
        made[kind] = Arm(trainer)
    return made


def training(dataset: ArrayDataset, rounds: int) -> Iterator[str]:
    """The table of training."""
    yield "| networks | samples | CPU, to memory | time, to memory | time in `draw` | CPU in `draw` | not ready |"
    yield "|---|---|---|---|---|---|---|"
    for case, (network, often, stretch) in CASES.items():
        made = arms(network, dataset)
        for arm in made.values():
            arm.block(2)
            arm.blocks.clear()
        gc.collect()
        gc.disable()
        for _ in range(rounds * often):
            for kind in random.sample(KINDS, len(KINDS)):
                made[kind].block(1)
        gc.enable()
        for kind, arm in made.items():
            figures, control = compared(arm.blocks, made[KINDS[0]].blocks)
            late = arm.stretch(stretch) if kind == KINDS[2] else "-"
            void = " VOID" if kind == KINDS[1] and control > CONTROL else ""
            yield f"| {case} | {kind}{void} | {' | '.join(figures)} | {late} |"


def compared(blocks: list[Block], base: list[Block]) -> tuple[list[str], float]:
    """The figures of a row, and how far the ratio of CPU times is from 1."""

    def median(figure: Callable[[Block, Block], float]) -> float:
        return statistics.median(figure(mine, its) for mine, its in zip(blocks, base, strict=True))

    cpu = median(lambda mine, its: mine.cpu / its.cpu)
    wall = median(lambda mine, its: mine.wall / its.wall)
    in_wall = median(lambda mine, its: mine.drawing_wall / mine.wall)
    in_cpu = median(lambda mine, its: mine.drawing_cpu / mine.cpu)
    return [f"{cpu:.3f}", f"{wall:.3f}", f"{in_wall:.2%}", f"{in_cpu:.2%}"], abs(cpu - 1)


def headroom(dataset: ArrayDataset) -> str:
    """What the thread needs for a batch when nothing is trained."""
    batches = Batches(dataset, torch.device("cpu"), 0)
    every, own = time.process_time(), time.thread_time()
    for _ in range(DRAWN):
        batches.draw(64)
    own = time.thread_time() - own
    other = time.process_time() - every - own
    return (
        f"Alone, a batch of 64 takes {1000 * other / DRAWN:.2f} ms of CPU in the thread that gathers, and "
        f"{1000 * own / DRAWN:.2f} ms in the one that trains, where it becomes floats."
    )


def report(images: int, rounds: int) -> Iterator[str]:
    """The document, a line at a time."""
    with tempfile.TemporaryDirectory(prefix="zoo-data-") as place:
        os.environ["ZOO_CACHE"] = str(Path(place, "cache"))
        # However small the folder is, it is not to fit.
        zoo.data.SHARE = 0.0
        folder = Path(place, "images")
        make_folder(folder, images)
        yield from decoding(folder, rounds)
        dataset, lines = opening(folder)
        yield from ("", *lines, "")
        forget_pages()
        dataset = image_folder(path=str(folder), side=SIDE)
        yield headroom(dataset) + "\n"
        del dataset
        forget_pages()
        yield from training(image_folder(path=str(folder), side=SIDE), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    command = shlex.join(["python", "benchmarks/data.py", *sys.argv[1:]])
    about = f"`{command}`: {arguments.images:,} images of {SIDE}x{SIDE}, half JPEG, half PNG; {os.cpu_count()} cores"
    about += f" that others share, one thread for tensors, torch {torch.__version__}, {arguments.rounds} rounds."
    lines = ["# Data\n", about + "\n"]
    print(*lines, sep="\n")
    start = time.perf_counter()
    for line in report(arguments.images, arguments.rounds):
        print(line, flush=True)
        lines.append(line)
    lines.append(f"\nAll of it took {all_cpu():.0f} s of CPU, and {time.perf_counter() - start:.0f} s by the clock.")
    lines.append(EXPLAINED.rstrip())
    print(*lines[-2:], sep="\n")
    if arguments.write:
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
