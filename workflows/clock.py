"""Waiting with a limit, and a clock that stands still while nothing is expected to happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from temporalio import workflow

NEARLY = 1.0
"""Seconds before its end in which a timer is not left alone: longer than a workflow task should take."""


async def within(seconds: float, happens: Callable[[], bool], summary: str, *, leave: bool = False) -> bool:
    """Waits until it happens, for so many seconds at most; returns whether it did.

    Not `wait_condition` with a timeout: that is `asyncio.wait_for`, which swallows the cancellation of its
    task if the condition or the timer is ready in the same turn. The task would then never end, and who
    winds it down would wait for ever.

    With `leave` the timer is left alone if the wait is cancelled: a wait that ends with its workflow saves
    an event, because the server forgets the timers of a workflow that has ended. Not if it is nearly due:
    one that fires while the workflow says that it has ended makes the server refuse that, and the worker
    do it again.
    """
    if happens() or seconds <= 0:
        return happens()
    due = workflow.time() + seconds
    timer = asyncio.create_task(workflow.sleep(seconds, summary=summary))
    try:
        await workflow.wait_condition(lambda: happens() or timer.done())
    except (Exception, asyncio.CancelledError):
        if not leave or due - workflow.time() < NEARLY:
            timer.cancel()
        raise
    timer.cancel()
    return happens()


class Countdown:
    """What is left of a limit, for those who want to know before it has run out."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._since: datetime | None = None

    @property
    def left(self) -> float:
        """The seconds that are left now."""
        ran = 0.0 if self._since is None else (workflow.now() - self._since).total_seconds()
        return max(0.0, self._left - ran)

    def stand(self) -> None:
        """It runs no more for now."""
        self._left, self._since = self.left, None

    def run(self) -> None:
        """It runs from now on."""
        self._since = workflow.now()


async def run_out(
    seconds: float,
    stands: Callable[[], bool],
    summary: str,
    runs_again: Callable[[float], None] | None = None,
    *,
    leave: bool = False,
    countdown: Countdown | None = None,
) -> None:
    """Returns once so many seconds have passed during which `stands()` was false.

    `runs_again` is told the seconds that are left whenever the clock goes on after it stood; `leave` is as
    for `within`; `countdown` shows what is left.

    The danger is to count time twice or to lose it: only the span from the last start of the clock
    is measured, and only when it stops, and the workflow's own time is used, so a replay counts the same.
    """
    left = seconds
    shown = countdown or Countdown(seconds)
    while left > 0:
        if stands():
            await workflow.wait_condition(lambda: not stands())
            if runs_again is not None:
                runs_again(left)
        started = workflow.now()
        shown.run()
        if not await within(left, stands, summary, leave=leave):
            return
        shown.stand()
        left -= (workflow.now() - started).total_seconds()
