"""`wait`: until an execution has ended, as the history store tells it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit, of_status
from starter.cli.formats import Format, FormatOption, write_document
from starter.cli.loops import run_async
from starter.cli.naming import Execution
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.store import StoreClient
    from taskmark.store.reading import StoredExecution

STANDING = ("waiting", "paused")
"""States in which only a person can go on."""


def wait(
    execution: Execution,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Leave after this time, such as 30s or 5m."),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Wait until an execution has ended, and show its outputs.

    It asks the history store only: no server is needed, and no work is done. After the timeout it exits
    with 5 if the execution waits for a person, else with 6; the execution goes on.
    """
    from starter.cli.clients import settings, stored_id
    from starter.store import StoreClient
    from starter.wiring import Wiring

    seconds, found = _seconds(timeout), settings()
    stored_id(Wiring(found), execution)  # which makes no store where there is none
    with StoreClient.open(found) as store:
        return run_async(_wait(store, execution, seconds, output))


def _seconds(text: str | None) -> float | None:
    from taskmark.task import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None


async def _wait(store: StoreClient, prefix: str, seconds: float | None, output: Format) -> Exit:
    from starter.cli.history import stand_still

    one = await asyncio.to_thread(store.history.execution, prefix)
    if stand_still(store.wiring.settings, [one]):
        say("The embedded server does not run: nothing happens until `taskmark dev` or `watch`.")
    try:
        ended = await store.wait(one.execution_id, timeout=seconds)
    except TimeoutError:
        ended = await asyncio.to_thread(store.history.execution, one.execution_id)
    if not ended.status.is_final:
        say(f"{ended.execution_id} has not ended: it is {ended.status.value}")
        return Exit.WAITING if ended.status.value in STANDING else Exit.TIMED_OUT
    _show(ended, output)
    return of_status(ended.status)


def _show(ended: StoredExecution, output: Format) -> None:
    from starter.cli.verdict import show_outputs, show_verdict
    from taskmark.projection import result_of

    show_verdict(result_of(ended), ended.task_name or ended.task_id or ended.execution_id)
    if output is Format.TABLE:
        show_outputs(ended.outputs or {})
    else:
        write_document(ended.model_dump(mode="json", exclude={"type"}), output)
