"""Which executions are meant, and since when: the words of `list` and `metrics`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from taskmark.settings import Settings
    from taskmark.store.filtering import ExecutionFilter

WHEN = "how long ago, such as 7d or 30min, or a day or moment, such as 2026-01-31 or 2026-01-31T12:00"

Task = Annotated[str | None, typer.Option("--task", help="Only those of this task id.", show_default=False)]
Build = Annotated[str | None, typer.Option("--build", help="Only those of this build.", show_default=False)]
Project = Annotated[
    str | None, typer.Option("--project", help="Only those of this project.", show_default=False)
]
File = Annotated[str | None, typer.Option("--file", help="Only those of this task file.", show_default=False)]
Agent = Annotated[
    str | None,
    typer.Option("--agent", help="Only those that this agent does the whole of.", show_default=False),
]
Trace = Annotated[str | None, typer.Option("--trace", help="Only those of this trace.", show_default=False)]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", help="Only those in this state, such as failed; also several times."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help=f"Began since: {WHEN}.", show_default=False)
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Began before.", show_default=False)
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="WORDS",
        help="Only those with these words in inputs, outputs or errors of a step.",
        show_default=False,
    ),
]


def statuses(words: list[str] | None) -> tuple[Any, ...]:
    """Returns the states of these names. Raises `typer.BadParameter`."""
    from taskmark.contracts import ExecutionStatus

    found = [word.replace("-", "_") for word in words or ()]
    known = [status.value for status in ExecutionStatus]
    for word in found:
        if word not in known:
            message = f"{word!r} is not a state; known: {', '.join(known)}"
            raise typer.BadParameter(message, param_hint="--status")
    return tuple(map(ExecutionStatus, found))


def execution_filter(
    settings: Settings, *, file: str | None, since: str | None, until: str | None, **same: Any
) -> ExecutionFilter:
    """Returns what is wanted; `same` are fields as they are. Raises `typer.BadParameter`."""
    from taskmark.store.filtering import ExecutionFilter

    return ExecutionFilter(
        file=None if file is None else _below(settings.root, file),
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        **same,
    )


def _below(root: Path, file: str) -> str:
    """Returns a file as executions name it: relative to the root."""
    path = Path(file)
    whole = path.resolve() if path.is_absolute() or path.exists() else (root / path).resolve()
    return str(whole.relative_to(root.resolve()) if whole.is_relative_to(root.resolve()) else path)


def moment(text: str | None, option: str) -> datetime | None:
    """Returns the moment that is meant; one without a zone is local. Raises `typer.BadParameter`."""
    if text is None:
        return None
    meant = _read(text, option)
    return datetime.now(UTC) - meant if isinstance(meant, timedelta) else meant.astimezone()


def day(text: str | None, option: str) -> date | None:
    """Returns the day that is meant, in UTC; of 7d it is the first of the seven days up to today. Raises
    `typer.BadParameter`."""
    if text is None:
        return None
    meant = _read(text, option)
    if isinstance(meant, timedelta):
        whole = max(-(-meant // timedelta(days=1)), 1)
        return datetime.now(UTC).date() - timedelta(days=whole - 1)
    return meant.astimezone(UTC).date() if "T" in text or " " in text.strip() else meant.date()


def _read(text: str, option: str) -> datetime | timedelta:
    from taskmark.task import parse_duration

    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        if not text.strip().isdigit():  # milliseconds, which nobody means here
            return timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is not {WHEN}", param_hint=option)
