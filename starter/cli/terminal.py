"""Where output goes and what it may look like: data to stdout, messages to stderr."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, TextIO

from starter.cli.printable import in_ascii, printable

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 100_000
"""Columns of a table that goes to a file or a pipe: nothing is cut off."""


def stdout() -> Console:
    """Returns where data goes."""
    from rich.console import Console

    class Unpadded(Console):
        """Fills no line up with blanks: in a file they are noise, and a long cell makes many of them."""

        def print(self, *objects: Any, **options: Any) -> None:
            """Prints as a console does, each line only to its last character."""
            with self.capture() as captured:
                super().print(*objects, **options)
            lines = captured.get().split("\n")
            kept = "\n".join(line.rstrip(" ") for line in lines)
            super().print(kept, end="", no_wrap=True, overflow="ignore", crop=False)

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Unpadded(highlight=False, markup=False, emoji=False, width=UNBOUNDED)


def stderr() -> Console:
    """Returns where messages and progress go."""
    from rich.console import Console

    class Messages(Console):
        """Whoever no longer reads our messages does not end the work: the rest goes nowhere."""

        def on_broken_pipe(self) -> None:
            """Goes on in silence. Rich would end the process from inside the event loop, under a running
            worker, and take stdout along."""
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)

    return Messages(stderr=True, highlight=False, markup=False, emoji=False)


def say(message: str, style: str = "") -> None:
    """Shows a message. Lines are not broken, so that commands in it can be copied."""
    shown = printable(message) if unicode_fits() else in_ascii(printable(message))
    stderr().print(shown, style=style, soft_wrap=True)


def command(*words: str) -> str:
    """Returns a command of ours as it can be typed, safe to show."""
    return printable(shlex.join(["taskmark", *words]))


def is_animated() -> bool:
    """Whether progress may be redrawn in place: not in a pipe, a dumb terminal or a CI log."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not _is_ci()


def person_present() -> bool:
    """Whether somebody is likely to see a question and to decide it."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not _is_ci()


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def unicode_fits(stream: TextIO | None = None) -> bool:
    """Whether marks and bars can be written in the encoding of a stream, stderr by default."""
    try:
        "✓▶━".encode((stream or sys.stderr).encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
