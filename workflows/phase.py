"""The child workflow: one phase, its steps, its retries and its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import is_cancelled_exception

from taskmark.contracts import (
    CONTROL_SIGNAL,
    INLINE_LIMIT,
    PHASE_WORKFLOW,
    RESULT_LIMIT,
    SUBTASK_SIGNAL,
    ControlPhase,
    ControlRequest,
    PhaseCounts,
    PhaseReport,
    PhaseResult,
    StepState,
    StepStatus,
    SubtaskReport,
    Wait,
    Wish,
)
from taskmark.errors import Category, Failure, InvalidExpression, StepFailed
from taskmark.plan.phases import side_by_side
from taskmark.plan.retrying import backoff
from taskmark.records import EventKind, PhaseRecord, outcome
from taskmark.task.model import Json, Output, Phase, Step
from taskmark.task.packing import pack, unpack
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.artifacts import Shelf, Sources, absent, bare, size_of
from workflows.background import beside, heard, tell, uninterrupted, wind_down
from workflows.board import Board
from workflows.clock import run_out, within
from workflows.effort import Effort
from workflows.gates import Gates
from workflows.lanes import Lane, expanded, lanes, merged, shortened
from workflows.opening import read_phase
from workflows.recording import event, record
from workflows.reporting import Reporter
from workflows.scope import Scope
from workflows.steps import StepRunner, gather

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
        self._lanes: tuple[Lane, ...] = ()
        self._runners: list[StepRunner] = []
        self._told: dict[str, Wish] = {}
        """The wish that each sub-task was told last."""
        self._expired = False
        self._error: Failure | None = None

    @workflow.run
    async def run(self, *given: Any) -> RawValue:
        """Runs the phase to its end and returns what came of it, a `PhaseResult`, also when it failed.

        Raises a cancellation when it was cancelled, after everything below it has ended.
        """
        started = workflow.now()
        self._record(StepStatus.RUNNING)
        reporter = Reporter(self._board, self._start)
        try:
            async with beside(reporter.run()):
                status, outputs = await self._run_within_time()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await uninterrupted(lambda: self._last_words(reporter))
            raise
        self._record(status, outputs)
        result = PhaseResult(
            status=status,
            outputs=outputs,
            steps=shortened(merged(self._phase, self._lanes, self._board.steps)),
            error=self._error,
            attempts=self._board.attempt,
            started_at=started,
            finished_at=workflow.now(),
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
        self._gates.take(control.decisions)

    @workflow.signal(name=SUBTASK_SIGNAL, description="A sub-task stands still, or goes on.")
    def subtask(self, payload: Any = None, *_more: Any) -> None:
        """A sub-task that stands still is not in flight, if it is this pause that it means."""
        report = heard(SubtaskReport, payload)
        if report is None:
            return
        told = self._told.get(report.execution_id, Wish())
        still = report.still and told.paused and report.epoch == told.epoch
        self._admission.rest(report.execution_id, still=still)

    @workflow.query(description="Every step of the phase as it stands.")
    def state(self) -> PhaseReport:
        """Returns the whole state without outputs."""
        return self._board.snapshot()

    @workflow.query(description="How many steps of the phase have each status.")
    def counts(self) -> PhaseCounts:
        """Returns the state in short, however many steps there are."""
        return self._board.counts()

    # --- the run ----------------------------------------------------------------------------------

    async def _run_within_time(self) -> tuple[StepStatus, dict[str, Json]]:
        """Runs the phase until it ends, its time is up, or the task stops hard.

        The danger is cleanup: whatever ends it early, every step is cancelled and awaited before
        anything is said about the phase.
        """
        async with beside(self._forward_pauses(), self._enforce_timeout()):
            work = asyncio.create_task(self._run())
            try:
                await workflow.wait_condition(lambda: work.done() or self._must_end)
                if not work.done():
                    return await self._end_early(work)
                return await work
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled_exception(error):
                    self._admission.halt()
                    await wind_down(work)
                raise

    @property
    def _must_end(self) -> bool:
        return self._expired or self._admission.wish.stop == "timed_out"

    async def _end_early(self, work: asyncio.Task[Any]) -> tuple[StepStatus, dict[str, Json]]:
        self._admission.halt()
        await wind_down(work)
        self._skip_rest("the phase was ended first")
        if self._expired:
            message = f"the phase took longer than its timeout of {self._phase.timeout:g} s"
            self._error = Failure(type="timed_out", message=message, phase=self._phase.slug)
            return self._failed_status(), {}
        return StepStatus.CANCELLED, {}

    async def _enforce_timeout(self) -> None:
        if self._phase.timeout is not None:
            await run_out(
                self._phase.timeout,
                lambda: self._admission.paused,
                "timeout of the phase",
                leave=self._start.limits.leaves_timers,
            )
            self._expired = True

    async def _run(self) -> tuple[StepStatus, dict[str, Json]]:
        try:
            await self._prepare_lanes()
        except InvalidExpression as error:
            self._error = self._logic(f"forEach of the phase: {error.message}")
            self._skip_rest("the phase's forEach could not be evaluated")
            return self._failed_status(), {}
        while True:
            await gather([asyncio.create_task(self._run_lane(*pair)) for pair in self._pairs()])
            if self._interrupted:
                return self._interrupted_status(), {}
            self._error = self._find_failure()
            if self._error is None:
                return await self._complete()
            if not await self._goes_again():
                return self._failed_status(), {}

    async def _prepare_lanes(self) -> None:
        items: list[Json] | None = None
        if self._phase.for_each is not None:
            sources = Sources(expressions=[self._phase.for_each])
            names = await self._shelf.prepare(self._scope.names(), sources)
            items = _items(self._phase.for_each, names, self._effort)
        self._lanes = lanes(self._phase, items)
        if items is not None:
            self._board.expand(expanded(self._phase, self._lanes))
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
                lane,
            )
            for lane in self._lanes
        ]

    def _pairs(self) -> list[tuple[StepRunner, Lane]]:
        return list(zip(self._runners, self._lanes, strict=True))

    async def _run_lane(self, runner: StepRunner, lane: Lane) -> None:
        if self._phase.parallel:
            await self._run_parallel(runner, lane)
        else:
            await self._run_sequence(runner, lane)

    async def _run_sequence(self, runner: StepRunner, lane: Lane) -> None:
        for step in lane.steps:
            if self._is_done(step):
                continue
            await runner.run(step)
            if self._has_failed(step):
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
            if not self._is_done(step):
                await runner.run(step)
            if self._has_failed(step):
                self._note_failure()
            ended[lane.plain_id(step.id)].set()

        await gather([asyncio.create_task(run(step)) for step in lane.steps])

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
    def _interrupted(self) -> bool:
        return bool(self._admission.wish.stop) and any(r.interrupted for r in self._runners)

    def _interrupted_status(self) -> StepStatus:
        self._error = self._find_failure()
        if self._error is not None:
            return StepStatus.FAILED
        begun = any(state.started_at for state in self._board.steps.values())
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
        if self._admission.wish.stop:
            return False
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
        if await within(delay, lambda: bool(self._admission.wish.stop), summary):
            return False
        self._reset()
        return True

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
        )
        try:
            decision = await self._gates.decision(wait, None)
        except Stopped:
            return False
        assert decision is not None
        if decision.value == "retry":
            self._reset()
            return True
        return False

    def _reset(self) -> None:
        self._admission.reopen()
        self._board.attempt += 1
        for name in self._board.steps:
            self._board.retry(name)
        for runner in self._runners:
            runner.interrupted = False

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
        for output in self._phase.outputs:
            values = [await self._output(output, lane) for lane in self._lanes]
            value = values if self._phase.for_each is not None else values[0]
            if value is not None:
                found[output.name] = await self._shelf.keep(value, max(0, min(INLINE_LIMIT, room)))
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

    def _skip_rest(self, reason: str) -> None:
        self._skip(self._board.phase.steps, reason)

    def _skip(self, steps: tuple[Step, ...], reason: str) -> None:
        for step in steps:
            if not self._is_done(step):
                self._board.end(step, StepStatus.SKIPPED, reason=reason)

    def _logic(self, message: str) -> Failure:
        return Failure(type="expression_failed", message=message, phase=self._phase.slug)

    async def _last_words(self, reporter: Reporter) -> None:
        """After a cancellation the parent gets everything, outputs too: a cancelled child returns nothing."""
        self._skip_rest("the task was cancelled first")
        self._record(StepStatus.CANCELLED)
        for report in self._board.last_reports():
            await reporter.send(report)

    async def _forward_pauses(self) -> None:
        """Passes pauses on to sub-tasks. Level, not edge: each hears the newest wish, once."""
        while True:
            await workflow.wait_condition(lambda: bool(self._untold()))
            for child in self._untold():
                wish = self._told[child] = self._admission.wish
                self._admission.rest(child, still=False)
                await tell(child, "pause" if wish.paused else "resume", ControlRequest(epoch=wish.epoch))

    def _untold(self) -> list[str]:
        running = [child for runner in self._runners for child in runner.subtasks]
        return [child for child in running if self._told.get(child, Wish()).paused != self._admission.paused]

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
