"""The child workflow: one phase, its steps, its retries and its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from taskmark.carried import Bulk, Carried
from taskmark.contracts import (
    CONTROL_SIGNAL,
    INLINE_LIMIT,
    MANY_ITEMS,
    PHASE_WORKFLOW,
    RESULT_LIMIT,
    SUBTASK_SIGNAL,
    Again,
    ControlPhase,
    ControlRequest,
    Decision,
    PhaseCounts,
    PhaseReport,
    PhaseResult,
    StepState,
    StepStatus,
    SubtaskReport,
    Wait,
    Wish,
    of_items,
)
from taskmark.errors import Category, Failure, InvalidExpression, StepFailed
from taskmark.plan.budget import calls_of
from taskmark.plan.phases import side_by_side
from taskmark.plan.retrying import backoff
from taskmark.plan.sources import bare
from taskmark.records import EventKind, PhaseRecord, outcome
from taskmark.task.model import Json, Output, Phase, Step
from taskmark.task.packing import pack, unpack
from workflows import again, carrying, travelling
from workflows.admission import Admission, Stopped
from workflows.artifacts import Shelf, Sources, absent, size_of
from workflows.background import beside, heard, tell, uninterrupted, wind_down
from workflows.board import Board
from workflows.calls import GaveUp
from workflows.carrying import Carrier
from workflows.clock import Countdown, run_out, within
from workflows.consent import Consents, fan_out, tasks_of
from workflows.effort import Effort
from workflows.feeding import LANES, STEPS, Feeder
from workflows.gates import Gates
from workflows.journey import Journey
from workflows.lanes import MANY_FAILURES, Lane, expanded, lanes, merged, shortened
from workflows.opening import read_phase
from workflows.purses import Purses
from workflows.quotas import Quotas
from workflows.recording import event, record
from workflows.reporting import Reporter
from workflows.reuse import Past
from workflows.scope import Scope
from workflows.steps import StepRunner

_ENDED: Mapping[StepStatus, EventKind] = {
    StepStatus.COMPLETED: "phase_completed",
    StepStatus.FAILED: "phase_failed",
    StepStatus.SKIPPED: "phase_skipped",
    StepStatus.CANCELLED: "phase_cancelled",
}


@workflow.defn(name=PHASE_WORKFLOW)
class PhaseWorkflow:
    """Runs one phase of a task."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        start = read_phase(given)
        self._phase = start.phase or unpack(start.packed or "", Phase)
        self._start = start
        self._admission = Admission(start.window, start.wish)
        self._board = Board(start, self._phase, self._admission)
        self._gates = Gates(self._board, self._admission)
        self._scope = Scope(start, self._board)
        self._effort = Effort()
        self._shelf = Shelf(self._effort)
        self._purses = Purses(start, self._board, self._admission)
        self._quota = Quotas(start, self._board)
        self._consents = Consents(start, self._board, self._gates)
        was_once = start.limits.engine < 2
        self._journey = Journey(items_together=was_once)
        self._feeder = Feeder(self._admission, self._effort, at_once=was_once)
        self._reporter = Reporter(self._board, start)
        self._carrier = Carrier(
            start, self._admission, self._board, self._shelf, self._reporter, self._purses
        )
        self._past = Past(start, self._phase, self._board, self._scope, self._shelf, self._effort)
        self._lanes: tuple[Lane, ...] = ()
        self._runners: list[StepRunner] = []
        self._told: dict[str, Wish] = {}
        """The wish that each sub-task was told last."""
        self._changed: dict[str, None] = {}
        """Inputs that are others since the phase began, or began again."""
        self._unheard: list[Decision] = []
        """Decisions that came while inputs changed: by then gates may show something else."""
        self._renewals, self._renewed = 0, 0
        self._is_anew = False
        self._left_out: dict[str, None] = {}
        """Steps that a person goes on without."""
        self._doubted: dict[str, None] = {}
        """Gates that were decided before the phase began again."""
        self._lane_inputs: dict[str, Json] | None = None
        """The inputs from which the lanes were made, if they are others now."""
        self._expired = False
        self._is_ending = False
        """Whether all of it is being ended: what fails by that asks nobody, and is not repeated."""
        self._is_held = False
        """Whether it waits for somebody to say `retry` or `skip`."""
        self._is_known = not start.carried_parts
        self._error: Failure | None = None
        self._started_at = workflow.now()
        self._timeout = None if self._phase.timeout is None else Countdown(self._phase.timeout)
        self._again_at: datetime | None = None
        """When the phase runs again, while it waits for that."""
        self._is_allowed = False
        """Whether an earlier run of the workflow had begun with the items, if the phase has any."""
        self._carried = carrying.given(start)
        if self._carried is not None:
            self._go_on(self._carried)

    @workflow.run
    async def run(self, *given: Any) -> RawValue:
        """Runs the phase to its end and returns what came of it, a `PhaseResult`, also when it failed.

        Raises a cancellation when it was cancelled, after everything below it has ended.
        """
        if self._carried is None:
            self._record(StepStatus.RUNNING)
        try:
            if self._start.carried_parts:
                self._take_steps(await self._carrier.fetched())
            async with beside(self._reporter.run(), self._purses.run(), self._purses.watch()):
                status, outputs = await self._run_within_time()
            await self._purses.close()
            if self._start.limits.awaits_reports:
                await self._reporter.arrived()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await uninterrupted(self._last_words)
            raise
        self._record(status, outputs)
        self._past.tell(self._part, status, outputs)
        steps = await self._steps_for_readers()
        result = PhaseResult(
            status=status,
            outputs=outputs,
            steps=shortened(steps),
            error=self._error,
            attempts=self._board.attempt,
            started_at=self._started_at,
            finished_at=workflow.now(),
            used=self._board.used if self._board.used.agent_calls else None,
            consumed=self._board.consumed if self._start.quota else None,
        )
        size = len(result.model_dump_json())
        large = size > RESULT_LIMIT
        return travelling.compact(PhaseResult(status=status, packed=pack(result)) if large else result)

    @workflow.signal(name=CONTROL_SIGNAL, description="The parent's newest wish, and decisions for gates.")
    def control(self, payload: Any = None, *_more: Any) -> None:
        """Takes the newest wish and passes decisions to the gates."""
        control = heard(ControlPhase, payload)
        if control is None:
            return
        if self._admission.apply(control.wish) and self._admission.paused:
            self._board.hurry()
        if control.inputs is not None:
            self._lane_inputs = self._lane_inputs or self._start.inputs
            self._start = self._start.model_copy(update={"inputs": control.inputs})
            self._board.start = self._start
            self._changed |= dict.fromkeys(control.changed)
            self._renewals += 1
        if self._renewals > self._renewed:
            self._unheard += control.decisions
        else:
            self._gates.take(control.decisions)
        if control.others is not None:
            self._quota.hear(control.others)
        if control.permits is not None:
            self._purses.take(control.permits)

    @workflow.signal(name=SUBTASK_SIGNAL, description="A sub-task stands still, or goes on.")
    def subtask(self, payload: Any = None, *_more: Any) -> None:
        """A sub-task that stands still is not in flight, if it is this pause that it means."""
        report = heard(SubtaskReport, payload)
        if report is None:
            return
        told = self._told.get(report.execution_id, Wish())
        still = report.still and told.paused and report.epoch == told.epoch
        self._admission.rest(report.execution_id, still=still)
        runs = any(report.execution_id in runner.subtasks for runner in self._runners)
        if runs and self._start.limits.tells_waits:
            if self._admission.wait_for_people(report.execution_id, idle=report.idle):
                self._board.hurry()
            self._board.waits_below(report.execution_id, report.waits)

    @workflow.query(description="Every step of the phase as it stands.")
    def state(self) -> PhaseReport:
        """Returns the whole state without outputs."""
        self._refuse_until_known()
        return self._board.snapshot()

    @workflow.query(description="How many steps of the phase have each status.")
    def counts(self) -> PhaseCounts:
        """Returns the state in short, however many steps there are."""
        self._refuse_until_known()
        return self._board.counts()

    # --- the run ----------------------------------------------------------------------------------

    async def _run_within_time(self) -> tuple[StepStatus, dict[str, Json]]:
        """Runs the phase until it ends, its time is up, or the task stops hard.

        The danger is cleanup: whatever ends it early, every step is cancelled and awaited before
        anything is said about the phase.
        """
        renewing = (self._renew_gates(),) if self._start.limits.corrects else ()
        watches = (*self._carrier.watches(), *renewing)
        async with beside(self._forward_pauses(), self._enforce_timeout(), *watches):
            while True:
                work = asyncio.create_task(self._run())
                try:
                    await self._ended(work)
                    if work.done():
                        return await work
                    ended = await self._end_early(work)
                except (Exception, asyncio.CancelledError) as error:
                    if is_cancelled_exception(error):
                        await self._wind_down(work)
                    raise
                if not await self._has_time_again():
                    return ended

    async def _ended(self, work: asyncio.Task[Any]) -> None:
        """Returns once the work is done or must end. Meanwhile it may continue as new."""
        while True:
            await workflow.wait_condition(lambda: work.done() or self._must_end or self._carrier.is_ready)
            if work.done() or self._must_end:
                return
            await self._carrier.go(self._packed_up)

    @property
    def _must_end(self) -> bool:
        return self._expired or self._admission.wish.stop == "timed_out"

    async def _wind_down(self, work: asyncio.Task[Any]) -> None:
        self._is_ending = self._start.limits.ends_for_good
        self._admission.halt()
        await wind_down(work)

    async def _end_early(self, work: asyncio.Task[Any]) -> tuple[StepStatus, dict[str, Json]]:
        await self._wind_down(work)
        self._skip_rest("the phase was ended first")
        if self._expired:
            message = f"the phase took longer than its timeout of {self._phase.timeout:g} s"
            self._error = Failure(type="timed_out", message=message, phase=self._phase.slug)
            return self._failed_status(), {}
        return StepStatus.CANCELLED, {}

    async def _has_time_again(self) -> bool:
        """Whether a phase that ran out of its time runs again, because a person wants it so: then it has all
        of its time again."""
        self._is_ending = False
        if not (self._expired and self._start.limits.holds_clocks and await self._is_corrected()):
            return False
        self._timeout = Countdown(self._phase.timeout or 0)
        self._expired = False
        return True

    async def _enforce_timeout(self) -> None:
        while self._timeout is not None:
            await run_out(
                self._timeout.left,
                lambda: self._admission.paused or (self._is_held and self._start.limits.holds_clocks),
                "timeout of the phase",
                leave=self._start.limits.leaves_timers,
                countdown=self._timeout,
            )
            self._expired = True
            await workflow.wait_condition(lambda: not self._expired)

    async def _run(self) -> tuple[StepStatus, dict[str, Json]]:
        while True:
            try:
                is_prepared = await self._prepared()
            except Stopped:
                self._skip_rest("the task was stopped first")
                return StepStatus.SKIPPED, {}
            if is_prepared:
                await self._feeder.gather(LANES, (partial(self._run_lane, *pair) for pair in self._pairs()))
                if self._interrupted:
                    return self._interrupted_status(), {}
                self._error = self._find_failure()
                if self._error is None:
                    status, outputs = await self._complete()
                    if not (self._error and await self._is_corrected()):
                        return status, outputs
                elif not await self._goes_again():
                    return self._failed_status(), {}
            elif not await self._is_corrected():
                return self._failed_status(), {}

    async def _prepared(self) -> bool:
        """Whether the steps that run are known; of a phase with `forEach` they may not be."""
        if self._runners:
            return True
        try:
            await self._prepare_lanes()
        except InvalidExpression as error:
            self._error = self._logic(f"forEach of the phase: {error.message}")
            self._skip_rest("the phase's forEach could not be evaluated")
            return False
        except GaveUp as error:
            self._error = error.failure.model_copy(update={"phase": self._phase.slug})
            self._skip_rest("the phase was rejected before it began")
            return False
        return True

    async def _prepare_lanes(self) -> None:
        await self._past.open()
        items: list[Json] | None = None
        if self._phase.for_each is not None:
            sources = Sources(expressions=[self._phase.for_each])
            names = self._scope.names()
            names["inputs"] = self._lane_inputs or names["inputs"]
            names = await self._shelf.prepare(names, sources)
            items = _items(self._phase.for_each, names, self._effort)
            await self._ask_consent(len(items))
        self._lanes = lanes(self._phase, items)
        if items is not None:
            self._board.expand(expanded(self._phase, self._lanes), anew=self._is_anew)
            self._is_anew = False
        self._runners = [
            StepRunner(
                self._start,
                self._board.phase,
                self._board,
                self._admission,
                self._gates,
                self._scope,
                self._shelf,
                self._effort,
                self._purses,
                self._quota,
                self._consents,
                lane,
                self._feeder,
                self._journey,
                self._past,
            )
            for lane in self._lanes
        ]

    async def _ask_consent(self, items: int) -> None:
        """Asks before the calls of many items, if the budget wants it."""
        if self._start.ask_above is not None and not self._is_allowed:
            start, phase = self._start, self._phase
            calls = items * calls_of(phase, start.default_agents, tasks_of(start))
            await self._consents.ask(phase.slug, phase.name, calls)

    def _pairs(self) -> list[tuple[StepRunner, Lane]]:
        return list(zip(self._runners, self._lanes, strict=True))

    async def _run_lane(self, runner: StepRunner, lane: Lane) -> None:
        if self._phase.parallel:
            await self._run_parallel(runner, lane)
        else:
            await self._run_sequence(runner, lane)

    async def _run_sequence(self, runner: StepRunner, lane: Lane) -> None:
        for step in lane.steps:
            done = await self._stays(runner, lane, step)
            if not done:
                await runner.run(step)
            if self._has_failed(step):
                if not done:
                    self._note_failure()
                self._skip(lane.steps, f"{step.id} failed before it")
                return

    async def _run_parallel(self, runner: StepRunner, lane: Lane) -> None:
        """Runs all steps at once; a step waits for those of the phase it reads, an aggregate for all."""
        ended = {lane.plain_id(step.id): asyncio.Event() for step in lane.steps}
        before = side_by_side(self._phase.steps)

        async def run(step: Step) -> None:
            for name in before[lane.plain_id(step.id)]:
                await ended[name].wait()
            done = await self._stays(runner, lane, step)
            if not done:
                await runner.run(step)
            if self._has_failed(step) and not done:
                self._note_failure()
            ended[lane.plain_id(step.id)].set()

        await self._feeder.gather(STEPS, (partial(run, step) for step in lane.steps))

    async def _stays(self, runner: StepRunner, lane: Lane, step: Step) -> bool:
        """Whether a step has ended and stays as it is. A gate that would show something else opens again,
        and what had read it runs again."""
        if not self._is_done(step):
            return False
        if step.id not in self._doubted or await runner.stands(step):
            return True
        for other in (step, *again.readers(self._phase, lane, [step])):
            self._board.again(other.id)
        return False

    def _is_done(self, step: Step) -> bool:
        return self._board.steps[step.id].status.is_final

    def _has_failed(self, step: Step) -> bool:
        return step.is_critical and self._board.steps[step.id].status is StepStatus.FAILED

    def _note_failure(self) -> None:
        """A critical failure: nothing new starts here, and nowhere else if the phase has no retry left."""
        self._admission.halt()
        if self._phase.on_failure == "fail" and not self._may_retry:
            self._board.failed()

    @property
    def _may_retry(self) -> bool:
        return self._phase.retry is not None and self._board.attempt < self._phase.retry.max_attempts

    @property
    def _stops(self) -> bool:
        """Whether nothing runs again, whatever happens: all stops, or this phase is ended. That the task is
        cancelled is no wish, the phase is cancelled itself."""
        return self._is_ending or bool(self._admission.wish.stop)

    @property
    def _interrupted(self) -> bool:
        return bool(self._admission.wish.stop) and any(r.interrupted for r in self._runners)

    def _interrupted_status(self) -> StepStatus:
        self._error = self._find_failure()
        if self._error is not None:
            return StepStatus.FAILED
        begun = any(state.started_at or state.reused for state in self._board.steps.values())
        return StepStatus.CANCELLED if begun else StepStatus.SKIPPED

    # --- how it ends ------------------------------------------------------------------------------

    def _find_failure(self) -> Failure | None:
        """Returns why the phase has failed, if it has."""
        states = self._board.steps.values()
        for state in states:
            if state.critical and state.status is StepStatus.FAILED:
                return state.error
        asked = [s for s in states if self._asks(s) and s.status is not StepStatus.SKIPPED]
        if asked and all(s.status is StepStatus.FAILED for s in asked):
            first = asked[0].error
            message = f"every agent of the phase failed; the first: {first.message if first else 'unknown'}"
            category = first.category if first else Category.TRANSIENT
            hint = first.hint if first else None
            return Failure(
                type="agents_failed", message=message, category=category, phase=self._phase.slug, hint=hint
            )
        return None

    def _asks(self, state: StepState) -> bool:
        """Whether the step asks an agent; a note does not."""
        agents = self._phase.agents or self._start.default_agents
        return state.kind == "agent" or (state.kind == "plain" and bool(agents))

    async def _goes_again(self) -> bool:
        """Whether the phase runs again: by its own retry, or because a person wants it so."""
        if self._stops:
            return False
        if self._again_at is not None:  # an earlier run of the workflow has said when
            return await self._before_retry((self._again_at - workflow.now()).total_seconds())
        if self._may_retry and self._phase.retry is not None:
            chance = workflow.random().random()
            cap = self._start.limits.backoff_cap
            delay = backoff(self._phase.retry, self._board.attempt, cap=cap, chance=chance)
            return await self._before_retry(delay)
        if self._phase.on_failure == "pause":
            return await self._ask_what_to_do()
        return False

    async def _before_retry(self, delay: float) -> bool:
        """Waits before the phase runs again; returns False if the task is stopped meanwhile."""
        summary = "before the phase runs again"
        self._again_at = workflow.now() + timedelta(seconds=delay)
        if await within(delay, lambda: self._stops, summary):
            return False
        await self._reset(Again(action="retry"))
        return True

    async def _is_corrected(self) -> bool:
        """Whether a phase runs again that failed though no step did, because a person wants it so."""
        if self._phase.on_failure != "pause" or not self._start.limits.corrects:
            return False
        return not self._stops and await self._ask_what_to_do()

    async def _ask_what_to_do(self) -> bool:
        """Holds the phase until somebody says `retry` or `skip`."""
        self._admission.reopen()
        message = self._error.message if self._error else ""
        wait = Wait(
            kind="retry",
            name=self._phase.slug,
            prompt=f"the phase {self._phase.name} failed: {message}",
            since=workflow.now(),
            phase=self._phase.slug,
            failed=self._failed_steps() if self._start.limits.corrects else (),
        )
        self._is_held = True
        try:
            decision = await self._gates.decision(wait, None)
        except Stopped:
            return False
        finally:
            self._is_held = False
        assert decision is not None
        wanted = Again.of(decision.value)
        if wanted.action == "skip" and not wanted.step:
            return False
        if wanted.action == "skip":
            self._leave_out(wanted.step, decision)
        await self._reset(wanted)
        return True

    def _failed_steps(self) -> tuple[str, ...]:
        states = self._board.steps.values()
        return tuple(state.id for state in states if state.status is StepStatus.FAILED)[:MANY_FAILURES]

    def _leave_out(self, wanted: str, decision: Decision) -> None:
        """The phase goes on without a step that failed; others that failed stay as they are."""
        who = f"skipped by {decision.by or 'somebody'}"
        reason = f"{who}: {decision.comment}" if decision.comment else who
        for step in self._board.phase.steps:
            if step.id == wanted:
                self._board.leave_out(step, reason)
                self._left_out[step.id] = None

    async def _reset(self, wanted: Again) -> None:
        """Puts back to the start what runs again: what did not complete, and what is affected by a change."""
        self._again_at = None
        self._admission.reopen()
        self._board.attempt += 1
        skips = wanted.action == "skip"
        named = {} if skips or not wanted.step else self._named(wanted.step)
        for name in named:
            self._left_out.pop(name, None)
        for name, state in list(self._board.steps.items()):
            if name not in self._left_out and not (skips and state.status is StepStatus.FAILED):
                self._board.retry(name)
        if named or self._changed:
            await self._put_back(named)
        for runner in self._runners:
            runner.interrupted = False
        self._doubted = dict.fromkeys(name for name, state in self._board.steps.items() if state.shown)

    def _named(self, step: str) -> dict[str, None]:
        """Returns the steps that are meant: in a phase with `forEach` one id is that of several."""
        items = (name for name in self._board.steps if name == step or name.startswith(f"{step}["))
        return dict.fromkeys(items)

    async def _put_back(self, named: dict[str, None]) -> None:
        changed, self._changed = self._changed, {}
        if again.reads_any(Sources(expressions=[self._phase.for_each]), changed):
            self._expand_anew()
            return
        for lane in self._lanes:
            for step in await again.affected(self._phase, lane, self._effort, named, changed):
                self._board.again(step.id)

    def _expand_anew(self) -> None:
        """The items may be others: everything of every item runs again."""
        for name in self._board.steps:
            self._board.again(name)
        self._runners, self._left_out, self._lane_inputs, self._is_anew = [], {}, None, True

    def _failed_status(self) -> StepStatus:
        if self._phase.on_failure == "fail":
            self._board.failed()
        return StepStatus.FAILED

    async def _complete(self) -> tuple[StepStatus, dict[str, Json]]:
        try:
            return StepStatus.COMPLETED, await self._outputs()
        except (InvalidExpression, StepFailed) as error:
            self._error = self._logic(error.message)
            return self._failed_status(), {}

    async def _outputs(self) -> dict[str, Json]:
        found: dict[str, Json] = {}
        room = RESULT_LIMIT // 2
        many = len(self._lanes) > MANY_ITEMS and self._start.limits.engine >= 2
        for output in self._phase.outputs:
            values = [await self._output(output, lane) for lane in self._lanes]
            value = values if self._phase.for_each is not None else values[0]
            if value is not None:
                found[output.name] = await self._shelf.keep(
                    value, 0 if many else max(0, min(INLINE_LIMIT, room))
                )
                room -= size_of(found[output.name])
        return found

    async def _output(self, output: Output, lane: Lane) -> Json:
        """Returns the value of an output, or None if the step it needs has none."""
        own = lane.outputs(self._board)
        if output.expression is None:
            return _named(output.name, lane, own)
        names = self._scope.names(lane)
        passes_on = Sources(values=[f"{{{{ {output.expression} }}}}"])
        await self._effort.turn()
        try:
            names = await self._shelf.prepare(names, passes_on)
            return self._effort.evaluate(output.expression, names)
        except InvalidExpression as error:
            if absent(names, passes_on):
                return None
            raise InvalidExpression(f"output {output.name}: {error.message}", hint=error.hint) from error

    async def _steps_for_readers(self) -> tuple[StepState, ...]:
        """Returns the states of all steps; in a phase of thousands of items their outputs are one document
        per step of the file."""
        states = merged(self._phase, self._lanes, self._board.steps)
        if len(self._lanes) <= MANY_ITEMS or self._start.limits.engine < 2:
            return states
        whole, each = states[: len(self._phase.steps)], states[len(self._phase.steps) :]
        return (
            *[await self._kept(state) for state in whole],
            *(s.model_copy(update={"output": None}) for s in each),
        )

    async def _kept(self, state: StepState) -> StepState:
        try:
            output = of_items(await self._shelf.keep(state.output, 0), len(self._lanes))
        except StepFailed as error:
            workflow.logger.warning("the outputs of %s are lost: %s", state.id, error.message)
            output = None
        return state.model_copy(update={"output": output})

    def _skip_rest(self, reason: str) -> None:
        self._skip(self._board.phase.steps, reason)

    def _skip(self, steps: tuple[Step, ...], reason: str) -> None:
        for step in steps:
            if not self._is_done(step):
                self._board.end(step, StepStatus.SKIPPED, reason=reason)

    def _logic(self, message: str) -> Failure:
        return Failure(type="expression_failed", message=message, phase=self._phase.slug)

    async def _last_words(self) -> None:
        """After a cancellation the parent gets everything, outputs too: a cancelled child returns nothing."""
        self._skip_rest("the task was cancelled first")
        self._record(StepStatus.CANCELLED)
        self._past.tell(self._part, StepStatus.CANCELLED)
        await self._purses.close()
        for report in self._board.last_reports():
            await self._reporter.send(report)

    # --- from one run of the workflow to the next -------------------------------------------------

    def _go_on(self, carried: Carried) -> None:
        self._started_at = carried.started_at
        self._is_allowed = all(gate.wait.name != fan_out(self._phase.slug) for gate in carried.gates)
        self._board.go_on(carried, expanded=self._phase.for_each is not None and self._is_allowed)
        self._gates.go_on(carried.gates)
        self._purses.go_on(carried.purses)
        self._reporter.go_on(carried.reports, carried.reported_at)
        self._again_at = carried.again_at
        self._changed = dict.fromkeys(carried.changed_inputs)
        self._left_out, self._doubted = dict.fromkeys(carried.left_out), dict.fromkeys(carried.doubted)
        self._lane_inputs = carried.lane_inputs
        self._unheard = list(carried.unheard)
        self._renewals = int(carried.renews)
        if carried.timeout_left is not None:
            self._timeout = Countdown(carried.timeout_left)
        if carried.bulk is not None:
            self._take_steps(carried.bulk)

    def _take_steps(self, bulk: Bulk) -> None:
        self._board.take_steps(bulk)
        self._journey.go_on(bulk.going, bulk.trying)
        self._is_known = True

    @property
    def _part(self) -> int:
        """Which run of its workflow this is, from 0."""
        return self._carried.runs if self._carried else 0

    def _packed_up(self) -> Carried:
        board = self._board
        purses = self._purses.carried()
        self._past.tell(self._part, StepStatus.RUNNING)
        bulk = Bulk(**board.carried_steps(), **self._journey.carried(board.has_begun))
        return Carried(
            started_at=self._started_at,
            runs=self._carried.runs + 1 if self._carried else 1,
            bulk=bulk.model_copy(update={"steps": shortened(bulk.steps)}),
            **board.carried(),
            gates=self._gates.carried(),
            purses=purses,
            timeout_left=self._timeout.left if self._timeout else None,
            again_at=self._again_at,
            changed_inputs=tuple(self._changed),
            left_out=tuple(self._left_out),
            doubted=tuple(self._doubted),
            lane_inputs=self._lane_inputs,
            unheard=tuple(self._unheard),
            renews=self._renewals > self._renewed,
            reports=self._reporter.sent,
            reported_at=self._reporter.last,
        )

    def _refuse_until_known(self) -> None:
        """An earlier run of the workflow knew; what it left is being fetched."""
        if not self._is_known:
            raise ApplicationError("the phase is just going on; ask again", type="not_yet")

    async def _forward_pauses(self) -> None:
        """Passes pauses on to sub-tasks. Level, not edge: each hears the newest wish, once."""
        while True:
            await workflow.wait_condition(lambda: bool(self._untold()))
            for child in self._untold():
                wish = self._told[child] = self._admission.wish
                self._admission.rest(child, still=False)
                request = ControlRequest(epoch=wish.epoch, mode="now" if self._admission.interrupts else "")
                await tell(child, "pause" if wish.paused else "resume", request)

    async def _renew_gates(self) -> None:
        """Opens gates anew that show something else after inputs have changed. Decisions wait for it: they
        may be for what was shown before."""
        while True:
            await workflow.wait_condition(lambda: self._renewals > self._renewed)
            heard = self._renewals
            for runner in self._runners:
                await runner.renew_gates()
            self._renewed = heard
            if self._renewals == heard:
                self._gates.take(tuple(self._unheard))
                self._unheard.clear()

    def _untold(self) -> list[str]:
        running = [child for runner in self._runners for child in runner.subtasks]
        return [child for child in running if self._differs(self._told.get(child, Wish()))]

    def _differs(self, told: Wish) -> bool:
        """Whether a sub-task has to hear more of pauses than it was told last."""
        wish = self._admission.wish
        return (told.paused, told.paused and told.now) != (wish.paused, wish.paused and wish.now)

    def _record(self, status: StepStatus, outputs: dict[str, Json] | None = None) -> None:
        start, now = self._start, workflow.now()
        row = PhaseRecord(
            execution_id=start.execution_id,
            phase=self._phase.slug,
            name=self._phase.name,
            status=status,
            attempt=self._board.attempt,
            outputs=outputs,
            error=self._error,
            started_at=None if status.is_final else now,
            finished_at=now if status.is_final else None,
            as_of=now,
            trace_id=start.trace_id,
            parents=start.parents or None,
            cause=start.cause,
        )
        payload = outcome(status, self._error)
        kind = _ENDED.get(status, "phase_started")
        record(row, event(start.execution_id, kind, phase=self._phase.slug, payload=payload))


def _items(source: Json, names: dict[str, Any], effort: Effort) -> list[Json]:
    items = source
    if isinstance(source, str):
        items = effort.evaluate(bare(source), names)
    if not isinstance(items, list | tuple):
        raise InvalidExpression(f"`{source}` is not a list")
    return list(items)


def _named(name: str, lane: Lane, own: dict[str, Json]) -> Json:
    """Returns the output of the step or agent of that name, else of the last step that has one."""
    if name in own:
        return own[name].get("output")
    for step in lane.steps:
        output = own.get(lane.plain_id(step.id), {}).get("output")
        if step.kind == "agent" and step.value == name:
            return output
        if step.kind == "plain" and isinstance(output, dict) and name in output:
            return output[name]
    answers = (own.get(lane.plain_id(step.id), {}) for step in reversed(lane.steps))
    return next((v["output"] for v in answers if v.get("output") is not None), None)
