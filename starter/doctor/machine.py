"""Checks of the machine: Python, packages, programs, ports."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import sys
from typing import TYPE_CHECKING

from starter.doctor.check import Check

if TYPE_CHECKING:
    from taskmark.settings import Settings

OLDEST_PYTHON = (3, 11)
DISTRIBUTION = "taskmark"


def python() -> Check:
    """Whether this Python is new enough."""
    version = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info >= OLDEST_PYTHON:
        return Check("python", True, version)
    return Check("python", False, version, "Install Python 3.11 or newer and run `make demo` again.")


def packages() -> Check:
    """Whether everything that the package asks for is installed."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", False, "Taskmark itself is not installed.", "Run `make demo`.")
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        return Check(
            "packages", False, f"Missing: {', '.join(missing)}.", "Run `make demo`: it installs them."
        )
    return Check("packages", True, f"{len(names)} packages are installed.")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def temporal_binary(settings: Settings) -> Check:
    """Whether there is a `temporal` binary for the embedded server, where one is needed."""
    from starter.embedded import binary

    if settings.temporal_address:
        return Check("temporal binary", True, "Not needed: TEMPORAL_ADDRESS or a profile names a cluster.")
    found, obstacles = binary.look(settings)
    if found is not None:
        return Check(
            "temporal binary", True, f"Server {found.server_version} from {found.source}: {found.path}"
        )
    reasons = "; ".join(str(obstacle) for obstacle in obstacles)
    fix = "Run `python -m starter.embedded.binary`: it downloads or builds it and says what it needs."
    return Check("temporal binary", False, f"None yet: {reasons}", fix)


def go(settings: Settings) -> Check:
    """Whether Go is there to build the binary, if it has to be built."""
    from starter.embedded import binary

    command = binary.go_command()
    if command is not None:
        return Check("go", True, command)
    if settings.temporal_address or binary.look(settings)[0] is not None:
        return Check("go", True, "Not installed, and not needed.")
    return Check(
        "go",
        False,
        "Not installed; the embedded server may have to be built with it.",
        "Install Go 1.24 or newer.",
    )


def git() -> Check:
    """Whether git is there, for tasks that use it."""
    command = shutil.which("git")
    return Check("git", True, command or "Not installed; only tasks that call it need it.")


def ports(settings: Settings) -> Check:
    """Whether the embedded server gets the ports it was told to use."""
    from starter.embedded import ports as choice
    from starter.embedded import server

    if settings.temporal_address:
        return Check("ports", True, "Not needed: Temporal runs elsewhere.")
    state = server.running(settings)
    if state is not None:
        return Check("ports", True, f"The embedded server is at {state.address}, its UI at {state.ui}.")
    chosen = choice.choose(settings, previous=None)
    return Check("ports", True, f"{chosen.grpc} for Temporal and {chosen.ui} for its UI are free.")
