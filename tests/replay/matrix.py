"""Which kind of step met which fate in the recorded histories, read from the histories themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from taskmark.contracts import (
    CONTROL_SIGNAL,
    PHASE_WORKFLOW,
    REPORT_SIGNAL,
    TASK_WORKFLOW,
    ControlPhase,
    PhaseReport,
    PhaseResult,
    PhaseStart,
    StepState,
    StepStatus,
)
from taskmark.task.model import BUILT_IN_KINDS, Step

KINDS = (
    *("tool", "agent", "instruction", "note", "validation", "aggregate"),
    *("approval", "question", "task", "wait", "custom"),
)
"""Every kind of step; `instruction` and `note` are the plain step with and without an agent."""

FATES = (
    *("completed", "retried", "failed", "skipped", "cancelled", "aborted", "timed out"),
    *("paused", "phase retried", "sub-task", "forEach", "child killed"),
)
"""Everything that can become of a step, or of what it is part of."""

_NOTHING_IN_FLIGHT = "it is done within the workflow task that begins it, so nothing can meet it half-way"
_NO_ATTEMPTS = "it has no attempts of its own; a phase's retry begins it again, which is another column"

IMPOSSIBLE = {
    **{
        (kind, fate): _NOTHING_IN_FLIGHT
        for kind in ("note", "validation")
        for fate in ("cancelled", "aborted", "timed out", "child killed")
    },
    **{
        (kind, "retried"): _NO_ATTEMPTS
        for kind in ("note", "validation", "approval", "question", "task", "wait")
    },
}
"""Why there can be no history of these. An aggregate that users registered is in flight, and has attempts."""

Cell = tuple[str, str]


def cells(histories: Sequence[WorkflowHistory]) -> dict[Cell, set[str]]:
    """Returns the ids of the workflows that show each cell."""
    tasks = {h.workflow_id: h for h in histories if _type(h) == TASK_WORKFLOW}
    found: dict[Cell, set[str]] = {}
    for history in histories:
        if _type(history) == PHASE_WORKFLOW:
            for cell in _Phase(history, tasks).cells():
                found.setdefault(cell, set()).add(history.workflow_id)
    return found


class _Phase:
    """One phase's history, read."""

    def __init__(self, history: WorkflowHistory, tasks: dict[str, WorkflowHistory]) -> None:
        self._events = history.events
        self._start = _read(PhaseStart, _started(history).input)
        self._task = tasks[self._start.execution_id.partition("/")[0]]
        self._states = {state.id: state for state in self._reported()}
        self._result = self._returned()

    def cells(self) -> Iterator[Cell]:
        assert self._start.phase is not None
        for step in self._start.phase.steps:
            for state in self._states.values():
                if state.id.partition("[")[0] == step.id:
                    yield from ((self._kind(step), fate) for fate in self._fates(step, state))

    def _kind(self, step: Step) -> str:
        assert self._start.phase is not None
        if step.kind == "plain":
            return "instruction" if self._start.phase.agents or self._start.default_agents else "note"
        return step.kind if step.kind in BUILT_IN_KINDS else "custom"

    def _fates(self, step: Step, state: StepState) -> Iterator[str]:
        assert self._start.phase is not None
        attempts = self._result.attempts if self._result else 1
        if state.status in (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED):
            yield str(state.status)
        if state.error is not None and state.error.type == "timed_out":
            yield "timed out"
        if state.status is StepStatus.CANCELLED:
            yield self._stopped_by()
        if state.attempt > attempts == 1:
            yield "retried"
        if attempts > 1:
            yield "phase retried"
        if any(state.finished_at is None or at < state.finished_at for at in self._pauses()):
            yield "paused"
        if "/" in self._start.execution_id:
            yield "sub-task"
        if step.for_each is not None or self._start.phase.for_each is not None:
            yield "forEach"
        killed = self._events[-1].HasField("workflow_execution_terminated_event_attributes")
        if killed and state.started_at is not None and not state.status.is_final:
            yield "child killed"

    def _stopped_by(self) -> str:
        """Returns what cut a step off."""
        if self._result is not None and self._result.error and self._result.error.type == "timed_out":
            return "timed out"
        signals = [event.workflow_execution_signaled_event_attributes for event in self._task.events]
        if any(signal.signal_name == "abort" for signal in signals):
            return "aborted"
        last = self._task.events[-1]
        if last.HasField("workflow_execution_failed_event_attributes"):
            kind = last.workflow_execution_failed_event_attributes.failure.application_failure_info.type
            return str(kind).replace("_", " ")
        return "cancelled"

    def _reported(self) -> Iterator[StepState]:
        """Yields what the phase said of its steps, the newest last."""
        for event in self._events:
            signal = event.signal_external_workflow_execution_initiated_event_attributes
            if signal.signal_name == REPORT_SIGNAL:
                yield from _read(PhaseReport, signal.input).steps
        if (result := self._returned()) is not None:
            yield from result.steps

    def _returned(self) -> PhaseResult | None:
        last = self._events[-1]
        if not last.HasField("workflow_execution_completed_event_attributes"):
            return None
        return _read(PhaseResult, last.workflow_execution_completed_event_attributes.result)

    def _pauses(self) -> Iterator[datetime]:
        for event in self._events:
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name == CONTROL_SIGNAL and _read(ControlPhase, signal.input).wish.paused:
                yield _time(event)


def _started(history: WorkflowHistory) -> Any:
    return history.events[0].workflow_execution_started_event_attributes


def _type(history: WorkflowHistory) -> str:
    return str(_started(history).workflow_type.name)


def _read(model: Any, payloads: Any) -> Any:
    return model.model_validate_json(payloads.payloads[0].data)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)
