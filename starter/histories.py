"""Reads Temporal's own histories: what an execution left there, also when the store has lost it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from starter.fetching import fetched
from taskmark.contracts import (
    CIRCUIT_OPEN,
    INTERRUPTED,
    RECORD_ACTIVITY,
    ExecutionStatus,
    FinalRecord,
    StepCall,
    StepDone,
    StepStatus,
    Usage,
)
from taskmark.errors import Category, Failure, worker_lost

if TYPE_CHECKING:
    from temporalio.api.common.v1 import Payloads, WorkflowExecution
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client, WorkflowHistory

Message = TypeVar("Message", bound=BaseModel)


@dataclass
class Attempt:
    """One activity that ran, or runs, a step."""

    call: StepCall
    status: StepStatus = StepStatus.RUNNING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    done: StepDone | None = None
    error: Failure | None = None
    usage: Usage | None = None
    """What an agent used that failed."""
    worker: str | None = None
    delivery: int = 1
    """How often the server has handed it to a worker."""
    given_up: bool = False
    """Whether the server waited in vain for the last of them."""


@dataclass
class ExecutionHistory:
    """What the histories of an execution and of its phases tell."""

    execution: str
    workflows: list[WorkflowHistory]
    """Its own, then those of its phases as they were started."""
    attempts: list[Attempt] = field(default_factory=list)
    final: FinalRecord | None = None
    closed: ExecutionStatus | None = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


async def final_record(client: Client, execution: str) -> FinalRecord | None:
    """Returns the final record that an ended execution wrote into its history, or None. Raises `RPCError`."""
    return _final_in((await fetched(client, execution)).events)


async def read_execution(client: Client, execution: str) -> ExecutionHistory:
    """Reads the histories of an execution and its phases. Raises `RPCError`."""
    own = await fetched(client, execution)
    phases = [_phase_started(event) for event in own.events]
    runs = await asyncio.gather(*(_runs(client, one) for one in phases if one.run_id))
    return understood(execution, own, [history for histories in runs for history in histories])


async def _runs(client: Client, first: WorkflowExecution) -> list[WorkflowHistory]:
    """Returns the histories of a workflow that continued as new, from its first run on."""
    found: list[WorkflowHistory] = []
    run = first.run_id
    while run:
        found.append(await fetched(client, first.workflow_id, run))
        run = next_run(found[-1])
    return found


def next_run(history: WorkflowHistory) -> str:
    """Returns the run as which a workflow continued, or nothing."""
    last = history.events[-1].workflow_execution_continued_as_new_event_attributes
    return last.new_execution_run_id


def understood(execution: str, own: WorkflowHistory, below: Sequence[WorkflowHistory]) -> ExecutionHistory:
    """Returns what the history of an execution tells together with those of its phases."""
    history = ExecutionHistory(execution, [own, *below], final=_final_in(own.events))
    for event in own.events:
        _note_times(event, history)
    for phase in below:
        history.attempts += attempts_in(phase.events)
    return history


def _phase_started(event: HistoryEvent) -> WorkflowExecution:
    return event.child_workflow_execution_started_event_attributes.workflow_execution


def _final_in(events: Iterable[HistoryEvent]) -> FinalRecord | None:
    found: FinalRecord | None = None
    for event in events:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == RECORD_ACTIVITY:
            found = read(scheduled.input, FinalRecord) or found
    return found


def _note_times(event: HistoryEvent, history: ExecutionHistory) -> None:
    match event.WhichOneof("attributes"):
        case "workflow_execution_started_event_attributes":
            history.started_at = _moment(event)
        case "workflow_execution_completed_event_attributes":
            history.closed, history.finished_at = ExecutionStatus.COMPLETED, _moment(event)
        case "workflow_execution_canceled_event_attributes":
            history.closed, history.finished_at = ExecutionStatus.CANCELLED, _moment(event)
        case "workflow_execution_failed_event_attributes":
            failure = event.workflow_execution_failed_event_attributes.failure
            kind = failure.application_failure_info.type or "failed"
            _close(history, event, ExecutionStatus.FAILED, kind, failure.message)
        case "workflow_execution_terminated_event_attributes":
            reason = event.workflow_execution_terminated_event_attributes.reason
            _close(history, event, ExecutionStatus.FAILED, "terminated", f"terminated: {reason}")
        case "workflow_execution_timed_out_event_attributes":
            message = "Temporal's own workflow timeout was reached"
            _close(history, event, ExecutionStatus.TIMED_OUT, "timed_out", message)
        case _:
            pass


def _close(
    history: ExecutionHistory, event: HistoryEvent, status: ExecutionStatus, kind: str, message: str
) -> None:
    history.closed, history.finished_at = status, _moment(event)
    history.error = Failure(type=kind, message=message, category=Category.LOGIC)


def attempts_in(events: Iterable[HistoryEvent]) -> list[Attempt]:
    """Returns every attempt that the history of a phase tells, in order. One that a pause interrupted is the
    same as the one that goes on from there; one that waited for what is down was none."""
    found: dict[int, Attempt] = {}
    resumable: dict[tuple[str, int | None, int], int] = {}
    for event in events:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name:
            call = read(scheduled.input, StepCall)
            if call is not None:
                if call.resumes:
                    place = (call.step, call.item, call.attempt)
                    found.pop(resumable.get(place, 0), None)
                    resumable[place] = event.event_id
                found[event.event_id] = Attempt(call, started_at=_moment(event))
        else:
            _note_end(event, found)
    return [attempt for attempt in found.values() if not _only_waited(attempt)]


def _only_waited(attempt: Attempt) -> bool:
    return attempt.call.waits and attempt.error is not None and attempt.error.type == CIRCUIT_OPEN


def _note_end(event: HistoryEvent, found: dict[int, Attempt]) -> None:
    """Notes how an attempt went on: events name the one that scheduled it."""
    name = event.WhichOneof("attributes")
    if name is None or not name.startswith("activity_task_"):
        return
    attributes = getattr(event, name)
    attempt = found.get(getattr(attributes, "scheduled_event_id", 0))
    if attempt is None:
        return
    match name:
        case "activity_task_started_event_attributes":
            attempt.started_at = _moment(event)
            attempt.worker = attributes.identity.rpartition(" ")[2] or None
            attempt.delivery = attributes.attempt or 1
        case "activity_task_completed_event_attributes":
            attempt.status, attempt.finished_at = StepStatus.COMPLETED, _moment(event)
            attempt.done = read(attributes.result, StepDone)
        case _ if _is_interrupted(attributes):
            pass  # whether it goes on or was cancelled, the workflow told
        case "activity_task_failed_event_attributes" | "activity_task_timed_out_event_attributes":
            attempt.status, attempt.finished_at = StepStatus.FAILED, _moment(event)
            attempt.given_up = name == "activity_task_timed_out_event_attributes"
            attempt.error = _failure_of(attributes.failure, attempt)
            attempt.usage = read(attributes.failure.application_failure_info.details, Usage, 3)
        case "activity_task_canceled_event_attributes":
            attempt.status, attempt.finished_at = StepStatus.CANCELLED, _moment(event)
        case _:
            pass


def _is_interrupted(attributes: Any) -> bool:
    failure = getattr(attributes, "failure", None)
    return failure is not None and failure.application_failure_info.type == INTERRUPTED


def _failure_of(failure: Any, attempt: Attempt) -> Failure:
    if attempt.given_up:
        return worker_lost(failure.message, step=attempt.call.step, phase=attempt.call.phase)
    told = read(failure.application_failure_info.details, Failure)
    return told or Failure(type="step_failed", message=failure.message, category=Category.TRANSIENT)


def read(payloads: Payloads, kind: type[Message], index: int = 0) -> Message | None:
    """Returns a payload, the first, as a message, or None: what does not fit is somebody else's."""
    try:
        return kind.model_validate_json(payloads.payloads[index].data)
    except (IndexError, ValidationError):
        return None


def _moment(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)
