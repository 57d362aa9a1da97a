"""Runs a worker beside whatever else a process does, and ends it in order."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starter.catching_up import keep_up
from starter.connection import register_search_attributes
from starter.tidying import keep_tidy
from starter.turns import take_short_turns
from starter.wiring import Wiring
from taskmark.garbage import search_less

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.worker import Worker

STOPPING_SECONDS = 20.0
"""How long a worker may take to stop after its grace."""
_log = logging.getLogger("taskmark.worker")


@asynccontextmanager
async def working(client: Client, wiring: Wiring) -> AsyncIterator[None]:
    """Runs a worker while the block runs.

    At the end running steps may go on for `grace_seconds`; what has not ended by then is handed over to
    another worker, which does not count as an attempt, and every record is on its way to the store.
    A worker that breaks ends the block with its error.
    """
    await register_search_attributes(client)
    worker = wiring.worker(client)
    search_less()
    take_short_turns()
    beside = [asyncio.create_task(keep_up(client, wiring)), asyncio.create_task(keep_tidy(wiring))]
    try:
        async with _stopped_in_time(worker, wiring.settings.grace_seconds + STOPPING_SECONDS):
            yield
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await asyncio.to_thread(wiring.close)


@asynccontextmanager
async def _stopped_in_time(worker: Worker, seconds: float) -> AsyncIterator[None]:
    """Runs a worker while the block runs, and gives up on one that does not stop.

    After a workflow that blocked its thread for seconds the SDK's worker waits for ever to be rid of it.
    Whoever asked for the end must not wait with it: another worker takes over what this one leaves.
    """
    await worker.__aenter__()
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(seconds):
                await worker.__aexit__(*sys.exc_info())
        except TimeoutError:
            _log.warning("the worker did not stop within %g s, and is left behind", seconds)
