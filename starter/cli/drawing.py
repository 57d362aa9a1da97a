"""`graph`: the phases of a task, or of an execution with its states, as a tree, Mermaid text or SVG."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.clients import history
from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.naming import executions_beginning, tasks_beginning
from starter.cli.printable import one_line, printable
from starter.cli.terminal import say, stdout, unicode_fits

if TYPE_CHECKING:
    from rich.console import Console

    from starter.gateway import TaskClient
    from starter.wiring import Wiring
    from taskmark.contracts import PhaseView
    from taskmark.errors import InvalidTask, UnknownExecution
    from taskmark.plan.drawing.picture import Picture
    from taskmark.records import ExecutionRecord


class Drawing(StrEnum):
    """What `--format` takes."""

    TREE = "tree"
    MERMAID = "mermaid"
    SVG = "svg"


SUFFIXES = {".svg": Drawing.SVG, ".mmd": Drawing.MERMAID, ".mermaid": Drawing.MERMAID}


def _beginning(incomplete: str) -> list[str]:
    return [*tasks_beginning(incomplete), *executions_beginning(incomplete)]


def graph(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="TASK|EXECUTION",
            help="A task's file or its id, or an execution's id or enough of its beginning.",
            autocompletion=_beginning,
            show_default=False,
        ),
    ],
    format: Annotated[
        Drawing | None,
        typer.Option(
            "--format", "-f", help="By default what the file's suffix says, else a tree.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A file to write to, such as graph.svg.",
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Draw the phases of a task, or of an execution with states.

    The states of an execution that runs come from the server if it can be reached, else from the history
    store.
    """
    from starter.cli.clients import settings
    from starter.wiring import Wiring

    picture = _picture(Wiring(settings()), subject)
    kind = format or SUFFIXES.get(output.suffix.lower() if output else "", Drawing.TREE)
    if output is None and kind is Drawing.TREE:
        _show_tree(picture, stdout())
    elif output is None:
        typer.echo(_drawn(picture, kind), nl=False)
    else:
        _write(output, _drawn(picture, kind))
    return Exit.OK


def _drawn(picture: Picture, kind: Drawing) -> str:
    """Returns the drawing as text. Raises `TaskmarkError` for what is too large to draw."""
    from taskmark.errors import TaskmarkError
    from taskmark.plan.drawing.mermaid import mermaid
    from taskmark.plan.drawing.svg import svg

    try:
        match kind:
            case Drawing.MERMAID:
                return mermaid(picture)
            case Drawing.SVG:
                return svg(picture)
            case Drawing.TREE:
                return _tree_text(picture)
    except ValueError as error:
        raise TaskmarkError(str(error), hint="--format tree shows them all") from error


def _write(file: Path, text: str) -> None:
    from taskmark.errors import TaskmarkError

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TaskmarkError(f"{file} cannot be written: {error.strerror}") from error
    say(f"wrote {file}")


# --- what is drawn --------------------------------------------------------------------------------


def _picture(wiring: Wiring, subject: str) -> Picture:
    """Returns the picture of a task, else of an execution. Raises `InvalidTask`, `UnknownExecution`."""
    from taskmark.contracts import StartTask
    from taskmark.errors import InvalidTask
    from taskmark.plan.drawing.picture import picture_of

    compiler = wiring.compiler(confined=False)
    try:
        compiler.find(subject)
    except InvalidTask as unknown:
        return run_async(_of_execution(wiring, subject, unknown))
    return picture_of(compiler.definition(StartTask(task=subject)))


async def _of_execution(wiring: Wiring, prefix: str, unknown: InvalidTask) -> Picture:
    """Returns the picture of an execution: from the store once it has ended, before that rather live."""
    from starter.cli.clients import deciding, resolve
    from taskmark.errors import DoneElsewhere, TaskmarkError, UnknownExecution

    stored = await asyncio.to_thread(_stored, wiring, prefix)
    if stored is not None and stored.is_elsewhere:
        raise DoneElsewhere(stored.execution_id)
    if stored is not None and stored.status.is_final:
        return await asyncio.to_thread(_from_store, wiring, stored)
    if _server_runs(wiring):
        try:
            async with deciding(wiring.settings) as client:
                return await _live(client, await resolve(client, prefix))
        except UnknownExecution:
            if stored is None:
                raise _neither(prefix, unknown) from None
        except TaskmarkError as error:
            if stored is None:
                raise
            say(f"the states are those of the history store: {error.message}")
    if stored is None:
        raise _neither(prefix, unknown)
    return await asyncio.to_thread(_from_store, wiring, stored)


