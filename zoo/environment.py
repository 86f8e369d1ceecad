"""What the zoo keeps for one environment, beside the packages: which plugins are disabled."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from zoo.errors import SaveFailed, UsageError

STATE = "ZOO_STATE"
"""Names another folder for what is kept, such as for an environment that cannot be written."""
DISABLE = "ZOO_DISABLE_PLUGINS"
"""Distributions that are disabled for one process, with commas between."""


def normalized(name: str) -> str:
    """A distribution's name in its normal form: lower case, single hyphens."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def state_folder() -> str:
    """Where this environment's state lies: `$ZOO_STATE`, or `etc/gan-zoo` in the environment."""
    return os.environ.get(STATE) or os.path.join(sys.prefix, "etc", "gan-zoo")


def disabled() -> frozenset[str]:
    """The distributions whose plugins are not to be loaded: by `zoo disable`, or by `ZOO_DISABLE_PLUGINS`."""
    here = os.environ.get(DISABLE, "").split(",")
    return frozenset(map(normalized, filter(str.strip, here))) | kept_disabled()


def kept_disabled() -> frozenset[str]:
    """Those that `zoo disable` has written down."""
    path = os.path.join(state_folder(), "disabled.txt")
    try:
        with open(path, encoding="utf-8") as file:
            return frozenset(filter(None, map(normalized, file)))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Correct or remove it.") from error


def keep_disabled(names: Iterable[str]) -> None:
    """Writes down which distributions are disabled, whole or not at all. Raises SaveFailed."""
    write_state("disabled.txt", "".join(f"{name}\n" for name in sorted(set(map(normalized, names)))))


def write_state(name: str, text: str) -> None:
    """Replaces a file of this environment's state, whole or not at all. Raises SaveFailed."""
    path = os.path.join(state_folder(), name)
    try:
        os.makedirs(state_folder(), exist_ok=True)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise SaveFailed(f"{path} cannot be written: {error.strerror}. Set {STATE} to a folder that can.") from error
