"""Loads a plugin when one of its components is asked for. A broken one breaks nothing else."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.authors import LOCAL, note_author, way_out
from zoo.errors import BrokenPlugin, UnknownName, UsageError, ZooError
from zoo.frames import frames_of, module_of, root_of, shown
from zoo.hookspecs import HOOKS, PROJECT
from zoo.index import Entry, Index
from zoo.shield import shield
from zoo.variants import Variant
from zoo.watching import trace_calls, watched


class Plugins:
    """The components of an index, loaded on demand.

    Args:
        index: What is installed; scanned from the environment if None.
    """

    def __init__(self, index: Index | None = None) -> None:
        self.index = Index.scan() if index is None else index
        if any(problem.unreadable for problem in self.index.problems):
            shield()
        self._offered: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
        self._files: dict[str, ModuleType] = {}

    def component(self, hook: str, name: str) -> Any:
        """What a plugin offers under a name: a factory, or a variant.

        Raises:
            UnknownName, DuplicateName: See `Index.find`.
            BrokenPlugin: The plugin cannot be imported, or offers other names than its metadata says.
        """
        return self.load(self.index.find(hook, name, functools.partial(self.hint, hook, name)))

    def load(self, entry: Entry) -> Any:
        """What the plugin of `entry` offers under its name. Raises BrokenPlugin."""
        offered = self._hooks(entry).get(entry.hook, {})
        declared = {e.name for e in self.index.entries if self._home(e) == self._home(entry) and e.hook == entry.hook}
        if set(offered) != declared:
            raise self._broken(
                entry,
                f"its metadata declares {sorted(declared)} on the hook {entry.hook}, but the module offers "
                f"{sorted(offered)}",
                "If you are its author, correct one of the two and reinstall it"
                f"{'' if offered else f' (is the function marked with @zoo.hookimpl, and called {entry.hook}?)'}; "
                "else report it.",
            )
        if fault := _misoffered(entry.hook, entry.name, offered[entry.name]):
            raise self._broken(entry, fault, way_out(entry))
        return offered[entry.name]

    def add_file(self, path: Path) -> None:
        """Adds the components of a local Python file, which stand beside the installed ones.

        Raises:
            UsageError: There is no such file.
            BrokenPlugin: It cannot be imported or offers nothing.
        """
        if not path.is_file():
            raise UsageError(f"there is no plugin file '{path}'.")
        entry = Entry("", path.name, str(path), LOCAL, f"zoo_local_{path.stem}")
        if entry.module in self._files:
            return
        self._files[entry.module] = self._import(entry, functools.partial(_import_file, entry.module, path))
        for hook, components in self._hooks(entry).items():
            self.index.entries += [Entry(hook, name, entry.dist, entry.version, entry.module) for name in components]
        if unmarked := _unmarked(self._files[entry.module]):
            raise self._broken(entry, f"the hook {unmarked} is not marked with @zoo.hookimpl")
        if not any(e.module == entry.module for e in self.index.entries):
            raise BrokenPlugin(f"{path} offers no component: mark a function named after a hook with @zoo.hookimpl.")

    def hint(self, hook: str, name: str) -> str:
        """Which plugin of the catalogue would provide a name that is not installed; empty if none."""
        from zoo.catalogue import read_catalogues

        return read_catalogues(fetch=False).hint(hook, name)

    def offered(self, entry: Entry) -> Mapping[str, Mapping[str, Any]]:
        """All that the module of `entry` offers, by hook, whatever its metadata says. Raises BrokenPlugin."""
        return self._hooks(entry)

    def _hooks(self, entry: Entry) -> dict[str, Mapping[str, Any]]:
        if self._home(entry) not in self._offered:
            load = functools.partial(importlib.import_module, entry.module)
            module = self._files.get(entry.module) or self._import(entry, load)
            self._offered[self._home(entry)] = self._call_hooks(entry, module)
            note_author(entry, self._offered[self._home(entry)])
        return self._offered[self._home(entry)]

    def _call_hooks(self, entry: Entry, module: ModuleType) -> dict[str, Mapping[str, Any]]:
        # A manager of its own: a shared one blames later, good plugins for an earlier, bad one.
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        trace_calls(manager, entry.dist)
        try:
            manager.register(module)
            manager.check_pending()
            with watched(f"calling the hooks of {entry.module}", entry.dist):
                return {hook: _merged(getattr(manager.hook, hook)) for hook in HOOKS}
        except ZooError:
            raise
        except pluggy.PluginValidationError as error:
            raise self._broken(
                entry,
                _misspelt(module) or str(error),
                "If you are its author, correct and reinstall it; else report it.",
            ) from error
        except Exception as error:
            text = f"its hooks fail: {type(error).__name__}: {error}"
            raise self._broken(entry, text, line=_line_in(entry, error)) from error

    def _import(self, entry: Entry, load: Callable[[], ModuleType]) -> ModuleType:
        try:
            with watched(f"importing {entry.module}", entry.dist):
                return load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            text = f"importing {entry.module} fails: {type(error).__name__}: {error}"
            raise self._broken(entry, text, line=_line_in(entry, error)) from error

    @staticmethod
    def _home(entry: Entry) -> tuple[str, str]:
        return entry.dist, entry.module

    @staticmethod
    def _broken(entry: Entry, cause: str, remedy: str = "", line: str = "") -> BrokenPlugin:
        general = f"Reinstall or update {entry.dist}, or put it aside: zoo disable {entry.dist}."
        general = "Correct the file." if entry.version == LOCAL else general
        remedy = remedy or general
        below = f"\n{line}\n" if line else " "
        return BrokenPlugin(f"plugin {entry.dist} {entry.version} is broken: {cause}.{below}{remedy}")


def _misoffered(hook: str, name: str, offered: Any) -> str:
    """What is wrong with what a hook offers under a name, before it is called; empty if nothing is."""
    kind = type(offered).__name__
    if hook == "variant":
        return "" if isinstance(offered, Variant) else f"the variant '{name}' is a {kind}, and not a zoo.Variant"
    torch = sys.modules.get("torch")  # Whoever offers a network has imported it.
    if callable(offered) and not (torch and isinstance(offered, torch.nn.Module)):
        return ""
    return f"the hook {hook} offers a {kind} as '{name}', and not what makes one: give the class itself, without ()"


def _import_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _misspelt(module: ModuleType) -> str:
    """Which of a module's hooks there is not, with near names; empty if that is not what is wrong."""
    mark = f"{PROJECT}_impl"
    names = [name for name, value in vars(module).items() if hasattr(value, mark) and name not in HOOKS]
    return str(UnknownName("hook", names[0], HOOKS)).rstrip(".") if names else ""


def _unmarked(module: ModuleType) -> str:
    """A function of a module that is written as a hook, without arguments, and not marked as one; empty if none is."""
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    hooks = [name for name in HOOKS if inspect.isfunction(own.get(name)) and not hasattr(own[name], f"{PROJECT}_impl")]
    return next((name for name in hooks if not inspect.signature(own[name]).parameters), "")


def _line_in(entry: Entry, error: BaseException) -> str:
    """The last line of a plugin's own code that an exception came through; empty if there is none."""
    lines = [line for frame, line in frames_of(error) if root_of(module_of(frame)) == root_of(entry.module)]
    return shown(lines[0]) if lines else ""


def _merged(hook: pluggy.HookCaller) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    results = hook()
    if hook.get_hookimpls() and not results:
        raise TypeError(f"the hook {hook.name} returns nothing: its 'return' is missing")
    for result in results:
        if not isinstance(result, Mapping) or not all(isinstance(name, str) for name in result):
            raise TypeError(f"a hook must return a dict of names, not {result!r}")
        merged.update(result)
    return merged


@functools.cache
def installed() -> Plugins:
    """The plugins of this environment, scanned once a process."""
    return Plugins()
