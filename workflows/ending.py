"""How an execution ends: its outputs, its result within the limits, its failure, its final record."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from taskmark.contracts import (
    INLINE_LIMIT,
    MEMO_LIMIT,
    RECORD_ACTIVITY,
    RESULT_LIMIT,
    ExecutionStatus,
    FinalRecord,
    PhaseOutcome,
    StartTask,
    StepOutcome,
    StepStatus,
    TaskResult,
)
from taskmark.errors import Failure, InvalidExpression, StepFailed
from taskmark.portions import portions
from taskmark.task.model import Json, TaskDefinition
from workflows import travelling
from workflows.artifacts import Shelf, Sources, size_of
from workflows.effort import PORTION, Effort
from workflows.names import task_names
from workflows.state import TaskState

FEW = 100
"""Outputs that are moved to the artifact store one by one."""
MANY_STEPS = 2_000
"""Steps that a result names at most when it cannot name all."""
RECORD_TIMEOUT = timedelta(seconds=30)
MEMO_KEY = 64
"""Bytes of the memo that its key and encoding take."""
RECORD_RETRY = RetryPolicy(maximum_attempts=20, maximum_interval=timedelta(seconds=10))


async def outputs(state: TaskState, request: StartTask) -> dict[str, Json]:
    """Returns the outputs of `## Outputs` as far as there are any; what cannot be computed is left out."""
    definition = state.definition
    found: dict[str, Json] = {}
    if definition is None or not definition.outputs:
        return found
    names, effort = task_names(state, request), Effort()
    shelf = Shelf(effort)
    for output in definition.outputs:
        source = output.expression or output.name
        await effort.turn()
        try:
            seen = await shelf.prepare(names, Sources(values=[f"{{{{ {source} }}}}"]))
            value = effort.evaluate(source, seen)
            found[output.name] = await shelf.keep(value, RESULT_LIMIT)
        except (InvalidExpression, StepFailed) as error:
            workflow.logger.info("output %s is missing: %s", output.name, error.message)
    return found


async def result(
    state: TaskState,
    status: ExecutionStatus,
    execution: str,
    trace_id: str,
    found: dict[str, Json],
    *,
    engine: int,
) -> TaskResult:
    """Returns the result, with outputs moved to the artifact store as far as the budget wants it."""
    steps = {
        step.id: StepOutcome(
            status=step.status,
            output=step.output,
            attempts=step.attempt,
            kind=step.kind,
            name=step.name,
            phase=slug,
            error=step.error,
            started_at=step.started_at,
            finished_at=step.finished_at,
            fallback=step.fallback,
            fallback_for=step.fallback_for,
            reason=step.reason,
            reused=step.reused,
            anew=step.anew,
        )
        for slug, states in state.steps.items()
        for step in states.values()
    }
    kept: tuple[Json, ...] = ()
    if engine >= 2:
        steps, kept = await _bundled(steps)
    steps, phases, found = await _within_budget(steps, dict(state.outcomes), found)
    if state.definition is not None and not state.definition.outputs:
        found = {slug: phase.outputs for slug, phase in phases.items() if phase.outputs}
    return TaskResult(
        execution_id=execution,
        status=status,
        outputs=found,
        phases=phases,
        steps=_fitting(steps),
        error=_error(state, status),
        started_at=state.started_at,
        finished_at=workflow.now(),
        trace_id=trace_id,
        kept=kept,
        usage=state.used if state.used.agent_calls else None,
        consumed=state.consumed if state.consumed_by else None,
    )


async def _bundled(steps: dict[str, StepOutcome]) -> tuple[dict[str, StepOutcome], tuple[Json, ...]]:
    """Returns the steps without their outputs, and references to the documents that have them, if they are
    many and more than fits the result: an activity for each of thousands would fill the history."""
    values = {name: step.output for name, step in steps.items() if step.output is not None}
    sizes = {name: len(name) + size_of(value) for name, value in values.items()}
    if len(values) <= FEW or sum(sizes.values()) <= RESULT_LIMIT // 4:
        return steps, ()
    shelf, kept = Shelf(Effort()), []
    for names in portions(sizes.items(), PORTION // 2):  # each fits a message
        try:
            kept.append(await shelf.keep({name: values[name] for name in names}, 0))
        except StepFailed as error:
            workflow.logger.warning("outputs of steps are lost: %s", error.message)
    return {name: step.model_copy(update={"output": None}) for name, step in steps.items()}, tuple(kept)


def _error(state: TaskState, status: ExecutionStatus) -> Failure | None:
    match status:
        case ExecutionStatus.TIMED_OUT:
            assert state.definition is not None
            limit = state.definition.max_execution_time
            return Failure(
                type="timed_out",
                message=f"the task took longer than its maxExecutionTime of {limit:g} s",
                hint="raise maxExecutionTime, or look at the longest steps",
            )
        case ExecutionStatus.CANCELLED:
            return Failure(type="cancelled", message=state.abort_reason or "cancelled")
        case ExecutionStatus.FAILED:
            return state.error or Failure(type="step_failed", message="a critical step failed")
        case _:
            return None


async def _within_budget(
    steps: dict[str, StepOutcome], phases: dict[str, PhaseOutcome], found: dict[str, Json]
) -> tuple[dict[str, StepOutcome], dict[str, PhaseOutcome], dict[str, Json]]:
    """Moves the largest outputs to the artifact store until the whole fits: above 2 MiB the server
    would terminate the workflow, without cleanup and without a word."""
    values: dict[tuple[str, str], Json] = {(name, ""): step.output for name, step in steps.items()}
    values |= {("", name): value for name, value in found.items()}
    of_phases = {(slug, name): v for slug, phase in phases.items() for name, v in phase.outputs.items()}
    # without `## Outputs` those of the phases stand in the result twice
    await _move_largest(values, RESULT_LIMIT // 4)
    await _move_largest(of_phases, RESULT_LIMIT // 4)
    return (
        {name: step.model_copy(update={"output": values[name, ""]}) for name, step in steps.items()},
        {
            slug: phase.model_copy(update={"outputs": {n: of_phases[slug, n] for n in phase.outputs}})
            for slug, phase in phases.items()
        },
        {name: values["", name] for name in found},
    )


def _fitting(steps: dict[str, StepOutcome]) -> dict[str, StepOutcome]:
    """Returns the steps as fully as the result can hold them: of thousands only what came of them, of
    even more only those that did not complete. Progress and the store have the rest."""
    if _size(steps) <= RESULT_LIMIT:
        return steps
    brief = {name: _brief(step) for name, step in steps.items()}
    if _size(brief) <= 2 * RESULT_LIMIT:
        return brief
    odd = (name for name, step in brief.items() if step.status is not StepStatus.COMPLETED)
    return {name: brief[name] for name in islice(odd, MANY_STEPS)}


def _size(steps: dict[str, StepOutcome]) -> int:
    return sum(len(name) + len(step.model_dump_json()) for name, step in steps.items())


def _brief(step: StepOutcome) -> StepOutcome:
    error = step.error and Failure(type=step.error.type, message=step.error.message[:200])
    fields = ("status", "output", "attempts", "phase", "reused", "anew")
    return StepOutcome(**{name: getattr(step, name) for name in fields}, error=error)


async def _move_largest(values: dict[tuple[str, str], Json], budget: int) -> None:
    """Replaces the largest values by references until all of them fit; one that cannot be kept is null."""
    shelf = Shelf(Effort())
    sizes = {key: size_of(value) for key, value in values.items()}
    total = sum(sizes.values())
    for key, size in sorted(sizes.items(), key=lambda entry: -entry[1]):
        if total <= budget:
            return
        try:
            values[key] = await shelf.keep(values[key], 0)
        except StepFailed as error:
            workflow.logger.warning("an output is lost: %s", error.message)
            values[key] = None
        total -= size - size_of(values[key])


def failure(ended: TaskResult) -> ApplicationError:
    """Returns the failure that shows the result in Temporal: its type names the reason."""
    error = ended.error
    assert error is not None
    kind = "cancelled" if ended.status is ExecutionStatus.CANCELLED else error.type
    return ApplicationError(error.message, ended.model_dump(mode="json"), type=kind, non_retryable=True)


async def record_final(state: TaskState, request: StartTask, ended: TaskResult) -> None:
    """Tells the store how it ended, by an activity: the one record that may not be lost with a worker.

    A cancelled execution carries no details in Temporal, so a summary also goes into the memo. If the
    record cannot be made the execution ends all the same; `taskmark backfill` finds it in history.
    """
    definition = state.definition or TaskDefinition(id=request.task or "", name=request.task or "")
    if ended.status is ExecutionStatus.CANCELLED:
        workflow.upsert_memo({"taskmark": _summary(ended)})
    final = FinalRecord(
        result=ended,
        task_id=definition.id,
        task_name=definition.name,
        definition_sha256=state.definition_sha256,
        source_path=definition.source_path,
        version=definition.version,
        project=request.project or definition.project,
        build_id=request.build_id,
        inputs=state.inputs if size_of(state.inputs) <= INLINE_LIMIT else {},
        parent_id=request.parent_id,
        cause=request.cause,
        assigned_agent=next(iter(definition.default_agents), None),
        retry_of=request.retry_of,
    )
    try:
        await workflow.execute_activity(
            RECORD_ACTIVITY,
            travelling.compact(final),
            start_to_close_timeout=RECORD_TIMEOUT,
            retry_policy=RECORD_RETRY,
            summary="record how it ended",
        )
    except Exception as error:
        if is_cancelled_exception(error):
            raise
        workflow.logger.warning("the final record could not be made; backfill will find it", exc_info=error)


def _summary(ended: TaskResult) -> dict[str, Json]:
    """Returns what fits the memo: the counts, and why."""
    counts: dict[str, int] = {}
    for step in ended.steps.values():
        counts[step.status.value] = counts.get(step.status.value, 0) + 1
    message = ended.error.message if ended.error else ""
    summary: dict[str, Json] = {"status": ended.status.value, "steps": counts, "error": message}
    while size_of(summary) > MEMO_LIMIT - MEMO_KEY:
        summary["error"] = message = message[: len(message) * 3 // 4]
    return summary
