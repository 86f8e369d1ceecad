"""pip, run so that a distribution whose metadata nobody can read does not end it: `python -m zoo.install.installer`."""

from __future__ import annotations

import runpy

from zoo.shield import shield

if __name__ == "__main__":
    shield()
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
