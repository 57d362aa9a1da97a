"""`backfill`: makes the history store equal to Temporal, or brings in results of the past from files."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.terminal import say

if TYPE_CHECKING:
    from taskmark.past.importing import Write

WRITING_SECONDS = 600.0
"""How long the store is given to take what was read."""


def backfill(
    executions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXEC...",
            help="Only these, by enough of an id; all that Temporal keeps without any.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Read results from *.json files, not from Temporal."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
) -> Exit:
    """Make the store say what Temporal or files say."""
    if folder is None:
        return run_async(_backfill(executions or [], dry_run=dry_run))
    if executions:
        raise typer.BadParameter("it takes no executions: it reads every file", param_hint="--from")
    return _from_files(folder, dry_run=dry_run)


def _from_files(folder: Path, *, dry_run: bool) -> Exit:
    from starter.cli.clients import settings
    from starter.wiring import Wiring
    from taskmark.errors import Unreachable
    from taskmark.garbage import search_less
    from taskmark.past.importing import take

    try:
        wiring = Wiring(settings())
        write: Write = (lambda _records: ()) if dry_run else wiring.writer()
        search_less()
        done = take(folder, write, lambda problem: say(f"not read: {problem}"), wiring.scrub)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be read: {error.strerror}", param_hint="--from") from error
    except (KeyboardInterrupt, Unreachable):
        say("stopped; what was read is written, and the same command goes on")
        raise
    verb = "would be written" if dry_run else "written"
    say(f"{done.records} records of {done.results} results in {done.files} files {verb}")
    return Exit.FAILED if done.problems else Exit.OK


async def _backfill(executions: list[str], *, dry_run: bool) -> Exit:
    from starter.backfill import backfill as read_again
    from starter.cli.clients import opened, settings

    async with opened(settings(), worker=False) as client:
        recorder, spool = client.wiring.recorder, client.wiring.spool
        room = partial(spool.wait_for_room, WRITING_SECONDS)
        names = [await client.kept(execution) for execution in executions]
        done = await read_again(client.client, recorder, only=names, dry_run=dry_run, room=room)
        written = await asyncio.to_thread(client.wiring.close, WRITING_SECONDS)
        dropped = spool.dropped
    for problem in done.problems:
        say(f"not read: {problem}")
    verb = "would be written" if dry_run else "written"
    say(f"{done.records} records of {done.executions} executions {verb}")
    if not written:
        say("the store did not take all of them in time; the next command goes on with the rest")
    if dropped:
        say(f"{dropped} of them found no room on their way; `taskmark backfill` again once the store answers")
    if not written or dropped:
        return Exit.UNREACHABLE
    return Exit.FAILED if done.problems else Exit.OK
