"""Recipes at random: whatever validates is trained or refused, and whatever is no recipe is said to be none, and where.

The same with many more examples: `make soak`.
"""

import copy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.api import compose_table
from zoo.errors import BadData, BadRecipe, Diverged, OutOfMemory, UsageError
from zoo.layering import assign, parse_assignment
from zoo.mistakes import built
from zoo.plugins import installed
from zoo.recipe import KEYS, normalized, read_table
from zoo.resolve import Components
from zoo.toml import loads
from zoo.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))

from recipes import ODD, choices, recipes

MANY = settings.default.max_examples
SMALL = ("ring", "gaussian-1d", "mixture-1d", "grid", "swiss-roll")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small files of samples: images, vectors, and images with labels."""
    folder, draws = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    np.save(folder / "images.npy", draws.random((20, 8, 8)).astype(np.float32))
    np.save(folder / "vectors.npy", draws.normal(size=(20, 5)).astype(np.float32))
    labelled = draws.integers(0, 256, (20, 3, 16, 16)).astype(np.uint8)
    np.savez(folder / "labelled.npz", x=labelled, y=np.arange(20) % 3)
    return folder


def datasets(folder):
    files = [
        {"path": str(folder / "images.npy")},
        {"path": str(folder / "vectors.npy")},
        {"path": str(folder / "labelled.npz"), "key": "x", "labels_key": "y"},
    ]
    arrays = st.sampled_from(files).map(lambda table: {"name": "array", **table})
    return st.one_of(choices("dataset", SMALL), arrays, st.just({"name": "digits"}))


def test_any_recipe_is_trained_or_refused(folder, or_refused):
    """A recipe that cannot be trained is refused before it is, but for losses that are not finite."""
    ends = Counter()

    @given(recipes(datasets(folder)))
    @settings(max_examples=MANY)
    def attempt(table):
        (folder / "recipe.toml").write_text(tomli_w.dumps(table))
        ends["begun"] += 1
        with or_refused((UsageError, OutOfMemory)):
            trainer = Trainer(compose_table(read_table(folder / "recipe.toml"), device="cpu"))
            ends["built"] += 1
            with or_refused((Diverged, OutOfMemory)), built("the batch"):
                for _ in range(2):
                    trainer.iterate(estimate=True)
                trainer.flush()
                ends["trained"] += 1

    attempt()
    assert ends["trained"] > 0.2 * ends["begun"], ends


RING = 'variant = "vanilla"\ndataset = "ring"\n'
DIGITS = "F" * 5000
FOUND = {
    "deep": ("critic = " + "[" * 3000, BadRecipe, "nested too deeply"),
    "deep keys": ("[" + ".".join("a" * 3000) + "]", BadRecipe, "nested too deeply"),
    "many digits": ("critic = " + "9" * 5000, BadRecipe, "not TOML"),
    "many hexadecimal digits": (f"critic = 0x{DIGITS}", BadRecipe, "critic is too large a number"),
    "a float of many digits": (RING + f"[train]\naverage = 0x{DIGITS}", BadRecipe, "train.average is too large"),
    "a rate of many digits": (RING + f"[train.optimizer]\nlr = 0x{DIGITS}", BadRecipe, "optimizer.lr is too large"),
    "a seed of many digits": (RING + f"[train]\nseed = 0x{DIGITS}", BadRecipe, "train.seed is too large"),
    "wider than any memory": (RING + f"[generator]\nwidth = {2**62}", OutOfMemory, "generator 'mlp' is too large"),
    "wider than this memory": (RING + f"[critic]\nwidth = {2**40}", OutOfMemory, "critic 'mlp' is too large"),
    "twice as wide as a number": (
        RING + f'[generator]\nwidth = {2**62}\nactivation = "maxout"',
        OutOfMemory,
        "generator 'mlp' is too large",
    ),
    "deeper than anybody wants": (RING + f"[critic]\ndepth = {2**62}", BadRecipe, "depth must be at most 1000"),
    "beyond single precision": (
        RING + "[generator]\ncomponents = 2\ncomponent_width = 1e39",
        BadRecipe,
        "generator 'mlp' cannot be made with its settings: .*overflow",
    ),
    "more modes than memory": (f'dataset = {{ name = "ring", modes = {2**62} }}', OutOfMemory, "dataset 'ring'"),
    "a user that is not there": ('dataset = "array:~nobody-at-all/x.npy"', BadData, "can be no path"),
    "a path that is too long": (f'dataset = "array:{"a" * 5000}"', BadData, "can be no path"),
    "a folder that is too long": (f'dataset = "image-folder:{"a" * 5000}"', BadData, "can be no path"),
    "digits behind a colon": (RING + f'generator = "mlp:{"9" * 5000}"', BadRecipe, "width must be a int"),
    "brackets behind a colon": (RING + f'generator = "mlp:{"[" * 3000}"', BadRecipe, "width must be a int"),
    "a line behind a colon": (RING + 'generator = "mlp:3\\nx = 2"', BadRecipe, "width must be a int"),
    "captured": (RING + '[train.optimizer]\nname = "SGD"\ncapturable = true', UsageError, "'capturable'"),
    "differentiated": (RING + '[train.optimizer]\nname = "SGD"\ndifferentiable = true', UsageError, "differentiable"),
    "a part without a name": (RING + "[parts.encoder]\nwidth = 3", BadRecipe, "parts.encoder: .* no name"),
    "a variant by kind": (RING + '[for.vector]\nvariant = "wgan"', BadRecipe, "for.vector.variant: that cannot depend"),
    "a data set by kind": (
        RING + '[for.vector]\ndataset = "grid"',
        BadRecipe,
        "for.vector.dataset: that cannot depend",
    ),
}
"""What examples like those above have found: each of these once ended in a traceback, or was passed over."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused(name, tmp_path):
    text, kind, words = FOUND[name]
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(kind, match=words):
        compose_table(read_table(tmp_path / "recipe.toml"), device="cpu")


