"""Runs the phases of a task as child workflows, each as soon as it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine, Iterator
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError, is_cancelled_exception

from taskmark.contracts import (
    CONTROL_SIGNAL,
    INLINE_LIMIT,
    PHASE_WORKFLOW,
    Again,
    ControlPhase,
    Limits,
    PhaseReport,
    PhaseResult,
    PhaseStart,
    Quota,
    Resumed,
    StartTask,
    StepStatus,
    Wait,
    phase_workflow_id,
    span_id,
)
from taskmark.errors import Failure, InvalidExpression, StepFailed
from taskmark.plan import phases as rules
from taskmark.plan.graph import dependents
from taskmark.projection import phase_progress
from taskmark.task.model import Json, Phase, TaskDefinition, TaskLimits
from taskmark.task.packing import pack, unpack
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.artifacts import Shelf, Sources
from workflows.background import beside, tell
from workflows.calls import shortened
from workflows.children import failure_of
from workflows.effort import Effort
from workflows.names import task_names
from workflows.opening import offered
from workflows.recording import event, record
from workflows.rollback import Rollbacks
from workflows.state import TaskState

REPORTS = 5_000
"""Half of the signals an execution may take go to progress, shared by its phases."""


class PhaseRunner:
    """Decides for each phase when it starts, what it is given and what its end means."""

    def __init__(  # noqa: PLR0917 - the parts of one execution, put together in one place
        self,
        request: StartTask,
        state: TaskState,
        door: Admission,
        limits: Limits,
        trace_id: str,
        stop: Callable[[], None],
        rollbacks: Rollbacks,
        earlier: Resumed | None = None,
    ) -> None:
        self._request = request
        self._state = state
        self._door = door
        self._limits = limits
        self._trace_id = trace_id
        self._stop = stop
        self._rollbacks = rollbacks
        self._earlier = earlier
        self._execution = workflow.info().workflow_id
        self._effort = Effort()
        self._shelf = Shelf(self._effort)
        self._inputs: dict[str, Json] = {}
        """What phases are given: the inputs, or a reference to them."""
        self._keeping = asyncio.Lock()
        self._kept_inputs = 0
        """After how many changes of them."""
        self._ended: dict[str, asyncio.Event] = {}

    async def runs(self, definition: TaskDefinition) -> Iterator[Coroutine[Any, Any, None]]:
        """Returns the run of each phase, in the order of the file."""
        self._inputs = await self._shelf.keep(self._state.inputs, INLINE_LIMIT)
        self._ended = {phase.slug: asyncio.Event() for phase in definition.phases}
        return (self._run(definition, phase) for phase in definition.phases)

    async def _run(self, definition: TaskDefinition, phase: Phase) -> None:
        for slug in phase.depends_on:
            await self._ended[slug].wait()
        try:
            reason = await self._reason_to_skip(phase)
            if reason is None:
                await self._run_child(definition, phase)
            else:
                self._skip(phase, reason)
        except Stopped:
            self._skip(phase, "the task was stopped first")
        except InvalidExpression as error:
            message = f"its condition cannot be evaluated: {error.message}"
            self._fail(phase, Failure(type="expression_failed", message=message, phase=phase.slug))
        except StepFailed as error:
            place = {"phase": phase.slug, "hint": error.hint, "category": error.category}
            self._fail(phase, Failure(type=error.type, message=error.message, **place))
        finally:
            self._ended[phase.slug].set()

    async def _reason_to_skip(self, phase: Phase) -> str | None:
        """Returns why the phase does not run, or None; its `if` decides, also after a failed dependency."""
        async with self._door.slot():
            pass  # a pause or stop holds before anything of the phase is evaluated
        unmet = rules.unmet(phase, self._state.outcomes)
        if phase.condition is None:
            return f"{', '.join(unmet)} did not complete" if unmet else None
        await self._effort.turn()
        names = task_names(self._state, self._request)
        self._effort.charge(2 * (len(names["phases"]) + len(names["steps"])))
        try:
            names = await self._shelf.prepare(names, Sources(expressions=[phase.condition]))
            met = self._effort.test(phase.condition, names)
        except InvalidExpression:
            if unmet:
                return f"{', '.join(unmet)} did not complete"
            raise
        return None if met else f"its condition is false: {phase.condition}"

    def _fail(self, phase: Phase, failure: Failure) -> None:
        self._end(phase, PhaseResult(status=StepStatus.FAILED, error=failure))

    def _skip(self, phase: Phase, reason: str) -> None:
        self._state.phase_skipped(phase, reason, workflow.now())
        self._tell_progress(phase)

    def _tell_progress(self, phase: Phase) -> None:
        outcomes = self._state.outcomes.values()
        ended = sum(outcome.status.is_final for outcome in outcomes)
        payload = phase_progress(phase, ended, len(outcomes))
        record(event(self._execution, "progress", phase=phase.slug, payload=payload))

    async def _run_child(self, definition: TaskDefinition, phase: Phase) -> None:
        async with self._door.slot():
            before = 0
            while True:
                try:
                    result = await self._child(definition, phase)
                    break
                except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
                    if is_cancelled_exception(error) and self._state.wish.stop == "cancelled":
                        raise
                    result = _lost(phase, error, self._state.outcomes[phase.slug].attempts)
                    self._state.phase_lost(phase, workflow.now())
                if phase.on_failure != "pause" or not await self._hold(phase, result):
                    break
                before += result.attempts
            undone = await self._rollbacks.settle(phase, result.status)
            if undone and result.error is not None:
                hint = f"{result.error.hint}; {undone}" if result.error.hint else undone
                result = result.model_copy(update={"error": result.error.model_copy(update={"hint": hint})})
            self._end(phase, result.model_copy(update={"attempts": before + result.attempts}))

    async def _hold(self, phase: Phase, result: PhaseResult) -> bool:
        """Holds a phase whose child workflow is lost, as the child would have done; returns whether it
        runs again."""
        state, slug = self._state, phase.slug
        assert result.error is not None
        wait = Wait(
            kind="retry",
            name=slug,
            prompt=f"the phase {phase.name} failed: {result.error.message}",
            since=workflow.now(),
            phase=slug,
        )
        wait = wait.bound() if state.corrects else wait
        while not (self._door.stopped or state.decisions.get(slug)):
            state.reported(PhaseReport(phase=slug, epoch=state.wish.epoch, waiting=(wait,)), workflow.now())
            await self._news(slug, state.wish.epoch)
        decisions = state.decisions.pop(slug, [])
        return bool(decisions) and Again.of(decisions[-1].value).action == "retry" and not self._door.stopped

    async def _child(self, definition: TaskDefinition, phase: Phase) -> PhaseResult:
        """Runs the phase's child workflow. It hears of a wish or decision only once it has been started:
        a signal to a workflow that does not exist yet would be lost."""
        await self._keep_inputs()
        heard, warned = self._kept_inputs, self._state.is_used_up
        start = self._start(definition, phase)
        await self._effort.send(len(start.model_dump_json()), f"what the phase {phase.name} is given")
        start = start.model_copy(update={"wish": self._state.wish})
        self._state.phase_started(phase, workflow.now())
        sent = self._state.wish.epoch
        handle = await workflow.start_child_workflow(
            PHASE_WORKFLOW,
            travelling.with_limits(start),
            id=phase_workflow_id(self._execution, phase.slug),
            result_type=PhaseResult,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            task_timeout=timedelta(seconds=self._limits.workflow_task),
            static_summary=shortened(f"{phase.name} · {definition.name}"),
        )
        async with beside(self._forward(phase.slug, sent, heard, warned=warned)):
            result: PhaseResult = await handle
        return unpack(result.packed, PhaseResult) if result.packed else result

    def _end(self, phase: Phase, result: PhaseResult) -> None:
        if result.error is not None:
            assert self._state.definition is not None
            affected = (*result.error.affects, *dependents(self._state.definition, phase.slug))
            error = result.error.model_copy(update={"affects": tuple(dict.fromkeys(affected))})
            result = result.model_copy(update={"error": error})
        if result.status is StepStatus.FAILED and phase.on_failure == "fail":
            self._state.error = self._state.error or result.error
            self._stop()
        self._state.phase_ended(phase, result, workflow.now())
        self._tell_progress(phase)

    async def _keep_inputs(self) -> None:
        """Brings what phases are given in line with the inputs, which a person may have changed."""
        if len(self._state.input_changes) == self._kept_inputs:
            return
        async with self._keeping:
            changes, inputs = len(self._state.input_changes), self._state.inputs
            try:
                self._inputs = await self._shelf.keep(inputs, INLINE_LIMIT)
            except StepFailed:
                self._inputs = inputs  # heavy in history, but who waits for them gets them
            self._kept_inputs = changes

    async def _forward(self, slug: str, sent: int, heard: int, *, warned: bool) -> None:
        """Passes the newest wish, new decisions and changed inputs on to the phase, as long as it runs.

        Level, not edge: whatever happened in between, the child gets the newest wish once, also when it
        was still being started. Its own input carried the one before. That the task is cancelled it
        does not hear: it is cancelled itself.
        """
        state = self._state
        child = phase_workflow_id(self._execution, slug)
        while True:
            await self._news(slug, sent, heard, warned=warned)
            if state.wish.stop == "cancelled":
                return
            await self._keep_inputs()
            changes = state.input_changes[heard : self._kept_inputs]
            sent, heard = state.wish.epoch, self._kept_inputs
            control = ControlPhase(wish=state.wish, decisions=tuple(state.decisions.pop(slug, ())))
            if changes:
                changed = tuple(dict.fromkeys(name for names in changes for name in names))
                control = control.model_copy(update={"inputs": self._inputs, "changed": changed})
            if state.is_used_up and not warned:
                control = control.model_copy(update={"others": state.consumed_beside(slug)})
                warned = True
            await tell(child, CONTROL_SIGNAL, control)

    async def _news(self, slug: str, sent: int, heard: int | None = None, *, warned: bool = True) -> None:
        """Returns once there is something that the phase has not heard; `warned` if it knows what the others
        have used."""
        state = self._state

        def are_there() -> bool:
            is_wish_new = state.wish.epoch != sent or bool(state.decisions.get(slug))
            is_left_over = state.is_used_up and not warned
            return is_wish_new or is_left_over or (heard is not None and len(state.input_changes) > heard)

        await workflow.wait_condition(are_there)

    def _start(self, definition: TaskDefinition, phase: Phase) -> PhaseStart:
        """Returns what the phase is given: only what it refers to."""
        names = task_names(self._state, self._request)
        request = self._request
        asks = {step.value for step in phase.steps if step.kind == "agent"} | set(phase.agents)
        asks |= {s.fallback.name for s in phase.steps if s.fallback and s.fallback.kind == "agent"}
        default = definition.default_agents if phase.asks_listed() and not phase.agents else ()
        asks |= set(default)
        asks |= {agent.fallback for name in asks if (agent := definition.agents.get(name)) and agent.fallback}
        subtasks = {step.value for step in phase.steps if step.kind == "task"}
        read = (*phase.depends_on, *phase.reads_phases)
        return PhaseStart(
            execution_id=self._execution,
            task_id=definition.id,
            trace_id=self._trace_id,
            project=request.project or definition.project,
            build_id=request.build_id,
            **_whole_or_packed(phase),
            retry=definition.retry.model_dump(),
            window=rules.window(definition, phase, self._limits.window),
            inputs=self._inputs,
            phases={slug: names["phases"][slug] for slug in dict.fromkeys(read)},
            steps={name: names["steps"][name] for name in phase.reads_steps if name in names["steps"]},
            answers=self._answers(definition, phase),
            agents={name: agent for name, agent in definition.agents.items() if name in asks},
            **_tasks(definition, subtasks),
            default_agents=default,
            allow=definition.allow,
            limits=self._limits,
            wish=self._state.wish,
            report_budget=max(20, REPORTS // len(definition.phases)),
            spans=self._spans(phase),
            cause=request.cause,
            **self._budgets(definition),
            **self._of_limits(definition, phase),
            reuse=offered(request, self._earlier, definition, phase.slug),
            secrets=definition.secrets,
        )

    def _budgets(self, definition: TaskDefinition) -> dict[str, Any]:
        """Returns what the phase is told of the budgets that its agents' calls are charged to."""
        own = self._state.spendings
        found: dict[str, Any] = {
            "budgets": (*((own.metered_by,) if own else ()), *self._request.budgets),
        }
        if definition.budget is not None and self._limits.counts_budgets:
            found |= {"ask_above": definition.budget.ask_above, "used": self._state.used}
        return found

    def _of_limits(self, definition: TaskDefinition, phase: Phase) -> dict[str, Any]:
        """Returns what the phase is told of the task's limits, and of what is left of them."""
        limits = definition.limits or TaskLimits()
        found: dict[str, Any] = {"step_limits": limits.per_step}
        if limits.has_totals or self._request.counted:
            found["quota"] = Quota(limits=limits, others=self._state.consumed_beside(phase.slug))
        return found

    def _spans(self, phase: Phase) -> dict[str, str]:
        """Returns the spans of what the phase reads of others, as far as it has completed."""
        state, execution = self._state, self._execution
        found = {
            f"phases.{slug}": span_id(execution, slug, attempt=state.outcomes[slug].attempts)
            for slug in dict.fromkeys((*phase.depends_on, *phase.reads_phases))
            if state.outcomes[slug].status is StepStatus.COMPLETED
        }
        wanted = frozenset(phase.reads_steps)
        for slug, steps in state.steps.items() if wanted else ():
            for name in wanted.intersection(steps):
                if steps[name].status is StepStatus.COMPLETED:
                    found[f"steps.{name}"] = span_id(execution, slug, name, attempt=steps[name].attempt)
        return dict(sorted(found.items()))

    def _answers(self, definition: TaskDefinition, phase: Phase) -> tuple[Json, ...]:
        """Returns what the phase's aggregates read of the phases it depends on, if one of them does."""
        if not any(s.kind == "aggregate" and "over" not in s.arguments for s in phase.steps):
            return ()
        outcomes, steps = self._state.outcomes, self._state.steps
        return tuple(
            answer
            for slug in phase.depends_on
            for answer in rules.answers(definition.phase(slug), outcomes[slug].outputs, steps[slug])
        )


def _lost(
    phase: Phase, error: ChildWorkflowError | WorkflowAlreadyStartedError, attempts: int
) -> PhaseResult:
    """Returns the result of a phase whose child workflow was ended by somebody else."""
    failure = failure_of(error, f"the phase {phase.name}").model_copy(update={"phase": phase.slug})
    return PhaseResult(status=StepStatus.FAILED, error=failure, attempts=attempts)


def _whole_or_packed(phase: Phase) -> dict[str, Any]:
    """Returns the phase as it is, or packed if it is large: it is written into history once more."""
    return {"packed": pack(phase)} if _is_large(phase) else {"phase": phase}


def _tasks(definition: TaskDefinition, names: Container[str]) -> dict[str, Any]:
    """Returns the sub-tasks of these names, the large ones packed."""
    tasks = {name: task for name, task in definition.tasks.items() if name in names}
    packed = {name: pack(task) for name, task in tasks.items() if _is_large(task)}
    whole = {name: task for name, task in tasks.items() if name not in packed}
    return {"tasks": whole, "packed_tasks": packed}


def _is_large(part: Phase | TaskDefinition) -> bool:
    return len(part.model_dump_json(exclude_defaults=True)) > INLINE_LIMIT
