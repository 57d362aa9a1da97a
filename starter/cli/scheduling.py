"""`schedule`: tasks that start by themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.filters import WHEN
from starter.cli.formats import Format, FormatOption, write_document, write_rows, write_table
from starter.cli.inputs import InputFile, Inputs
from starter.cli.loops import run_async
from starter.cli.naming import Task
from starter.cli.printable import one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from starter.schedules import ScheduleView

Name = Annotated[
    str,
    typer.Argument(metavar="SCHEDULE", help="Its name, or the id of its task.", show_default=False),
]
Note = Annotated[str, typer.Option("--note", help="Why; it is kept with the schedule.", show_default=False)]
OVERLAPS = "skip, bufferOne, bufferAll, cancelOther, terminateOther or allowAll"
Overlap = Annotated[
    str | None,
    typer.Option("--overlap", help=f"When one still runs: {OVERLAPS}.", show_default=False),
]


def set_schedule(
    task: Task,
    *,
    cron: Annotated[
        str | None,
        typer.Option(
            "--cron", help="When, such as '0 6 * * 1-5'; else as the file says.", show_default=False
        ),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Whose time, such as Europe/Berlin.", show_default=False)
    ] = None,
    overlap: Overlap = None,
    catch_up: Annotated[
        str | None,
        typer.Option(
            "--catch-up",
            metavar="DURATION",
            help="How old a time may be that no server was there for, such as 10min.",
            show_default=False,
        ),
    ] = None,
    input: Inputs = None,
    inputs: InputFile = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="A name of your own; else taskmark-<task id>.", show_default=False),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project it belongs to.")] = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Let a task start by itself.

    Its file's `schedule` says when, and these options win over it. Said again, it is just as it is said
    then; only a pause stays. Each execution compiles the file as it is then.
    """
    from starter.cli.clients import settings
    from starter.cli.inputs import gather_given
    from starter.wiring import Wiring
    from taskmark.contracts import StartTask

    seconds = _seconds(catch_up)
    definition = Wiring(settings()).compiler(confined=False).definition(StartTask(task=task))
    given = gather_given(definition, input or [], inputs)

    async def put(client: TaskClient) -> None:
        view = await client.schedules.set(
            task,
            name=name,
            cron=cron,
            timezone=timezone,
            overlap=overlap,
            catch_up=seconds,
            inputs=given,
            project=project,
        )
        _show(view, output)
        if client.server is not None:
            say(
                "It starts only while a process of ours runs this server: keep `taskmark dev` running. What"
                f" was due meanwhile is caught up then, if it is not older than {_duration(view)}."
            )

    return _with_client(put)


def list_schedules(output: FormatOption = Format.TABLE) -> Exit:
    """List the schedules that start tasks."""

    async def show(client: TaskClient) -> None:
        views = await client.schedules.list()
        rows = [view.model_dump(mode="json") for view in views]
        if views or output is not Format.TABLE:
            write_rows(rows, output, lambda: _table(views))
        else:
            say("No task starts by itself; `taskmark schedule set TASK` lets one.")

    return _with_client(show)


def show(name: Name, output: FormatOption = Format.TABLE) -> Exit:
    """Show a schedule: its next times, and what it has started."""

    async def tell(client: TaskClient) -> None:
        _show(await client.schedules.show(name), output)

    return _with_client(tell)


def pause(name: Name, note: Note = "") -> Exit:
    """Start nothing until `resume`.

    Times that pass meanwhile are left out.
    """

    async def ask(client: TaskClient) -> None:
        await client.schedules.pause(name, note)
        say(f"{name} starts nothing until `taskmark schedule resume {name}`")

    return _with_client(ask)


def resume(name: Name, note: Note = "") -> Exit:
    """Go on after a pause, with the times that are to come."""

    async def ask(client: TaskClient) -> None:
        await client.schedules.resume(name, note)
        say(f"{name} goes on")

    return _with_client(ask)


def trigger(name: Name, overlap: Overlap = None) -> Exit:
    """Start one now, and print its execution id."""

    async def ask(client: TaskClient) -> None:
        from starter.cli.clients import say_if_still

        execution = await client.schedules.trigger(name, overlap)
        if execution is None:
            say(f"nothing was started (yet): what {name} started before still runs")
            return
        typer.echo(execution)
        await say_if_still(client, execution)

    return _with_client(ask)


