"""Recipes at random, for hypothesis: of whatever is installed, from the settings that components declare."""

import inspect
import math
import types
from typing import Literal, Union, get_args, get_origin

import torch
from hypothesis import strategies as st

from zoo.plugins import installed
from zoo.settings import settings_of
from zoo.training import NOT_SETTABLE, UNUSABLE, Train

HUGE = 2**62
"""Larger than any memory, so that what it is the size of fails at once, and cannot fill the machine."""
SLOW = {"backbone-heads", "projected", "projected-gan"}
"""Their backbones take seconds to build; the plugins' own tests train them."""
DEMANDING = {"condition", "attention", "categories", "continuous", "packed", "on"}
"""Settings that want labels, sides, sizes or features that most data and networks do not have."""
WANTING = {"cgan", "acgan", "projection-gan", "cvae", "pix2pix", "cyclegan"}
"""Variants that want labels or sources; their plugins' own tests train them."""
SMALL_AND_ODD = st.one_of(
    st.just("none"),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-1, 3), max_size=2),
    st.just({"a": 1}),
)
"""Values of any type that TOML has: mostly wrong ones, and none that could make a step long."""
ODD = st.one_of(SMALL_AND_ODD, st.sampled_from([HUGE, -HUGE, 10**400]))


def rarely(odd, usual, share=200):
    """One strategy in so many cases, the other one else."""
    return st.integers(0, 2**16).flatmap(lambda number: odd if number % share == share // 2 else usual)


def values(kind, setting, default):
    """Values that a setting of this type and range may have."""
    origin = get_origin(kind)
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin in (Union, types.UnionType):
        return st.one_of(values(each, setting, default) for each in get_args(kind))
    if origin is not None:
        return st.lists(values(get_args(kind)[0], setting, 0), max_size=3)
    if kind is types.NoneType:
        return st.just("none")
    if kind is int:
        low = setting.ge if setting.ge is not None else -2 if setting.gt is None else setting.gt + 1
        high = min(low + 8, *(bound for bound in (setting.le, setting.lt) if bound is not None), math.inf)
        return rarely(st.just(HUGE), st.integers(int(low), int(high)))
    if kind is float:
        return st.one_of(st.just(default if default or setting.broken_bound(1.0) else 1.0), floats(setting))
    return st.booleans() if kind is bool else st.just(default) if kind is str else st.nothing()


def floats(setting):
    low, high = (a if a is not None else b for a, b in ((setting.ge, setting.gt), (setting.le, setting.lt)))
    usual = st.floats(-2.0 if low is None else low, (low or 0.0) + 4.0 if high is None else high)
    sized = rarely(st.floats(low, high, allow_nan=False, allow_infinity=False), usual)
    return sized.filter(lambda value: setting.broken_bound(value) is None)


def usual(name, spec):
    """Values of a setting; what most data and networks cannot have, now and then only."""
    found = values(spec.type, spec.setting, spec.default)
    return rarely(found, st.just(spec.default), 8) if name in DEMANDING else found


def settings_table(factory, **fixed):
    """Some of a component's settings, with values of their types and ranges; now and then another one."""
    specs = settings_of(factory)
    always = {name: rarely(SMALL_AND_ODD, each) for name, each in fixed.items()}
    others = {name: rarely(ODD, usual(name, spec)) for name, spec in specs.items() if name not in fixed}
    return st.fixed_dictionaries(always, optional=others)


def choices(hook, names=None):
    """A component of a hook by name, with settings; of these names, if any are given."""
    known = [entry for entry in installed().index.select(hook) if entry.name not in SLOW]
    entries = [entry for entry in known if names is None or entry.name in names]

    def chosen(entry):
        table = settings_table(installed().load(entry))
        return table.map(lambda settings: {"name": entry.name, **settings})

    return st.sampled_from(entries).flatmap(chosen)


def networks(hook):
    """A generator or critic, often one that fits data of any shape."""
    return st.one_of(choices(hook, ["mlp"]), choices(hook))


def constraints():
    every = st.fixed_dictionaries({}, optional={"every": rarely(ODD, st.integers(1, 3))})
    # Consistency wants dropout, and orthogonal matrices neither norms nor convolutions.
    easy = [e.name for e in installed().index.select("lipschitz_constraint")]
    easy = [name for name in easy if name not in ("consistency", "orthogonal")]
    named = rarely(choices("lipschitz_constraint"), choices("lipschitz_constraint", easy), 8)
    one = st.tuples(named, every).map(lambda pair: {**pair[0], **pair[1]})
    return st.lists(one, max_size=3, unique_by=lambda table: table["name"])


def optimizers():
    classes = [
        each
        for name, each in vars(torch.optim).items()
        if inspect.isclass(each) and issubclass(each, torch.optim.Optimizer) and name not in UNUSABLE
    ]

    def chosen(factory):
        known = list(inspect.signature(factory).parameters.values())[1:]
        some = {each.name: rarely(ODD, like(each.default)) for each in known if each.name not in NOT_SETTABLE}
        return st.fixed_dictionaries({}, optional=some).map(lambda settings: {"name": factory.__name__, **settings})

    return st.sampled_from(classes).flatmap(chosen)


def like(default):
    """Values of the type of a default."""
    if isinstance(default, bool) or default is None:
        return st.booleans()
    if isinstance(default, tuple):
        return st.just([each for each in default if each is not None])
    return st.one_of(st.just(default), st.floats(0, 1)) if isinstance(default, float) else st.just(default)


def training():
    """Training settings that make a step quick."""
    small = {
        "steps": st.integers(1, 3),
        "batch_size": st.sampled_from([8, 4, 1, 2, 3, 6]),
        "critic_steps": st.integers(1, 2),
        "micro_batches": st.sampled_from([1, 1, 1, 2]),
        # Compiling takes seconds; what is for images or for CUDA is refused for the rest.
        "compile": st.just(False),
        "cuda_graphs": rarely(st.just("on"), st.sampled_from(["auto", "off"]), 20),
        "augment": rarely(st.just(["color", "translation", "cutout"]), st.just([]), 20),
        "flip": rarely(st.just(True), st.just(False), 20),
        "freeze": rarely(st.just(["critic:stages<1"]), st.just([]), 20),
    }
    table = settings_table(Train, **small)
    own = st.dictionaries(rarely(st.just("encoder"), st.sampled_from(["critic", "generator"]), 9), optimizers())
    more = st.fixed_dictionaries({}, optional={"optimizer": optimizers(), "optimizers": rarely(ODD, own)})
    return st.tuples(table, more).map(lambda pair: {**pair[0], **pair[1]})


def recipes(datasets):
    """Tables as a recipe file holds them, upon a variant or with every part named, with one of these data sets."""
    names = [e.name for e in installed().index.select("variant") if e.name not in SLOW | WANTING]
    variants = st.sampled_from(names)
    named = {"generator": networks("generator"), "critic": networks("critic"), "distance": choices("distance")}
    named["lipschitz_constraint"] = constraints()
    fixed = {"dataset": datasets, "train": training()}
    without = {"critic": st.just("none"), "lipschitz_constraint": st.just("none"), "distance": choices("distance")}
    upon = st.fixed_dictionaries({"variant": variants, **fixed}, optional=named)
    alone = st.fixed_dictionaries({"generator": networks("generator"), **without, **fixed})
    return st.one_of(upon, st.fixed_dictionaries({**named, **fixed}), alone)
