"""Runs and recipes of other people: nothing in them runs, imports what is no plugin, or writes where it should not."""

import hashlib
import io
import os
import pickle
import shutil
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
import tomli_w
import torch

import zoo
from zoo.api import run_name, run_path
from zoo.archives import refuse_hollow
from zoo.checkpoints import hash_of
from zoo.environment import keep_disabled
from zoo.errors import BadCheckpoint, BadRecipe, DisabledPlugin, SaveFailed, UnknownName, UsageError
from zoo.folder import Folder
from zoo.plugins import installed
from zoo.procedures import Layer
from zoo.recipe import Choice, Recipe
from zoo.training import UNUSABLE, Training, load_optimizer

sys.path.insert(0, str(Path(__file__).parent))
from short_runs import quick


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return quick(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(finished, tmp_path):
    """The same run, as somebody sends it who has changed it."""
    shutil.copytree(finished.folder.path, tmp_path / "run")
    return Folder(tmp_path / "run")


@pytest.fixture
def bait(tmp_path, monkeypatch):
    """A module that can be imported, and leaves a mark if it is; the function tells whether it was."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "bait.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\nclass Thing: pass\n"
        "def dataset(): return {'thing': Thing}\ngenerator = critic = distance = procedure = dataset\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield lambda: (tmp_path / "mark").exists() or "bait" in sys.modules
    sys.modules.pop("bait", None)


class Runs:
    """What runs when it is unpickled: makes a folder."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class Evaluates(Runs):
    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.mark!r})",)


class Imports(Runs):
    """What imports a module when it is unpickled."""

    def __reduce__(self):
        import importlib

        return importlib.import_module, ("bait",)


