"""Tasks and executions as words of a command, completed by the shell."""

from __future__ import annotations

from typing import Annotated

import typer

COMPLETIONS = 50


def tasks_beginning(incomplete: str) -> list[str]:
    """Returns ids of tasks that begin so; none where settings are wrong, for completion cannot complain."""
    from taskmark.errors import TaskmarkError
    from taskmark.settings import Settings

    try:
        folder = Settings().tasks_dir
    except TaskmarkError:
        return []
    return sorted(path.stem for path in folder.glob("*.md") if path.stem.startswith(incomplete))


def executions_beginning(incomplete: str) -> list[str]:
    """Returns the latest executions whose ids begin so."""
    from starter.cli.clients import history
    from starter.wiring import Wiring
    from taskmark.errors import TaskmarkError
    from taskmark.settings import Settings

    try:
        found = history(Wiring(Settings()))
        latest = found.executions(limit=COMPLETIONS) if found else ()
    except TaskmarkError:
        return []
    return [one.execution_id for one in latest if one.execution_id.startswith(incomplete)]


Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="A task's file, or its id.", autocompletion=tasks_beginning, show_default=False
    ),
]
Execution = Annotated[
    str,
    typer.Argument(
        metavar="EXECUTION",
        help="An execution's id, or enough of its beginning.",
        autocompletion=executions_beginning,
        show_default=False,
    ),
]
By = Annotated[str, typer.Option("--by", help="Who decides; your user name by default.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.", show_default=False)]


def person(by: str) -> str:
    """Returns who decides: the name given, else the user at this machine."""
    import getpass

    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""  # a container may have a user without a name
