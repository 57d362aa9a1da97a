"""`lint`: every problem of task files, before anything runs; `schema`: the same for editors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_json, write_rows
from starter.cli.terminal import say, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starter.linting import Linted
    from taskmark.task.diagnostics import Diagnostic


def lint(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Task files, ids of tasks, folders, or `-` for standard input.",
            show_default=False,
        ),
    ],
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what is safe to fix; with `-` the fixed text goes to stdout.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Check task files and show every problem. Errors prevent a start, warnings do not."""
    from starter.cli.clients import settings
    from starter.cli.failing import show_diagnostics
    from starter.linting import SHOWN_STDIN, STDIN, Linter
    from starter.wiring import Wiring

    stdin = sys.stdin.buffer.read() if STDIN in files else b""
    linted = list(Linter(Wiring(settings()), fix=fix).lint(files, stdin))
    found = _once(linted)
    texts = {one.file: one.text for one in linted if one.text is not None}
    piped = texts.get(SHOWN_STDIN) if fix else None
    if piped is not None:
        sys.stdout.write(piped)
        show_diagnostics(found, stderr(), texts=texts, limit=None)
    else:
        rows = [diagnostic.model_dump(mode="json") for diagnostic in found]
        write_rows(rows, output, lambda: show_diagnostics(found, stdout(), texts=texts, limit=None))
    _summarise(linted, found, fix=fix)
    return Exit.USAGE if any(diagnostic.severity == "error" for diagnostic in found) else Exit.OK


def _once(linted: Sequence[Linted]) -> list[Diagnostic]:
    """Returns every problem once: an agent's or a sub-task's is found by each task that names it."""
    found = {
        (diagnostic.file, diagnostic.line, diagnostic.column, diagnostic.code, diagnostic.message): diagnostic
        for one in linted
        for diagnostic in one.diagnostics
    }
    return list(found.values())


def _summarise(linted: Sequence[Linted], found: Sequence[Diagnostic], *, fix: bool) -> None:
    for one in linted:
        if one.folder:
            say(f"{one.file}: no task files here", style="yellow")
    files = sum(not one.folder for one in linted)
    if fixed := sum(one.fixed for one in linted):
        say(f"fixed {_counted(fixed, 'problem')}")
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    if found:
        warnings = len(found) - errors
        say(f"{_counted(files, 'file')}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    elif files:
        say(f"{_counted(files, 'file')}: no problems")
    if fixable := sum(diagnostic.fix is not None for diagnostic in found):
        left = "not fixed, because other errors would come to light: mend by hand"
        say(f"[*] {fixable} {left if fix else 'fixable with `--fix`'}")


def schema() -> None:
    """Print the JSON Schema of a task's YAML, for editors."""
    from taskmark.task.schema import task_schema

    write_json(task_schema())


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
