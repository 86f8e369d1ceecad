"""Damaged files: each reader reads what can be read, and refuses the rest with an error of its own.

The same with many more examples: `make soak`.
"""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import zoo
from zoo.catalogue import default_path, read_catalogue
from zoo.checkpoints import read_checkpoint
from zoo.errors import BadCatalogue, BadCheckpoint, BadData, BadRun, UsageError
from zoo.folder import Folder, summary
from zoo.index import Index
from zoo.plugins import installed
from zoo.recipe import Choice
from zoo.resolve import Components
from zoo.sources import samples_of
from zoo.testing.training import flattened

MANY = settings.default.max_examples
EDGES = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"[", b'"', b"\n"]
"""What often breaks readers: sizes that are none, and what opens or ends something."""


@st.composite
def damaged(draw, whole):
    """The bytes of a file with a bit turned round, bytes replaced or taken out, a part twice, or the end gone."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(raw))), draw(st.integers(0, 200))
        match draw(st.sampled_from(["turn", "replace", "put", "take out", "twice", "end"])):
            case "turn" if at < len(raw):
                raw[at] ^= 1 << draw(st.integers(0, 7))
            case "replace":
                new = draw(st.one_of(st.binary(max_size=4), st.sampled_from(EDGES)))
                raw[at : at + len(new)] = new
            case "put":
                raw[at:at] = draw(st.one_of(st.binary(max_size=4), st.sampled_from(EDGES)))
            case "take out":
                del raw[at : at + size]
            case "twice":
                raw[at:at] = raw[at : at + size]
            case "end":
                del raw[at:]
    return bytes(raw)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    narrow = {"generator.width": 3, "critic.width": 3, "generator.latent_dim": 2}
    options = {"steps": 3, "log_every": 1, "batch_size": 4, "device": "cpu"}
    return zoo.train(
        "wgan-gp", dataset="gaussian-1d", settings=narrow, out=tmp_path_factory.mktemp("runs"), name="run", **options
    ).folder


def put(path, raw):
    """Writes a file, and its hash as it is kept beside checkpoints, so that not the hash alone tells of damage."""
    path.write_bytes(raw)
    path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(raw).hexdigest()}  {path.name}\n")
    return path


def test_a_damaged_checkpoint_is_refused_or_whole(run, tmp_path, or_refused):
    whole = run.checkpoints / "step-00000003.pt"
    expected = flattened(read_checkpoint(whole))
    read = []

    @given(damaged(whole.read_bytes()))
    @settings(max_examples=5 * MANY)
    def attempt(raw):
        with or_refused(BadCheckpoint, whole.name):
            state = flattened(read_checkpoint(put(tmp_path / whole.name, raw)))
            read.append(raw)
            assert state.keys() == expected.keys()
            for name, value in state.items():
                other = expected[name]
                assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other

    attempt()
    assert 0 < len(read) < 2 * MANY


def test_a_small_checkpoint_that_unpacks_to_a_large_one_is_refused(run, tmp_path):
    packed = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(run.checkpoints / "step-00000003.pt") as whole,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for part in whole.infolist():
            archive.writestr(part.filename, whole.read(part))
        archive.writestr("archive/data/99", bytes(10**7))
    with pytest.raises(BadCheckpoint, match="declares more bytes than it has"):
        read_checkpoint(put(packed, packed.read_bytes()))


def test_a_checkpoint_of_the_old_kind_whose_sizes_are_only_declared_is_refused(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"weights": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    small, huge = b"M\xe8\x03", b"\x8a\x05" + (2**33).to_bytes(5, "little")
    with pytest.raises(BadCheckpoint, match="not a zip file"):
        read_checkpoint(put(path, path.read_bytes().replace(small, huge, 1)))


def test_entry_points_do_not_write_on_the_terminal(install):
    install("zoo-bad", "[zoo.v1.cri\x1b[2Jtic]\nsmall = mine\n")
    (problem,) = Index.scan([str(install.site)]).problems
    assert str(problem).isprintable()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (5, 3" + b" " * 83 + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(127)
        + b"\n",
    ],
    ids=["a header that never ends", "a size that is only declared"],
)
def test_arrays_whose_header_is_damaged_are_refused(raw, tmp_path):
    (tmp_path / "x.npy").write_bytes(raw)
    with pytest.raises(BadData, match=r"x\.npy"):
        Components(installed()).dataset(Choice("array", {"path": str(tmp_path / "x.npy")}))
    with pytest.raises(BadData, match=r"x\.npy"):
        samples_of(str(tmp_path / "x.npy"), 3, device="cpu")


ARRAYS = {
    "samples.npy": lambda file: np.save(file, np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)),
    "samples.npz": lambda file: np.savez(file, x=np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)),
    "packed.npz": lambda file: np.savez_compressed(file, x=np.arange(15, dtype=np.uint8).reshape(5, 3)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_is_refused_or_samples(name, tmp_path, or_refused):
    whole = io.BytesIO()
    ARRAYS[name](whole)

    @given(damaged(whole.getvalue()))
    @settings(max_examples=3 * MANY)
    def attempt(raw):
        (tmp_path / name).write_bytes(raw)
        for read in (
            lambda: samples_of(str(tmp_path / name), 3, device="cpu").values,
            lambda: Components(installed()).dataset(Choice("array", {"path": str(tmp_path / name)}))[1].samples,
        ):
            with or_refused(UsageError, name):
                assert read().numel()

    attempt()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff", "webp"])
def test_a_damaged_image_is_refused_or_read(kind, tmp_path, or_refused):
    whole = io.BytesIO()
    Image.fromarray(np.arange(9 * 9 * 3, dtype=np.uint8).reshape(9, 9, 3)).save(whole, kind)
    dataset = Choice("image-folder", {"path": str(tmp_path), "side": 8, "channels": 3})

    @given(damaged(whole.getvalue()))
    @settings(max_examples=MANY // 2)
    def attempt(raw):
        (tmp_path / f"image.{kind}").write_bytes(raw)
        with or_refused(BadData, str(tmp_path)):
            assert Components(installed()).dataset(dataset)[1].samples.shape == (1, 3, 8, 8)

    attempt()


def test_a_damaged_catalogue_is_refused_or_read(tmp_path, or_refused):
    place = str(tmp_path / "registry.toml")

    @given(damaged(default_path().read_bytes()))
    @settings(max_examples=2 * MANY)
    def attempt(raw):
        (tmp_path / "registry.toml").write_bytes(raw)
        read_catalogue.cache_clear()
        with or_refused(BadCatalogue, "registry.toml"):
            assert read_catalogue(place).entries[0].matches("")

    attempt()
    read_catalogue.cache_clear()


ENTRY_POINTS = b"""[console_scripts]
mine = mine:main

