"""`new`: writes a task that runs as it is, from a template."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_rows, write_table
from starter.cli.terminal import command, person_present, say


def templates_beginning(incomplete: str) -> list[str]:
    """Returns templates that begin so."""
    from starter.creating import TEMPLATES

    return [name for name in TEMPLATES if name.startswith(incomplete)]


def new(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="What to call the task.", show_default=False)
    ] = "",
    template: Annotated[
        str,
        typer.Option(
            "-t",
            "--template",
            metavar="NAME",
            help="What to begin with; --list shows them.",
            autocompletion=templates_beginning,
            show_default=False,
        ),
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="Show the templates and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Write a new task that runs as it is.

    It comes from a template, with comments and with tests. On a terminal it asks for the template and the
    name if they are not given.
    """
    from starter.creating import TEMPLATES, files, template_of, write
    from taskmark.settings import Settings

    if listed:
        rows = [{"name": name, "description": about} for name, about in TEMPLATES.items()]
        table = [tuple(row.values()) for row in rows]
        write_rows(rows, output, lambda: write_table(("TEMPLATE", "WHAT IT SHOWS"), table))
        return Exit.OK
    chosen = template_of(template) if template else _asked_template()
    contents = files(Settings(), chosen, name or _asked_name(chosen))
    write(contents, force=force)
    _tell(list(contents))
    return Exit.OK


def _asked_template() -> str:
    from starter.cli.asking import ask, chosen
    from starter.creating import TEMPLATES, CannotCreate, template_of

    names = list(TEMPLATES)
    if not person_present():
        return names[0]

    def read(text: str) -> str:
        try:
            return template_of(chosen(text, names))
        except CannotCreate as error:
            raise ValueError(f"{error.message}; {error.hint}") from None

    choices = [f"{name}: {about}" for name, about in TEMPLATES.items()]
    return ask("template", read, choices=choices, default=names[0])


def _asked_name(template: str) -> str:
    from starter.cli.asking import ask
    from starter.creating import CannotCreate, id_of

    if not person_present():
        return template

    def read(text: str) -> str:
        try:
            id_of(text)
        except CannotCreate as error:
            raise ValueError(error.message) from None
        return text

    return ask("name", read, default=template)


def _tell(written: list[Path]) -> None:
    """Names the files, the task's on stdout, and says what to do with them."""
    task, *others = [os.path.relpath(path) for path in written]
    typer.echo(task)
    for other in others:
        say(f"also written: {other}", style="dim")
    say(f"  run it:     {command('run', task)}")
    say(f"  test it:    {command('test', task)}")
    say(f"  check it:   {command('lint', task)}   after every change")
