"""`events`: what happened in an execution, by numbers with which one comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_json, write_line
from starter.cli.loops import run_async
from starter.cli.naming import Execution
from starter.cli.terminal import command, say

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.store.reading import StoredEvent


def events(
    execution: Execution,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution ends.")] = False,
    after: Annotated[
        int, typer.Option("--after", metavar="SEQ", min=0, help="Only those with a higher number.")
    ] = 0,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Show an execution's events, each once, from any number on.

    Interrupted, it says with which number to come back.
    """
    from starter.cli.clients import settings, stored_id
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    name = stored_id(wiring, execution)
    if follow:
        return run_async(_follow(wiring, name, after, output))
    found = list(wiring.history.all_events(name, after))
    if output is Format.JSON:
        write_json([_row(one) for one in found])
        return Exit.OK
    for one in found:
        _tell(one, output)
    if not found:
        say(f"No events after {after}." if after else "No events yet.")
    return Exit.OK


async def _follow(wiring: Wiring, name: str, after: int, output: Format) -> Exit:
    from starter.cli.history import stands_still
    from taskmark.errors import Unreachable

    if not wiring.history.execution(name).status.is_final and stands_still(wiring.settings):
        say("The embedded server does not run: nothing more happens until `taskmark dev` or `watch`.")
    try:
        async for one in wiring.history.follow(name, after):
            _tell(one, output)
            after = one.seq
    except (asyncio.CancelledError, Unreachable):
        say(f"Come back with: {command('events', name, '--follow', '--after', str(after))}")
        raise
    return Exit.OK


def _tell(event: StoredEvent, output: Format) -> None:
    from starter.cli.history import event_line

    if output is Format.TABLE:
        typer.echo(f"{event.seq:>5} {event_line(event)}")
    else:
        write_line(_row(event))


def _row(event: StoredEvent) -> dict[str, object]:
    return event.model_dump(mode="json", exclude={"type"})
