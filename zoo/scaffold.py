"""New plugins: a whole distribution for a hook, with a component that works and tests that pass."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import __version__
from zoo.catalogue import read_catalogues
from zoo.catalogue.conventions import RESERVED_NAMES, RESERVED_PLUGINS
from zoo.errors import SaveFailed, UnknownName, UsageError
from zoo.hookspecs import API, HOOKS
from zoo.index import Index

PREFIX = "zoo-"
CORE = ("zoo", "gan-zoo")
RESERVED = {*CORE, *RESERVED_PLUGINS, "zoo-testing", "zoo-conformance", *(PREFIX + name for name in RESERVED_NAMES)}
LONGEST = 40
RULE = f"lower-case letters, digits and single hyphens, at most {LONGEST} characters, such as zoo-mine"
TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Plan:
    """What a new plugin is called, and where it goes.

    Attributes:
        dist: The distribution.
        hook: The hook of its component.
        author: Who writes it.
        folder: The folder that is made.
    """

    dist: str
    hook: str
    author: str
    folder: Path

    @property
    def component(self) -> str:
        """The component's name: the distribution's, without `zoo-`."""
        return self.dist.removeprefix(PREFIX)

    @property
    def module(self) -> str:
        """The name that Python imports it by."""
        return self.dist.replace("-", "_")


@dataclass(frozen=True)
class Made:
    """A plugin that was made.

    Attributes:
        plan: What it is called, and where it is.
        files: Its files, relative to its folder, in order.
        train: A command that trains with its component, or what its component can look at.
        then: A command that uses its component on that run; empty where training does.
    """

    plan: Plan
    files: tuple[str, ...]
    train: str
    then: str = ""


def plan(name: str, hook: str, out: Path = Path(), author: str = "") -> Plan:
    """Names a new plugin, `zoo-` put before its name where that is missing.

    Raises:
        UnknownName: There is no such hook.
        UsageError: The name breaks the rule, is taken, or its folder is there already.
    """
    underscored = hook.replace("-", "_")
    if underscored not in HOOKS:
        raise UnknownName("hook", hook, HOOKS)
    dist = distribution_name(name)
    author = author or f"The {dist} authors"
    if not author.isprintable():
        raise UsageError("the author's name must be one line of printable characters.")
    planned = Plan(dist, underscored, author, out / dist)
    _refuse_taken(planned)
    _refuse_folder(planned.folder)
    return planned


def distribution_name(name: str) -> str:
    """The name of the distribution that is meant by `name`. Raises UsageError, with a name that would do.

    >>> distribution_name("mine")
    'zoo-mine'
    """
    dist = name if name.startswith(PREFIX) or name in CORE else PREFIX + name
    if not _NAME.fullmatch(name) or len(dist) > LONGEST:
        raise UsageError(f"'{name}' is no name for a plugin: {RULE}. '{_suggestion(name)}' would do.")
    if dist in RESERVED:
        raise UsageError(f"the name '{dist}' is reserved; choose another, such as '{PREFIX}my-{_bare(dist)}'.")
    return dist


def make(planned: Plan) -> Made:
    """Makes the plugin's folder with all its files, or nothing. Raises SaveFailed if it cannot be written."""
    about = _about(planned.hook)
    words = _words(planned, about)
    files = {_filled(str(path), words): _filled(text, words) for path, text in _templates(planned.hook)}
    try:
        _write(planned.folder, files)
    except OSError as error:
        raise SaveFailed(f"{planned.folder} could not be written: {error.strerror or error}.") from error
    return Made(planned, tuple(sorted(files)), words["train"], words["then"])


def _bare(name: str) -> str:
    return name.removeprefix(PREFIX)


def _suggestion(name: str) -> str:
    bare = _bare("-".join(re.findall("[a-z0-9]+", name.lower())))[: LONGEST - len(PREFIX)].strip("-")
    return PREFIX + (bare if bare and {bare, PREFIX + bare}.isdisjoint(RESERVED) else "mine")


def _refuse_taken(planned: Plan) -> None:
    dist, catalogue = planned.dist, read_catalogues(fetch=False)
    if any(entry.name == dist for entry in catalogue.entries):
        raise UsageError(f"the catalogue has a plugin {dist} already (zoo search {dist}); choose another name.")
    if _installed(dist):
        raise UsageError(f"a distribution {dist} is installed already; choose another name.")
    if importlib.util.find_spec(planned.module) is not None:
        raise UsageError(f"there is a Python module {planned.module} already; choose another name.")
    hook, component, index = planned.hook, planned.component, Index.scan()
    owners = [e.dist for e in (*index.entries, *index.disabled) if (e.hook, e.name) == (hook, component)]
    owners += [entry.name for entry in catalogue.providers(hook, component)]
    for owner in owners:
        raise UsageError(
            f"{owner} has a {hook} '{component}' already; choose another name, such as '{PREFIX}my-{component}'."
        )


def _installed(dist: str) -> bool:
    try:
        importlib.metadata.distribution(dist)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _refuse_folder(folder: Path) -> None:
    try:
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UsageError(f"{folder} is there already; nothing was changed. Choose another name or another --out.")
    except OSError as error:
        raise UsageError(f"{folder} cannot be looked at: {error.strerror}.") from error


def _about(hook: str) -> dict[str, Any]:
    return tomllib.loads((TEMPLATES / hook / "about.toml").read_text(encoding="utf-8"))


def _words(planned: Plan, about: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the place of each word between two @ signs."""
    words = {
        "dist": planned.dist,
        "module": planned.module,
        "component": planned.component,
        "component_module": planned.component.replace("-", "_"),
        "hook": planned.hook,
        "words": planned.hook.replace("_", " ").replace("lipschitz", "Lipschitz"),
        "group": f"zoo.v{API}.{planned.hook}",
        "api": str(API),
        "author": planned.author,
        "author_toml": json.dumps(planned.author, ensure_ascii=False),
        "year": str(datetime.date.today().year),
        "summary": about["summary"],
        "summary_toml": json.dumps(about["summary"], ensure_ascii=False),
        "idea": about["idea"],
        "class": about["class"],
        "dependencies": _dependencies(about),
        "needs": _needs(about),
    }
    train, then = (_filled(about.get(key, ""), words) for key in ("train", "then"))
    return {**words, "train": train, "then": then, "commands": "\n".join(filter(None, [train, then]))}


def _dependencies(about: Mapping[str, Any]) -> str:
    major, minor = __version__.split(".")[:2]
    bounds = f">={major}.{minor},<{int(major) + 1}"
    names = ["gan-zoo", *about.get("dependencies", [])]
    return json.dumps([name + bounds for name in names])


def _needs(about: Mapping[str, Any]) -> str:
    names = about.get("dependencies", [])
    if not names:
        return ""
    return f"\nIt stands on the zoo's own plugins {', '.join(names)}, which must be installed as well.\n"


def _templates(hook: str) -> list[tuple[Path, str]]:
    """The path in the plugin and the text of each template."""
    roots = (TEMPLATES / "common", TEMPLATES / hook)
    paths = [(root, path) for root in roots for path in sorted(root.rglob("*.tmpl"))]
    return [(path.relative_to(root).with_suffix(""), path.read_text(encoding="utf-8")) for root, path in paths]


def _filled(text: str, words: Mapping[str, str]) -> str:
    # In one pass, so that an author's name with an @ sign is left as it is.
    return re.sub(r"@(\w+)@", lambda match: words.get(match[1], match[0]), text)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes beside the folder and renames, so that there is all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for name, text in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