def backfill(
    name: Name,
    *,
    start: Annotated[str, typer.Option("--from", metavar="WHEN", help=f"Since: {WHEN}.")],
    end: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="Until; now by default.", show_default=False)
    ] = None,
    overlap: Overlap = None,
) -> Exit:
    """Start what was due in the past.

    One after the other, unless --overlap says otherwise.
    """
    from starter.cli.filters import moment

    since, until = moment(start, "--from"), moment(end, "--to") or datetime.now(UTC)
    assert since is not None

    async def ask(client: TaskClient) -> None:
        await client.schedules.backfill(name, since, until, overlap)
        say(f"{name} starts what was due; `taskmark schedule show {name}` shows it")

    return _with_client(ask)


def delete(name: Name) -> Exit:
    """End a schedule; what it has started goes on."""

    async def ask(client: TaskClient) -> None:
        await client.schedules.delete(name)
        say(f"{name} is deleted")

    return _with_client(ask)


COMMANDS = (
    ("set", set_schedule, ("set nightly", 'set nightly --cron "0 6 * * 1-5" --timezone Europe/Berlin')),
    ("list", list_schedules, ("list", "list -o json")),
    ("show", show, ("show nightly",)),
    ("pause", pause, ('pause nightly --note "database maintenance"',)),
    ("resume", resume, ("resume nightly",)),
    ("trigger", trigger, ("trigger nightly",)),
    ("backfill", backfill, ("backfill nightly --from 2026-01-05 --to 2026-01-07",)),
    ("delete", delete, ("delete nightly",)),
)


def _with_client(ask: Callable[[TaskClient], Awaitable[None]]) -> Exit:
    from starter.cli.clients import opened, settings

    async def carry_out() -> Exit:
        async with opened(settings(), worker=False) as client:
            await ask(client)
        return Exit.OK

    return run_async(carry_out())


def _seconds(text: str | None) -> float | None:
    from taskmark.task import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--catch-up") from error


# --- what is shown --------------------------------------------------------------------------------


def _show(view: ScheduleView, output: Format) -> None:
    if output is Format.TABLE:
        write_table(("schedule", view.name), _lines(view))
    else:
        write_document(view.model_dump(mode="json"), output)


def _lines(view: ScheduleView) -> list[tuple[str, str]]:
    inputs = ", ".join(f"{name}={value}" for name, value in view.inputs.items())
    lines = [
        ("task", view.task),
        ("inputs", inputs or "none; the file's defaults"),
        ("cron", f"{_times(view)} ({view.timezone})"),
        ("overlap", view.overlap),
        ("catch-up", _duration(view)),
        ("state", f"paused {view.note}".strip() if view.paused else "on"),
        *([("note", view.note)] if view.note and not view.paused else []),
        ("next", ", ".join(_due(view)[:3]) or "never"),
        ("started", f"{view.started}; {view.skipped} left out for overlap, {view.missed} too old"),
    ]
    lines += [("problem", problem) for problem in view.problems]
    return lines + [("ran", f"{run.execution_id} at {_moment(run.started_at)}") for run in view.recent]


def _table(views: tuple[ScheduleView, ...]) -> None:
    headings = ("schedule", "task", "cron", "time zone", "overlap", "next", "started", "")
    rows = [
        (
            view.name,
            view.task,
            _times(view),
            view.timezone,
            view.overlap,
            "paused" if view.paused else next(iter(_due(view)), "never"),
            str(view.started),
            one_line("; ".join(view.problems)),
        )
        for view in views
    ]
    write_table(headings, rows)


def _times(view: ScheduleView) -> str:
    return "; ".join(filter(None, (view.cron, *view.other_times)))


def _due(view: ScheduleView) -> list[str]:
    """Returns its next times in its own time zone, or in UTC if only the server knows that zone."""
    from zoneinfo import ZoneInfo

    from taskmark.task.options import is_timezone

    zone = ZoneInfo(view.timezone) if is_timezone(view.timezone) else UTC
    return [_moment(moment, zone) for moment in view.next]


def _moment(moment: datetime, zone: tzinfo | None = None) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S%z}"


def _duration(view: ScheduleView) -> str:
    from taskmark.task.durations import duration_text

    return duration_text(view.catch_up_seconds)
