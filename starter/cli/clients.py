"""Clients as commands need them, and the executions that people name by the beginning of an id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from starter.cli.terminal import command, say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from starter.wiring import Wiring
    from taskmark.settings import Settings
    from taskmark.store.reading import History


def settings() -> Settings:
    """Returns the settings, with logs on their way to a file. Raises `InvalidSettings`."""
    from starter.cli import logs
    from taskmark.settings import Settings

    found = Settings()
    logs.to_file(found)
    return found


@asynccontextmanager
async def opened(settings: Settings, *, worker: bool | None = None) -> AsyncIterator[TaskClient]:
    """Yields a client as `TaskClient.open` does, whose native logs stay off the terminal."""
    from starter.cli import logs
    from starter.gateway import TaskClient

    logs.forward_core()
    async with TaskClient.open(settings, worker=worker) as client:
        yield client


@asynccontextmanager
async def deciding(settings: Settings) -> AsyncIterator[TaskClient]:
    """Yields a client for decisions and questions, which workflows must be awake for.

    On the embedded server it is possible that nobody else runs a worker, so one of ours runs the
    workflows, but no step: a step that began here would be cut off a moment later.
    """
    from starter.cli import logs
    from starter.connection import connected
    from starter.gateway import TaskClient
    from starter.wiring import Wiring
    from starter.working import working

    class Deciding(Wiring):
        def activities(self) -> Sequence[Any]:
            """Returns none."""
            return ()

    logs.forward_core()
    async with connected(settings) as (client, server):
        wiring = Deciding(settings)
        async with working(client, wiring) if server else nullcontext():
            yield TaskClient(client, wiring, server)


def history(wiring: Wiring) -> History | None:
    """Returns the history store, or None if there is none yet: reading makes none."""
    return wiring.history if has_store(wiring.settings) else None


def has_store(settings: Settings) -> bool:
    """Whether there is a history store, as far as can be said without opening it."""
    file = settings.state_dir / "taskmark.db"
    return settings.database_url != f"sqlite:///{file}" or file.exists()


def stored_id(wiring: Wiring, prefix: str) -> str:
    """Returns the id of the one stored execution that begins so. Raises `UnknownExecution`, `Unreachable`."""
    from taskmark.errors import UnknownExecution

    found = history(wiring)
    if found is None:
        raise UnknownExecution(f"No execution has the id {prefix!r}", hint="nothing was run here yet")
    return found.execution(prefix).execution_id


def leave_elsewhere(settings: Settings, prefix: str) -> None:
    """Raises `DoneElsewhere` for work that Temporal does not run, before any server is asked for it."""
    from starter.wiring import Wiring
    from taskmark.errors import DoneElsewhere, UnknownExecution, Unreachable

    try:
        store = history(Wiring(settings))
        found = store.execution(prefix) if store else None
    except (UnknownExecution, Unreachable):
        return  # whoever asks the server says it better
    if found is not None and found.is_elsewhere:
        raise DoneElsewhere(found.execution_id)


async def resolve(client: TaskClient, prefix: str) -> str:
    """Returns the id of the one execution that begins so: one in the store, else one that runs.

    Raises `UnknownExecution` if there is none or several.
    """
    from taskmark.errors import UnknownExecution, Unreachable

    try:
        return await asyncio.to_thread(stored_id, client.wiring, prefix)
    except (UnknownExecution, Unreachable) as error:
        if error.message.startswith("Several"):
            raise
        running = [one.execution_id for one in await client.active(beginning=prefix)]
        if prefix in running or len(running) == 1:
            return prefix if prefix in running else running[0]
        if isinstance(error, UnknownExecution):
            raise
        raise UnknownExecution(f"No execution that runs has the id {prefix!r}", hint=error.message) from error


async def is_alone(client: TaskClient) -> bool:
    """Whether work stands still once this process leaves: nobody else uses the embedded server."""
    return client.server is not None and await asyncio.to_thread(client.server.is_last_user)


async def say_if_still(client: TaskClient, execution: str) -> None:
    """Says so if work stands still once this process leaves."""
    if await is_alone(client):
        say(f"Work on it stands still until: {command('watch', execution)}  (or `taskmark dev`, for all)")
