"""Tells the parent how the phase stands: at most once per interval, urgent things at once."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow

from taskmark.contracts import REPORT_SIGNAL, PhaseReport, PhaseStart
from workflows.background import deliver, uninterrupted
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
        self.sent = 0
        self.last = workflow.now()
        self._on_the_way = 0
        self._sent_at = 0
        """How long history was when the newest report was sent."""

    async def run(self) -> None:
        """Reports until it is cancelled."""
        while True:
            await workflow.wait_condition(lambda: self._board.has_news)
            if not self._board.is_urgent:
                await self._until_due()
            await asyncio.sleep(0)  # so that a step's end and the next one's start share a report
            await self.send(self._board.report())
            self.sent += 1
            self.last = workflow.now()

    async def send(self, report: PhaseReport) -> None:
        """Sends one report. A parent that has ended is not an error: nobody listens any more."""
        await uninterrupted(lambda: self._deliver(report))

    @property
    def is_silent(self) -> bool:
        """Whether no report is on its way: the server drops what a workflow that ends has just sent."""
        return self._on_the_way == 0

    async def arrived(self) -> None:
        """Waits for reports that were sent before this moment.

        The danger is the server's word of a report's arrival: a workflow that says meanwhile that it has
        ended is refused, leaves the worker's cache, and is replayed whole; of 10,000 steps that takes longer
        than a workflow task may. What is sent and ends in one moment cannot cross.
        """
        if self._sent_at < workflow.info().get_current_history_length():
            await workflow.wait_condition(lambda: self.is_silent)

    def go_on(self, sent: int, last: datetime) -> None:
        """An earlier run of the workflow has sent so many reports."""
        self.sent, self.last = sent, last

    async def _deliver(self, report: PhaseReport) -> None:
        self._on_the_way += 1
        self._sent_at = workflow.info().get_current_history_length()
        await deliver(self._start.execution_id, REPORT_SIGNAL, report)
        self._on_the_way -= 1

    async def _until_due(self) -> None:
        rest = self._interval - (workflow.now() - self.last).total_seconds()
        await within(
            rest,
            lambda: self._board.is_urgent,
            "next progress report",
            leave=self._start.limits.leaves_timers,
        )

    @property
    def _interval(self) -> float:
        return interval(self.sent, self._start.report_budget, self._start.limits.progress_interval)


def interval(sent: int, budget: int, seconds: float) -> float:
    """Returns how long after the last of so many reports the next one may follow."""
    return seconds * 2.0 ** min(max(sent - budget // 2, 0), 20)
