"""Keeps a step's state in line with its attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from temporalio import workflow

from taskmark.contracts import Consumption, StepCall, StepStatus
from taskmark.errors import Failure
from taskmark.projection import attempt_of
from taskmark.task.model import Step
from workflows.board import Board
from workflows.interrupting import Interrupted
from workflows.recording import record

if TYPE_CHECKING:
    from workflows.quotas import Quotas


class Unwanted(Exception):
    """An item need not begin any more."""


class Attempts:
    """The observer of one step's calls. Attempts go on counting when a phase runs again."""

    def __init__(
        self,
        board: Board,
        step: Step,
        is_wanted: Callable[[], bool],
        quota: Quotas,
        item: int | None = None,
    ) -> None:
        self._board = board
        self._step = step
        self._is_wanted = is_wanted
        self._quota = quota
        self._item = item
        self._attempt = 0
        self._interrupted: StepCall | None = None
        """What was ended where it was, and has not gone on yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """What will not go on was cancelled: its worker could not know that, and told nothing of it."""
        if kind is not None and self._interrupted is not None:
            now = workflow.now()
            record(
                attempt_of(self._interrupted, StepStatus.CANCELLED, worker=None, finished_at=now, as_of=now)
            )

    def attempt_started(self, attempt: int) -> None:
        """The step runs; of several items the highest attempt is shown.

        Raises `Unwanted` if meanwhile nobody needs the call any more, and `GaveUp` if nothing is left of what
        the task may use.
        """
        if not self._is_wanted():
            raise Unwanted
        self._attempt, self._interrupted = attempt, None
        self._board.begin(self._step)
        self._quota.check()
        state = self._board.steps[self._step.id]
        if state.status in (StepStatus.RUNNING, StepStatus.WAITING) and attempt > state.attempt:
            self._board.change(self._step.id, attempt=attempt)

    def attempt_used(self, resources: Any) -> None:
        """It has ended, however it did, and used so much."""
        self._quota.count(Consumption.of(resources))

    def attempt_failed(self, failure: Failure) -> None:
        """Another attempt follows; until then the failure is what the step shows."""
        self._board.change(self._step.id, error=failure)
        self._board.tell_retry(self._step, failure, self._item, self._attempt)

    def attempt_lost(self, request: StepCall, failure: Failure, *, deliveries: int) -> None:
        """What its last worker may have told after all is not what happened."""
        now = workflow.now()
        record(
            attempt_of(
                request,
                StepStatus.FAILED,
                worker=None,
                error=failure,
                finished_at=now,
                as_of=now,
                delivery=deliveries,
                given_up=True,
            )
        )

    def attempt_interrupted(self, interrupted: Interrupted) -> None:
        """A pause ended the attempt where it was, or the end of the task did."""
        self._interrupted = interrupted.request
        if interrupted.goes_on:
            self._board.tell_interruption(self._step, interrupted.resume, self._item, self._attempt)
