"""Asks before many calls at once, if they are expected to come to more than the task's budget says."""

from __future__ import annotations

from temporalio import workflow

from taskmark.contracts import PhaseStart, StepStatus, Wait
from taskmark.errors import Category, Failure
from taskmark.plan.budget import estimate
from taskmark.task.model import TaskDefinition
from taskmark.task.packing import unpack
from workflows.board import Board
from workflows.calls import GaveUp
from workflows.gates import Gates


class Consents:
    """The approvals that a phase's fan-outs need."""

    def __init__(self, start: PhaseStart, board: Board, gates: Gates) -> None:
        self._start = start
        self._board = board
        self._gates = gates

    async def ask(self, id: str, name: str, calls: int, *, step: str = "") -> None:
        """Returns once so many calls may begin, at once if they are few enough.

        Raises `GaveUp` if somebody rejects it, and `Stopped`.
        """
        above = self._start.ask_above
        if above is None or calls < 2:
            return
        expected = estimate(calls, self._board.used.plus(self._start.used))
        if not expected.exceeds(above):
            return
        wait = Wait(
            kind="approval",
            name=fan_out(id),
            prompt=f"{name}: {expected.words(above)}. Shall it begin?",
            since=workflow.now(),
            phase=self._board.phase.slug,
            step=step,
        )
        self._show(step, StepStatus.PENDING, StepStatus.WAITING)
        try:
            decision = await self._gates.decision(wait, None)
        finally:
            self._show(step, StepStatus.WAITING, StepStatus.PENDING)
        if decision is not None and not decision.approved:
            message = decision.comment or f"“{wait.name}” was rejected"
            raise GaveUp(Failure(type="rejected", message=message, category=Category.LOGIC))

    def _show(self, step: str, before: StepStatus, after: StepStatus) -> None:
        if step and self._board.steps[step].status is before:
            self._board.change(step, status=after)


def fan_out(id: str) -> str:
    """Returns the name of the approval of a step's or a phase's calls: no id has a hyphen."""
    return f"{id}-fan-out"


def tasks_of(start: PhaseStart) -> dict[str, TaskDefinition]:
    """Returns the sub-tasks that a phase was given."""
    packed = {name: unpack(text, TaskDefinition) for name, text in start.packed_tasks.items()}
    return {**start.tasks, **packed}
