"""The parent workflow: a whole task, its phases as children, and what people say to it."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from taskmark.contracts import (
    CANCEL_ACTIVITY,
    LONG,
    REPORT_SIGNAL,
    SHORT,
    SUBTASK_SIGNAL,
    TASK_WORKFLOW,
    ControlRequest,
    ExecutionStatus,
    Limits,
    Paused,
    PhaseReport,
    Progress,
    StartTask,
    StepStatus,
    SubtaskReport,
    TaskResult,
)
from taskmark.errors import Category, Failure
from taskmark.plan import phases
from taskmark.projection import definition_record
from taskmark.records import ExecutionRecord, outcome
from taskmark.task.model import Json, TaskDefinition
from workflows import ending, opening, updates, views
from workflows.admission import Admission
from workflows.attributes import publish
from workflows.background import beside, heard, tell, uninterrupted, wind_down
from workflows.clock import run_out, within
from workflows.phases import PhaseRunner
from workflows.recording import event, record
from workflows.state import TaskState, gate
from workflows.steps import gather

CANCEL_WAIT = 60.0


@workflow.defn(name=TASK_WORKFLOW)
class TaskWorkflow:
    """Runs a task."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        """Reads nothing of what is given: what is raised here would be repeated by the server for ever."""
        self._execution = workflow.info().workflow_id
        self._state = TaskState()
        self._door = Admission(1, self._state.wish)
        self._limits = Limits()
        self._request = StartTask()
        self._trace_id = ""
        self._pauses = 0
        self._heard = 0

    @workflow.run
    async def run(self, *given: Any) -> TaskResult:
        """Runs the task to its end.

        Raises `ApplicationError`, whose type names the reason and whose details are the result so far,
        for `failed` and `timed_out`, and a cancellation for `cancelled`.
        """
        try:
            self._request = opening.read(given)
            async with beside(self._watch_abort()):
                await self._run()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await uninterrupted(lambda: self._end(ExecutionStatus.CANCELLED))
            elif isinstance(error, ApplicationError):
                self._refuse(error)
            raise
        result = await self._end(self._final_status())
        await workflow.wait_condition(workflow.all_handlers_finished)
        if result.status.is_success:
            return result
        raise ending.failure(result)

    # --- what people say --------------------------------------------------------------------------

    @workflow.signal(description="Start no new steps until resume. Payload, all optional: reason, by.")
    def pause(self, payload: Any = None, *_more: Any) -> None:
        """Holds the task; a second pause changes nothing."""
        request = _control(payload)
        self._heard = request.epoch
        if not self._state.wish.paused and self._state.final is None:
            now = workflow.now()
            self._state.paused = Paused(reason=request.reason, by=request.by, since=now)
            self._wish(paused=True)
            self._tell_pause("execution_paused", request)

    @workflow.signal(description="Go on after a pause. Payload, all optional: reason, by.")
    def resume(self, payload: Any = None, *_more: Any) -> None:
        """Goes on where the pause held it; without a pause it changes nothing."""
        if self._state.wish.paused:
            self._state.paused = None
            self._wish(paused=False)
            self._tell_pause("execution_resumed", _control(payload))
            self._pauses += 1

    @workflow.signal(description="End the task now, keep partial results. Payload, optional: reason, by.")
    def abort(self, payload: Any = None, *_more: Any) -> None:
        """Cancels the task; the execution ends as cancelled."""
        request = _control(payload)
        if self._state.abort_reason is None:
            who = f" by {request.by}" if request.by else ""
            self._state.abort_reason = (
                f"aborted{who}: {request.reason}" if request.reason else f"aborted{who}"
            )

    @workflow.signal(name=REPORT_SIGNAL, description="A phase tells what changed.")
    def report(self, payload: Any = None, *_more: Any) -> None:
        """Takes a phase's report."""
        report = heard(PhaseReport, payload)
        if report is None:
            return
        self._state.reported(report, workflow.now())
        if report.failing:
            self._stop_softly()

    @workflow.update(description="Decide an approval: gate, decision (approved or rejected), by, comment.")
    async def approve(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Decides a waiting approval and returns the decision once the phase has taken it."""
        return await self._decide(updates.approval(self._state, payload))

    @approve.validator
    def _check_approve(self, payload: Any = None, *_more: Any) -> None:
        updates.approval(self._state, payload)

    @workflow.update(description="Answer a waiting question: question, value, by.")
    async def answer(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Answers a waiting question and returns the answer once the phase has taken it."""
        return await self._decide(updates.answer(self._state, payload))

    @answer.validator
    def _check_answer(self, payload: Any = None, *_more: Any) -> None:
        updates.answer(self._state, payload)

    @workflow.update(description="Run a held phase again: phase (or one of its steps).")
    async def retry(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Lets a phase that `onFailure: pause` holds run again."""
        return await self._decide(updates.held(self._state, payload, "retry"))

    @retry.validator
    def _check_retry(self, payload: Any = None, *_more: Any) -> None:
        updates.held(self._state, payload, "retry")

    @workflow.update(description="Leave a held phase as failed and go on: phase (or one of its steps).")
    async def skip(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Leaves a phase that `onFailure: pause` holds as it is and goes on without it."""
        return await self._decide(updates.held(self._state, payload, "skip"))

    @skip.validator
    def _check_skip(self, payload: Any = None, *_more: Any) -> None:
        updates.held(self._state, payload, "skip")

    @workflow.query(description="How far it is, what waits, when it ends. Payload, optional: now, phase.")
    def progress(self, request: Any = None) -> Progress:
        """Answers from the state; `now` may be given, else the wall clock is read."""
        given = request if isinstance(request, dict) else {}
        now = _moment(given.get("now")) or _wall_clock()
        return views.progress(self._state, self._execution, now, given.get("phase"))

    @workflow.query(description="What will run: phases, waves, steps, expected durations.")
    def plan(self) -> dict[str, Json]:
        """Returns the plan."""
        return views.plan(self._state)

    @workflow.query(description="What has completed, with its outputs.")
    def checkpoint(self) -> dict[str, Json]:
        """Returns the outputs of completed phases."""
        return views.checkpoint(self._state)

    # --- the run ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        definition, inputs, self._limits = await opening.compiled(self._request)
        self._open(definition, inputs)
        async with beside(self._publish(), self._show(), self._limit(), self._tell_phase()):
            await self._run_phases(definition)
            await self._await_cancellation()

    def _open(self, definition: TaskDefinition, inputs: dict[str, Json]) -> None:
        first = self._request.retry_of or self._execution
        digest = hashlib.sha256(first.encode()).hexdigest()
        self._trace_id = self._request.trace_id or digest[:32]
        self._state.open(definition, inputs, workflow.now())
        self._door = Admission(phases.phases_at_once(definition, self._limits.phases), self._state.wish)
        self._record_start(definition, inputs)

    async def _run_phases(self, definition: TaskDefinition) -> None:
        """Runs every phase in a task of its own; each waits for those it depends on."""
        runner = PhaseRunner(
            self._request, self._state, self._door, self._limits, self._trace_id, self._stop_softly
        )
        runs = await runner.runs(definition)
        work = asyncio.create_task(gather([asyncio.create_task(c) for c in runs]))
        try:
            await workflow.wait_condition(lambda: work.done() or self._state.wish.stop == "cancelled")
            await (work if work.done() else wind_down(work))
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._wish(stop="cancelled")
                await wind_down(work)
            raise

    def _wish(self, **changes: object) -> None:
        self._state.change_wish(**changes)
        self._door.apply(self._state.wish)

    def _stop_softly(self) -> None:
        """A critical failure: nothing new starts anywhere, running steps finish."""
        if not self._state.wish.stop:
            self._wish(stop="failed")

    async def _limit(self) -> None:
        definition = self._state.definition
        assert definition is not None
        if definition.max_execution_time is not None:
            await run_out(
                definition.max_execution_time,
                lambda: self._state.clock_stands,
                "maxExecutionTime",
                leave=self._limits.leaves_timers,
            )
            if self._state.wish.stop in ("", "failed"):
                self._wish(stop="timed_out")

    async def _watch_abort(self) -> None:
        """Turns `abort` into a cancellation: only a requested one makes Temporal show it as cancelled."""
        await workflow.wait_condition(lambda: self._state.abort_reason is not None)
        self._wish(stop="cancelled")
        await workflow.execute_activity(
            CANCEL_ACTIVITY,
            self._execution,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=20, maximum_interval=timedelta(seconds=5)),
            summary="request the cancellation of this execution",
        )

    async def _await_cancellation(self) -> None:
        """After an abort everything has ended, and the cancellation that was requested is on its way."""
        if self._state.wish.stop == "cancelled":
            await within(CANCEL_WAIT, lambda: False, "for the cancellation that was requested")

    async def _publish(self) -> None:
        """Keeps what Temporal's list and Web UI show in line with the status."""
        told: ExecutionStatus | None = None
        while True:
            await self._status_differs_from(told)
            told = self._state.status
            publish(self._state, self._request, told)
            record(ExecutionRecord(execution_id=self._execution, status=told, as_of=workflow.now()))

    async def _show(self) -> None:
        """Keeps the percentage and the Web UI's table of phases up to date, at no cost in history."""
        shown = 0
        while True:
            await self._changes_beyond(shown)
            shown = self._state.changes
            self._state.advance()
            workflow.set_current_details(views.details(self._state))

    async def _changes_beyond(self, shown: int) -> None:
        await workflow.wait_condition(lambda: self._state.changes > shown)

    async def _status_differs_from(self, told: ExecutionStatus | None) -> None:
        await workflow.wait_condition(lambda: self._state.status is not told)

    async def _tell_phase(self) -> None:
        """Tells the phase that runs this as a sub-task whether it stands still, and for which pause."""
        told, parent = self._stillness, workflow.info().parent
        while parent is not None and parent.workflow_id == self._request.report_to:
            await self._stillness_differs_from(told)
            told = self._stillness
            await tell(parent.workflow_id, SUBTASK_SIGNAL, told)

    @property
    def _stillness(self) -> SubtaskReport:
        still = self._state.status is ExecutionStatus.PAUSED
        return SubtaskReport(execution_id=self._execution, still=still, epoch=self._heard)

    async def _stillness_differs_from(self, told: SubtaskReport) -> None:
        await workflow.wait_condition(lambda: self._stillness != told)

    async def _decide(self, decision: updates.Decided) -> dict[str, Json]:
        """Passes a decision on and returns once the phase has taken it. The validator checked it."""
        if decision.is_new:
            self._state.decided[decision.key] = (decision.wait, decision.decision)
            self._state.decisions.setdefault(decision.wait.phase, []).append(decision.decision)
            self._record_decision(decision)
        await workflow.wait_condition(lambda: decision.key not in map(gate, self._state.waiting))
        if self._state.ended_undecided(decision.wait):
            self._state.decided.pop(decision.key, None)
            raise updates.too_late(decision)
        return decision.answer()

    # --- how it ends ------------------------------------------------------------------------------

    def _refuse(self, error: ApplicationError) -> None:
        """It could not begin: queries and the store say so too."""
        state, request, now = self._state, self._request, workflow.now()
        failure = Failure(
            type=error.type or "invalid_start", message=error.message, category=Category.CONFIGURATION
        )
        state.final, state.error = ExecutionStatus.FAILED, failure
        fields = {"task_id": request.task, "project": request.project, "build_id": request.build_id}
        record(
            ExecutionRecord(
                execution_id=self._execution,
                status=state.final,
                error=failure,
                started_at=workflow.info().start_time,
                finished_at=now,
                as_of=now,
                parent_id=request.parent_id,
                cause=request.cause,
                retry_of=request.retry_of,
                **fields,
            ),
            event(self._execution, "execution_failed", payload=outcome(StepStatus.FAILED, failure)),
        )

    def _final_status(self) -> ExecutionStatus:
        match self._state.wish.stop:
            case "failed":
                return ExecutionStatus.FAILED
            case "timed_out":
                return ExecutionStatus.TIMED_OUT
            case "cancelled":
                return ExecutionStatus.CANCELLED
            case _:
                return phases.final_status(self._state.outcomes, self._state.any_step_failed)

    async def _end(self, status: ExecutionStatus) -> TaskResult:
        """Fixes the result, keeps it where it can be read, and says so to the store."""
        self._state.advance()
        self._state.close(workflow.now())
        found = await ending.outputs(self._state, self._request)
        result = await ending.result(self._state, status, self._execution, self._trace_id, found)
        self._state.final, self._state.error = result.status, result.error
        publish(self._state, self._request, result.status)
        await ending.record_final(self._state, self._request, result)
        return result

    def _record_start(self, definition: TaskDefinition, inputs: dict[str, Json]) -> None:
        request, told = self._request, definition_record(definition)
        self._state.definition_sha256 = told.sha256
        record(
            told,
            ExecutionRecord(
                execution_id=self._execution,
                task_id=definition.id,
                task_name=definition.name,
                definition_sha256=told.sha256,
                task_version=definition.version,
                source_path=definition.source_path,
                project=request.project or definition.project,
                build_id=request.build_id,
                status=ExecutionStatus.RUNNING,
                inputs=inputs,
                started_at=workflow.now(),
                as_of=workflow.now(),
                trace_id=self._trace_id,
                parent_id=request.parent_id,
                cause=request.cause,
                assigned_agent=next(iter(definition.default_agents), None),
                retry_of=request.retry_of,
            ),
            event(
                self._execution,
                "execution_started",
                payload={"task": definition.name, "cause": request.cause},
            ),
        )

    def _tell_pause(self, kind: Any, request: ControlRequest) -> None:
        why = {"reason": request.reason or None, "by": request.by or None}
        record(event(self._execution, kind, occurrence=self._pauses, payload=why))

    def _record_decision(self, decided: updates.Decided) -> None:
        decision = decided.decision
        record(
            event(
                self._execution,
                "decided",
                phase=decided.wait.phase,
                step=decided.wait.step or decision.name,
                occurrence=len(self._state.decided),
                payload=decision.model_dump(mode="json", exclude_defaults=True),
            )
        )


def _control(payload: Any) -> ControlRequest:
    """Returns a signal's payload. A signal cannot be refused, so what does not fit is left out or cut."""
    if not isinstance(payload, dict):
        return ControlRequest(reason=payload[:LONG] if isinstance(payload, str) else "")
    texts = {
        key: str(payload[key])[:limit]
        for key, limit in (("reason", LONG), ("by", SHORT))
        if payload.get(key) is not None
    }
    epoch = payload.get("epoch")
    return ControlRequest(**texts, epoch=epoch if isinstance(epoch, int) else 0)


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=workflow.now().tzinfo)


def _wall_clock() -> datetime:
    """Returns the time of day. Only a query may ask: its answer is not part of history."""
    with workflow.unsafe.sandbox_unrestricted():
        return datetime.now(workflow.now().tzinfo)  # noqa: TID251 - see the docstring
