"""`retry` and `checkpoints`: go on from an execution that has ended, or that is held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli import control
from starter.cli.executions import Detach, OwnId, People, Project, followed, started
from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_rows, write_table
from starter.cli.inputs import InputFile, Inputs
from starter.cli.loops import run_async
from starter.cli.naming import By, Execution
from starter.cli.printable import one_line, size
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from starter.retrying import Again
    from taskmark.plan.reuse import Foreseen
    from taskmark.settings import Settings
    from taskmark.store.checkpoints import Checkpoint

Phase = Annotated[
    str | None,
    typer.Argument(
        metavar="[PHASE]", help="The phase that is held; of what has ended as --from.", show_default=False
    ),
]
_WORDS = {
    "reused": "reused",
    "runs": "runs",
    "perhaps": "reused if the same",
    "evaluated": "checked again",
    "skipped": "skipped",
}


@dataclass
class _Request:
    """What is to go on, as far as the command line says it."""

    prefix: str
    phase: str | None
    checkpoint: str | None
    file: str | None
    pairs: list[str]
    inputs: str | None
    id: str | None
    project: str | None
    task: str = ""

    async def prepared(self, client: TaskClient) -> Again:
        """Returns what is to run."""
        from starter.cli.clients import resolve
        from starter.cli.inputs import given
        from starter.retrying import from_where

        execution = await resolve(client, self.prefix)
        return await client.retries.prepare(
            from_where(execution, self.phase, self.checkpoint),
            lambda definition: given(definition, self.pairs, self.inputs),
            task=self.file,
            project=self.project,
        )

    async def begin(self, client: TaskClient) -> str:
        """Starts it and returns the new execution's id."""
        from starter.cli.forewarning import show

        again = await self.prepared(client)
        self.task = again.definition.id
        execution = await client.retries.begin(again, id=self.id, warn=show)
        say(f"{execution} goes on from {again.wanted.execution}")
        return execution


def retry(
    execution: Execution,
    phase: Phase = None,
    *,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="PHASE", help="Run this phase and all that depends on it anew."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", metavar="LABEL", help="Reuse only what had completed at this checkpoint."
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="TASK", help="The task's edited file; without it what ran runs again."
        ),
    ] = None,
    input: Inputs = None,
    inputs: InputFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be reused, what not, and why.")
    ] = False,
    id: OwnId = None,
    project: Project = None,
    detach: Detach = False,
    people: People = None,
    step: control.Step = "",
    comment: control.Comment = "",
    by: By = "",
    shown: control.Shown = "",
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Go on from what has ended, or run a held phase again.

    What has ended goes on as a new execution, which reuses every step that completed and is the same: what
    the file says of it, and what it reads. Inputs are those of then, but for those that are given.
    In a held phase, what reads an input that you change runs again, and so does a step that is named, with
    what reads it.
    """
    from starter.cli.clients import leave_elsewhere, settings

    found = settings()
    leave_elsewhere(found, execution)
    anew: dict[str, object] = {"--from": begin, "--checkpoint": checkpoint, "--file": file}
    anew |= {"--inputs": inputs, "--dry-run": dry_run or None, "--id": id, "--project": project}
    anew |= {"--detach": detach or None, "--wait/--no-wait": people}
    if step or (phase is not None and not _has_ended(found, execution)):
        _refuse(anew, _WHERE_HELD)
        said = {"comment": comment, "by": by, "shown": shown}
        return control.retry(execution, phase or "", step=step, input=input, **said)
    _refuse({"--comment": comment or None, "--by": by or None, "--shown": shown or None}, _WHERE_ENDED)
    if begin is not None and phase is not None:
        raise typer.BadParameter("name the phase once: as an argument, or by --from")
    if checkpoint is not None and (begin or phase) is not None:
        raise typer.BadParameter("name a phase or a checkpoint, not both", param_hint="--checkpoint")
    request = _Request(execution, begin or phase, checkpoint, file, input or [], inputs, id, project)
    if dry_run:
        return run_async(_foresee(found, request, output))
    if detach:
        return run_async(started(found, request, output))
    return run_async(followed(found, request, people, output))


_WHERE_HELD = (
    "for going on from an execution that has ended, but a phase that is held was named, or a step of it:"
    " nothing was done. Say it again without (inputs go into --input), or `taskmark abort` the execution"
    " first, and name no step"
)
_WHERE_ENDED = "for a phase that is held, but the execution has ended, or no phase is named: nothing was done"


def _refuse(options: dict[str, object], reason: str) -> None:
    """Raises `typer.BadParameter` if one of these was given: it would be left out in silence."""
    if given := [name for name, value in options.items() if value is not None]:
        are = "it is" if len(given) == 1 else "they are"
        raise typer.BadParameter(f"{are} {reason}", param_hint=", ".join(given))


def _has_ended(settings: Settings, prefix: str) -> bool:
    """Whether the execution has ended; the store may not know it yet, so Temporal is asked."""
    from starter.cli.clients import history
    from starter.wiring import Wiring
    from taskmark.errors import UnknownExecution, Unreachable

    try:
        store = history(Wiring(settings))
        if store is not None and store.execution(prefix).status.is_final:
            return True
    except (UnknownExecution, Unreachable):
        pass
    return run_async(_ended(settings, prefix))


async def _ended(settings: Settings, prefix: str) -> bool:
    from starter.cli.clients import opened, resolve

    async with opened(settings, worker=False) as client:
        return await client.has_ended(await resolve(client, prefix))


async def _foresee(settings: Settings, request: _Request, output: Format) -> Exit:
    from starter.cli.clients import opened

    async with opened(settings, worker=False) as client:
        found = (await request.prepared(client)).foreseen()
    write_rows([asdict(one) for one in found], output, lambda: _table(found))
    again = sum(one.verdict == "runs" for one in found)
    say(
        f"{sum(one.verdict == 'reused' for one in found)} steps are reused, {again} run. Nothing was started."
    )
    return Exit.OK


def _table(found: tuple[Foreseen, ...]) -> None:
    rows = [
        (
            one.phase,
            one.step,
            one_line(one.name),
            _WORDS[one.verdict],
            one_line("; ".join(filter(None, (one.why, _items(one))))),
        )
        for one in found
    ]
    write_table(("PHASE", "STEP", "", "", "WHY"), rows)


def _items(one: Foreseen) -> str:
    return f"{one.items[0]} of {one.items[1]} items are reused" if one.items else ""


def checkpoints(execution: Execution, output: FormatOption = Format.TABLE) -> Exit:
    """List the checkpoints of an execution, one after each phase.

    They are what a later execution may reuse. `retry --checkpoint LABEL` goes on from one that has a name.
    """
    from starter.cli.clients import settings, stored_id
    from starter.wiring import Wiring
    from taskmark.store.checkpoints import KeptCheckpoints, listed

    wiring = Wiring(settings())
    name = stored_id(wiring, execution)
    found = listed(KeptCheckpoints(wiring.store).of(name))
    rows = [{**asdict(one), "at": one.at.isoformat()} for one in found]
    write_rows(rows, output, lambda: _checkpoints(found))
    if not found:
        say(f"The store has no checkpoint of {name}; `taskmark backfill {name}` reads what Temporal has.")
    return Exit.OK


def _checkpoints(found: tuple[Checkpoint, ...]) -> None:
    rows = [
        (
            one.phase,
            one.label or "-",
            f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}",
            one.status,
            f"{one.completed}/{one.steps}",
            size(one.bytes),
        )
        for one in found
    ]
    if rows:
        write_table(("PHASE", "LABEL", "WHEN", "STATUS", "STEPS", "SIZE"), rows)
