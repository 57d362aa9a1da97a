"""What is expected of an execution while it runs: the estimate that people see, and what is kept of it to be
compared with how it went.

What earlier executions took comes from the worker, not from history, and changes while the workflow runs:
nothing that the workflow does may depend on it. It is shown, and told to the store, and that is all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from temporalio import workflow

from taskmark.contracts import EXPERIENCE_EXTERN, Eta, ExecutionStatus, StepStatus
from taskmark.plan.eta.estimator import estimate
from taskmark.plan.eta.known import Past
from taskmark.records import WHOLE, EstimateRecord
from taskmark.task.model import TaskDefinition
from workflows.recording import record
from workflows.state import TaskState

_WORKING = frozenset({ExecutionStatus.RUNNING, ExecutionStatus.PAUSING})
_SHOWN_ANEW = timedelta(seconds=5)
_PART = 10
"""Percent of progress after which the next estimate is kept."""


class Lent(Protocol):
    """What the worker lends (`starter.learning`)."""

    def __call__(self, definition: TaskDefinition) -> Past | None:
        """Returns what is known of the task by now."""
        ...

    def ended(self, definition: TaskDefinition) -> None:
        """Learns that an execution of the task has ended."""
        ...


def _lent() -> Lent | None:
    return workflow.extern_functions().get(EXPERIENCE_EXTERN)  # type: ignore[return-value] # any function


def eta(state: TaskState, now: datetime) -> Eta | None:
    """Returns the remaining time as the execution stands, or None if it has ended or not begun, or while the
    worker still reads what was before: soon it is better known than from the file."""
    definition, lent = state.definition, _lent()
    if definition is None or state.status.is_final:
        return None
    past = lent(definition) if lent is not None else None
    if lent is not None and past is None:
        return None
    if state.paused is not None and state.paused.since is not None:
        now = state.paused.since  # while nothing runs, nothing gets nearer
    try:
        return _estimated(definition, state, past, now)
    except Exception:  # an estimate is worth less than the execution: whatever is wrong with it ends nothing
        workflow.logger.exception("the remaining time cannot be estimated")
        return None


def _estimated(definition: TaskDefinition, state: TaskState, past: Past | None, now: datetime) -> Eta:
    phases = {slug: (outcome.status, state.steps[slug]) for slug, outcome in state.outcomes.items()}
    running = {
        s: o.started_at for s, o in state.outcomes.items() if o.status is StepStatus.RUNNING and o.started_at
    }
    return estimate(definition, phases, past, now, waiting=state.waiting, began=running)


class Expectation:
    """Keeps an estimate at every tenth of the way, and how long the execution has worked by then."""

    def __init__(self, state: TaskState, execution: str) -> None:
        self._state, self._execution = state, execution
        self._worked = 0.0
        self._since: datetime | None = None
        self._kept: dict[int, EstimateRecord] = {}
        self._shown: Eta | None = None
        self._shown_at: datetime | None = None

    def status_is(self, status: ExecutionStatus) -> None:
        """The status has changed: what counts is the time in which anything is done."""
        self._worked, self._since = self.worked, workflow.now() if status in _WORKING else None

    @property
    def worked(self) -> float:
        """The seconds that it has worked until now."""
        ran = 0.0 if self._since is None else (workflow.now() - self._since).total_seconds()
        return self._worked + ran

    @property
    def shown(self) -> Eta | None:
        """The estimate for a page that is looked at now and then: no older than it needs to be."""
        at = self._shown_at
        if at is None or self._state.status.is_final or workflow.now() - at >= _SHOWN_ANEW:
            self._estimate()
        return self._shown

    def _estimate(self) -> Eta | None:
        self._shown_at = workflow.now()
        self._shown = eta(self._state, self._shown_at)
        return self._shown

    def look(self) -> None:
        """Progress may have come to the next tenth."""
        part = int(self._state.percent) // _PART * _PART
        if part in self._kept or _lent() is None:
            return
        found = self._estimate()
        if found is not None:
            self._kept[part] = self._record(part, found)

    def tell(self) -> None:
        """It has completed: tells the store what was expected, and what was true."""
        lent = _lent()
        if lent is None:
            return
        ended = Eta(remaining_seconds=0.0, low=0.0, high=0.0)
        record(*(self._kept.values() or self._at_first(lent)), self._record(WHOLE, ended))
        if self._state.definition is not None and not workflow.unsafe.is_replaying():
            lent.ended(self._state.definition)

    def _at_first(self, lent: Lent) -> Iterator[EstimateRecord]:
        """Yields what was to be said at the beginning, where nothing was kept: a task of one step comes on
        only at its end, and at its beginning the worker may not have read yet what was before."""
        definition, began = self._state.definition, self._state.started_at
        past = lent(definition) if definition is not None else None
        if definition is not None and began is not None and past is not None:
            with suppress(Exception):  # it is worth less than the execution
                yield self._record(0, estimate(definition, {}, past, began), at=began, worked=0.0)

    def _record(
        self, percent: int, eta: Eta, *, at: datetime | None = None, worked: float | None = None
    ) -> EstimateRecord:
        return EstimateRecord(
            execution_id=self._execution,
            percent=percent,
            at=at or workflow.now(),
            worked=round(self.worked if worked is None else worked, 3),
            remaining=eta.remaining_seconds,
            low=eta.low,
            high=eta.high,
            confidence=eta.confidence,
            basis=eta.basis,
            samples=eta.samples,
            stretch=eta.stretch,
        )
