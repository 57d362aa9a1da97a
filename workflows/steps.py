"""Runs the steps of a phase: one method per kind, and what is common to all of them around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError, is_cancelled_exception

from taskmark.contracts import (
    AGENT_ACTIVITY,
    AGGREGATE_ACTIVITY,
    INLINE_LIMIT,
    KIND_ACTIVITY,
    MANY_ITEMS,
    RESULT_LIMIT,
    TASK_WORKFLOW,
    TOOL_ACTIVITY,
    Consumption,
    Decision,
    Limits,
    PhaseStart,
    StartTask,
    StepCall,
    StepStatus,
    ToolLimits,
    Used,
    Wait,
    each_of,
    idempotency_key,
    journal_of,
    of_items,
    phase_workflow_id,
    stands_for_items,
)
from taskmark.errors import Category, Failure, InvalidExpression, StepFailed
from taskmark.inquiries import Inquiry
from taskmark.plan import aggregates
from taskmark.plan.budget import calls_of_step
from taskmark.plan.choosing import refusal
from taskmark.plan.phases import said, title
from taskmark.plan.sources import bare
from taskmark.task.durations import parse_duration
from taskmark.task.model import BUILT_IN_KINDS, Agent, Fallback, Json, Phase, Retry, Step, StepLimits
from taskmark.task.secret_references import takes_secrets
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.artifacts import Shelf, Sources, absent, size_of
from workflows.attempts import Attempts, Unwanted
from workflows.background import wind_down
from workflows.board import Board
from workflows.calls import GaveUp, call, shortened
from workflows.children import failure_of, result_in
from workflows.clock import within
from workflows.consent import Consents, tasks_of
from workflows.effort import Effort
from workflows.feeding import ITEMS, Feeder
from workflows.gates import Gates, Renewed
from workflows.inquiring import Inquiries
from workflows.journey import Items, Journey
from workflows.lanes import Lane
from workflows.purses import Purses
from workflows.quotas import Quotas
from workflows.reuse import Past
from workflows.scope import Scope

_PLAINLY_DESCRIBED = frozenset({"tool", "aggregate", "task", "wait"})
"""Kinds whose description is for people only, and no template."""


class Done(NamedTuple):
    """What a step came to: its output, and a failure that did not fail it (one agent of several)."""

    output: Json = None
    error: Failure | None = None


class StepRunner:
    """Runs single steps of one phase, for one item of the phase's `forEach` if it has one."""

    def __init__(  # noqa: PLR0917 - the parts of one phase, put together in one place
        self,
        start: PhaseStart,
        phase: Phase,
        board: Board,
        admission: Admission,
        gates: Gates,
        scope: Scope,
        shelf: Shelf,
        effort: Effort,
        purses: Purses,
        quota: Quotas,
        consents: Consents,
        lane: Lane,
        feeder: Feeder,
        journey: Journey,
        past: Past,
    ) -> None:
        self._lane = lane
        self._feeder = feeder
        self._journey = journey
        self._past = past
        self._shelf = shelf
        self._effort = effort
        self._purses = purses
        self._quota = quota
        self._consents = consents
        self._begun: dict[tuple[str, int | None], None] = {}
        """The items that have begun."""
        self._open: dict[str, tuple[Step, Wait]] = {}
        """The gates that wait."""
        self.interrupted = False
        """Whether a stop kept a step from running."""
        self._start = start
        self._retry = Retry.model_validate(start.retry or {})
        self._phase = phase
        self._board = board
        self._admission = admission
        self._gates = gates
        self._inquiries = Inquiries(board, gates)
        self._scope = scope
        self.subtasks: dict[str, None] = {}
        """Workflow ids of the sub-tasks that run, to pass a pause on to."""

    async def run(self, step: Step) -> None:
        """Runs the step to its end, whatever it is; the board says how it ended."""
        end = self._board.end
        begun = self._journey.begin(step.id, self._board.steps[step.id].attempt)
        try:
            if not begun:
                async with self._admission.slot():
                    pass  # a pause or stop holds before anything of the step is evaluated
            done = await self._perform(step)
            if done is not None:
                end(step, StepStatus.COMPLETED, output=done.output, error=done.error)
        except Stopped:
            self.interrupted = True
            self._board.interrupt(step)
        except GaveUp as error:
            end(step, StepStatus.FAILED, error=self._placed(step, error.failure))
        except (InvalidExpression, StepFailed) as error:
            if self._board.steps[step.id].status is StepStatus.PENDING:
                self._board.begin_here(step)
            end(step, StepStatus.FAILED, error=self._logic(step, error))
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._board.interrupt(step)
            raise

    async def _perform(self, step: Step) -> Done | None:
        """Returns what the step came to, or None if it has ended already: skipped, or as it did before."""
        await self._effort.turn()
        try:
            names = await self._names(step)
            decided = self._board.steps[step.id].status is not StepStatus.PENDING
            if step.condition is not None and not decided and not self._effort.test(step.condition, names):
                self._board.end(step, StepStatus.SKIPPED, reason=f"its condition is false: {step.condition}")
                return None
            old = self._past.find(step, self._lane, again=decided)
            if old is not None:
                self._board.reuse(step, old)
                return None
            return await self._dispatch(step, names)
        except InvalidExpression:
            missing = self._missing(step)
            if not missing or self._board.steps[step.id].status is not StepStatus.PENDING:
                raise
            reason = f"it needs the output of {', '.join(missing)}"
            self._board.end(step, StepStatus.SKIPPED, reason=reason)
            return None

    def _missing(self, step: Step) -> list[str]:
        """Returns the outputs it reads that are not there."""
        names = self._scope.names(self._lane)
        found = [s for s in step.reads_steps if "output" not in names["steps"].get(s, {})]
        found += [s for s in step.reads_phases if self._start.phases.get(s, {}).get("status") != "completed"]
        try:
            return found or absent(names, sources_of(step))
        except InvalidExpression:
            return found

    async def _names(self, step: Step) -> dict[str, Any]:
        return await self._shelf.prepare(self._scope.names(self._lane), sources_of(step))

    async def _dispatch(self, step: Step, names: dict[str, Any]) -> Done | None:
        match step.kind:
            case "plain":
                return await self._plain(step, names)
            case "validation":
                return self._validation(step, names)
            case "approval" | "question":
                return await self._gate(step, names)
            case "wait":
                return await self._wait(step)
            case _ if step.for_each is not None:
                return await self._for_each(step, names)
            case _:
                return Done(output=await self._one(step, names, None))

    # --- kinds that are evaluated here ------------------------------------------------------------

    def _validation(self, step: Step, names: dict[str, Any]) -> Done:
        holds = self._effort.test(step.value, names)
        message = "" if holds else self._effort.text(step.description, names)
        self._board.begin_here(step)
        if holds:
            return Done(output=True)
        raise GaveUp(
            Failure(
                type="validation_failed",
                message=message or f"not true: {step.value}",
                category=Category.LOGIC,
                hint=f"the condition was: {step.value}",
            )
        )

    async def _wait(self, step: Step) -> Done:
        self._board.begin_here(step)
        summary = shortened(step.description or f"wait {step.value}")
        rest = self._rest(step, parse_duration(step.value))
        if await within(rest, lambda: self._admission.stopped, summary):
            raise Stopped
        return Done()

    def _rest(self, step: Step, seconds: float) -> float:
        """Returns what is left of the time that a step waits; an earlier run may have seen a part."""
        began = self._board.steps[step.id].started_at
        return seconds if began is None else seconds - (workflow.now() - began).total_seconds()

    async def _gate(self, step: Step, names: dict[str, Any]) -> Done | None:
        wait = self._gates.opening(self._asked(step, names))
        self._board.begin_here(step)
        while True:
            try:
                decision = await self._decision(step, wait)
                break
            except Renewed:
                renewed = self._asked(step, await self._names(step))
                wait = renewed.model_copy(update={"replaces": wait.since})
        if decision is not None:
            self._board.change(step.id, shown=wait.shown)
        if decision is None:
            message = f"nobody decided “{wait.name}” within {step.timeout:g} s"
            raise GaveUp(Failure(type="timed_out", message=message, category=Category.LOGIC))
        if step.kind == "question":
            return Done(output=decision.value)
        if decision.approved:
            return Done(output={"approved": True, "by": decision.by, "comment": decision.comment})
        message = decision.comment or f"“{wait.name}” was rejected"
        if step.on_reject == "skip":
            self._board.end(step, StepStatus.SKIPPED, reason=message)
            return None
        raise GaveUp(Failure(type="rejected", message=message, category=Category.LOGIC))

    def _asked(self, step: Step, names: dict[str, Any]) -> Wait:
        """Returns what a gate would show now."""
        wait = Wait(
            kind="approval" if step.kind == "approval" else "question",
            name=step.value or step.id,
            prompt=self._effort.text(step.description, names),
            since=workflow.now(),
            phase=self._phase.slug,
            step=step.id,
            answer_schema=step.answer_schema,
            approvers=step.approvers,
        )
        return wait.bound() if self._start.limits.corrects else wait

    async def _decision(self, step: Step, wait: Wait) -> Decision | None:
        asked = title(step.model_copy(update={"description": wait.prompt}))
        state = self._board.steps[step.id]
        if (state.status, state.name) != (StepStatus.WAITING, asked):
            self._board.change(step.id, status=StepStatus.WAITING, name=asked)
        self._open[wait.key] = (step, wait)
        try:
            decision = await self._gates.decision(wait, step.timeout)
            if decision is None and step.on_timeout == "pause":
                decision = await self._gates.decision(wait, None)
        finally:
            self._open.pop(wait.key, None)
        return decision

    async def renew_gates(self) -> None:
        """Opens those gates anew that would show something else by now."""
        for step, wait in list(self._open.values()):
            if not await self._shows(step, wait.shown):
                self._gates.renew(wait)

    async def stands(self, step: Step) -> bool:
        """Whether a step that has ended stays as it is when its phase runs again. A gate does not if it
        would show something else than what was decided."""
        shown = self._board.steps[step.id].shown
        return not shown or await self._shows(step, shown)

    async def _shows(self, step: Step, shown: str) -> bool:
        await self._effort.turn()
        try:
            names = await self._names(step)
            if step.condition is not None and not self._effort.test(step.condition, names):
                return False
            return self._asked(step, names).shown == shown
        except (InvalidExpression, StepFailed):
            return False

    # --- kinds that call --------------------------------------------------------------------------

    async def _plain(self, step: Step, names: dict[str, Any]) -> Done:
        """An instruction goes to each of the phase's agents; with no agent at all it is a note."""
        agents = self._listed
        if not agents:
            self._board.begin_here(step)
            return Done()
        await self._ask_consent(step, 1)
        self._board.begin(step)
        self._board.progress(step.id, len(agents))

        await self._past.begin_items(step, len(agents))

        def ask(index: int) -> Awaitable[Json]:
            def answer() -> Awaitable[Json]:
                return self._ask(step, names, agents[index], index, share=len(agents))

            def now() -> Awaitable[Json]:
                return self._or_fallback(step, names, index, len(agents), answer, agents[index])

            return self._past.item(step, index, names, now)

        done = await self._all(step, len(agents), ask, stop_at_failure=False)
        answers, failure = done.outputs, done.failure
        if failure and (done.failed == len(agents) or step.is_critical):
            raise GaveUp(failure)
        output = {agent: answer for agent, answer in zip(agents, answers, strict=True) if answer is not None}
        return Done(output=output, error=failure)

    async def _for_each(self, step: Step, names: dict[str, Any]) -> Done:
        items = step.for_each
        if isinstance(items, str):
            items = self._effort.evaluate(bare(items), names)
        if not isinstance(items, list | tuple):
            raise InvalidExpression(f"forEach needs a list, and `{step.for_each}` is {_kind_of(items)}")
        await self._ask_consent(step, len(items))
        self._board.begin(step)
        self._board.progress(step.id, len(items))

        await self._past.begin_items(step, len(items))

        def perform(index: int) -> Awaitable[Json]:
            inner = {**names, "item": items[index], "index": index}

            def now() -> Awaitable[Json]:
                return self._one(step, inner, index, share=len(items))

            return self._past.item(step, index, inner, now)

        done = await self._all(step, len(items), perform, stop_at_failure=step.is_critical)
        silent = step.agent_expression is not None and done.failed == len(items)
        if done.failure and (step.is_critical or silent):
            message = f"{done.failed} of {len(items)} items failed; the first: {done.failure.message}"
            raise GaveUp(done.failure.model_copy(update={"message": message}))
        output = await self._shelf.keep(done.outputs, self._room(len(items)))
        if self._start.limits.engine >= 2:
            output = of_items(output, len(items))
        return Done(output=output, error=done.failure)

    async def _ask_consent(self, step: Step, items: int) -> None:
        """Asks before many calls, if the budget wants it. Raises `GaveUp` if they are rejected."""
        start, has_begun = self._start, self._board.steps[step.id].started_at is not None
        if start.ask_above is not None and not has_begun:  # else an earlier run of the workflow asked
            calls = items * calls_of_step(step, self._phase, start.default_agents, tasks_of(start))
            await self._consents.ask(step.id, title(step), calls, step=step.id)

    async def _all(
        self,
        step: Step,
        count: int,
        perform: Callable[[int], Awaitable[Json]],
        *,
        stop_at_failure: bool,
    ) -> Items:
        """Runs all items side by side within the window; returns outputs in order, and what failed."""
        items = self._journey.items(step.id, count)
        skipped: list[int] = []
        for index in items.left():
            if self._journey.trying(step.id, index) is None:
                self._begun.pop((step.id, index), None)
            else:
                self._begun[step.id, index] = None

        async def one(index: int) -> None:
            try:
                items.done(index, await perform(index))
            except GaveUp as error:
                items.fail(index, error.failure, lost=stop_at_failure)
            except (InvalidExpression, StepFailed) as error:
                items.fail(index, self._logic(step, error), lost=stop_at_failure)
            except Stopped:
                skipped.append(index)
            except Unwanted:
                return
            if items.lost:
                self._purses.drop(step.id)
            self._board.item_done(step.id)

        await self._feeder.gather(ITEMS, (partial(one, index) for index in list(items.left())))
        if skipped:
            raise Stopped
        return items

    async def _one(self, step: Step, names: dict[str, Any], item: int | None, share: int = 1) -> Json:
        """Runs one call, then its fallback, whose output it is then."""
        agent = step.value if step.kind == "agent" else ""
        return await self._or_fallback(
            step, names, item, share, lambda: self._call_kind(step, names, item, share), agent
        )

    async def _or_fallback(  # noqa: PLR0917 - what one call is made of
        self,
        step: Step,
        names: dict[str, Any],
        item: int | None,
        share: int,
        call: Callable[[], Awaitable[Json]],
        agent: str,
    ) -> Json:
        tried = self._journey.trying(step.id, item)
        try:
            if tried is not None and tried.fallback_for is not None:
                raise GaveUp(tried.fallback_for)
            return await call()
        except GaveUp as failed:
            fallback = step.fallback or self._fallback_of(step, names, agent)
            if fallback is None:
                raise
            try:
                output = await self._fall_back(step, fallback, names, item, share, failed.failure)
            except Stopped:
                raise failed from None
            self._board.fell_back(step.id, failed.failure)
            return output
        finally:
            self._journey.ended(step.id, item)

    def _fallback_of(self, step: Step, names: dict[str, Any], agent: str) -> Fallback | None:
        """Returns the fallback that the file of the agent says that was asked."""
        if step.agent_expression is not None:
            agent = str(self._effort.evaluate(bare(step.value), names))
        asked = self._start.agents.get(agent)
        return Fallback(kind="agent", name=asked.fallback) if asked and asked.fallback else None

    async def _call_kind(self, step: Step, names: dict[str, Any], item: int | None, share: int) -> Json:
        match step.kind:
            case "tool":
                return await self._call(step, TOOL_ACTIVITY + step.value, step.value, names, item, share)
            case "agent":
                return await self._ask(step, names, step.value, item, share=share)
            case "aggregate":
                return await self._aggregate(step, names, item, share)
            case "task":
                return await self._subtask(step, names, item, share)
            case _:
                return await self._call(step, KIND_ACTIVITY + step.kind, step.value, names, item, share)

    async def _fall_back(  # noqa: PLR0917 - what one call is made of
        self,
        step: Step,
        fallback: Fallback,
        names: dict[str, Any],
        item: int | None,
        share: int,
        failure: Failure,
    ) -> Json:
        if fallback.kind == "value":
            return self._effort.render(fallback.value, names)
        arguments = step.arguments if fallback.arguments is None else fallback.arguments
        # another tool is another effect: it must not pass for a repetition of the first
        effect = f"{self._effect(step)}#fallback"
        key = idempotency_key(self._start.execution_id, self._phase.slug, effect, item)
        changes = {"kind": fallback.kind, "value": fallback.name, "arguments": arguments}
        other = step.model_copy(update={**changes, "idempotency_key": key, "fallback": None})
        self._journey.fall_back(step.id, item, failure, self._board.steps[step.id].attempt)
        return await self._call_kind(other, names, item, share)

    @property
    def _listed(self) -> tuple[str, ...]:
        """The agents that plain steps of the phase ask, and among which its steps choose."""
        return self._phase.agents or self._start.default_agents

    async def _ask(self, step: Step, names: dict[str, Any], agent: str, item: int | None, share: int) -> Json:
        def make() -> StepCall:
            asked = self._chosen(step, names, item) if step.agent_expression is not None else agent
            return self._request(step, asked, names, item, share, self._start.agents.get(asked), ())

        def inquire(asked: Inquiry, who: str) -> Awaitable[Json]:
            return self._inquiries.answer(step, who, item, asked)

        can_ask = self._start.limits.corrects
        who = agent if step.agent_expression is None else ""
        asks = inquire if can_ask else None
        return await self._attempts(step, AGENT_ACTIVITY, item, make, who, inquire=asks)

    def _chosen(self, step: Step, names: dict[str, Any], item: int | None) -> str:
        """Returns the agent that a step chooses. Raises `GaveUp` if it is none of those listed."""
        chosen = self._effort.evaluate(bare(step.value), names)
        if chosen in self._listed:
            return str(chosen)
        if not self._is_wanted(step, item):
            raise Unwanted
        self._board.begin(step)
        where = "`### Agents` of the phase" if self._phase.agents else "`agents` of the task"
        raise GaveUp(refusal(step, chosen, self._listed, where))

    async def _aggregate(self, step: Step, names: dict[str, Any], item: int | None, share: int) -> Json:
        await self._effort.turn()
        arguments = self._effort.render(step.arguments, names)
        values = await self._shelf.load(arguments.pop("over", None))
        if values is None:
            values = [*self._start.answers, *self._answers_before(step)]
        if isinstance(values, dict):
            values = list(values.values())
        if not isinstance(values, list | tuple):
            raise InvalidExpression(f"`over` needs a list, and it is {_kind_of(values)}")
        if step.value not in aggregates.BUILT_IN:
            activity = AGGREGATE_ACTIVITY + step.value
            return await self._call(step, activity, step.value, names, item, share, values=tuple(values))
        self._board.begin_here(step)
        loaded = [one for value in values for one in await self._loaded(value)]
        await self._effort.turn()
        self._effort.charge(size_of(loaded) // 4)
        return await self._shelf.keep(aggregates.aggregate(step.value, loaded, arguments), self._share(share))

    async def _loaded(self, value: Json) -> tuple[Json, ...]:
        """Returns a value, or each of those that it stands for."""
        content = await self._shelf.load(value)
        return each_of(content) if stands_for_items(value) else (content,)

    def _answers_before(self, step: Step) -> list[Json]:
        """Returns what steps of this phase answered: all others in a parallel phase, else those before."""
        found: list[Json] = []
        for other in self._lane.steps:
            if other.id == step.id:
                if not self._phase.parallel:
                    break
                continue
            found.extend(said(other.kind, self._board.steps.get(other.id)))
        return found

    async def _subtask(self, step: Step, names: dict[str, Any], item: int | None, share: int) -> Json:
        await self._effort.turn()
        start = self._start
        effect = self._effect(step)
        suffix = effect if item is None else f"{effect}/{item}"
        child = f"{phase_workflow_id(start.execution_id, self._phase.slug)}/{suffix}"
        request = StartTask(
            definition=start.tasks.get(step.value),
            packed=start.packed_tasks.get(step.value),
            inputs=await self._shelf.filled(self._effort.render(step.arguments, names)),
            project=start.project,
            build_id=start.build_id,
            limits=start.limits,
            trace_id=start.trace_id,
            parent_id=start.execution_id,
            budgets=start.budgets,
            counted=self._quota.is_counted,
            report_to=workflow.info().workflow_id,
            cause="parent",
            resume_from=self._past.child_of(step, item),
        )
        size = len(request.model_dump_json())
        async with self._admission.slot():
            await self._effort.send(size, f"what the sub-task {step.value} is given")
            if not self._is_wanted(step, item):
                raise Unwanted
            self._board.begin_here(step)
            self._quota.check()
            try:
                handle = await workflow.start_child_workflow(
                    TASK_WORKFLOW,
                    travelling.with_limits(request),
                    id=child,
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                    task_timeout=timedelta(seconds=start.limits.workflow_task),
                    static_summary=shortened(step.description or step.value),
                )
                self.subtasks[child] = None  # only now: before its start it cannot be told of a pause
                result = await handle
                self._spend(result.get("usage"), result.get("consumed"))
            except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
                if is_cancelled_exception(error) and self._admission.stopped:
                    raise
                told = result_in(error)
                if told is not None:
                    self._spend(told.usage, told.consumed)
                raise GaveUp(failure_of(error, f"the sub-task {step.value}")) from error
            finally:
                self.subtasks.pop(child, None)
                self._admission.forget(child)
                self._board.waits_below(child, ())
        return await self._shelf.keep(result["outputs"], self._share(share))

    def _spend(self, used: Json, consumed: Json) -> None:
        """Counts what a sub-task used, as far as it says so."""
        self._board.spend(Used.model_validate(used or {}))
        self._quota.count(Consumption.model_validate(consumed) if consumed else None)

    async def _call(  # noqa: PLR0917 - what one call is made of
        self,
        step: Step,
        activity: str,
        name: str,
        names: dict[str, Any],
        item: int | None,
        share: int,
        values: tuple[Json, ...] = (),
    ) -> Json:
        def make() -> StepCall:
            return self._request(step, name, names, item, share, None, values)

        return await self._attempts(step, activity, item, make)

    async def _attempts(
        self,
        step: Step,
        activity: str,
        item: int | None,
        make: Callable[[], StepCall],
        who: str | None = None,
        *,
        inquire: Callable[[Inquiry, str], Awaitable[Json]] | None = None,
    ) -> Json:
        """Calls an activity with its retries; `who` is the agent that it asks, if it asks one."""
        limits, journey = self._start.limits, self._journey

        def is_wanted() -> bool:
            return self._is_wanted(step, item)

        with Attempts(self._board, step, is_wanted, self._quota, item) as attempts:
            done = await call(
                activity,
                make,
                retry=step.retry or self._retry_of(activity),
                heartbeat=step.heartbeat or _of_tool(limits, activity).heartbeat or limits.heartbeat,
                limits=limits,
                admission=self._admission,
                effort=self._effort,
                observer=attempts,
                attempts_before=journey.before(step.id, item),
                tried=journey.trying(step.id, item),
                tries=partial(journey.tries, step.id, item),
                paid=None if who is None else partial(self._purses.receipt, who, step.id, is_wanted),
                inquire=inquire,
            )
        return done.output

    def _retry_of(self, activity: str) -> Retry:
        """Returns how often to try where the step does not say: as the task says, else as of the tool."""
        told = _of_tool(self._start.limits, activity).retry
        return Retry.model_validate(told) if told and self._retry == Retry() else self._retry

    def _is_wanted(self, step: Step, item: int | None) -> bool:
        """Whether an item may begin or go on; asking for it is its beginning."""
        if self._journey.is_lost(step.id) and (step.id, item) not in self._begun:
            return False
        self._begun[step.id, item] = None
        return True

    def _request(  # noqa: PLR0917 - the fields of one message, gathered in one place
        self,
        step: Step,
        name: str,
        names: dict[str, Any],
        item: int | None,
        share: int,
        agent: Agent | None,
        values: tuple[Json, ...],
    ) -> StepCall:
        start = self._start
        key = idempotency_key(start.execution_id, self._phase.slug, self._effect(step), item)
        if step.idempotency_key is not None:
            key = self._effort.text(step.idempotency_key, names)
        asks = agent is not None or step.kind not in BUILT_IN_KINDS
        usable = start.secrets if takes_secrets(step.kind) else ()
        arguments, places = self._effort.render_call(step.arguments, names, usable)
        return StepCall(
            execution_id=start.execution_id,
            task_id=start.task_id,
            trace_id=start.trace_id,
            project=start.project,
            phase=self._phase.slug,
            step=step.id,
            item=item,
            kind=step.kind,
            name=name,
            description=self._effort.text(step.description, names) if asks else step.description,
            arguments=arguments,
            secrets=start.secrets,
            secret_places=places,
            idempotency_key=key,
            cache=step.cache or None,
            journal=journal_of(start.execution_id, self._phase.slug) if self._phase.rollback else None,
            limits=self._limits_of(step),
            waits=step.circuit == "wait",
            timeout=step.timeout or self._usual_timeout(name, agent),
            resumes=step.kind == "tool" and name in start.limits.resuming,
            agent=agent,
            answer_schema=step.answer_schema,
            allow=(*start.allow, *step.allow) if agent is not None else (),
            context=self._context() if asks else {},
            values=values,
            inline_limit=self._share(share),
            parents=self._board.parents(step),
            cause=start.cause,
            together=self._phase.parallel or self._phase.for_each is not None or item is not None,
        )

    def _limits_of(self, step: Step) -> StepLimits | None:
        """Returns what an attempt may use: what the step says, else the task."""
        default = self._start.step_limits
        return default if step.limits is None else step.limits.with_defaults(default)

    def _usual_timeout(self, name: str, agent: Agent | None) -> float:
        """Returns the seconds that a call may take if the step says nothing of it."""
        limits = self._start.limits
        if agent is None:
            return limits.tool_timeouts.get(name) or limits.step_timeout
        try:
            own = parse_duration(agent.timeout) if agent.timeout else None
        except ValueError:  # definitions from elsewhere may hold what no file says
            own = None
        return limits.agent_timeouts.get(name) or own or limits.step_timeout

    def _effect(self, step: Step) -> str:
        """Returns what tells a step's effect from others: one that completed and runs again has another."""
        times = self._board.repeated.get(step.id, 0)
        return f"{step.id}#again{times}" if times else step.id

    def _context(self) -> dict[str, Json]:
        """Returns what an agent or a registered kind may read; large outputs as references."""
        names = self._scope.names(self._lane)
        return {key: names[key] for key in ("inputs", "phases", "steps")}

    def _share(self, items: int) -> int:
        """Returns the bytes one output may have inline, so that the phase keeps to half the budget."""
        least = (
            128 if max(items, len(self._phase.steps)) > MANY_ITEMS and self._start.limits.engine >= 2 else 256
        )
        return max(least, min(INLINE_LIMIT, RESULT_LIMIT // 2 // max(items, len(self._phase.steps), 1)))

    def _room(self, items: int) -> int:
        """Returns the bytes that the outputs of so many items may have inline."""
        return 0 if items > MANY_ITEMS and self._start.limits.engine >= 2 else self._share(1)

    def _placed(self, step: Step, failure: Failure) -> Failure:
        """Returns the failure with its place, and with what else it affects: steps that read the step, those
        that will not begin because of it, and outputs that name it."""
        plain = self._lane.plain_id(step.id)
        affected = [s.id for s in self._lane.steps if s is not step and self._is_affected(s, step, plain)]
        outputs = [
            o.name for o in self._phase.outputs if o.name == plain or f"steps.{plain}." in f"{o.expression}."
        ]
        place = {"step": step.id, "phase": self._phase.slug, "affects": (*affected, *outputs)}
        return failure.model_copy(update=place)

    def _is_affected(self, other: Step, step: Step, plain: str) -> bool:
        is_to_come = self._board.steps[other.id].status is StepStatus.PENDING
        return plain in other.reads_steps or (step.is_critical and is_to_come)

    def _logic(self, step: Step, error: InvalidExpression | StepFailed) -> Failure:
        kind = "expression_failed" if isinstance(error, InvalidExpression) else error.type
        failure = Failure(type=kind, message=error.message, category=Category.LOGIC, hint=error.hint)
        return self._placed(step, failure)


async def gather(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Awaits all tasks in order; if it is cancelled or one breaks, cancels the rest and awaits them too.

    Cancelling a workflow reaches only its main task: what was started beside it goes on unless it is
    cancelled and awaited here.
    """
    try:
        for task in tasks:
            await task
    except (Exception, asyncio.CancelledError):
        await wind_down(*tasks)
        raise


def sources_of(step: Step) -> Sources:
    """Returns everything in a step that is evaluated."""
    checked = step.value if step.kind == "validation" else step.agent_expression
    items = step.for_each if isinstance(step.for_each, str) else None
    said = step.description if step.kind not in _PLAINLY_DESCRIBED else None
    instead = (step.fallback.arguments, step.fallback.value) if step.fallback else ()
    return Sources(
        expressions=(step.condition, items, checked),
        templates=(said, step.idempotency_key),
        values=(step.arguments, *instead),
    )


def _of_tool(limits: Limits, activity: str) -> ToolLimits:
    """Returns what is said of the tool that an activity calls."""
    return limits.tools.get(activity.removeprefix(TOOL_ACTIVITY), ToolLimits())


def _kind_of(value: Json) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
