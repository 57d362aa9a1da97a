"""Waits for people: a gate opens, a decision comes or the time runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from temporalio import workflow

from taskmark.carried import OpenGate
from taskmark.contracts import Decision, Wait
from workflows.admission import Admission, Stopped
from workflows.background import ending
from workflows.board import Board
from workflows.calls import shortened
from workflows.clock import Countdown, run_out


class Renewed(Exception):
    """The gate would show something else by now: it has to be opened anew."""


class Gates:
    """The open gates of a phase and the decisions that came for them."""

    def __init__(self, board: Board, admission: Admission) -> None:
        self._board = board
        self._admission = admission
        self._decisions: dict[str, Decision] = {}
        self._clocks: dict[str, Countdown] = {}
        """What is left of the patience of those that have a limit."""
        self._left: dict[str, float | None] = {}
        """Of those that an earlier run of the workflow opened."""
        self._renewed: dict[str, None] = {}

    def go_on(self, carried: Sequence[OpenGate]) -> None:
        """The gates that an earlier run of the workflow left open."""
        for gate in carried:
            key = gate.wait.key
            self._left[key] = gate.left
            if gate.decision is not None:
                self._decisions[key] = gate.decision

    def carried(self) -> tuple[OpenGate, ...]:
        """Returns the gates that are open, for the next run of the workflow."""
        return tuple(
            OpenGate(wait=wait, left=self._left_of(key), decision=self._decisions.get(key))
            for key, wait in self._board.waiting.items()
            if wait.kind != "budget"  # for that only those wait who ask anew
        )

    def _left_of(self, key: str) -> float | None:
        clock = self._clocks.get(key)
        return self._left.get(key) if clock is None else clock.left

    def take(self, decisions: tuple[Decision, ...]) -> None:
        """Keeps decisions for gates that wait and show what was decided; the first one counts."""
        for decision in decisions:
            for key, wait in self._board.waiting.items():
                is_meant = (wait.name, wait.step) == (decision.name, decision.step)
                if is_meant and key not in self._renewed and decision.shown in ("", wait.shown):
                    self._decisions.setdefault(key, decision)

    def opening(self, wait: Wait) -> Wait:
        """Returns the wait that an earlier run of the workflow opened and left, else the one given."""
        return self._board.waiting[wait.key] if wait.key in self._left else wait

    def renew(self, wait: Wait) -> None:
        """Ends the wait, because it would show something else by now."""
        self._renewed[wait.key] = None

    async def decision(self, wait: Wait, patience: float | None) -> Decision | None:
        """Opens the gate and returns the decision, or None after `patience` seconds without one.

        The clock stands still while the task is paused. Raises `Stopped` when the task
        is stopped, because then nobody needs the decision any more, and `Renewed`.
        """
        if self._board.start.limits.corrects:
            wait = wait.bound()
        key = wait.key
        self._renewed.pop(key, None)
        if key in self._left:
            wait, patience = self._board.waiting[key], self._left.pop(key)
        else:
            self._decisions.pop(key, None)
            self._open(wait, patience)
        try:
            return await self._first_of(wait, patience)
        finally:
            self._clocks.pop(key, None)
            self._board.waited(key)

    def _open(self, wait: Wait, left: float | None) -> None:
        deadline = None if left is None else workflow.now() + timedelta(seconds=left)
        self._board.wait(wait.model_copy(update={"deadline": deadline}))

    async def _first_of(self, wait: Wait, patience: float | None) -> Decision | None:
        key = wait.key

        def over() -> bool:
            return key in self._decisions or self._admission.stopped or key in self._renewed

        if patience is None:
            await workflow.wait_condition(over)
        else:
            summary = shortened(f"timeout of {wait.name}")
            stands, runs_again = lambda: self._admission.paused, partial(self._open, wait)
            countdown = self._clocks[key] = Countdown(patience)
            clock = asyncio.create_task(run_out(patience, stands, summary, runs_again, countdown=countdown))
            async with ending(clock):
                await workflow.wait_condition(lambda: over() or clock.done())
        if key in self._decisions:
            return self._decisions.pop(key)
        if self._admission.stopped:
            raise Stopped
        if key in self._renewed:
            raise Renewed
        return None
