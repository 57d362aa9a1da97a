"""`dev`, `worker` and `ui`: processes that stay until they are told to end."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.naming import executions_beginning
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from taskmark.settings import Settings

Debug = Annotated[bool, typer.Option("--debug", help="Log everything to stderr.")]


def dev(debug: Debug = False) -> Exit:
    """Run the server and a worker in the foreground, until Ctrl-C."""
    return run_async(_dev(_settings(debug=debug)))


async def _dev(settings: Settings) -> Exit:
    from starter.cli.clients import opened
    from starter.cli.interrupts import interrupts

    with interrupts(settings.grace_seconds) as caught:
        async with opened(settings, worker=True) as client:
            requested = caught.await_request()
            await _say_addresses(client, settings)
            await requested.wait()
            await _say_leaving(client, settings)
    return Exit.OK


async def _say_addresses(client: TaskClient, settings: Settings) -> None:
    address = client.server.address if client.server else settings.temporal_address
    say(f"  temporal:    {address}")
    if client.server:
        say(f"  web ui:      {client.server.ui_url}")
    say(f"  task queue:  {settings.task_queue}")
    say(f"  tasks:       {settings.tasks_dir}")
    say(f"  state:       {settings.state_dir}")
    active = await client.active()
    if active:
        say(
            f"Continuing {len(active)} execution{'s' if len(active) > 1 else ''}; `taskmark list` shows them."
        )
    say("Working. Ctrl-C ends this.")


async def _say_leaving(client: TaskClient, settings: Settings) -> None:
    from starter.cli.clients import is_alone

    say(f"Ending; running steps have {settings.grace_seconds:.0f} s. Ctrl-C again leaves at once.")
    if await is_alone(client) and await client.active(limit=1):
        say("Work stands still until `taskmark dev`, `run` or `watch`.")


def worker(
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes.")] = 1,
    debug: Debug = False,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> Exit:
    """Run a worker until SIGTERM or Ctrl-C.

    Told to end, it takes nothing new and lets running steps go on for `TASKMARK_GRACE_SECONDS`; what has
    not ended by then is taken over by another worker. A second signal ends it at once.
    """
    settings = _settings(debug=debug)
    if workers > 1:
        from starter.cli.pool import supervise

        words = ["worker", "--supervised", *(["--debug"] if debug else [])]
        return run_async(supervise(workers, words, settings.grace_seconds))
    return run_async(_work(settings, supervised=supervised))


async def _work(settings: Settings, *, supervised: bool) -> Exit:
    from starter.cli.clients import opened
    from starter.cli.interrupts import interrupts

    with interrupts(settings.grace_seconds, ignore_terminal=supervised) as caught:
        async with opened(settings, worker=True) as client:
            requested = caught.await_request()
            if supervised:
                asyncio.get_running_loop().add_reader(sys.stdin.fileno(), requested.set)
            address = client.server.address if client.server else settings.temporal_address
            say(f"worker on {address}, task queue {settings.task_queue}")
            await requested.wait()
            if supervised:
                asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            else:
                say(f"ending; running steps have {settings.grace_seconds:.0f} s")
    return Exit.OK


def ui(
    execution: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXECUTION]",
            help="Opens the page of this execution.",
            autocompletion=executions_beginning,
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Keep the embedded server up for its Web UI, until Ctrl-C. No work is done."""
    from starter.cli.clients import leave_elsewhere, settings

    found = settings()
    if execution:
        leave_elsewhere(found, execution)
    return run_async(_ui(found, execution))


async def _ui(settings: Settings, prefix: str | None) -> Exit:
    from urllib.parse import quote

    from starter.cli.clients import opened, resolve
    from starter.cli.interrupts import interrupts
    from taskmark.errors import InvalidSettings

    if settings.temporal_address is not None:
        raise InvalidSettings(
            f"Temporal at {settings.temporal_address} is not ours, and so is its Web UI.",
            hint="unset TEMPORAL_ADDRESS for the embedded server, or open your cluster's Web UI",
        )
    with interrupts(settings.grace_seconds) as caught:
        async with opened(settings, worker=False) as client:
            requested = caught.await_request()
            assert client.server is not None
            url = client.server.ui_url
            if prefix:
                url += f"/namespaces/default/workflows/{quote(await resolve(client, prefix), safe='')}"
            typer.echo(url)
            sys.stdout.flush()
            say("Ctrl-C ends this, and the page with it.")
            await requested.wait()
    return Exit.OK


def _settings(*, debug: bool) -> Settings:
    from starter.cli import logs
    from taskmark.settings import Settings

    settings = Settings()
    logs.to_stderr(settings, debug=debug)
    return settings