[zoo.v1.critic]
small = mine.critics
large = mine.critics

[zoo.v2.critic]
new = mine
"""


def test_damaged_entry_points_are_told_or_read(install):
    """Those of other distributions are found whatever the damage is."""
    install("zoo-good", "[zoo.v1.critic]\ngood = zoo_good\n")
    install("zoo-bad", ENTRY_POINTS)
    file = install.site / "zoo_bad-1.0.dist-info" / "entry_points.txt"

    @given(damaged(ENTRY_POINTS))
    @settings(max_examples=2 * MANY)
    def attempt(raw):
        file.write_bytes(raw)
        index = Index.scan([str(install.site)])
        assert index.find("critic", "zoo-good/good").dist == "zoo-good"
        assert all(problem.dist == "zoo-bad" and str(problem).isprintable() for problem in index.problems)

    attempt()


LINES = [b"[]\n", b"null\n", b"3\n", b'{"step": "x"}\n', b'{"step": 1e999}\n', b"[" * 5000, b"9" * 5000, b"\xff\xfe"]
NOTES = [*LINES, b'{"state": "running", "step": 1, "pid": -1, "host": 3}', b'{"state": 3, "step": []}', b"{}"]


def test_damaged_metrics_are_read_as_far_as_they_can_be(run, tmp_path, or_refused):
    folder = Folder(tmp_path)

    @given(st.one_of(damaged(run.metrics.read_bytes()), st.lists(st.sampled_from(LINES), max_size=3).map(b"".join)))
    @settings(max_examples=3 * MANY)
    def attempt(raw):
        folder.metrics.write_bytes(raw)
        with or_refused(BadRun, "metrics.jsonl"):
            assert all(isinstance(row["step"], int) for row in folder.rows())
            folder.forget_after(2)
            assert all(row["step"] <= 2 for row in folder.rows())

    attempt()


def test_a_damaged_note_of_the_state_is_unknown_or_read(run, tmp_path):
    (tmp_path / "recipe.toml").write_bytes((run.path / "recipe.toml").read_bytes())

    @given(st.one_of(damaged((run.path / "state.json").read_bytes()), st.sampled_from(NOTES)))
    @settings(max_examples=3 * MANY)
    def attempt(raw):
        (tmp_path / "state.json").write_bytes(raw)
        note = Folder(tmp_path).state()
        assert isinstance(note["step"], int)
        assert summary(Folder(tmp_path))["state"] == note["state"]
        json.dumps(note)

    attempt()


def test_a_damaged_recipe_of_a_run_is_refused_or_read(run, tmp_path, or_refused):
    @given(damaged((run.path / "recipe.toml").read_bytes()))
    @settings(max_examples=3 * MANY)
    def attempt(raw):
        (tmp_path / "recipe.toml").write_bytes(raw)
        assert summary(Folder(tmp_path))["run"] == str(tmp_path)
        with or_refused(UsageError):
            Folder.open(tmp_path).recipe()

    attempt()
