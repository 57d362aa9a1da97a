"""`lint`: every problem of task files, before anything runs; `schema`: the same for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_json, write_rows
from starter.cli.terminal import say, stdout

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.task.diagnostics import Diagnostic


def lint(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Task files, ids of tasks, or folders.", show_default=False),
    ],
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Check task files and show every problem. Errors prevent a start, warnings do not."""
    from starter.cli.clients import settings
    from starter.cli.failing import show_diagnostics
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    paths = [path for word in files for path in task_files(wiring, word)]
    found = [diagnostic for path in paths for diagnostic in _check(wiring, path)]
    rows = [diagnostic.model_dump(mode="json") for diagnostic in found]
    write_rows(rows, output, lambda: show_diagnostics(found, stdout()))
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    say(_summary(len(paths), errors, len(found) - errors))
    return Exit.USAGE if errors else Exit.OK


def schema() -> None:
    """Print the JSON Schema of a task's YAML, for editors."""
    from taskmark.task.schema import task_schema

    write_json(task_schema())


def task_files(wiring: Wiring, word: str) -> list[Path]:
    """Returns the files that a word means. Raises `InvalidTask` if there is no such task."""
    given = Path(word)
    if given.is_dir():
        return sorted(given.glob("*.md"))
    return [given if given.is_file() else wiring.compiler(confined=False).find(word)]


def _check(wiring: Wiring, path: Path) -> tuple[Diagnostic, ...]:
    from taskmark.task import check_file

    return check_file(path, catalog=wiring.catalog).diagnostics


def _summary(files: int, errors: int, warnings: int) -> str:
    def counted(number: int, word: str) -> str:
        return f"{number} {word}{'' if number == 1 else 's'}"

    if not errors and not warnings:
        return f"{counted(files, 'file')}: no problems"
    return f"{counted(files, 'file')}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
