"""Workers take old executions out of the history store, if somebody has set for how long they are kept."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from taskmark.errors import Unreachable
from taskmark.retention import Ages, ages

if TYPE_CHECKING:
    from starter.wiring import Wiring

FIRST_SECONDS = 60.0
"""A worker that has just begun has better things to do."""
EVERY_SECONDS = 86_400.0
_log = logging.getLogger("taskmark.store")


async def keep_tidy(wiring: Wiring) -> None:
    """Cleans up once a day, until it is cancelled; what goes wrong waits for the next day.

    Every worker does: who comes second finds nothing left, and two at the same time do no harm.
    """
    wanted = ages(wiring.settings.retention)
    pause = FIRST_SECONDS
    while wanted:
        await asyncio.sleep(pause)
        pause = EVERY_SECONDS
        await _clean(wiring, wanted)


async def _clean(wiring: Wiring, wanted: Ages) -> None:
    from taskmark.store.cleaning import clean

    stop = threading.Event()
    try:
        done = await asyncio.to_thread(lambda: clean(wiring.store, wiring.artifacts, wanted, stop=stop))
    except Unreachable as error:
        _log.debug("the store cannot be cleaned up: %s", error)
        return
    finally:
        stop.set()  # if this was cancelled, the thread ends with what it has in hand
    if count := done.executions.total():
        _log.info("removed %d old executions and %d artifacts from the history", count, done.artifacts)
