"""Workflows in which nothing unusual happened, told from their events alone.

What a workflow recorded when it ran is told again by a replay (`starter.backfill`), which takes a
millisecond for each of its tasks. Most workflows go straight on: steps that call something, each once, and
every call ended well. What those recorded is in their events as it is, and read from there. Everything else
is left to the replay, which also is what the tests hold this equal to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starter.histories import Attempt, read
from taskmark.contracts import (
    REPORT_SIGNAL,
    Compiled,
    ExecutionStatus,
    FinalRecord,
    PhaseResult,
    PhaseStart,
    StartTask,
    StepState,
    StepStatus,
)
from taskmark.plan.fingerprints import Fingerprints
from taskmark.projection import (
    checkpoint_of,
    definition_record,
    of_agent,
    opening_of,
    phase_progress,
    step_begun,
)
from taskmark.records import CheckpointRecord, EventRecord, ExecutionRecord, PhaseRecord, Record, outcome
from taskmark.task.model import Phase, Step, TaskDefinition
from taskmark.task.packing import unpack

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent

_CALLS = frozenset({"tool", "agent"})
_WORKFLOW_TASKS = frozenset(f"workflow_task_{what}" for what in ("scheduled", "started", "completed"))
_ACTIVITIES = frozenset(f"activity_task_{what}" for what in ("scheduled", "started", "completed"))
_TIMERS = frozenset(f"timer_{what}" for what in ("started", "fired", "canceled"))
_ENDS = frozenset({"workflow_execution_started", "workflow_execution_completed"})
_REPORTS = frozenset({"signal_external_workflow_execution_initiated", "external_workflow_execution_signaled"})
_CHILDREN = frozenset(
    {
        "start_child_workflow_execution_initiated",
        "child_workflow_execution_started",
        "child_workflow_execution_completed",
    }
)
_OF_A_PHASE = _ENDS | _WORKFLOW_TASKS | _ACTIVITIES | _TIMERS | _REPORTS
_OF_A_TASK = (
    _ENDS
    | _WORKFLOW_TASKS
    | _ACTIVITIES
    | _TIMERS
    | _CHILDREN
    | {"workflow_execution_signaled", "upsert_workflow_search_attributes"}
)


# --- phases ---------------------------------------------------------------------------------------


def of_phase(events: Sequence[HistoryEvent], attempts: Iterable[Attempt]) -> list[Record] | None:
    """Returns what a phase recorded besides its attempts, or None if it has to be replayed. The attempts are
    those of the whole execution."""
    if not _are(events, _OF_A_PHASE):
        return None
    start = read(events[0].workflow_execution_started_event_attributes.input, PhaseStart)
    result = read(events[-1].workflow_execution_completed_event_attributes.result, PhaseResult)
    if start is None or result is None or start.carried is not None:
        return None
    try:
        phase = start.phase or unpack(start.packed or "", Phase)
        result = unpack(result.packed, PhaseResult) if result.packed else result
    except ValueError:
        return None
    called = [one.call.step for one in attempts if one.call.phase == phase.slug]
    if not _went_straight(phase, result, called):
        return None
    row, begun, ended = _of_phase(start, phase, result)
    return [row, begun, *_of_steps(start, phase, result), ended, _checkpoint(start, phase, result)]


def _checkpoint(start: PhaseStart, phase: Phase, result: PhaseResult) -> CheckpointRecord:
    """What a step read is what it would read now: nothing that has ended changes."""
    assert result.finished_at is not None
    prints = Fingerprints(phase, start.agents, start.default_agents, start.tasks.get, start.answers)
    ended = {state.id: {"status": state.status.value, "output": state.output} for state in result.steps}
    names = {
        "inputs": start.inputs,
        "phases": start.phases,
        "steps": {**start.steps, **ended},
        "execution": {"id": start.execution_id},
        "project": start.project,
    }
    return checkpoint_of(
        start,
        phase,
        {state.id: state for state in result.steps},
        {step.id: prints.of(step, step.id, names) for step in phase.steps},
        {},
        prints.of_outputs(),
        status=result.status,
        outputs=result.outputs,
        at=result.finished_at,
    )


def _went_straight(phase: Phase, result: PhaseResult, called: Sequence[str]) -> bool:
    """Whether each step was called once, and completed."""
    return (
        result.status is StepStatus.COMPLETED
        and result.attempts == 1
        and phase.for_each is None
        and all(_is_one_call(step) for step in phase.steps)
        and all(_completed_at_once(state) for state in result.steps)
        and sorted(called) == sorted(step.id for step in phase.steps)
        and {state.id for state in result.steps} == set(called)
    )


def _is_one_call(step: Step) -> bool:
    return step.kind in _CALLS and step.for_each is None and step.agent_expression is None


def _completed_at_once(state: StepState) -> bool:
    return state.status is StepStatus.COMPLETED and state.attempt == 1 and not state.fallback


def _of_phase(
    start: PhaseStart, phase: Phase, result: PhaseResult
) -> tuple[PhaseRecord, EventRecord, EventRecord]:
    assert result.started_at is not None
    assert result.finished_at is not None
    row = PhaseRecord(
        execution_id=start.execution_id,
        phase=phase.slug,
        name=phase.name,
        status=result.status,
        outputs=result.outputs,
        started_at=result.started_at,
        finished_at=result.finished_at,
        as_of=result.finished_at,
        trace_id=start.trace_id,
        parents=start.parents or None,
        cause=start.cause,
    )
    of: dict[str, Any] = {"execution_id": start.execution_id, "phase": phase.slug}
    payload = outcome(result.status)
    begun = EventRecord(**of, kind="phase_started", at=result.started_at)
    return row, begun, EventRecord(**of, kind="phase_completed", at=result.finished_at, payload=payload)


def _of_steps(start: PhaseStart, phase: Phase, result: PhaseResult) -> Iterator[Record]:
    steps = {step.id: step for step in phase.steps}
    for state in result.steps:
        assert state.started_at is not None
        assert state.finished_at is not None
        step = steps[state.id]
        of: dict[str, Any] = {"execution_id": start.execution_id, "phase": phase.slug, "step": step.id}
        ended = of_agent(step) | outcome(state.status, state.error, state.output)
        yield EventRecord(**of, kind="step_started", at=state.started_at, payload=step_begun(step))
        yield EventRecord(**of, kind="step_completed", attempt=1, at=state.finished_at, payload=ended)


# --- tasks ----------------------------------------------------------------------------------------


def of_task(events: Sequence[HistoryEvent], final: FinalRecord | None) -> list[Record] | None:
    """Returns what a task recorded besides what its final record says, or None if it has to be replayed."""
    if final is None or final.result.status is not ExecutionStatus.COMPLETED or not _are(events, _OF_A_TASK):
        return None
    definition = definition_in(events)
    if (
        definition is None
        or definition.notify
        or any(not _has_ended_well(final, phase) for phase in definition.phases)
    ):
        return None
    if definition.requirements and not final.inputs:
        return None  # too large for the final record
    name, began = final.result.execution_id, final.result.started_at
    assert began is not None
    opening = opening_of(name, final.inputs, final.result.trace_id, began)
    begun = ExecutionRecord(execution_id=name, status=ExecutionStatus.RUNNING, inputs=final.inputs)
    return [definition_record(definition), begun, opening, *_of_progress(events, definition, name)]


def _has_ended_well(final: FinalRecord, phase: Phase) -> bool:
    ended = final.result.phases.get(phase.slug)
    return ended is not None and ended.status is StepStatus.COMPLETED


def definition_in(events: Iterable[HistoryEvent]) -> TaskDefinition | None:
    """Returns what ran: given at the start, or compiled by the first activity."""
    for event in events:
        given: StartTask | Compiled | None = None
        if event.HasField("workflow_execution_started_event_attributes"):
            given = read(event.workflow_execution_started_event_attributes.input, StartTask)
        elif event.HasField("activity_task_completed_event_attributes"):
            given = read(event.activity_task_completed_event_attributes.result, Compiled)
        if given is not None and (given.definition or given.packed):
            return given.definition or unpack(given.packed or "", TaskDefinition)
    return None


def _of_progress(
    events: Sequence[HistoryEvent], definition: TaskDefinition, execution: str
) -> Iterator[Record]:
    names = {f"{execution}/{phase.slug}": phase for phase in definition.phases}
    for ended, (child, at) in enumerate(_children_ended(events), start=1):
        phase = names[child]
        payload = phase_progress(phase, ended, len(names))
        yield EventRecord(execution_id=execution, kind="progress", phase=phase.slug, at=at, payload=payload)


def _children_ended(events: Iterable[HistoryEvent]) -> Iterator[tuple[str, datetime]]:
    """Yields each child that completed, and when the workflow learned of it: as its next task started."""
    ended: list[str] = []
    for event in events:
        if event.HasField("child_workflow_execution_completed_event_attributes"):
            child = event.child_workflow_execution_completed_event_attributes
            ended.append(child.workflow_execution.workflow_id)
        elif event.HasField("workflow_task_started_event_attributes"):
            at = datetime.fromtimestamp(event.event_time.ToNanoseconds() / 1e9, UTC)  # as workflows know it
            yield from ((child, at) for child in ended)
            ended = []


def _are(events: Sequence[HistoryEvent], kinds: frozenset[str]) -> bool:
    """Whether there are no other events, and of signals only the phases' reports."""
    return all(
        (event.WhichOneof("attributes") or "").removesuffix("_event_attributes") in kinds
        and event.workflow_execution_signaled_event_attributes.signal_name in ("", REPORT_SIGNAL)
        for event in events
    ) and events[-1].HasField("workflow_execution_completed_event_attributes")
