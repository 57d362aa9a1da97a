"""Where named secrets come from: variables, files of a folder, what a command prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from taskmark.errors import Category, InvalidSettings, StepFailed
from taskmark.secrets.private_files import LONGEST, read_private
from taskmark.settings import PREFIX, SECRET_PREFIX

MARGIN: Final = 60.0
"""Seconds before its end from which on a secret counts as expired, or a tenth of its time if that is less."""


@dataclass(frozen=True)
class Found:
    """A secret."""

    value: str = field(repr=False)
    until: float = 0.0
    """When to ask again, by `time.time`; 0 is each time."""


class Source(Protocol):
    """Somewhere secrets are. Called in threads, with names that are safe in paths and commands."""

    def find(self, name: str) -> Found | None:
        """Returns the secret, or None if it is not here. Raises `StepFailed`, never with the value."""
        ...

    def where(self, name: str) -> str:
        """Returns where somebody would put it."""
        ...


@dataclass(frozen=True)
class Variables:
    """The worker's environment: `PREFIX` and the name."""

    prefix: str
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def find(self, name: str) -> Found | None:
        """As `Source.find`."""
        variable = self.prefix + name
        if variable.startswith(PREFIX) and not variable.startswith(SECRET_PREFIX):
            return None  # it is a setting of ours
        value = self.environment.get(variable)
        return Found(value) if value else None

    def where(self, name: str) -> str:
        """As `Source.where`."""
        return f"the variable {self.prefix}{name}"


@dataclass(frozen=True)
class Folder:
    """A folder with a file for each secret, such as `/run/secrets`."""

    path: Path

    def find(self, name: str) -> Found | None:
        """As `Source.find`."""
        try:
            value = read_private(self.path / name, below=self.path)
        except InvalidSettings as error:
            raise StepFailed(error.message, Category.CONFIGURATION, hint=error.hint) from None
        return Found(value) if value else None

    def where(self, name: str) -> str:
        """As `Source.where`."""
        return f"the file {self.path / name}"


@dataclass(frozen=True)
class Command:
    """A command that prints the secret, or JSON with `value` and when it expires: `expires_at` (ISO 8601 or
    seconds of Unix time) or `expires_in` (seconds)."""

    words: Sequence[str]
    """`{name}` in them is the name."""
    timeout: float = 10.0
    kept: float = 300.0
    """Seconds for which what it printed is used again, if it does not expire before."""
    clock: Callable[[], float] = time.time

    def find(self, name: str) -> Found | None:
        """As `Source.find`. What prints nothing and succeeds has no such secret."""
        printed = self._run(name).removesuffix("\n").removesuffix("\r")
        if not printed:
            return None
        value, expires = _read(printed, self.clock())
        return Found(value, min(self.clock() + self.kept, expires))

    def where(self, name: str) -> str:
        """As `Source.where`."""
        return f"the command {self.words[0]}"

    def _run(self, name: str) -> str:
        words = [word.replace("{name}", name) for word in self.words]
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            reason = f"the command for secrets, {self.words[0]}, does not start: {error.strerror}"
            raise StepFailed(reason, Category.CONFIGURATION, hint="see TASKMARK_SECRETS_COMMAND") from None
        try:
            printed, _ = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            reason = f"the command for secrets did not answer for {name} within {self.timeout:g} s"
            raise StepFailed(reason, hint="see TASKMARK_SECRETS_TIMEOUT") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            # What it said is left out: it may hold what was to be kept secret.
            raise StepFailed(f"the command for secrets failed for {name} (exit code {process.returncode})")
        return _text(printed, name)


def _text(printed: bytes, name: str) -> str:
    with suppress(UnicodeDecodeError):
        if len(printed) <= LONGEST:
            return printed.decode()
    hint = f"it has to be text of at most {LONGEST} bytes"
    raise StepFailed(f"the secret {name} is too long, or no text", Category.CONFIGURATION, hint=hint)


def _read(printed: str, now: float) -> tuple[str, float]:
    """Returns the value, and when to ask again because it expires."""
    told: Any = None
    if printed.startswith("{"):
        with suppress(ValueError):
            told = json.loads(printed)
    if not isinstance(told, dict) or not isinstance(told.get("value"), str):
        return printed, float("inf")
    ends = _moment(told, now)
    return told["value"], ends - min(MARGIN, max(0.0, ends - now) / 10)


def _moment(told: Mapping[str, Any], now: float) -> float:
    """Returns when it expires. What cannot be read counts as expired: it is asked for each time."""
    at, lasts = told.get("expires_at"), told.get("expires_in")
    try:
        if lasts is not None:
            return now + float(lasts)
        if isinstance(at, str) and not at.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(at)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return float("inf") if at is None else float(at)
    except (TypeError, ValueError, OverflowError):
        return now
