"""`fmt`: task files in their canonical form."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.terminal import say, stdout

if TYPE_CHECKING:
    from taskmark.task.catalog import Catalog
    from taskmark.task.formatting import Formatting

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def fmt(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Task files, ids of tasks, or folders; - for stdin to stdout.",
            show_default=False,
        ),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; name what would change, and exit with 1.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change, and exit with 1.")
    ] = False,
) -> Exit:
    """Format task files. What they mean, prose and comments stay; a file with errors stays as it is."""
    from starter.choosing import task_files
    from starter.cli.clients import settings
    from starter.cli.failing import explain
    from starter.wiring import Wiring
    from taskmark.errors import InvalidTask

    wiring = Wiring(settings())
    if "-" in files:
        return _stdin(files, wiring.catalog, check=check, diff=diff)
    missing: list[InvalidTask] = []
    paths = task_files(wiring.compiler(confined=False), files, missing.append)
    for unknown in missing:
        explain(unknown)
    formattings = [one for path in paths if (one := _formatting(path, wiring.catalog)) is not None]
    changing = [one for one in formattings if one.changes]
    if check or diff:
        _show(changing, names=check, diff=diff)
        failed = 0
    else:
        failed = sum(not _written(one) for one in changing)
    wrong = len(paths) - len(formattings) + failed
    say(_summary(len(changing) - failed, len(formattings) - len(changing), wrong, dry=check or diff))
    if wrong or missing:
        return Exit.USAGE
    return Exit.FAILED if changing and (check or diff) else Exit.OK


def _formatting(path: Path, catalog: Catalog) -> Formatting | None:
    """Returns what is to be done to a file, or None after saying why it stays as it is."""
    from starter.cli.failing import explain
    from taskmark.errors import TaskmarkError
    from taskmark.task.formatting import format_file

    try:
        return format_file(path, catalog=catalog)
    except TaskmarkError as error:
        explain(error)
        return None


def _written(formatting: Formatting) -> bool:
    try:
        formatting.write()
    except OSError as error:
        say(f"error: {formatting.path} cannot be written: {error.strerror}", style="bold red")
        return False
    return True


def _stdin(files: list[str], catalog: Catalog, *, check: bool, diff: bool) -> Exit:
    from taskmark.task.formatting import Formatting, format_text

    if len(files) > 1:
        raise typer.BadParameter("- is the only file there can be", param_hint="FILE...")
    # A byte that is no UTF-8 becomes a character that is none either, and is reported at its place.
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    formatting = Formatting(Path("<stdin>"), text, format_text(text, file="<stdin>", catalog=catalog))
    if not (check or diff):
        sys.stdout.buffer.write(formatting.after.encode())
        return Exit.OK
    _show([formatting] if formatting.changes else [], names=check, diff=diff)
    return Exit.FAILED if formatting.changes else Exit.OK


def _show(changing: list[Formatting], *, names: bool, diff: bool) -> None:
    """Shows on stdout what would change: a patch, else the names of the files."""
    for formatting in changing:
        if diff:
            _show_patch("".join(_patch(formatting)))
        elif names:
            stdout().print(str(formatting.path), soft_wrap=True)


def _patch(formatting: Formatting) -> Iterator[str]:
    name = str(formatting.path)
    before, after = (
        [f"{line}\n" for line in text.split("\n")[:-1]] + [line for line in text.split("\n")[-1:] if line]
        for text in (formatting.before, formatting.after)
    )
    for line in difflib.unified_diff(before, after, name, name):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _show_patch(patch: str) -> None:
    """Shows a patch in colours to a person, and byte for byte to a program."""
    from starter.cli.printable import printable

    if not sys.stdout.isatty():
        sys.stdout.buffer.write(patch.encode())
        return
    console = stdout()
    for line in patch.removesuffix("\n").split("\n"):
        console.print(printable(line.rstrip("\r")), style=_STYLES.get(line[:1], ""), soft_wrap=True)


def _summary(changed: int, unchanged: int, wrong: int, *, dry: bool) -> str:
    """Returns what was done, in one line."""
    done, kept = ("would be reformatted", "already formatted") if dry else ("reformatted", "left unchanged")
    parts = [(changed, done), (unchanged, kept), (wrong, "with errors left as they are")]
    told = [f"{number} file{'' if number == 1 else 's'} {what}" for number, what in parts if number]
    return ", ".join(told) or "no files to format"
