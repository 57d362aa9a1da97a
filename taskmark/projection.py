"""Turns the final state of an execution into records: what the store must say once all is written.

The keys are those of the records written as things happened, so nothing is doubled, and whatever was
lost on the way is there again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from taskmark.contracts import (
    ExecutionStatus,
    FinalRecord,
    PhaseOutcome,
    PhaseStart,
    Remembered,
    StepCall,
    StepDone,
    StepOutcome,
    StepState,
    StepStatus,
    TaskResult,
    Usage,
)
from taskmark.errors import Failure
from taskmark.inquiries import inquiry
from taskmark.plan.fingerprints import Print
from taskmark.plan.phases import title
from taskmark.records import (
    EXCERPT,
    AttemptRecord,
    CheckpointRecord,
    DefinitionRecord,
    EventKind,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Provenance,
    Record,
    beginning,
    outcome,
)
from taskmark.retrieval import written_by
from taskmark.task.model import Json, Phase, Step, TaskDefinition
from taskmark.task.packing import digest, unpacked

_EXECUTION: Mapping[ExecutionStatus, EventKind] = {
    ExecutionStatus.COMPLETED: "execution_completed",
    ExecutionStatus.COMPLETED_WITH_ERRORS: "execution_completed",
    ExecutionStatus.FAILED: "execution_failed",
    ExecutionStatus.TIMED_OUT: "execution_timed_out",
    ExecutionStatus.CANCELLED: "execution_cancelled",
}
_PHASE: Mapping[StepStatus, EventKind] = {
    StepStatus.COMPLETED: "phase_completed",
    StepStatus.FAILED: "phase_failed",
    StepStatus.SKIPPED: "phase_skipped",
    StepStatus.CANCELLED: "phase_cancelled",
}


def attempt_of(
    call: StepCall,
    status: StepStatus,
    *,
    worker: str | None,
    done: StepDone | None = None,
    used: dict[str, float] | None = None,
    usage: Usage | None = None,
    **fields: Any,
) -> AttemptRecord:
    """Returns the record of one attempt: what was asked of an activity, and what it returned if it did; else
    what it used is `used`, and what its agent used `usage`.

    An agent that asks a person back is in the midst of its attempt; what it used by then counts.
    """
    usage = done.usage if done else usage
    usage = call.spent.plus(usage) if call.spent else usage
    questions = len(call.answers)
    if done is not None and call.agent is not None and inquiry(done.output) is not None:
        status, questions, done = StepStatus.RUNNING, questions + 1, None
        fields.pop("finished_at", None)
    wrote = done is not None and done.cached_from is None
    files = (done.files or written_by(call.kind, call.name, done.output)) if done and wrote else None
    return AttemptRecord(
        execution_id=call.execution_id,
        phase=call.phase,
        step=call.step,
        item=call.item,
        attempt=call.attempt,
        kind=call.kind,
        name=call.name,
        agent=call.name if call.agent is not None else None,
        description=call.description or None,
        status=status,
        input=call.arguments,
        output=done.output if done else None,
        idempotency_key=call.idempotency_key,
        trace_id=call.trace_id,
        worker=worker,
        tokens=usage.tokens if usage else None,
        cost=usage.cost if usage else None,
        files=files,
        questions=questions or None,
        resources=done.resources if done else used,
        parents=call.parents or None,
        cause=call.cause,
        reused_from=done.cached_from if done else None,
        **fields,
    )


def definition_record(definition: TaskDefinition) -> DefinitionRecord:
    """Returns the record of a version of a task."""
    plain = unpacked(definition)
    return DefinitionRecord(
        sha256=digest(plain),
        task_id=definition.id,
        name=definition.name,
        version=definition.version,
        source_path=definition.source_path,
        definition=plain,
    )


def step_begun(step: Step) -> dict[str, Json]:
    """Returns what the event says with which a step starts."""
    return {"kind": step.kind, "name": title(step), **of_agent(step)}


def by_agent(agent: str | None) -> dict[str, Json]:
    """Returns what events of an execution say of who does it."""
    return {"agent": agent} if agent else {}


def of_agent(step: Step) -> dict[str, Json]:
    """Returns what events of a step say of who does it."""
    return by_agent(step.value if step.kind == "agent" else None)


def phase_progress(phase: Phase, ended: int, count: int) -> dict[str, Json]:
    """Returns what the event says that tells how far a task is once the phase has ended."""
    return {"stage": phase.name, "message": f"{ended} of {count} phases ended"}


def records_of(final: FinalRecord, provenance: Provenance = "live") -> list[Record]:
    """Returns every record that an ended execution must have."""
    steps = [_step(final, name, step, provenance) for name, step in final.result.steps.items()]
    phases = [_phase(final, slug, phase, provenance) for slug, phase in final.result.phases.items()]
    return [*_events_before(final), *steps, *phases, _execution(final, provenance), _last_event(final)]


def _execution(final: FinalRecord, provenance: Provenance) -> ExecutionRecord:
    """Large inputs are not in the final record; those that were told at the start stay."""
    result = final.result
    return ExecutionRecord(
        execution_id=result.execution_id,
        task_id=final.task_id,
        task_name=final.task_name,
        definition_sha256=final.definition_sha256,
        task_version=final.version,
        source_path=final.source_path,
        project=final.project,
        build_id=final.build_id,
        status=result.status,
        inputs=final.inputs or None,
        outputs=result.outputs,
        error=result.error,
        started_at=result.started_at,
        finished_at=result.finished_at,
        trace_id=result.trace_id,
        parent_id=final.parent_id,
        cause=final.cause,
        assigned_agent=final.assigned_agent,
        retry_of=final.retry_of,
        provenance=provenance,
    )


def _phase(final: FinalRecord, slug: str, phase: PhaseOutcome, provenance: Provenance) -> PhaseRecord:
    """As with attempts: a phase that began has told of itself."""
    return PhaseRecord(
        execution_id=final.result.execution_id,
        phase=slug,
        name=phase.name,
        status=phase.status,
        attempt=max(phase.attempts, 1),
        outputs=phase.outputs,
        error=phase.error,
        started_at=phase.started_at,
        finished_at=phase.finished_at,
        trace_id=final.result.trace_id or None,
        provenance="backfilled" if phase.attempts else provenance,
        cause=final.cause,
    )


def _step(final: FinalRecord, name: str, step: StepOutcome, provenance: Provenance) -> AttemptRecord:
    """An attempt was told by whoever made it, and knows more: this only fills in what was lost of it.

    What a step is called in a result is not its description; that is told with the attempt.
    """
    return AttemptRecord(
        execution_id=final.result.execution_id,
        phase=step.phase,
        step=name,
        attempt=step.attempts,
        kind=step.kind or None,
        status=step.status if step.status.is_final else StepStatus.CANCELLED,
        output=step.output,
        error=step.error,
        started_at=step.started_at,
        finished_at=step.finished_at,
        trace_id=final.result.trace_id,
        cause=final.cause,
        reused_from=step.reused,
        provenance="backfilled" if step.attempts else provenance,
    )


def _events_before(final: FinalRecord) -> Iterator[EventRecord]:
    result = final.result
    if result.started_at:
        payload = {"task": final.task_name, "cause": final.cause}
        yield EventRecord(
            execution_id=result.execution_id,
            kind="execution_started",
            at=result.started_at,
            payload=payload,
        )
    for slug, phase in result.phases.items():
        yield from _phase_events(result.execution_id, slug, phase)


def _phase_events(execution: str, slug: str, phase: PhaseOutcome) -> Iterator[EventRecord]:
    if phase.started_at:
        yield EventRecord(execution_id=execution, kind="phase_started", phase=slug, at=phase.started_at)
    kind = _PHASE.get(phase.status)
    if kind and phase.finished_at:
        payload = outcome(phase.status, phase.error)
        yield EventRecord(
            execution_id=execution, kind=kind, phase=slug, at=phase.finished_at, payload=payload
        )


def _last_event(final: FinalRecord) -> EventRecord:
    result = final.result
    assert result.finished_at is not None
    return ended_event(
        result.execution_id, result.status, result.error, result.finished_at, outputs=result.outputs
    )


def result_of(row: ExecutionRecord) -> TaskResult:
    """Returns the result of an ended execution as far as its own row tells it: without phases and steps."""
    return TaskResult(
        execution_id=row.execution_id,
        status=row.status,
        outputs=row.outputs or {},
        error=row.error,
        started_at=row.started_at,
        finished_at=row.finished_at,
        trace_id=row.trace_id or "",
    )


def ended_event(
    execution: str,
    status: ExecutionStatus,
    error: Failure | None,
    at: datetime,
    *,
    outputs: Json = None,
    agent: str | None = None,
) -> EventRecord:
    """Returns the last event of an execution that has ended so; `status` is final."""
    payload: dict[str, Json] = {"status": status.value, "success": status.is_success, **by_agent(agent)}
    if outputs:
        payload["output"] = beginning(outputs, EXCERPT)
    if error:
        payload["error"] = error.message
    if status in (ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT):
        payload["will_retry"] = False
    return EventRecord(execution_id=execution, kind=_EXECUTION[status], at=at, payload=payload)


@dataclass
class ItemPrints:
    """The items of a step, as far as they completed."""

    prints: list[str]
    """Fingerprints, empty for those that did not complete."""
    outputs: list[Json] = field(default_factory=list)
    who: tuple[str, ...] = ()
    """The agents, if these are the items."""


def checkpoint_of(  # noqa: PLR0917 - what one record is made of
    start: PhaseStart,
    phase: Phase,
    states: Mapping[str, StepState],
    prints: Mapping[str, Print],
    items: Mapping[str, ItemPrints],
    definition: str,
    *,
    part: int = 0,
    status: StepStatus,
    outputs: dict[str, Json] | None,
    at: datetime,
) -> CheckpointRecord:
    """Returns what a later execution may reuse of a phase that has ended so.

    A phase whose workflow continues as new tells it in parts: each of the steps that ran then, and the last
    one also of those that did not complete.
    """
    steps = {
        name: _remembered(state, prints.get(name), items.get(name))
        for name, state in states.items()
        if name in prints or (status.is_final and not (part and state.status is StepStatus.COMPLETED))
    }
    return CheckpointRecord(
        execution_id=start.execution_id,
        phase=phase.slug,
        part=part,
        label=phase.checkpoint if status.is_final else None,
        status=status,
        at=at,
        outputs=outputs,
        definition=definition,
        undone=(phase.rollback and status is not StepStatus.COMPLETED and status.is_final) or None,
        steps={name: step.model_dump(mode="json", exclude_defaults=True) for name, step in steps.items()},
    )


def _remembered(state: StepState, made: Print | None, items: ItemPrints | None) -> Remembered:
    output = state.output
    if state.status is not StepStatus.COMPLETED and items is not None:
        output = _of_items(items)
    return Remembered(
        status=state.status,
        definition=made.definition if made else "",
        reads=made.reads if made else {},
        output=output,
        items=tuple(items.prints) if items else (),
        who=items.who if items else (),
        items_total=state.items_total,
        partly=state.status is StepStatus.COMPLETED and state.error is not None,
        fallback=state.fallback,
        fallback_for=state.fallback_for,
        begun=state.attempt > 0,
        reused=state.reused,
        finished_at=state.finished_at,
    )


def _of_items(items: ItemPrints) -> Json:
    if items.who:
        done = zip(items.who, items.outputs, items.prints, strict=True)
        return {name: output for name, output, one in done if one}
    return list(items.outputs) if any(items.prints) else None


def opening_of(execution: str, inputs: dict[str, Json], trace_id: str, at: datetime) -> CheckpointRecord:
    """Returns what a later execution needs of how one began."""
    return CheckpointRecord(
        execution_id=execution, status=StepStatus.RUNNING, inputs=inputs, trace_id=trace_id, at=at
    )