def _neither(prefix: str, unknown: InvalidTask) -> UnknownExecution:
    from taskmark.errors import UnknownExecution

    hint = f"tasks: {unknown.diagnostics[0].hint}; `taskmark list` shows executions"
    return UnknownExecution(f"There is no task and no execution {prefix!r}", hint=hint)


def _stored(wiring: Wiring, prefix: str) -> ExecutionRecord | None:
    """Returns the execution that the store has, or None. Raises `UnknownExecution` if it has several."""
    from taskmark.errors import UnknownExecution, Unreachable

    try:
        found = history(wiring)
        return found.execution(prefix) if found else None
    except Unreachable as error:
        say(f"the history store is left out: {error.message}")
        return None
    except UnknownExecution as error:
        if error.message.startswith("Several"):
            raise
        return None


def _server_runs(wiring: Wiring) -> bool:
    from starter.embedded.server import running

    return wiring.settings.temporal_address is not None or running(wiring.settings) is not None


async def _live(client: TaskClient, execution: str) -> Picture:
    from taskmark.plan.drawing.picture import picture_of_plan

    plan, progress = await asyncio.gather(client.plan(execution), client.progress(execution))
    states = {phase.slug: (phase.status.value, _ended(phase)) for phase in progress.phases}
    return picture_of_plan(plan).with_states(progress.status.value, states)


def _ended(phase: PhaseView) -> str:
    total = sum(phase.counts.values())
    from taskmark.contracts import StepStatus

    ended = sum(count for status, count in phase.counts.items() if StepStatus(status).is_final)
    return f"{ended}/{total} steps" if total else ""


def _from_store(wiring: Wiring, stored: ExecutionRecord) -> Picture:
    """Returns the picture as far as the store knows. Raises `UnknownExecution` without its definition."""
    from pydantic import ValidationError

    from taskmark.errors import UnknownExecution
    from taskmark.plan.drawing.picture import picture_of
    from taskmark.task.model import TaskDefinition

    try:
        record = wiring.history.definition(stored.definition_sha256 or "")
        definition = TaskDefinition.model_validate(record.definition)
    except (KeyError, ValidationError) as error:
        message = f"The store does not have what {stored.execution_id} ran"
        raise UnknownExecution(message, hint="`taskmark backfill` reads it again from Temporal") from error
    phases = wiring.history.phases(stored.execution_id)
    states = {phase.phase: (phase.status.value, "") for phase in phases}
    return picture_of(definition).with_states(stored.status.value, states)


# --- the tree -------------------------------------------------------------------------------------


def _title(picture: Picture) -> str:
    status = f" · {picture.status.replace('_', ' ')}" if picture.status else ""
    return one_line(picture.title) + status


def _tree_text(picture: Picture) -> str:
    from taskmark.plan.drawing.picture import MARKS
    from taskmark.plan.drawing.tree import tree

    marks = {"": "", **{status: f"{mark} " for status, mark in MARKS.items()}}
    lines = (f"{line.lead}{marks[line.status]}{one_line(line.text)}{line.about}" for line in tree(picture))
    return "\n".join([_title(picture), *map(printable, lines)]) + "\n"


def _show_tree(picture: Picture, console: Console) -> None:
    from rich.text import Text

    from starter.cli.live import STYLES
    from starter.cli.picture import PLAIN_MARKS
    from taskmark.plan.drawing.picture import MARKS
    from taskmark.plan.drawing.tree import ASCII, Branches, tree

    fits = unicode_fits(sys.stdout)
    marks = MARKS if fits else PLAIN_MARKS
    title = _title(picture)
    console.print(Text(title if fits else title.replace("·", "-"), "bold"), soft_wrap=True)
    for line in tree(picture, Branches() if fits else ASCII):
        mark = f"{marks[line.status]} " if line.status else ""
        name = (mark + one_line(line.text), STYLES.get(line.status, "" if line.about else "dim"))
        text = Text.assemble(name, (printable(line.about) if fits else line.about.replace("·", "-"), "dim"))
        room = max(console.width - len(line.lead) - 2, 20)
        for number, part in enumerate(text.wrap(console, room)):
            part.rstrip()
            lead = line.continued + "  " if number else line.lead
            console.print(Text.assemble((lead, "dim"), part), soft_wrap=True)
