"""CPU time of commands that only look: no plugin and no torch is imported for them.

Usage: python benchmarks/startup.py [--rounds N] [--plugins N]

Prints the median and the least CPU time (user and system, of the whole process) beside that of an interpreter that does
nothing and of one that imports click. `--plugins` adds so many plugins to the path for the last row; each has one
component and a module that raises when it is imported. Twelve of them are broken in the twelve ways that
tests/test_many_plugins.py tries, as far as their metadata shows it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOAL = 0.110


def cpu_time(command: list[str], environment: dict[str, str]) -> float:
    """User and system seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


BROKEN = (
    b"[zoo.v1.distance]\nno equals sign\n",
    b"[zoo.v1.distance]\nlatin\xe9 = zoo_latin\n",
    b"[zoo.v2.distance]\nother-api = zoo_v2\n",
    b"[zoo.v1.distanse]\ntypo = zoo_typo\n",
    b"[zoo.v1.distance]\nidle-0 = zoo_duplicate\n",
    *(b"[zoo.v1.distance]\nbroken-%d = zoo_broken\n" % number for number in range(7)),
)
"""Metadata of broken plugins; the last seven are so in their code."""


def make_plugins(folder: Path, count: int) -> None:
    """Plugins that are only metadata, twelve of them broken."""
    good = [f"[zoo.v1.distance]\nidle-{number} = zoo_idle_{number}\n".encode() for number in range(count - len(BROKEN))]
    for number, entry_points in enumerate([*good, *BROKEN]):
        metadata = folder / f"zoo_idle_{number}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-idle-{number}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_bytes(entry_points)
        (folder / f"zoo_idle_{number}.py").write_text("raise RuntimeError('imported')\n")
    (folder / "zoo_idle_1.egg-info").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--plugins", type=int, default=200)
    arguments = parser.parse_args()
    zoo = [sys.executable, "-m", "zoo"]
    with tempfile.TemporaryDirectory() as folder:
        make_plugins(Path(folder), arguments.plugins)
        plain, crowded = dict(os.environ), {**os.environ, "PYTHONPATH": folder}
        rows = {
            "python -c pass": ([sys.executable, "-c", "pass"], plain),
            "python -c 'import click'": ([sys.executable, "-c", "import click"], plain),
            "zoo list": ([*zoo, "list"], plain),
            "zoo search": ([*zoo, "search"], plain),
            "zoo --help": ([*zoo, "--help"], plain),
            "zoo plugins": ([*zoo, "plugins"], plain),
            f"zoo list, {arguments.plugins} more plugins": ([*zoo, "list"], crowded),
        }
        for command, environment in rows.values():
            cpu_time(command, environment)
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(arguments.rounds):
            for name, (command, environment) in rows.items():
                times[name].append(cpu_time(command, environment))
    print(f"{arguments.rounds} rounds, interleaved; goal for zoo list: {GOAL * 1000:.0f} ms")
    print("| command | median CPU ms | least CPU ms |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| `{name}` | {1000 * statistics.median(seconds):.0f} | {1000 * min(seconds):.0f} |")


if __name__ == "__main__":
    main()
