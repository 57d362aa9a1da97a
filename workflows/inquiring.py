"""Agents that ask back: their question waits for a person as a gate of their step."""

from __future__ import annotations

from temporalio import workflow

from taskmark.contracts import LONG, SHORT, StepStatus, Wait
from taskmark.errors import Category, Failure
from taskmark.inquiries import MOST_QUESTIONS, Inquiry
from taskmark.task.model import Json, Step
from workflows.board import Board
from workflows.calls import GaveUp
from workflows.gates import Gates


class Inquiries:
    """The questions of the agents of a phase."""

    def __init__(self, board: Board, gates: Gates) -> None:
        self._board = board
        self._gates = gates
        self._asked: dict[str, int] = {}

    async def answer(self, step: Step, who: str, item: int | None, asked: Inquiry) -> Json:
        """Returns what a person says, for the agent's context. Raises `GaveUp` if the step asks too much, and
        `Stopped`."""
        self._asked[step.id] = self._asked.get(step.id, 0) + 1
        if self._asked[step.id] > MOST_QUESTIONS:
            message = f"it asked more than {MOST_QUESTIONS} questions; the last one: {asked.question}"
            raise GaveUp(Failure(type="too_many_questions", message=message[:LONG], category=Category.LOGIC))
        wait = Wait(
            kind="question",
            name=_called(step, who, item, asked),
            prompt=asked.question[:LONG],
            since=workflow.now(),
            phase=self._board.phase.slug,
            step=step.id,
            answer_schema=asked.answer_schema,
            asker=who,
        )
        self._board.change(step.id, status=StepStatus.WAITING)
        try:
            decision = await self._gates.decision(wait, None)
        finally:
            self._go_on(step.id)
        assert decision is not None
        return {"question": asked.question, "value": decision.value, "by": decision.by}

    def _go_on(self, step: str) -> None:
        """The step runs on, unless another of its agents or items still asks."""
        asks = any(wait.step == step for wait in self._board.waiting.values())
        if not asks and self._board.steps[step].status is StepStatus.WAITING:
            self._board.change(step, status=StepStatus.RUNNING)


def _called(step: Step, who: str, item: int | None, asked: Inquiry) -> str:
    """Returns the name of a question; those of several agents or items of a step are told apart."""
    name = (asked.name or step.id)[:SHORT]
    if item is None:
        return name
    return f"{name}/{who}" if step.kind == "plain" else f"{name}[{item}]"