def zipped(content):
    """As torch.save writes it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def old_form(content):
    """As torch.save wrote it before there were zip files."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def in_a_tar(content):
    """As torch.save wrote it before that."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            packed = pickle.dumps(content)
            entry = tarfile.TarInfo(name)
            entry.size = len(packed)
            tar.addfile(entry, io.BytesIO(packed))
    return file.getvalue()


def named_only(content):
    """A pickle that names a class without making one."""
    return b"\x80\x02cbait\nThing\n."


def place(run, content):
    """Puts bytes in the place of the newest checkpoint, with the hash that they have."""
    path = run.checkpoints / "step-00000012.pt"
    path.write_bytes(content)
    hash_of(path).write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")


@pytest.mark.parametrize("form", [zipped, old_form, in_a_tar, pickle.dumps, named_only])
@pytest.mark.parametrize("evil", [Runs, Evaluates, Imports])
def test_a_checkpoint_that_runs_code_is_refused(run, tmp_path, bait, form, evil):
    state = torch.load(run.checkpoints / "step-00000012.pt", weights_only=True)
    place(run, form({**state, "networks": evil(tmp_path / "made")}))
    for use in (run.load, lambda: zoo.load(run.path, device="cpu"), lambda: zoo.resume(run.path, steps=16)):
        with pytest.raises(BadCheckpoint, match=r"step-00000012.pt is truncated or no checkpoint"):
            use()
    assert not (tmp_path / "made").exists()
    assert not bait()


def shared(like):
    """Its numbers, with a step between them that is no step through memory of their own."""
    return torch.zeros(like.numel()).as_strided(like.shape, (1,) * like.ndim)


UNFIT = {
    "one value": ("exp_avg", lambda like: torch.zeros(1), "exp_avg is torch.float32"),
    "one value for the scalar step": ("step", lambda like: torch.zeros(1), "step is torch.float32"),
    "whole numbers": ("exp_avg_sq", lambda like: torch.zeros_like(like, dtype=torch.long), "exp_avg_sq is torch.int64"),
    "no tensor": ("step", lambda like: 3, "step is int"),
    "another key": ("max_exp_avg_sq", lambda like: torch.zeros(1), "an optimiser keeps"),
    "one value said to be many": ("exp_avg", lambda like: torch.zeros(1).expand(10**9), "more values than are stored"),
    "no values at all": ("exp_avg", lambda like: like.to("meta"), "more values than are stored"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_state_that_an_optimiser_would_not_have_is_refused(run, name):
    """Fused steps compute in what memory comes after it."""
    key, make, words = UNFIT[name]
    state = torch.load(run.checkpoints / "step-00000012.pt", weights_only=True)
    kept = state["optimizers"]["critic"]["state"][0]
    kept[key] = make(kept["exp_avg"])
    place(run, zipped(state))
    with pytest.raises(BadCheckpoint, match=words):
        zoo.resume(run.path, steps=16, device="cpu")


def test_a_state_lies_in_memory_as_an_optimiser_lays_it_out():
    parameter = torch.nn.Parameter(torch.ones(3, 3))
    adam = torch.optim.Adam([parameter], fused=True)
    parameter.grad = torch.ones(3, 3)
    adam.step()
    state = adam.state_dict()
    given = shared(parameter)
    state["state"][0]["exp_avg"] = given
    load_optimizer(adam, state)
    loaded = adam.state[parameter]["exp_avg"]
    assert loaded.is_contiguous()
    assert loaded.untyped_storage().data_ptr() != given.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", [name for name in vars(torch.optim) if name[0].isupper()])
def test_every_optimiser_goes_on_bit_for_bit_where_it_was_saved(name):
    if name in UNUSABLE:
        return
    weights = torch.linspace(-1, 1, 12).reshape(3, 4)
    shapes = [weights] if name == "Muon" else [weights, weights[0], weights[0, 0]]
    one, other = ([torch.nn.Parameter(w.clone()) for w in shapes] for _ in range(2))
    first = Training.of({"optimizer": {"name": name}}).build("critic", [Layer("all", one, 1.0)])
    for _ in range(3):
        stepped(first, one)
    for mine, its in zip(other, one, strict=True):
        mine.data.copy_(its.data)
    second = Training.of({"optimizer": {"name": name}}).build("critic", [Layer("all", other, 1.0)])
    load_optimizer(second, first.state_dict())
    for _ in range(2):
        stepped(first, one)
        stepped(second, other)
    assert all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def stepped(optimizer, parameters):
    for parameter in parameters:
        parameter.grad = parameter.detach().sin()
    optimizer.step()


def test_containers_that_hold_themselves_and_each_other_are_looked_into_once():
    many = [torch.zeros(1)]
    for _ in range(60):
        many = [many, many]
    many.append(many)
    refuse_hollow(many)


def test_the_traps_of_these_tests_do_spring(tmp_path, bait):
    for evil in (Runs, Evaluates):
        torch.load(io.BytesIO(zipped(evil(tmp_path / evil.__name__))), weights_only=False)
        assert (tmp_path / evil.__name__).is_dir()
    pickle.loads(pickle.dumps(Imports("")))
    assert bait()


@pytest.mark.parametrize("axis", ["generator", "critic", "distance", "dataset", "procedure", "lipschitz_constraint"])
@pytest.mark.parametrize("name", ["bait", "bait.Thing", "bait:Thing", "bait/thing", "../site/bait.py", "thing"])
def test_names_in_a_recipe_import_nothing_that_is_no_plugin(run, bait, axis, name):
    table = run.recipe().table()
    table[axis] = [name] if axis == "lipschitz_constraint" else name
    table["versions"]["bait"] = "1.0"
    (run.path / "recipe.toml").write_text(tomli_w.dumps(table))
    uses = [lambda: zoo.resume(run.path, steps=16, device="cpu")]
    if axis != "dataset":  # Samples are drawn without data.
        uses.append(lambda: zoo.load(run.path, device="cpu"))
    for use in uses:
        with pytest.raises(UnknownName, match=r"no .* is called"):
            use()
    assert not bait()


@pytest.mark.parametrize("name", ["bait.Thing", "os.system", "Optimizer", "lr_scheduler", "__builtins__"])
def test_an_optimiser_is_one_of_torchs(run, bait, name):
    recipe = run.recipe().table()
    recipe["train"]["optimizer"] = {"name": name}
    (run.path / "recipe.toml").write_text(tomli_w.dumps(recipe))
    with pytest.raises(UnknownName, match=f"no optimiser .* is called '{name}'"):
        zoo.resume(run.path, steps=16, device="cpu")
    assert not bait()


def test_a_plugin_that_is_disabled_is_not_imported_for_a_run(run, request):
    request.addfinalizer(installed.cache_clear)
    keep_disabled({"zoo-wgan-gp"})
    installed.cache_clear()
    with pytest.raises(DisabledPlugin, match="zoo-wgan-gp"):
        zoo.load(run.path, device="cpu")
    with pytest.raises(DisabledPlugin, match="zoo-wgan-gp"):
        zoo.resume(run.path, steps=16, device="cpu")


HOSTILE = ["../../evil", "/etc/evil", "..", ".", "a/../../b", "~/x", "a\\b", "x\0y", "a b;rm -rf c", "./evil.toml"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("axis", ["variant", "distance", "dataset"])
def test_the_folder_of_a_run_lies_in_the_folder_of_runs_whatever_a_recipe_calls_itself(tmp_path, axis, name):
    axes = {"distance": Choice("wasserstein"), "dataset": Choice("ring")}
    recipe = Recipe(variant="wgan", axes=axes, train={"seed": 0})
    if axis == "variant":
        recipe = Recipe(variant=name, axes=axes, train={"seed": 0})
    else:
        recipe = Recipe(axes={**axes, axis: Choice(name)}, train={"seed": 0})
    path = run_path(tmp_path / "runs", "", recipe)
    path.mkdir(parents=True)
    assert path.resolve().parent == (tmp_path / "runs").resolve()
    assert run_name(recipe).endswith("seed0")


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".", "/evil/name"])
def test_the_name_of_a_run_is_of_one_folder(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be a run's name"):
        quick(tmp_path / "runs", name=name)
    assert not (tmp_path / "evil").exists()


def test_no_recipe_lets_a_data_set_write_files(zoo_command, tmp_path):
    where = tmp_path / "elsewhere"
    dataset = f'dataset = {{ name = "torchvision", which = "MNIST", root = "{where}", download = true }}\n'
    (tmp_path / "evil.toml").write_text(f'variant = "wgan"\n{dataset}')
    error = zoo_command("train", tmp_path / "evil.toml", code=2).stderr
    assert "evil.toml: dataset.download is yours to allow; remove it there, and say --download." in error
    with pytest.raises(BadRecipe, match="yours to allow"):
        zoo.train(tmp_path / "evil.toml", out=tmp_path, device="cpu")
    assert not where.exists()


def test_no_run_lets_a_data_set_write_files_unless_the_user_says_so(run, tmp_path, monkeypatch):
    asked = []

    class Fake:
        def __init__(self, root, download, train):
            asked.append(download)
            self.data, self.targets = torch.zeros(20, 28, 28, dtype=torch.uint8), [0] * 20

    monkeypatch.setattr("torchvision.datasets.MNIST", Fake)
    dataset = {"name": "torchvision", "which": "MNIST", "root": str(tmp_path / "elsewhere"), "side": 8}
    path = quick(tmp_path, "mnist", dataset={**dataset, "download": True}, steps=2).folder.path
    assert "download = false" in (path / "recipe.toml").read_text()
    recipe = (path / "recipe.toml").read_text().replace("download = false", "download = true")
    (path / "recipe.toml").write_text(recipe)
    zoo.resume(path, steps=4, device="cpu")
    (path / "recipe.toml").write_text(recipe)
    zoo.resume(path, steps=6, device="cpu", download=True)
    assert asked == [True, False, True]


def small_file_of_many_pixels(path, side):
    """A grey PNG of which only the head says how large it is."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [13378, 20000])
def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path, side):
    (tmp_path / "photos").mkdir()
    small_file_of_many_pixels(tmp_path / "photos" / "bomb.png", side)
    # Pillow has the same limit: at first it only warns, and warnings are errors here.
    with pytest.raises(zoo.BadData, match=r"bomb.png \(.*178956970 pixels, could be decompression bomb"):
        quick(tmp_path, dataset=f"image-folder:{tmp_path / 'photos'}")


def test_a_lock_that_is_a_link_is_not_followed(run, tmp_path):
    """It would be emptied. filelock 3.20.1 is the first that does not follow it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run.path / "training.lock").unlink(missing_ok=True)
    (run.path / "training.lock").symlink_to(victim)
    assert run.state()["state"] == "finished"
    with pytest.raises(SaveFailed, match=r"training\.lock could not be written"):
        zoo.resume(run.path, steps=16, device="cpu")
    assert victim.read_text() == "precious"
