"""The event loop of a command: as `asyncio.run`, but its end waits for nobody for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

LEAVING_SECONDS = 5.0
"""How long what still runs when the command is done may take to end."""
T = TypeVar("T")
_log = logging.getLogger("taskmark.cli")


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Runs a command to its end and returns what it returns.

    `asyncio.run` cancels what is left and waits until it has ended. The SDK's worker catches that
    cancellation while it tries to be rid of a blocked workflow, and tries again for ever. The process ends
    anyhow, without the interpreter's own clean-up, so such a task is left behind.
    """
    runner = asyncio.Runner()
    try:
        return runner.run(main)
    finally:
        if _ended(runner.get_loop()):
            runner.close()
        else:
            _log.warning("something did not end within %g s, and is left behind", LEAVING_SECONDS)


def _ended(loop: asyncio.AbstractEventLoop) -> bool:
    """Cancels what still runs; returns whether all of it ended."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=LEAVING_SECONDS))
    return all(task.done() for task in left)
