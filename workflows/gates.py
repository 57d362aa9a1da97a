"""Waits for people: a gate opens, a decision comes or the time runs out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from temporalio import workflow

from taskmark.contracts import Decision, Wait
from workflows.admission import Admission, Stopped
from workflows.background import ending
from workflows.board import Board
from workflows.calls import shortened
from workflows.clock import run_out


class Gates:
    """The open gates of a phase and the decisions that came for them."""

    def __init__(self, board: Board, admission: Admission) -> None:
        self._board = board
        self._admission = admission
        self._decisions: dict[str, Decision] = {}

    def take(self, decisions: tuple[Decision, ...]) -> None:
        """Keeps decisions for gates that wait; the first one counts."""
        for decision in decisions:
            key = decision.step or decision.name
            if key in self._board.waiting:
                self._decisions.setdefault(key, decision)

    async def decision(self, wait: Wait, patience: float | None) -> Decision | None:
        """Opens the gate and returns the decision, or None after `patience` seconds without one.

        The clock stands still while the task is paused. Raises `Stopped` when the task
        is stopped, because then nobody needs the decision any more.
        """
        key = wait.step or wait.name
        self._decisions.pop(key, None)
        self._open(wait, patience)
        try:
            return await self._first_of(wait, patience)
        finally:
            self._board.waited(key)

    def _open(self, wait: Wait, left: float | None) -> None:
        deadline = None if left is None else workflow.now() + timedelta(seconds=left)
        self._board.wait(wait.model_copy(update={"deadline": deadline}))

    async def _first_of(self, wait: Wait, patience: float | None) -> Decision | None:
        key = wait.step or wait.name

        def over() -> bool:
            return key in self._decisions or self._admission.stopped

        if patience is None:
            await workflow.wait_condition(over)
        else:
            summary = shortened(f"timeout of {wait.name}")
            stands, runs_again = lambda: self._admission.paused, partial(self._open, wait)
            clock = asyncio.create_task(run_out(patience, stands, summary, runs_again))
            async with ending(clock):
                await workflow.wait_condition(lambda: over() or clock.done())
        if key in self._decisions:
            return self._decisions.pop(key)
        if self._admission.stopped:
            raise Stopped
        return None
