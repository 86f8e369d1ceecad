"""Every error that a user can cause or meet. The command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterable

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C or a request to terminate has ended, as shells have it."""


class ZooError(Exception):
    """A problem that the user should read about. `exit_code` is 2 for misuse, 1 for failure."""

    exit_code = 1


class UsageError(ZooError):
    """What was asked for is wrong; nothing was done."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing answers to.

    Args:
        kind: What was looked for, in words: `"critic"`, `"setting of dcgan"`.
        name: The name as given.
        known: The names that would have been right; near ones are suggested.
        hint: A further sentence, such as the plugin that provides the name.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        import difflib  # Only a mistake pays for it.

        known = sorted(set(known))
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        if near:
            advice = f"Did you mean {' or '.join(near)}?"
        elif known:
            advice = f"Known: {', '.join(known)}."
        else:
            advice = "None is known."
        super().__init__(" ".join(filter(None, [f"no {kind} is called '{name}'.", hint, advice])))


class DuplicateName(UsageError):
    """A bare name that two installed distributions give; `dist/name` says which is meant."""


class BadRecipe(UsageError):
    """A recipe, an override or a setting that cannot be used."""


class BadSetting(BadRecipe):
    """A setting of the wrong type or out of range."""


class IncompatibleParts(UsageError):
    """Parts that do not work together, with the measurement that shows it and what to change."""


class BadData(UsageError):
    """A data set that is missing, empty, corrupt, too small, or not the one that a run was trained on."""


class NoDevice(UsageError):
    """A device that was asked for and is not there."""


class RunExists(UsageError):
    """A run folder that would be overwritten."""


class BadRun(UsageError):
    """A folder that is not a run, or that cannot be resumed as asked."""


class BadCheckpoint(ZooError):
    """A checkpoint that is damaged, foreign, or does not fit the recipe beside it."""


class DisabledPlugin(UsageError):
    """A component of a plugin that was disabled, with the command that enables it."""


class BrokenPlugin(ZooError):
    """A plugin that was asked for and does not work: distribution, version, cause and remedy."""


class Diverged(ZooError):
    """A loss became NaN or infinite."""


class Uncapturable(ZooError):
    """A computation that cannot be captured once and repeated, and why."""


class OutOfMemory(ZooError):
    """The device has too little memory for what a recipe asks."""


class ProcessLost(ZooError):
    """A process of several that train a run together has gone, or does not answer."""


class ProcessesDiffer(ZooError):
    """Processes that train a run together do not have the same recipe, data or weights."""


class ProcessFailed(ZooError):
    """A process that `zoo train --processes` has started has failed: which one, and why.

    Args:
        message: What is said.
        exit_code: That of the process, where it is one of the zoo's.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SaveFailed(ZooError):
    """A file could not be written; what had been saved before is intact."""


class MissingPackage(ZooError):
    """An optional package that is needed now and is not installed."""


class BadPackage(ZooError):
    """A package that is damaged, is not what the catalogue says, or would put the environment at risk."""


class InstallFailed(ZooError):
    """The installer failed; it says why."""


class BadCatalogue(UsageError):
    """A catalogue that is missing, or wrong: file, line, plugin and field."""


class BadLock(UsageError):
    """A lock file that is missing or wrong."""