def test_a_part_that_is_none_is_absent():
    assert Components(installed()).recipe(normalized({**WHOLE, "parts": {"encoder": "none"}}))[0].parts == {}


def test_a_batch_larger_than_memory_is_said_to_be(tmp_path):
    with pytest.raises(OutOfMemory, match="smaller --batch-size"):
        zoo.train("vanilla", dataset="ring", batch_size=2**60, steps=1, out=tmp_path, name="run", device="cpu")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000, f"0x{DIGITS}", "3\nx = 2"])
def test_an_assignment_that_is_not_toml_is_text(value):
    assert parse_assignment(f"generator.width={value}") == (["generator", "width"], value)


def test_settings_of_phases_lie_over_what_is_no_table():
    table = assign(normalized({**WHOLE, "train": {"optimizers": 3}}), ["train", "optimizers", "critic", "lr"], 0.1)
    assert table["train"]["optimizers"] == {"critic": {"lr": 0.1}}


WORDS = [
    "none",
    "mlp",
    "dcgan",
    "wasserstein",
    "r1",
    "ring",
    "wgan-gp",
    "a:b",
    "mlp:3",
    "timm:resnet18",
    "zoo-wgan/wgan",
]
NAMES = [
    *KEYS,
    "name",
    "width",
    "steps",
    "optimizer",
    "optimizers",
    "critic",
    "lr",
    "every",
    "encoder",
    "vector",
    "image",
]
LEAVES = st.one_of(ODD, st.sampled_from(WORDS), st.dates(), st.times(), st.datetimes())
KEY = st.one_of(st.sampled_from(NAMES), st.text(max_size=2))
SHALLOW = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(KEY, LEAVES, max_size=3))
VALUE = st.one_of(SHALLOW, st.lists(SHALLOW, max_size=3), st.dictionaries(KEY, SHALLOW, max_size=3))
WHOLE = {
    "variant": "wgan-gp",
    "dataset": {"name": "ring"},
    "generator": {"name": "mlp", "width": 4},
    "critic": {"name": "mlp", "width": 4},
    "distance": {"name": "wasserstein"},
    "lipschitz_constraint": [{"name": "gradient-penalty", "weight": 10.0, "every": 2}],
    "train": {
        "steps": 2,
        "batch_size": 4,
        "optimizer": {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]},
        "optimizers": {"critic": {"lr": 1e-3}},
    },
    "for": {"vector": {"train": {"average": 0.5}}},
    "parts": {},
    "versions": {"zoo": "0.1.0"},
}


def places(table, path=()):
    """The ways to everything in nested tables and lists."""
    pairs = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def changed(draw):
    """A recipe in which something is another value, is gone, or is there beside the rest."""
    table = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(list(places(table))))
        around = table
        for key in way:
            around = around[key]
        if draw(st.integers(0, 4)) == 0:
            del around[last]
        elif isinstance(around, dict) and draw(st.booleans()):
            around[draw(KEY)] = draw(VALUE)
        else:
            around[last] = draw(VALUE)
    return tomli_w.dumps(table).encode()


@st.composite
def torn(draw):
    """The bytes of a recipe, in which some are others, are gone or stand there twice."""
    raw = bytearray(tomli_w.dumps(WHOLE).encode())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        raw[start : start + draw(st.integers(0, 20))] = draw(st.one_of(st.binary(max_size=5), st.just(raw[:40])))
    return bytes(raw)


@given(
    raw=st.one_of(
        changed(), torn(), st.binary(max_size=40), st.dictionaries(KEY, VALUE).map(tomli_w.dumps).map(str.encode)
    )
)
@settings(max_examples=5 * MANY)
def test_any_bytes_are_a_recipe_or_refused_with_their_place(or_refused, monkeypatch, raw):
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: raw.decode(encoding))
    table = None
    with or_refused(UsageError, "recipe.toml"):
        table = read_table(Path("recipe.toml"))
    if table is None:
        return
    with or_refused(UsageError):
        recipe, _ = Components(installed()).recipe(table)
        written = normalized(loads(tomli_w.dumps(recipe.table())))
        assert Components(installed()).recipe(written)[0] == recipe


@given(
    more=st.text(max_size=4),
    place=st.sampled_from([".".join(map(str, way)) for way in places(WHOLE)]),
    value=VALUE,
    written=st.booleans(),
)
@settings(max_examples=3 * MANY)
def test_any_assignment_is_one_or_refused(or_refused, more, place, value, written):
    text = tomli_w.dumps({"v": value})[4:] if written and not isinstance(value, dict) else str(value)
    with or_refused(UsageError):
        assigned = assign(normalized(WHOLE), *parse_assignment(f"{place}{more}={text}"))
        Components(installed()).recipe(assigned)
