"""Whether what a tool needs is there: `needs=("ffmpeg", "python:pandas", "$API_KEY")`.

A word is a program on the PATH, `python:` a module that can be imported, `$` a variable of the worker's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health

MODULE = "python:"
VARIABLE = "$"


def health_of(needs: Iterable[str]) -> Health:
    """Returns whether all of it is there, and what to do if not."""
    absent = [need for need in needs if not _is_there(need)]
    if not absent:
        return Health(healthy=True)
    message = "; ".join(_missing(need) for need in absent)
    return Health(healthy=False, message=message, hint="; ".join(_remedy(need) for need in absent))


def demand(name: str, needs: Iterable[str]) -> None:
    """Raises `StepFailed` (configuration) if something is not there that a tool needs."""
    health = health_of(needs)
    if not health.healthy:
        raise StepFailed(f"tool {name}: {health.message}", Category.CONFIGURATION, hint=health.hint)


def _is_there(need: str) -> bool:
    if need.startswith(MODULE):
        try:
            return find_spec(need.removeprefix(MODULE)) is not None
        except (ImportError, ValueError):  # of `a.b` without `a`
            return False
    if need.startswith(VARIABLE):
        return bool(os.environ.get(need.removeprefix(VARIABLE)))
    return shutil.which(need) is not None


def _missing(need: str) -> str:
    if need.startswith(MODULE):
        return f"the Python module {need.removeprefix(MODULE)} is not installed"
    if need.startswith(VARIABLE):
        return f"the variable {need.removeprefix(VARIABLE)} is not set"
    return f"there is no program {need} on the PATH"


def _remedy(need: str) -> str:
    if need.startswith(VARIABLE):
        return f"set {need.removeprefix(VARIABLE)} in the environment of the workers"
    return f"install {need.removeprefix(MODULE)} where the workers run"
