"""Tells the parent how the phase stands: at most once per interval, urgent things at once."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from taskmark.contracts import REPORT_SIGNAL, PhaseReport, PhaseStart
from workflows.background import tell
from workflows.board import Board
from workflows.clock import within


class Reporter:
    """Sends what changed, merged.

    An execution takes 10,000 signals in its life and `pause` must always find room, so reports have a
    budget: after half of it each report doubles the interval. The last change before the end is not
    reported, the result says it.
    """

    def __init__(self, board: Board, start: PhaseStart) -> None:
        self._board = board
        self._start = start
        self._sent = 0
        self._last = workflow.now()

    async def run(self) -> None:
        """Reports until it is cancelled."""
        while True:
            await workflow.wait_condition(lambda: self._board.has_news)
            if not self._board.is_urgent:
                await self._until_due()
            await asyncio.sleep(0)  # so that a step's end and the next one's start share a report
            await self.send(self._board.report())
            self._sent += 1
            self._last = workflow.now()

    async def send(self, report: PhaseReport) -> None:
        """Sends one report. A parent that has ended is not an error: nobody listens any more."""
        await tell(self._start.execution_id, REPORT_SIGNAL, report)

    async def _until_due(self) -> None:
        rest = self._interval - (workflow.now() - self._last).total_seconds()
        await within(
            rest,
            lambda: self._board.is_urgent,
            "next progress report",
            leave=self._start.limits.leaves_timers,
        )

    @property
    def _interval(self) -> float:
        over = self._sent - self._start.report_budget // 2
        return self._start.limits.progress_interval * 2.0 ** min(max(over, 0), 20)
