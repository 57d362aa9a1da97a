"""Keeps a step's state in line with its attempts."""

from __future__ import annotations

from collections.abc import Callable

from taskmark.contracts import StepStatus
from taskmark.errors import Failure
from taskmark.task.model import Step
from workflows.board import Board


class Unwanted(Exception):
    """An item need not begin any more."""


class Attempts:
    """The observer of one step's calls. Attempts go on counting when a phase runs again."""

    def __init__(
        self, board: Board, step: Step, is_wanted: Callable[[], bool], item: int | None = None
    ) -> None:
        self._board = board
        self._step = step
        self._is_wanted = is_wanted
        self._item = item
        self._attempt = 0

    def attempt_started(self, attempt: int) -> None:
        """The step runs; of several items the highest attempt is shown.

        Raises `Unwanted` if meanwhile nobody needs the call any more.
        """
        if not self._is_wanted():
            raise Unwanted
        self._attempt = attempt
        self._board.begin(self._step)
        state = self._board.steps[self._step.id]
        if state.status is StepStatus.RUNNING and attempt > state.attempt:
            self._board.change(self._step.id, attempt=attempt)

    def attempt_failed(self, failure: Failure) -> None:
        """Another attempt follows; until then the failure is what the step shows."""
        self._board.change(self._step.id, error=failure)
        self._board.tell_retry(self._step, failure, self._item, self._attempt)
