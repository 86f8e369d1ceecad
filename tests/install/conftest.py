"""Real wheels, served from a folder, and an environment of its own that the real commands change."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OWN = ("gan_zoo", "zoo_", "__editable__", "_editable", "_gan_zoo", "_zoo_", "zoo")
FIRST_PARTY = ("networks", "wgan", "wgan_gp", "datasets")

DISTANCE = """
import torch
from zoo import Distance, hookimpl

class Mine(Distance):
    \"\"\"E f(y) - E f(x), of {name}.\"\"\"

    def critic_loss(self, batch):
        return batch.fake_scores.mean() - batch.real_scores.mean()

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()

@hookimpl
def distance():
    return {{"{name}": Mine}}
"""


def make_wheel(folder, name, version="1.0", *, entry_points=None, code="", requires=(), files=None, summary="A test."):
    """Writes a wheel as a build backend does, with any contents; the path."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    if entry_points is None:
        entry_points = f"[zoo.v1.distance]\n{name.removeprefix('zoo-')} = {module}\n"
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    contents = {
        f"{module}.py": code or DISTANCE.format(name=name.removeprefix("zoo-")),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n"
        f"Project-URL: Repository, https://example.org/{name}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
        **(files or {}),
    }
    record = io.StringIO()
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        csv.writer(record).writerow([path, f"sha256={digest}", len(text.encode())])
    record.write(f"{info}/RECORD,,\n")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record.getvalue()}.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return wheel


@pytest.fixture
def wheel():
    """`wheel(folder, name, ...)`: see `make_wheel`."""
    return make_wheel


@dataclass
class Environment:
    """A virtual environment, and a folder that wheels are served from."""

    python: Path
    folder: Path
    extra: dict = field(default_factory=dict)

    @property
    def index(self):
        return self.folder / "index"

    @property
    def catalogue(self):
        return self.folder / "catalogue.toml"

    def list_in_catalogue(self, *tables):
        self.catalogue.write_text('schema = 1\nname = "test"\n\n' + "\n".join(sorted(tables)))

    def run(self, *arguments, code=0, **extra):
        """Runs a module's command in the environment: `run("zoo", "list")`."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "ZOO_", "PYTHON"))},
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZOO_CATALOGUES": str(self.catalogue) if self.catalogue.exists() else "",
            **self.extra,
            **extra,
        }
        command = [str(self.python), "-m", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        said = f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done

    def freeze(self):
        """What is installed, as pip sees it."""
        return self.run("pip", "freeze", "--all").stdout

    def files(self):
        """Every file of the environment but the zoo's own notes, with its size and the time of its last change."""
        found = (
            path for path in (self.folder / "venv").rglob("*") if not path.is_dir() and "gan-zoo" not in path.parts
        )
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


SITE = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


@pytest.fixture(scope="session")
def zoo_wheels(tmp_path_factory):
    """The core and some first-party plugins, built from their sources."""
    folder = tmp_path_factory.mktemp("zoo-wheels")
    sources = [ROOT, *(ROOT / "plugins" / plugin for plugin in FIRST_PARTY)]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, *sources], check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Links to everything that is installed here, but for the zoo: a site folder without its 5 GB."""
    folder = tmp_path_factory.mktemp("libraries")
    for place in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
        for file in Path(place).iterdir():
            if not file.name.startswith(OWN) and file.suffix != ".pth":
                (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture
def environment(tmp_path, libraries, zoo_wheels):
    """A fresh environment with torch, pip and the zoo, whose plugins are installed from wheels."""
    return make_environment(tmp_path, libraries, zoo_wheels)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, libraries, zoo_wheels):
    """One environment for tests that leave it as it was."""
    return make_environment(tmp_path_factory.mktemp("shared"), libraries, zoo_wheels)


def make_environment(folder, libraries, zoo_wheels):
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    made = Environment(folder / "venv" / "bin" / "python", folder)
    site = Path(subprocess.check_output([made.python, "-c", SITE], text=True).strip())
    (site / "libraries.pth").write_text(f"{libraries}\n")
    made.index.mkdir()
    wheels = sorted(map(str, zoo_wheels.glob("*.whl")))
    made.run("pip", "install", "--quiet", "--no-deps", *wheels)
    return made


@pytest.fixture(scope="module")
def before(shared):
    """The environment's files; and after all these tests pip sees in it what it saw before."""
    frozen = shared.freeze()
    yield shared.files()
    assert shared.freeze() == frozen


@pytest.fixture
def refuse(shared, before):
    """Installs something, and sees it refused with nothing changed; what was said."""

    def run(target, *options, code=1):
        said = shared.run("zoo", "install", target, "--yes", *options, code=code).stderr
        assert shared.files() == before
        return said

    return run
