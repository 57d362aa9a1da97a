"""Tasks that run beside a workflow's main one: how they tell other workflows, and how they end.

Cancelling a workflow reaches only its main task, so what was started beside it has to be cancelled and
awaited. Two things lie in wait. A signal that is on its way cannot be cancelled, and swallows the
cancellation of whoever awaits it. And a workflow that leaves the worker's cache is torn down by one
cancellation of everything; whoever begins anything new then keeps its place occupied for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from taskmark.contracts import Message

Heard = TypeVar("Heard", bound=Message)
Result = TypeVar("Result")


def heard(kind: type[Heard], payload: Any) -> Heard | None:
    """Returns a signal's payload as a message, or None if it is none.

    Anybody may signal anything, and a signal cannot be refused: an exception, also for a payload too many
    or too few, would fail the workflow task for ever. So handlers take whatever comes and look at it here.
    """
    try:
        return kind.model_validate(payload)
    except ValidationError:
        return None


async def tell(workflow_id: str, signal: str, message: Any = None) -> None:
    """Signals another workflow. One that has ended hears nothing, and that is no error."""
    await uninterrupted(lambda: deliver(workflow_id, signal, message))


async def deliver(workflow_id: str, signal: str, message: Any) -> None:
    """Does what `tell` does; a cancellation is swallowed while the signal is on its way."""
    with suppress(Exception):
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, message)


async def uninterrupted(make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Runs a coroutine to its end; whoever awaits it can be cancelled at once, it itself cannot."""
    coroutine = make()
    try:
        task = asyncio.create_task(coroutine)
    except BaseException:
        coroutine.close()  # the workflow is leaving the cache: nothing may begin
        raise
    return await asyncio.shield(task)


@asynccontextmanager
async def beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs coroutines beside the block, and ends them with it."""
    async with ending(*[asyncio.create_task(coroutine) for coroutine in coroutines]):
        yield


@asynccontextmanager
async def ending(*tasks: asyncio.Task[Any]) -> AsyncIterator[None]:
    """Ends tasks with the block.

    Not by `finally`: a worker that stops drops what is in its cache, and then nothing may be awaited.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError):
        await wind_down(*tasks)
        raise
    await wind_down(*tasks)


async def wind_down(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and awaits their end, whatever way they end."""
    for task in tasks:
        task.cancel()
    await uninterrupted(lambda: _end_of(tasks))


async def _end_of(tasks: tuple[asyncio.Task[Any], ...]) -> None:
    for task in tasks:
        try:
            await task
        except (Exception, asyncio.CancelledError) as error:
            if not is_cancelled_exception(error):
                workflow.logger.warning("something broke while it was wound down", exc_info=error)
