"""Loads one plugin in a process of its own and prints what came of it: `python -m zoo.install.probe DIST`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from zoo.errors import ZooError
from zoo.index import Entry
from zoo.plugins import Plugins

MARK = "zoo probe: "
"""Begins the line with the result; a plugin may print others."""


def probe(dist: str) -> dict[str, Any]:
    """What is wrong with a plugin when it is loaded, and how long importing it took beyond torch and the zoo."""
    plugins = Plugins()
    import zoo.components  # noqa: F401  (torch is part of nobody's import time)

    entries = [entry for entry in plugins.index.entries if entry.dist == dist]
    start = time.perf_counter()
    problems = sorted({problem for entry in entries for problem in _problems(plugins, entry, entries)})
    return {"problems": problems, "seconds": time.perf_counter() - start}


def _problems(plugins: Plugins, entry: Entry, entries: list[Entry]) -> list[str]:
    try:
        offered = plugins.offered(entry)
        plugins.load(entry)
    except ZooError as error:
        return [str(error)]
    declared = {(e.hook, e.name) for e in entries if e.module == entry.module}
    extra = {(hook, name) for hook, names in offered.items() for name in names} - declared
    return [f"{entry.module} offers the {hook} '{name}', which its metadata does not declare" for hook, name in extra]


if __name__ == "__main__":
    print(MARK + json.dumps(probe(sys.argv[1])))
