"""A Ghostscript that tells whether it was started."""

import os

import pytest
from PIL import EpsImagePlugin


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program of that name on the path; the function tells whether it was started."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/mark'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return (tmp_path / "mark").exists


@pytest.fixture
def postscript():
    """A picture that Pillow asks Ghostscript about."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n%%EOF\n"
