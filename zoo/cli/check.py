"""`zoo check`: runs the conformance kit on a plugin, in a process of its own with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.environment import normalized
from zoo.errors import BrokenPlugin, UnknownName, UsageError
from zoo.index import Index

Row = dict[str, Any]
BAD = ("failed", "unexpected pass")
SECONDS = 600.0


@click.command("check")
@click.argument("plugin")
@click.option("--timeout", default=SECONDS, show_default=True, type=click.FloatRange(min=0.1), help="Seconds in all.")
@click.option("--verbose", is_flag=True, help="Also what passed.")
@as_json
def check_command(plugin: str, timeout: float, verbose: bool, json_: bool) -> None:
    """Checks that PLUGIN does what the zoo expects: an installed one, a wheel, or a folder with its source.

    Exits with 1 if it does not. A wheel or a folder is unpacked for this and not installed; its code is run.

    \b
    Examples:
      zoo check zoo-wgan
      zoo check ./zoo-mine
      zoo check dist/zoo_mine-0.1.0-py3-none-any.whl --json
    """
    dist, rows = results_of(plugin, timeout)
    sys.exit(report(dist, rows, json_, verbose))


def results_of(plugin: str, timeout: float = SECONDS) -> tuple[str, list[Row]]:
    """The distribution of an installed plugin, a wheel or a folder, and what came of each check of it."""
    with tempfile.TemporaryDirectory() as place:
        dist, path = _found(plugin, Path(place))
        return dist, list(_run(dist, path, timeout))


def conforms(rows: Sequence[Row]) -> bool:
    """Whether no check failed."""
    return not any(row["status"] in BAD for row in rows)


def report(dist: str, rows: Sequence[Row], json_: bool, verbose: bool) -> int:
    """Prints what came of the checks; returns the exit code."""
    counts = Counter(row["status"] for row in rows)
    right = conforms(rows)
    if json_:
        print_json({"plugin": normalized(dist), "conforms": right, "counts": dict(counts), "results": list(rows)})
    else:
        shown = [row for row in rows if verbose or row["status"] != "passed"]
        if shown:
            cells = [(row["name"], row["check"], row["status"], row["detail"]) for row in shown]
            print_table(("COMPONENT", "CHECK", "RESULT", "WHY"), cells)
        verdict = "conforms" if right else "does not conform"
        click.echo(f"{dist} {verdict}: {', '.join(f'{n} {status}' for status, n in counts.most_common())}.")
    return 0 if right else 1


def _found(plugin: str, place: Path) -> tuple[str, list[str]]:
    """The distribution to check, and what to put on the path for it."""
    if plugin.endswith(".whl") or os.sep in plugin or Path(plugin, "pyproject.toml").is_file():
        return _unpacked(Path(plugin), place)
    index = Index.scan()
    known = {entry.dist for entry in index.entries}
    if normalized(plugin) not in known | {problem.dist for problem in index.problems}:
        hint = "A folder or a wheel is given by its path; for a single file make a folder: zoo new NAME --hook HOOK."
        raise UnknownName("installed plugin", plugin, known, hint)
    return normalized(plugin), []


def _unpacked(source: Path, place: Path) -> tuple[str, list[str]]:
    from zoo.install.pip import run_pip
    from zoo.install.wheels import build_wheel, read_wheel

    if not source.exists():
        raise UsageError(f"there is no '{source}'.")
    wheel = read_wheel(build_wheel(source, place / "wheel") if source.is_dir() else source)
    if not wheel.entries:
        raise UsageError(f"{wheel.name} is no plugin: it has no entry points in a group zoo.v1.HOOK.")
    run_pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(place / "site"), str(wheel.path))
    return wheel.name, [str(place / "site")]


def _run(dist: str, path: Sequence[str], timeout: float) -> Iterator[Row]:
    """The results of the kit; if it ends early, the last is that of the check that was running."""
    running: list[str] | None = None
    with tempfile.TemporaryFile("w+") as said:
        for line in _lines(_command(dist), path, timeout, said):
            if "running" in line:
                running = line["running"]
            elif "finished" in line:
                return
            else:
                running = None
                yield line
        said.seek(0)
        yield _ended_early(dist, running, said.read(), timeout)


def _command(dist: str) -> list[str]:
    return [sys.executable, "-P", "-m", "zoo.testing", dist, "--stream"]


def _ended_early(dist: str, running: list[str] | None, said: str, timeout: float) -> Row:
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    if running is None:
        raise BrokenPlugin(f"checking {dist} ended early, before or after a check, or after {timeout:g} s: {last}")
    hook, name, what = running
    detail = f"the process did not live, or not end within {timeout:g} s; what follows was not checked. {last}"
    return {"hook": hook, "name": name, "check": what, "status": "failed", "detail": detail, "seconds": timeout}


def _lines(command: Sequence[str], path: Sequence[str], timeout: float, said: IO[str]) -> Iterator[Row]:
    """What a process prints, as it comes, until it ends or its time is up; then it is killed."""
    existing = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*path, existing]))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment)
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    end = time.monotonic() + timeout
    try:
        with contextlib.suppress(queue.Empty):
            while line := lines.get(timeout=max(end - time.monotonic(), 0.0)):
                yield json.loads(line)
    finally:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout as printed:
        for line in printed:
            lines.put(line)
    lines.put(None)
