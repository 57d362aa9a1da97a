"""`list`, `show` and `logs`: what the history store knows, also when nothing runs."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli import filters
from starter.cli.exits import Exit
from starter.cli.formats import (
    Format,
    FormatOption,
    write_document,
    write_json,
    write_line,
    write_rows,
    write_table,
)
from starter.cli.loops import run_async
from starter.cli.naming import Execution
from starter.cli.printable import duration, one_line, rough, used
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.contracts import Paused, Progress
    from taskmark.records import AttemptRecord, EstimateRecord, EventRecord, ExecutionRecord, PhaseRecord
    from taskmark.settings import Settings
    from taskmark.store.filtering import ExecutionFilter
    from taskmark.store.reading import History, StoredEvent, StoredExecution


def list_executions(
    *,
    status: filters.Statuses = None,
    task: filters.Task = None,
    build: filters.Build = None,
    file: filters.File = None,
    agent: filters.Agent = None,
    project: filters.Project = None,
    trace: filters.Trace = None,
    since: filters.Since = None,
    until: filters.Until = None,
    search: filters.Search = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", "--cursor", metavar="CURSOR", help="Go on where a page ended.", show_default=False
        ),
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that wait for a person, and for what.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """List executions, the latest first."""
    from starter.cli.clients import settings
    from taskmark.store.cursors import Cursor

    found = settings()
    same = {
        "task": task,
        "build": build,
        "agent": agent,
        "project": project,
        "trace": trace,
        "search": search,
    }
    times = {"since": since, "until": until}
    if waiting:
        others = {"status": status, "file": file, "after": after, **times, **same}
        if given := [f"--{name}" for name, value in others.items() if value is not None]:
            message = f"it takes no {', '.join(given)}: it asks everything that runs"
            raise typer.BadParameter(message, param_hint="--waiting")
        return run_async(_list_waiting(found, output))
    if after is not None:
        Cursor.parse(after)  # also where there is no store yet
    wanted = filters.execution_filter(found, status=filters.statuses(status), file=file, **times, **same)
    return _list(found, wanted, limit, after, output)


def _list(settings: Settings, wanted: ExecutionFilter, limit: int, after: str | None, output: Format) -> Exit:
    from starter.cli.clients import history
    from starter.wiring import Wiring

    store = history(Wiring(settings))
    found = store.executions(wanted, limit + 1, after) if store else ()
    shown, more = found[:limit], len(found) > limit
    still = stand_still(settings, shown)
    write_rows([_row(one) for one in shown], output, lambda: _list_table(shown))
    if not shown:
        asked = after is not None or wanted.model_dump(exclude_defaults=True)
        say("No executions." if asked else "No executions yet: taskmark run tasks/example.md …")
    if more and output is Format.TABLE:
        say(f"There are more: the same with {shlex.join(['--after', shown[-1].cursor])}")
    if still:
        say("The embedded server does not run: open executions stand still until `taskmark dev` or `watch`.")
    return Exit.OK


def stand_still(settings: Settings, found: Iterable[ExecutionRecord]) -> bool:
    """Whether some of the executions go on only once the embedded server runs."""
    return any(not one.status.is_final and not one.is_elsewhere for one in found) and stands_still(settings)


def stands_still(settings: Settings) -> bool:
    """Whether nothing goes on, because the embedded server does not run."""
    from starter.embedded.server import running

    return settings.temporal_address is None and running(settings) is None


def _row(one: StoredExecution) -> dict[str, Any]:
    left_out = {"type", "as_of", "inputs", "outputs"}
    return one.model_dump(mode="json", exclude=left_out, exclude_none=True) | {"cursor": one.cursor}


def _list_table(found: tuple[StoredExecution, ...]) -> None:
    if found:
        headings = ("EXECUTION", "TASK", "STATUS", "STARTED", "TOOK")
        write_table(headings, ((one.execution_id, *_cells(one)) for one in found))


def _cells(one: StoredExecution) -> tuple[str, str, str, str]:
    return (
        one_line(one.task_name or one.task_id or ""),
        one.status.value,
        _moment(one.started_at),
        _took(one.started_at, one.finished_at),
    )


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else ""


def _took(start: datetime | None, end: datetime | None) -> str:
    return duration((end - start).total_seconds()) if start and end else ""


async def _list_waiting(settings: Settings, output: Format) -> Exit:
    """Asks the executions themselves: what waits now is theirs to know.

    Exits with 3 if some do not answer: nobody knows whether they wait.
    """
    from starter.cli.clients import deciding

    async with deciding(settings) as client:
        told = await client.waiting()
    found = told.executions
    write_rows([_waiting(one) for one in found], output, lambda: _waiting_table(found))
    for name, why in told.silent.items():
        say(f"{name} does not answer: {why}")
    if not found and not told.silent:
        say("Nothing waits for a person.")
    return Exit.UNREACHABLE if told.silent else Exit.OK


def _waiting(one: Progress) -> dict[str, Any]:
    """Returns what waits, each with the commands that decide it."""
    from starter.cli.picture import decisions

    row = one.model_dump(mode="json", include={"execution_id", "task", "status", "waiting", "paused"})
    for told, wait in zip(row["waiting"], one.waiting, strict=True):
        told["commands"] = decisions(one.execution_id, wait, one.waiting)
    return row


def _waiting_table(found: tuple[Progress, ...]) -> None:
    rows = [row for one in found for row in _waiting_rows(one)]
    if rows:
        write_table(("EXECUTION", "TASK", "WAITS FOR", "NAME", "SINCE", "UNTIL", "PROMPT"), rows)
        say("")
        for words in dict.fromkeys(words for one in found for words in _commands(one)):
            say(f"  {words}")


def _waiting_rows(one: Progress) -> Iterator[tuple[str, ...]]:
    for wait in one.waiting:
        when = (_moment(wait.since), _moment(wait.deadline))
        yield one.execution_id, one_line(one.task), wait.kind, wait.name, *when, one_line(wait.prompt)
    if one.paused:
        since, reason = _moment(one.paused.since), one_line(one.paused.reason)
        yield one.execution_id, one_line(one.task), "resume", "", since, "", reason


def _commands(one: Progress) -> Iterator[str]:
    """Yields the commands that let an execution go on."""
    from starter.cli.picture import decisions
    from starter.cli.terminal import command

    for wait in one.waiting:
        yield from decisions(one.execution_id, wait, one.waiting)
    if one.paused:
        yield command("resume", one.execution_id)


# --- show -----------------------------------------------------------------------------------------


def show(execution: Execution, output: FormatOption = Format.TABLE) -> Exit:
    """Show an execution: phases, steps, attempts, outputs, errors."""
    from starter.cli.clients import settings, stored_id
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    name = stored_id(wiring, execution)
    one, phases = wiring.history.execution(name), wiring.history.phases(name)
    attempts, pause = wiring.history.attempts(name), _pause(wiring.history, one)
    estimates = wiring.history.estimates(name)
    whole = {
        "execution": one.model_dump(mode="json", exclude={"type"}),
        "paused": pause and pause.model_dump(mode="json"),
        "phases": [phase.model_dump(mode="json", exclude={"type"}) for phase in phases],
        "attempts": [attempt.model_dump(mode="json", exclude={"type"}) for attempt in attempts],
        "estimates": [one.model_dump(mode="json", exclude={"type"}) for one in estimates],
    }
    if output is Format.TABLE:
        _show_execution(one, pause, _estimated(estimates))
        _show_steps(phases, attempts, _rescued(wiring.history, name))
        _show_end(one)
    else:
        write_document(whole, output)
    return Exit.OK


def _pause(history: History, one: ExecutionRecord) -> Paused | None:
    """Returns who paused what is paused, when and why."""
    from taskmark.contracts import ExecutionStatus, Paused

    if one.status not in (ExecutionStatus.PAUSING, ExecutionStatus.PAUSED):
        return None
    paused = [event for event in history.all_events(one.execution_id) if event.kind == "execution_paused"]
    return Paused(**paused[-1].payload, since=paused[-1].at) if paused else None


def _estimated(estimates: Sequence[EstimateRecord]) -> str | None:
    """Returns how good the estimates of an execution were, if it completed."""
    from taskmark.plan.calibration import DECLARED, judged

    found = judged(estimates)
    claiming = [one for one in found if one.told.basis != DECLARED]
    if not found:
        return None
    first = (claiming or found)[0]
    told = first.told
    between = f"{rough(told.low)} to {rough(told.high)}" if claiming else "as declared"
    words = f"at {told.percent} % about {rough(told.remaining)} ({between}), took {rough(first.truth)}"
    held = f"{sum(one.holds for one in claiming)} of {len(claiming)}"
    return f"{words}; {held} intervals held" if claiming else words


def _show_execution(one: ExecutionRecord, pause: Paused | None, estimated: str | None) -> None:
    from starter.cli.picture import paused

    facts = [
        ("execution", one.execution_id),
        ("task", " ".join(filter(None, (one.task_name or one.task_id, one.task_version)))),
        ("file", one.source_path),
        ("project", one.project),
        ("status", one.status.value.replace("_", " ")),
        ("paused", paused(pause).lstrip(", ") if pause else None),
        ("done", "elsewhere, not by Temporal" if one.is_elsewhere else None),
        ("agent", one.assigned_agent if one.is_elsewhere else None),
        ("started", _moment(one.started_at)),
        ("took", _took(one.started_at, one.finished_at)),
        ("estimates", estimated),
        ("trace", one.trace_id),
        *((f"input {name}", _text(value)) for name, value in (one.inputs or {}).items()),
    ]
    known = [(name, one_line(value)) for name, value in facts if value]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        typer.echo(f"{name:<{width}}  {value}")


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rescued(history: History, execution: str) -> dict[str, str]:
    """Returns the steps that completed with their fallback, after attempts that all failed, and why."""
    completed = (one for one in history.all_events(execution) if one.kind == "step_completed")
    used = ((one.step, one.payload) for one in completed if one.payload.get("fallback"))
    return {step: f"with its fallback{_for(payload.get('fallback_for'))}" for step, payload in used}


def _for(reason: Any) -> str:
    return f": {one_line(str(reason))}" if reason else ""


def _show_steps(
    phases: tuple[PhaseRecord, ...], attempts: tuple[AttemptRecord, ...], rescued: dict[str, str]
) -> None:
    rows: list[tuple[str, ...]] = []
    for phase in phases:
        note = one_line(phase.error.message) if phase.error else ""
        name = one_line(phase.name or phase.phase)
        tries = str(phase.attempt) if phase.attempt > 1 else ""
        took = _took(phase.started_at, phase.finished_at)
        rows.append((name, phase.status.value, tries, took, "", note))
        of_phase = [one for one in attempts if one.phase == phase.phase]
        for one, after in zip_longest(of_phase, of_phase[1:]):
            rows.append(_attempt(one))
            if one.step in rescued and (after is None or after.step != one.step):
                rows.append((f"  {one.step}", "completed", "", "", "", rescued[one.step]))
    rows += [_attempt(one) for one in attempts if not one.phase]  # work done elsewhere has no phases
    headings: tuple[str, ...] = ("PHASE / STEP", "STATUS", "ATTEMPT", "TOOK", "USED", "")
    if not any(one.resources for one in attempts):  # then the notes have more room
        headings, rows = (*headings[:-2], ""), [(*row[:-2], row[-1]) for row in rows]
    if rows:
        typer.echo()
        write_table(headings, rows, first=False)


def _attempt(one: AttemptRecord) -> tuple[str, ...]:
    item = f"[{one.item}]" if one.item is not None else ""
    agent = f" ({one.agent})" if one.agent else ""
    note = one_line(one.error.message if one.error else one.description or "")
    tries = str(one.attempt) if one.attempt else ""
    took = _took(one.started_at, one.finished_at)
    return f"  {one.step}{item}{agent}", one.status.value, tries, took, used(one.resources), note


def _show_end(one: ExecutionRecord) -> None:
    from starter.cli.verdict import failure_lines, show_outputs

    if one.error:
        typer.echo()
        for line in failure_lines(one.error):
            typer.echo(line)
    if one.outputs:
        typer.echo()
        show_outputs(one.outputs)


# --- logs -----------------------------------------------------------------------------------------


def logs(
    execution: Execution,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution ends.")] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Show what happened in an execution, event by event."""
    from starter.cli.clients import settings, stored_id
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    name = stored_id(wiring, execution)
    if follow:
        return run_async(_follow(wiring, name, output))
    if output is Format.JSON:
        write_json([_event(one) for one in wiring.history.all_events(name)])
        return Exit.OK
    for one in wiring.history.all_events(name):
        _tell(one, output)
    return Exit.OK


async def _follow(wiring: Wiring, id: str, output: Format) -> Exit:
    followed = await asyncio.to_thread(wiring.history.execution, id)
    if not followed.is_elsewhere and stands_still(wiring.settings):
        say("The embedded server does not run: nothing more happens until `taskmark dev` or `watch`.")
    async for one in wiring.history.follow(id):
        _tell(one, output)
    return Exit.OK


def _tell(event: StoredEvent, output: Format) -> None:
    if output is Format.TABLE:
        typer.echo(event_line(event))
    else:
        write_line(_event(event))


def _event(event: StoredEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"type"})


def event_line(event: EventRecord) -> str:
    """Returns an event on one line: when, what, where, and its details."""
    where = " / ".join(part for part in (event.phase, event.step) if part)
    item = f"[{event.item}]" if event.item is not None else ""
    attempt = f" attempt {event.attempt}" if event.attempt > 1 else ""
    details = " ".join(f"{name}={_text(value)}" for name, value in event.payload.items())
    moment = f"{event.at.astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
    what = event.kind.replace("_", " ")
    return one_line(f"{moment} {what:<20} {where}{item}{attempt} {details}").rstrip()
