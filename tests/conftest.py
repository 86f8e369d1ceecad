"""Fixtures: distributions on disk with metadata of their own, and small parts that are no plugins."""

import contextlib
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from zoo import Critic, Density, Generator
from zoo.cli import main
from zoo.index import Index
from zoo.plugins import Plugins, installed

# The same examples whenever tests are run; `make soak` takes many more, and others each time.
PATIENT = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", derandomize=True, max_examples=60, **PATIENT)
settings.register_profile("soak", max_examples=1000, print_blob=True, **PATIENT)
settings.load_profile("quick")


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    """No test disables a plugin of this environment."""
    monkeypatch.setenv("ZOO_STATE", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def or_refused():
    """`with or_refused(kinds, words):` lets what is done end in an error of these kinds, which says these words."""

    @contextlib.contextmanager
    def guard(kinds, words=""):
        try:
            yield
        except kinds as error:
            message = str(error)
        else:
            return
        assert message
        assert words in message

    return guard


@pytest.fixture
def install(tmp_path, monkeypatch):
    """`install(dist, entry_points, code)` puts a distribution on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def put(dist, entry_points, code="", version="1.0"):
        metadata = site / f"{dist.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {dist}\nVersion: {version}\n")
        content = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (metadata / "entry_points.txt").write_bytes(content)
        (site / f"{dist.replace('-', '_')}.py").write_text(code)

    put.site = site
    yield put
    # The next test may install another plugin of the same name.
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def plugins_of(install):
    """The plugins that `install` has put on the path, and no others."""
    return lambda: Plugins(Index.scan([str(install.site)]))


@dataclass
class Output:
    stdout: str
    stderr: str


@pytest.fixture
def zoo_command(tmp_path, monkeypatch, capsys):
    """Runs the command line in this process, in an empty folder; an error that is not the user's passes through."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        installed.cache_clear()
        try:
            main()
            returned = 0
        except SystemExit as stop:
            returned = stop.code or 0
        output = Output(*capsys.readouterr())
        assert returned == code, output
        return output

    return run


@pytest.fixture
def zoo_process(tmp_path):
    """Runs the real command in a process of its own, in an empty folder."""

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "zoo", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def _forked():
    """The path of a Python that begins with torch imported; see tests/forked.py."""
    source = Path(__file__).with_name("forked.py")
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, socket.socket(socket.AF_UNIX) as listening:
        # Not in pytest's own folder, since a socket's path has to be short.
        address, python = str(Path(folder, "socket")), Path(folder, "python")
        listening.bind(address)
        listening.listen(64)
        python.write_text(runpy.run_path(str(source))["CLIENT"].format(python=sys.executable, address=address))
        python.chmod(0o755)
        command = [sys.executable, "-P", source, str(listening.fileno())]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL, env=environment)
        try:
            subprocess.run([python, "-c", ""], check=True, timeout=300)
            yield python
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def forked_python(_forked, monkeypatch):
    """Has `sys.executable` begin with torch imported, here and in the processes that are started with it."""
    monkeypatch.setattr(sys, "executable", str(_forked))
    return _forked


class Line(Density):
    """N(mean, 1) on the line."""

    def __init__(self, mean=0.0):
        self.shape = (1,)
        self.mean = mean

    def sample(self, n, draws):
        return draws.randn(n, 1) + self.mean


class Shift(Generator):
    """z + theta."""

    def __init__(self, theta=0.0):
        super().__init__()
        self.latent_dim = 1
        self.theta = nn.Parameter(torch.tensor([theta]))

    def forward(self, z, condition=None):
        return z + self.theta


class Slope(Critic):
    """psi * x + offset."""

    def __init__(self, psi=0.5):
        super().__init__()
        self.psi = nn.Parameter(torch.tensor([psi]))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, samples, condition=None):
        return (samples * self.psi).flatten(1).sum(1) + self.offset


@pytest.fixture
def small():
    """A density, a generator and a critic with a parameter or two."""
    return {"dataset": Line(2.0), "generator": Shift(), "critic": Slope()}
