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
    REPORT_SIGNAL,
    SPENDING_SIGNAL,
    SUBTASK_SIGNAL,
    TASK_WORKFLOW,
    Again,
    ControlRequest,
    ExecutionStatus,
    Limits,
    PhaseReport,
    Progress,
    Resumed,
    Spending,
    StartTask,
    StepStatus,
    SubtaskReport,
    TaskResult,
)
from taskmark.errors import Category, Failure
from taskmark.plan import phases
from taskmark.projection import by_agent, definition_record, opening_of
from taskmark.records import ExecutionRecord, outcome
from taskmark.task.model import Json, TaskDefinition
from workflows import ending, expecting, holding, opening, pausing, spending, updates, views
from workflows.admission import Admission
from workflows.attributes import publish
from workflows.background import beside, heard, tell, uninterrupted, wind_down
from workflows.clock import run_out, within
from workflows.expecting import Expectation
from workflows.notifying import Notifier
from workflows.pausing import Pauses
from workflows.phases import PhaseRunner
from workflows.recording import event, record
from workflows.rollback import Rollbacks
from workflows.spending import Spendings
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
        self._notifier: Notifier | None = None
        self._pauses = Pauses(self._state, self._wish)
        self._expectation = Expectation(self._state, self._execution)
        self._rollbacks = Rollbacks(self._execution)
        self._earlier: Resumed | None = None
        """What it may reuse of an earlier execution."""

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

    @workflow.signal(
        description="Start no new steps until resume. Payload, all optional: reason, by, mode (now)."
    )
    def pause(self, payload: Any = None, *_more: Any) -> None:
        """Holds the task; a second pause changes nothing but whether running steps are interrupted."""
        self._pauses.hold(pausing.read(payload), self._limits)

    @workflow.signal(description="Go on after a pause. Payload, all optional: reason, by.")
    def resume(self, payload: Any = None, *_more: Any) -> None:
        """Goes on where the pause held it; without a pause it changes nothing."""
        self._pauses.release(pausing.read(payload))

    @workflow.signal(description="End the task now, keep partial results. Payload, optional: reason, by.")
    def abort(self, payload: Any = None, *_more: Any) -> None:
        """Cancels the task; the execution ends as cancelled."""
        self._abort(pausing.read(payload))

    def _abort(self, request: ControlRequest) -> None:
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

    @workflow.signal(name=SPENDING_SIGNAL, description="A phase tells what agents used, and asks for more.")
    def spend(self, payload: Any = None, *_more: Any) -> None:
        """Takes what a phase, or one of a sub-task, tells of its calls."""
        told = heard(Spending, payload)
        if told is not None:
            self._state.heard_of_spending(told, workflow.now())

    @workflow.update(description="Decide an approval: gate, decision (approved or rejected), by, comment.")
    async def approve(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Decides a waiting approval and returns the decision once the phase has taken it."""
        return await self._decide(updates.approval(self._state, payload))

    @approve.validator
    def _check_approve(self, payload: Any = None, *_more: Any) -> None:
        updates.check_fields("approve", payload)
        updates.approval(self._state, payload)

    @workflow.update(description="Answer a waiting question: question, value, by.")
    async def answer(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Answers a waiting question and returns the answer once the phase has taken it."""
        return await self._decide(updates.answer(self._state, payload))

    @answer.validator
    def _check_answer(self, payload: Any = None, *_more: Any) -> None:
        updates.check_fields("answer", payload)
        updates.answer(self._state, payload)

    @workflow.update(description="Run a held phase again: phase or step, optional: inputs, by, comment.")
    async def retry(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Lets a phase that `onFailure: pause` holds run again, with other inputs if they are given; a step
        that is named runs again though it had completed."""
        return await self._decide(updates.held(self._state, payload, "retry"))

    @retry.validator
    def _check_retry(self, payload: Any = None, *_more: Any) -> None:
        updates.check_fields("retry", payload)
        updates.held(self._state, payload, "retry")

    @workflow.update(description="Go on without a held phase, or a failed step: phase or step, by, comment.")
    async def skip(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Goes on without a phase that `onFailure: pause` holds, or without its failed step."""
        return await self._decide(updates.held(self._state, payload, "skip"))

    @skip.validator
    def _check_skip(self, payload: Any = None, *_more: Any) -> None:
        updates.check_fields("skip", payload)
        updates.held(self._state, payload, "skip")

    @workflow.update(name="raise", description="Raise a limit of the budget: budget, limit, by.")
    async def raise_limit(self, payload: Any = None, *_more: Any) -> dict[str, Json]:
        """Sets a higher limit and returns all of them."""
        raised = spending.raised(self._state, self._request.budgets, payload)
        if raised.is_new:
            self._state.raised(raised, workflow.now())
        assert self._state.spendings is not None
        return spending.answer(self._state.spendings, raised)

    @raise_limit.validator
    def _check_raise(self, payload: Any = None, *_more: Any) -> None:
        updates.check_fields("raise", payload)
        spending.raised(self._state, self._request.budgets, payload)

    @workflow.query(description="How far it is, what waits, when it ends. Payload, optional: now, phase.")
    def progress(self, request: Any = None) -> Progress:
        """Answers from the state; `now` may be given, else the wall clock is read."""
        given = request if isinstance(request, dict) else {}
        now = _moment(given.get("now")) or _wall_clock()
        eta = expecting.eta(self._state, now)
        return views.progress(self._state, self._execution, eta, given.get("phase"))

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
        self._earlier = await opening.resumed(self._request)
        definition, inputs, self._limits = await opening.compiled(self._request, self._earlier)
        opening.check_place(self._request, definition)
        self._open(definition, inputs)
        telling = (self._notifier.run(),) if self._notifier else ()
        beside_it = (self._publish(), self._show(), self._limit(), self._end_pauses())
        async with beside(*beside_it, self._tell_phase(), self._grant(), *telling):
            await self._run_phases(definition)
            await self._await_cancellation()

    def _open(self, definition: TaskDefinition, inputs: dict[str, Json]) -> None:
        first = self._request.retry_of or self._execution
        digest = hashlib.sha256(first.encode()).hexdigest()
        earlier = self._earlier.trace_id if self._earlier else ""
        self._trace_id = self._request.trace_id or earlier or digest[:32]
        self._state.corrects = self._limits.corrects
        self._state.open(definition, inputs, workflow.now())
        if definition.budget is not None and definition.budget.limits and self._limits.counts_budgets:
            self._state.spendings = Spendings(definition.budget, self._execution)
        self._door = Admission(phases.phases_at_once(definition, self._limits.phases), self._state.wish)
        self._record_start(definition, inputs)
        if definition.notify and self._limits.corrects:
            given = (self._request, self._limits, self._trace_id)
            self._notifier = Notifier(definition, self._state, *given)

    async def _run_phases(self, definition: TaskDefinition) -> None:
        """Runs every phase in a task of its own; each waits for those it depends on."""
        runner = PhaseRunner(
            self._request,
            self._state,
            self._door,
            self._limits,
            self._trace_id,
            self._stop_softly,
            self._rollbacks,
            self._earlier,
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

    async def _end_pauses(self) -> None:
        limit = self._state.definition.paused_timeout if self._state.definition else None
        if limit is not None and self._limits.engine >= 2:
            await self._pauses.end_forgotten(limit, self._abort, leave=self._limits.leaves_timers)

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
            self._expectation.status_is(told)
            publish(self._state, self._request, told)
            self._display()
            record(ExecutionRecord(execution_id=self._execution, status=told, as_of=workflow.now()))

    async def _show(self) -> None:
        """Keeps the percentage and the Web UI's table of phases up to date, at no cost in history."""
        shown = 0
        while True:
            await self._changes_beyond(shown)
            shown = self._state.changes
            self._state.advance()
            self._expectation.look()
            self._display()

    def _display(self) -> None:
        workflow.set_current_details(views.details(self._state, self._expectation.shown))

    async def _changes_beyond(self, shown: int) -> None:
        await workflow.wait_condition(lambda: self._state.changes > shown)

    async def _status_differs_from(self, told: ExecutionStatus | None) -> None:
        await workflow.wait_condition(lambda: self._state.status is not told)

    async def _grant(self) -> None:
        """Answers phases that ask for permits, if the task has a budget."""
        if self._state.spendings is not None:
            await self._state.spendings.run()

    async def _tell_phase(self) -> None:
        """Tells the phase that runs this as a sub-task whether it stands still, and for which pause."""
        told, parent = self._stillness, workflow.info().parent
        while parent is not None and parent.workflow_id == self._request.report_to:
            await self._stillness_differs_from(told)
            told = self._stillness
            await tell(parent.workflow_id, SUBTASK_SIGNAL, told)

    @property
    def _stillness(self) -> SubtaskReport:
        status = self._state.status
        still = status is ExecutionStatus.PAUSED
        report = SubtaskReport(execution_id=self._execution, still=still, epoch=self._pauses.heard)
        if not self._limits.tells_waits:
            return report
        told = {"idle": status is ExecutionStatus.WAITING, "waits": self._state.waiting_here(self._execution)}
        return report.model_copy(update=told)

    async def _stillness_differs_from(self, told: SubtaskReport) -> None:
        await workflow.wait_condition(lambda: self._stillness != told)

    async def _decide(self, decision: updates.Decided) -> dict[str, Json]:
        """Passes a decision on and returns once the phase has taken it. The validator checked it."""
        if decision.is_new:
            self._state.decided[decision.key] = (decision.wait, decision.decision)
            self._correct(decision)
            self._state.decisions.setdefault(decision.wait.phase, []).append(decision.decision)
            self._record_decision(decision)
        await workflow.wait_condition(lambda: decision.key not in map(gate, self._state.waiting))
        if self._state.ended_undecided(decision.wait):
            self._state.decided.pop(decision.key, None)
            renewed = self._state.renewed(decision.wait)
            raise updates.changed(renewed) if renewed else updates.too_late(decision)
        return decision.answer()

    def _correct(self, decided: updates.Decided) -> None:
        """Changes the inputs if a decision about a held phase does."""
        again = Again.of(decided.decision.value) if decided.wait.kind == "retry" else None
        if again is not None and again.inputs:
            inputs = holding.merged(self._state, again)
            self._state.change_inputs(inputs)
            now = workflow.now()
            status = self._state.status
            record(ExecutionRecord(execution_id=self._execution, status=status, inputs=inputs, as_of=now))

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
        await self._rollbacks.settle_rest(self._state)
        self._state.close(workflow.now())
        found = await ending.outputs(self._state, self._request)
        result = await ending.result(
            self._state, status, self._execution, self._trace_id, found, engine=self._limits.engine
        )
        self._state.final, self._state.error = result.status, result.error
        publish(self._state, self._request, result.status)
        self._display()
        if result.status.is_success:
            self._expectation.tell()
        await ending.record_final(self._state, self._request, result)
        if self._notifier is not None:
            await self._notifier.end(result.status)
        return result

    def _record_start(self, definition: TaskDefinition, inputs: dict[str, Json]) -> None:
        request, told = self._request, definition_record(definition)
        agent = next(iter(definition.default_agents), None)
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
                assigned_agent=agent,
                retry_of=request.retry_of,
            ),
            opening_of(self._execution, inputs, self._trace_id, workflow.now()),
            event(
                self._execution,
                "execution_started",
                payload={"task": definition.name, "cause": request.cause, **by_agent(agent)},
            ),
        )

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
