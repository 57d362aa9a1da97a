"""Runs a worker beside whatever else a process does, and ends it in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starter.catching_up import keep_up
from starter.connection import register_search_attributes
from starter.wiring import Wiring

if TYPE_CHECKING:
    from temporalio.client import Client


@asynccontextmanager
async def working(client: Client, wiring: Wiring) -> AsyncIterator[None]:
    """Runs a worker while the block runs.

    At the end running steps may go on for `grace_seconds`; what has not ended by then is handed over to
    another worker, which does not count as an attempt, and every record is on its way to the store.
    A worker that breaks ends the block with its error.
    """
    await register_search_attributes(client)
    worker = wiring.worker(client)
    keeping_up = asyncio.create_task(keep_up(client, wiring))
    try:
        async with worker:
            yield
    finally:
        keeping_up.cancel()
        await asyncio.gather(keeping_up, return_exceptions=True)
        await asyncio.to_thread(wiring.close)
