"""`backfill`: makes the history store equal to Temporal, after records were lost on their way."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.terminal import say

WRITING_SECONDS = 600.0
"""How long the store is given to take what was read."""


def backfill(
    executions: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXEC...", help="Only these; all that Temporal keeps without any."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
) -> Exit:
    """Make the history store say what Temporal says."""
    return run_async(_backfill(executions or [], dry_run=dry_run))


async def _backfill(executions: list[str], *, dry_run: bool) -> Exit:
    from starter.backfill import backfill as read_again
    from starter.cli.clients import opened, settings

    async with opened(settings(), worker=False) as client:
        recorder = client.wiring.recorder
        done = await read_again(client.client, recorder, only=executions, dry_run=dry_run)
        written = await asyncio.to_thread(client.wiring.close, WRITING_SECONDS)
    for problem in done.problems:
        say(f"not read: {problem}")
    verb = "would be written" if dry_run else "written"
    say(f"{done.records} records of {done.executions} executions {verb}")
    if not written:
        say("the store did not take all of them in time; the next command goes on with the rest")
        return Exit.UNREACHABLE
    return Exit.FAILED if done.problems else Exit.OK
