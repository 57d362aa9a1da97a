"""`replay`: which executions could not go on with the code at hand."""

from __future__ import annotations

from collections.abc import AsyncIterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.filters import WHEN
from starter.cli.formats import Format, FormatOption, write_rows, write_table
from starter.cli.loops import run_async
from starter.cli.naming import executions_beginning
from starter.cli.terminal import say

if TYPE_CHECKING:
    from datetime import datetime

    from temporalio.client import WorkflowHistory

    from starter.gateway import TaskClient
    from starter.replaying import ReplayedExecution

ADVICE = (
    "Let workers of the code before finish what is open, or tell old executions from new ones: by what their"
    " start brings, or by `Limits.engine`."
)


def replay(
    execution: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXECUTION]...",
            help="Ids, or enough of their beginnings; else all that run, and those that ended lately.",
            autocompletion=executions_beginning,
            show_default=False,
        ),
    ] = None,
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that run.")] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help=f"Those that ended since: {WHEN}.")
    ] = "1d",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="So many executions at most; all by default.", show_default=False
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Histories in JSON files, as `temporal workflow show -o json` writes them, instead.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show those that replay well, too.")] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """List what could not go on with this code.

    Replays the histories of executions with the code at hand, and changes nothing. Exits with 1 if one that
    runs is affected.
    """
    from starter.cli.filters import moment

    ended = None if open_only else moment(since, "--since")
    if folder is not None:
        return run_async(_from_folder(folder, every=every, output=output))
    return run_async(_from_temporal(execution or [], ended, limit, every=every, output=output))


async def _from_folder(folder: Path, *, every: bool, output: Format) -> Exit:
    from starter.cli.clients import settings
    from starter.connection import namespace_of
    from starter.encrypting import codec_of
    from starter.replaying import in_folder

    found = settings()
    codec = codec_of(found, namespace_of(found))
    return await _judge(in_folder(folder, codec), every=every, output=output)


async def _from_temporal(
    prefixes: list[str], since: datetime | None, limit: int | None, *, every: bool, output: Format
) -> Exit:
    from starter.cli.clients import opened, settings
    from starter.replaying import executions_in, of_executions

    async with opened(settings(), worker=False) as client:
        found = [await _resolved(client, prefix) for prefix in prefixes] or await executions_in(
            client.client, since=since, limit=limit and limit + 1
        )
        code = await _judge(of_executions(client.client, found[:limit]), every=every, output=output)
    if limit is not None and len(found) > limit:
        say(f"Not all were looked at: there are more than --limit {limit}.")
    return code


async def _resolved(client: TaskClient, prefix: str) -> str:
    from starter.cli.clients import leave_elsewhere, resolve

    leave_elsewhere(client.wiring.settings, prefix)
    return await resolve(client, prefix)


async def _judge(histories: AsyncIterable[WorkflowHistory], *, every: bool, output: Format) -> Exit:
    from starter.replaying import replayed

    found = list((await replayed(histories)).values())
    shown = [one for one in found if every or one.affected]
    if shown or output is not Format.TABLE:
        rows = [one.model_dump(mode="json") for one in shown]
        write_rows(rows, output, lambda: _table(shown))
    stuck = [one for one in found if one.affected and one.open]
    running = sum(one.open for one in found)
    say(
        f"{running} running and {len(found) - running} ended executions,"
        f" {sum(one.histories for one in found)} histories: {len(stuck)} running could not go on."
    )
    if stuck:
        say(ADVICE)
    return Exit.FAILED if stuck else Exit.OK


def _table(shown: list[ReplayedExecution]) -> None:
    headings = ("execution", "state", "replay", "where", "reason")
    rows = [
        (
            one.execution_id,
            "runs" if one.open else "ended",
            "affected" if one.affected else "ok",
            one.workflow_id.removeprefix(f"{one.execution_id}/") if one.affected else "",
            one.reason,
        )
        for one in shown
    ]
    write_table(headings, rows)
