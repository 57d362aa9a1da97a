"""Says what went wrong in one message with the next step, and with which exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starter.cli.exits import Exit
from starter.cli.printable import one_line, printable
from starter.cli.terminal import say, stderr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console
    from rich.text import Text

    from taskmark.task.diagnostics import Diagnostic

SHOWN = 30
"""Diagnostics shown of one file; the rest is counted."""
COLUMNS = 110
"""Of an excerpt; a longer line is shown around the place that is meant."""
GUTTER = len("12345 │ ")
"""What stands before it."""

_QUOTED = re.compile(r"[`“]([^`”]+)[`”]")
_WORD = re.compile(r"\w[\w-]*")

_log = logging.getLogger("taskmark.cli")


def explain(error: BaseException) -> Exit:
    """Shows an error on stderr and returns the exit code it means."""
    from taskmark.errors import InvalidInputs, InvalidTask, TaskmarkError

    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        say("interrupted")
        return Exit.DETACHED
    _log.debug("this ended a command", exc_info=error)
    if _wants_tracebacks():
        _traceback(error)
    if isinstance(error, InvalidTask):
        show_diagnostics(error.diagnostics, stderr())
        return Exit.USAGE
    if isinstance(error, InvalidInputs):
        for problem in error.problems:
            _complain(problem)
        _advise(error.hint)
        return Exit.USAGE
    if isinstance(error, TaskmarkError):
        _complain(error.message)
        _advise(error.hint)
        return _code(error)
    _complain(f"this should not happen: {type(error).__name__}: {error}")
    _advise("TASKMARK_LOG_LEVEL=debug shows where; please report it")
    return Exit.FAILED


def _code(error: Any) -> Exit:
    from taskmark.errors import Category, StepFailed, Unreachable

    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    # An update that an execution refuses brings the name of the reason along.
    refusal = getattr(getattr(error.__cause__, "cause", None), "type", None)
    if refusal == "NotAllowed" or error.category is Category.PERMISSION:
        return Exit.NOT_ALLOWED
    return Exit.FAILED if isinstance(error, StepFailed) else Exit.USAGE


def _wants_tracebacks() -> bool:
    return os.environ.get("TASKMARK_LOG_LEVEL", "").lower() == "debug"


def _traceback(error: BaseException) -> None:
    import traceback

    stderr().print(printable("".join(traceback.format_exception(error))), style="dim", soft_wrap=True)


def _complain(message: str) -> None:
    from rich.text import Text

    stderr().print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)


def _advise(hint: str | None) -> None:
    from rich.text import Text

    if hint:
        stderr().print(Text.assemble(("  hint: ", "cyan"), printable(hint)), soft_wrap=True)


# --- diagnostics of task files --------------------------------------------------------------------


def show_diagnostics(
    diagnostics: Iterable[Diagnostic],
    console: Console,
    *,
    texts: Mapping[str, str] | None = None,
    limit: int | None = SHOWN,
) -> None:
    """Shows each problem with the line it is in, a mark under the place, and what to do.

    `texts` are what files say, as far as they were read already.
    """
    found = list(diagnostics)
    sources = {file: _split(text) for file, text in (texts or {}).items()}
    # Where a terminal wrapped a line, the mark would stand under another one.
    room = min(COLUMNS, max(console.width - GUTTER - 2, 40)) if console.is_terminal else COLUMNS
    for number, diagnostic in enumerate(found[:limit]):
        if diagnostic.file not in sources:
            sources[diagnostic.file] = _lines(diagnostic.file)
        if number:
            console.print()
        for text in _described(diagnostic, sources[diagnostic.file], room):
            console.print(text, soft_wrap=True)
    if limit is not None and len(found) > limit:
        console.print(f"… and {len(found) - limit} more", soft_wrap=True)


def _lines(file: str) -> list[str]:
    from taskmark.task.files import SIZE_LIMIT

    try:
        if not Path(file).is_file():
            return []  # such as a pipe, which would be waited for
        with Path(file).open("rb") as source:
            return _split(source.read(SIZE_LIMIT).decode("utf-8", "replace"))
    except (OSError, ValueError):
        return []  # text that came without a file, or a file that cannot be read, which was said


def _split(text: str) -> list[str]:
    from taskmark.task.files import normalised

    return normalised(text).split("\n")


def _described(diagnostic: Diagnostic, lines: list[str], room: int) -> list[Text]:
    from rich.text import Text

    color = "bold red" if diagnostic.severity == "error" else "bold yellow"
    place = f"{one_line(diagnostic.file)}:{diagnostic.line}:{diagnostic.column}: "
    label = f"{diagnostic.severity}[{diagnostic.code}] "
    fixable = ("[*] ", "bold cyan") if diagnostic.fix is not None else ""
    described = [Text.assemble((place, "bold"), (label, color), fixable, printable(diagnostic.message))]
    if diagnostic.line <= len(lines):
        described += _excerpt(lines[diagnostic.line - 1], diagnostic, color, room)
    if diagnostic.hint:
        described.append(Text.assemble(("  hint: ", "cyan"), printable(diagnostic.hint)))
    return described


def _excerpt(line: str, diagnostic: Diagnostic, color: str, room: int) -> list[Text]:
    from rich.cells import cell_len
    from rich.text import Text

    column = diagnostic.column
    end = column - 1 + _width(line, column, diagnostic.message)
    line = printable(line.replace("\t", " "))
    start = 0 if column <= room - 10 else column - room // 2
    cut = ("…" if start else "") + line[start : start + room]
    before = ("…" if start else "") + line[start : column - 1]
    marked = max(1, cell_len(line[column - 1 : min(end, start + room)]))
    gutter = f"{diagnostic.line:>5} │ "
    return [
        Text.assemble((gutter, "dim"), cut + ("…" if start + room < len(line) else "")),
        Text.assemble((" " * 5 + " │ ", "dim"), " " * cell_len(before), ("^" * marked, color)),
    ]


def _width(line: str, column: int, message: str) -> int:
    """Returns how many characters of a line are meant: what the message quotes, if it stands there, else
    the word there."""
    rest = line[column - 1 :]
    quoted = next((text for text in _QUOTED.findall(message) if text and rest.startswith(text)), "")
    word = _WORD.match(rest)
    return max(len(quoted), len(word[0]) if word and not quoted else 0, 1)
