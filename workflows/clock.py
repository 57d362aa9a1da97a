"""Waiting with a limit, and a clock that stands still while nothing is expected to happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow


async def within(seconds: float, happens: Callable[[], bool], summary: str) -> bool:
    """Waits until it happens, for so many seconds at most; returns whether it did.

    Not `wait_condition` with a timeout: that is `asyncio.wait_for`, which swallows the cancellation of its
    task if the condition or the timer is ready in the same turn. The task would then never end, and who
    winds it down would wait for ever.
    """
    if happens() or seconds <= 0:
        return happens()
    timer = asyncio.create_task(workflow.sleep(seconds, summary=summary))
    try:
        await workflow.wait_condition(lambda: happens() or timer.done())
    finally:
        timer.cancel()
    return happens()


async def run_out(
    seconds: float,
    stands: Callable[[], bool],
    summary: str,
    runs_again: Callable[[float], None] | None = None,
) -> None:
    """Returns once so many seconds have passed during which `stands()` was false.

    `runs_again` is told the seconds that are left whenever the clock goes on after it stood.

    The danger is to count time twice or to lose it: only the span from the last start of the clock
    is measured, and only when it stops, and the workflow's own time is used, so a replay counts the same.
    """
    left = seconds
    while left > 0:
        if stands():
            await workflow.wait_condition(lambda: not stands())
            if runs_again is not None:
                runs_again(left)
        started = workflow.now()
        if not await within(left, stands, summary):
            return
        left -= (workflow.now() - started).total_seconds()
