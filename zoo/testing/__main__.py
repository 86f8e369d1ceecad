"""`python -m zoo.testing DIST`: runs the conformance kit on an installed distribution, in this process."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TextIO

import click

from zoo.cli.check import report
from zoo.cli.tables import as_json
from zoo.errors import UnknownName, ZooError
from zoo.testing import CHECKS, Case, cases


@click.command()
@click.argument("dist")
@click.option("--check", "names", multiple=True, metavar="NAME", help="Only this check; may be repeated.")
@click.option("--verbose", is_flag=True, help="Also what passed.")
@click.option("--stream", is_flag=True, hidden=True, help="A line of JSON before and after each check.")
@as_json
def main(dist: str, names: tuple[str, ...], verbose: bool, stream: bool, json_: bool) -> None:
    """Checks every component of the installed distribution DIST."""
    if stream:
        _stream(dist, names)
        return
    sys.exit(report(dist, [asdict(case.result()) for case in _chosen(dist, names)], json_, verbose))


def _chosen(dist: str, names: tuple[str, ...]) -> list[Case]:
    known = {each.name for each in CHECKS}
    for name in names:
        if name not in known:
            raise UnknownName("check", name, known)
    return [case for case in cases(dist) if not names or case.what.name in names]


def _stream(dist: str, names: tuple[str, ...]) -> None:
    """What a plugin prints goes to standard error, so that it is not taken for a result."""
    with _own_output() as out:
        for case in _chosen(dist, names):
            print(json.dumps({"running": [case.subject.hook, case.subject.name, case.what.name]}), file=out, flush=True)
            print(json.dumps(asdict(case.result())), file=out, flush=True)
        print(json.dumps({"finished": True}), file=out, flush=True)


def _own_output() -> TextIO:
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return kept


if __name__ == "__main__":
    try:
        main(prog_name="python -m zoo.testing", standalone_mode=True)
    except ZooError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
