"""The only code that talks to Temporal as a client. Every door translates words into calls of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from starter.compiling import repeating, start_of
from starter.connection import connected
from starter.foreknowledge import forewarned
from starter.forewarning import Warn, events, warn
from starter.keyed import keyed
from starter.retrying import Retries, from_where
from starter.wiring import Wiring
from taskmark.contracts import (
    STATUS_ATTRIBUTE,
    TASK_ATTRIBUTE,
    TASK_WORKFLOW,
    ExecutionStatus,
    PauseMode,
    PhaseCounts,
    PhaseReport,
    PhaseView,
    Progress,
    ResumeFrom,
    StartTask,
    StepView,
    TaskResult,
    execution_id,
    phase_workflow_id,
)
from taskmark.errors import (
    Category,
    DoneElsewhere,
    Failure,
    Refused,
    StepFailed,
    TaskmarkError,
    UnknownExecution,
    Unreachable,
)
from taskmark.own_ids import check_own_id
from taskmark.projection import result_of
from taskmark.records import ExecutionRecord
from taskmark.settings import Settings
from taskmark.task import check_inputs
from taskmark.task.model import Json, TaskDefinition

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHandle

    from starter.beats import Beats
    from starter.embedded.server import EmbeddedServer
    from starter.keyed import KeyedStart
    from starter.schedules import Schedules
    from starter.waiting import Waiting
    from taskmark.plan.usability import Unusable
    from taskmark.store.checkpoints import Checkpoint
    from taskmark.store.elsewhere import Elsewhere
    from taskmark.store.filtering import ExecutionFilter
    from taskmark.store.reading import StoredExecution
    from taskmark.store.versions import Version

QUERY_TIMEOUT = timedelta(seconds=5)
CANDIDATES = 5
"""How many executions an ambiguous beginning is explained with."""
FINAL = frozenset(status.value for status in ExecutionStatus if status.is_final)


class ActiveExecution(BaseModel):
    """An execution that runs now, as Temporal lists it."""

    execution_id: str
    task: str
    status: str
    started_at: Any


class TaskClient:
    """Starts, watches and controls executions. Made by `TaskClient.open()`."""

    def __init__(self, client: Client, wiring: Wiring, server: EmbeddedServer | None = None) -> None:
        self.client = client
        self.wiring = wiring
        self.server = server
        """The embedded server, if it is one."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings | None = None, *, worker: bool | None = None
    ) -> AsyncIterator[TaskClient]:
        """Yields a client of the configured Temporal, starting the embedded server if none is configured.

        With `worker` this process also runs a worker; without it being said, it does so on the embedded
        server, where nobody else may. Raises `Unreachable` and `InvalidSettings`.
        """
        from starter.working import working

        wiring = Wiring(settings or Settings())
        async with connected(wiring.settings) as (client, server):
            if worker if worker is not None else server is not None:
                async with working(client, wiring):
                    yield cls(client, wiring, server)
            else:
                try:
                    yield cls(client, wiring, server)
                finally:
                    await asyncio.to_thread(wiring.close)

    # --- starting ---------------------------------------------------------------------------------

    def check(self, task: str) -> TaskDefinition:
        """Returns the checked definition of a task given by id or path. Raises `InvalidTask`."""
        return self.wiring.compiler(confined=False).definition(StartTask(task=task))

    async def start(
        self,
        task: str | None = None,
        inputs: Mapping[str, Json] | None = None,
        *,
        source: str | None = None,
        definition: TaskDefinition | None = None,
        version: str | None = None,
        id: str | None = None,
        key: str | None = None,
        project: str | None = None,
        build_id: str | None = None,
        cause: str = "user",
        resume_from: ResumeFrom | None = None,
        warn: Warn = warn,
    ) -> str:
        """Starts a task given by id or path, by text or checked already; returns the execution's id.

        With a `version` (the task's own word for it, or the beginning of the hash that `taskmark versions`
        shows) it starts what the history store has under it, not the file. With an `id` of the caller's own,
        a start that is repeated while the execution runs returns it again; with a `key` among the task's,
        also after its end, unless it was started with something else. With `resume_from` it reuses what an
        earlier execution left, as `retry_from` does. First it asks the tools how they are, for the
        `health_seconds` of the settings at most, and has `warn` tell of each that cannot be used; by default
        that is a warning in the log `taskmark.start`. Raises `InvalidTask`, `InvalidInputs`
        (for id and key too), `Conflict` (for version and key) and `Unreachable`.
        """
        from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
        from temporalio.exceptions import WorkflowAlreadyStartedError

        from workflows.attributes import at_start
        from workflows.travelling import with_limits

        check_own_id(id)
        given = dict(inputs or {})
        if version is not None:
            wanted, task = task or "", None
            definition = await asyncio.to_thread(lambda: self.wiring.versions.definition(wanted, version))
        request = StartTask(task=task, source=source, definition=definition, inputs=given)
        compiler = self.wiring.compiler(confined=False)
        compiled = await asyncio.to_thread(compiler.compile, request)
        checked = await asyncio.to_thread(compiler.definition, request)
        once = keyed(checked, compiled.inputs, key, id)
        name = once.id if once else id or execution_id(time.time_ns() // 1_000_000, checked.id)
        project = project or checked.project or self.wiring.settings.project
        start = start_of(compiled, project=project, build_id=build_id, inputs=compiled.inputs)
        if once and await self._is_told(once, _pending(name, checked, project, build_id, compiled.inputs)):
            return name
        found = await self.unusable(checked)
        for one in found:
            warn(one)
        reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE if once else WorkflowIDReusePolicy.ALLOW_DUPLICATE
        with suppress(WorkflowAlreadyStartedError):  # with a key, and it has ended
            await self._guard(
                self.client.start_workflow(
                    TASK_WORKFLOW,
                    with_limits(start.model_copy(update={"cause": cause, **repeating(resume_from)})),
                    id=name,
                    task_queue=self.wiring.settings.task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=reuse,
                    memo=once.memo if once else None,
                    search_attributes=at_start(checked.id, project, build_id, ExecutionStatus.RUNNING),
                    static_summary=_shortened(checked.name, 200),
                    static_details=_shortened(checked.description or checked.name, 2_000),
                    task_timeout=timedelta(seconds=compiled.limits.workflow_task),
                )
            )
        if once:
            await self._guard(once.check(self._handle(name)))
        pending = _pending(name, checked, project, build_id, compiled.inputs)
        self.wiring.recorder.record(pending, *events(name, found))
        return name

    async def unusable(self, definition: TaskDefinition) -> tuple[Unusable, ...]:
        """Returns the tools and agents of a task that cannot be used now, as this process sees it, and what
        happens without them; nothing if the setting `health_seconds` is 0. `start` warns of them."""
        return await asyncio.to_thread(forewarned, self.wiring, definition)

    async def _is_told(self, once: KeyedStart, record: ExecutionRecord) -> bool:
        """Whether what a key starts has ended so long ago that only the store knows. Raises `Conflict`."""
        try:
            stored = await asyncio.to_thread(self.wiring.history.execution, once.id)
            if stored.execution_id != once.id or not stored.status.is_final:
                return False
        except (UnknownExecution, Unreachable):
            return False  # then Temporal decides alone
        try:
            await self._guard(self._handle(once.id).describe())
        except UnknownExecution:
            told = self.wiring.scrub(record)
            assert isinstance(told, ExecutionRecord)
            once.check_stored(stored, told.inputs)
            return True
        return False

    async def retry_from(
        self,
        execution: str,
        task: str | None = None,
        inputs: Mapping[str, Json] | None = None,
        *,
        source: str | None = None,
        definition: TaskDefinition | None = None,
        version: str | None = None,
        phase: str | None = None,
        checkpoint: str | None = None,
        project: str | None = None,
        **options: Any,
    ) -> str:
        """Starts a new execution that reuses what is the same in one that has ended; returns its id.

        Without a task it runs that of then. `inputs` win over those of then; everything from a `phase` on
        runs again, or everything that had not completed at a `checkpoint`. Other options are those of
        `start`, but for `resume_from`. Raises what it raises, `UnknownExecution` and `Refused`.
        """
        wanted = from_where(execution, phase, checkpoint)
        again = await self.retries.prepare(
            wanted,
            lambda _: inputs or {},
            task=task,
            source=source,
            definition=definition,
            version=version,
            project=project,
        )
        return await self.retries.begin(again, **options)

    @property
    def retries(self) -> Retries:
        """What goes on from executions that have ended, and foresees what that would reuse."""
        return Retries(self)

    async def checkpoints(self, execution: str) -> tuple[Checkpoint, ...]:
        """Returns what an execution left for later ones to reuse, by phase. Raises `Unreachable`."""
        return await self.retries.checkpoints(execution)

    async def has_ended(self, execution: str) -> bool:
        """Whether it has ended, or Temporal forgot it. Raises `Unreachable`."""
        from temporalio.client import WorkflowExecutionStatus

        try:
            described = await self._guard(self._handle(execution).describe())
        except UnknownExecution:
            return True
        return bool(described.status is not WorkflowExecutionStatus.RUNNING)

    async def execute(
        self, task: str | None = None, inputs: Mapping[str, Json] | None = None, **options: Any
    ) -> TaskResult:
        """Starts a task and waits for its end; options are those of `start`. Raises what both raise."""
        return await self.wait(await self.start(task, inputs, **options))

    def check_inputs(self, definition: TaskDefinition, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """Returns the inputs with defaults. Raises `InvalidInputs`."""
        return check_inputs(definition, inputs)

    @property
    def elsewhere(self) -> Elsewhere:
        """What takes what is told of work that Temporal does not run. Its methods block for a moment."""
        return self.wiring.elsewhere

    @property
    def schedules(self) -> Schedules:
        """What lets tasks start by themselves."""
        from starter.schedules import Schedules

        return Schedules(self.client, self.wiring, self._guard)

    # --- waiting and looking ----------------------------------------------------------------------

    async def wait(self, execution: str, *, timeout: float | None = None) -> TaskResult:  # noqa: ASYNC109 - the word for it
        """Returns the result once the execution has ended, whatever way; `status` says which.

        Work done elsewhere is waited for in the store. Raises `TimeoutError` after `timeout` seconds,
        `UnknownExecution` and `Unreachable`.
        """
        from temporalio.client import WorkflowFailureError

        try:
            async with asyncio.timeout(timeout):
                return await self._result(execution)
        except WorkflowFailureError as error:
            return await self._failed(execution, error)

    async def _result(self, execution: str) -> TaskResult:
        """Returns the result that Temporal or, of work done elsewhere, the store has once there is one."""
        try:
            return TaskResult.model_validate(await self._guard(self._handle(execution).result()))
        except UnknownExecution:
            if not await asyncio.to_thread(self._is_elsewhere, execution):
                raise
        return result_of(await self.wiring.completions.wait(execution))

    async def _failed(self, execution: str, error: Any) -> TaskResult:
        """Returns the result that a failure carries; a cancelled execution's is in the store or the memo."""
        from temporalio.exceptions import ApplicationError, CancelledError

        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.details:
            try:
                return TaskResult.model_validate(cause.details[0])
            except ValidationError:
                pass
        status = ExecutionStatus.CANCELLED if isinstance(cause, CancelledError) else ExecutionStatus.FAILED
        if status is ExecutionStatus.CANCELLED:
            progress = await self._last_progress(execution)
            if progress is not None:
                return progress
        kind = getattr(cause, "type", None) or type(cause).__name__
        message = getattr(cause, "message", None) or str(cause)
        failure = Failure(type=kind, message=message, category=Category.LOGIC)
        return TaskResult(execution_id=execution, status=status, error=failure)

    async def _last_progress(self, execution: str) -> TaskResult | None:
        """Returns the partial result of a cancelled execution from its final record, which history keeps."""
        from starter.histories import final_record

        final = await final_record(self.client, execution)
        return final.result if final else None

    async def progress(self, execution: str, phase: str | None = None) -> Progress:
        """Returns how far it is. Raises `UnknownExecution`, `Unreachable` when no worker answers, and why."""
        return await self._merged(await self._told(execution, phase))

    async def _told(self, execution: str, phase: str | None = None) -> Progress:
        """Returns what the execution says itself, which hears of its phases a moment later."""
        handle = self._handle(execution)
        request = {"phase": phase} if phase else {}
        try:
            query = handle.query("progress", request, rpc_timeout=QUERY_TIMEOUT)
            answer = await self._ask(execution, query)
        except DoneElsewhere:
            raise
        except (Refused, Unreachable) as error:
            raise await self._stuck(execution) or error from error
        return Progress.model_validate(answer)

    async def _stuck(self, execution: str) -> Unreachable | None:
        """Returns what keeps the execution's workflow from answering, as far as Temporal knows."""
        from temporalio.service import RPCError

        from starter.obstacles import failing_code

        try:
            return await failing_code(self.client, execution)
        except RPCError:
            return None

    async def _merged(self, progress: Progress) -> Progress:
        """Returns the progress with what its running phases say themselves: they know first."""
        running = [p for p in progress.phases if not p.status.is_final and p.started_at]
        if progress.status.is_final or not running:
            return progress
        news = dict(
            zip(
                (p.slug for p in running),
                await asyncio.gather(*(self._phase(progress.execution_id, p) for p in running)),
                strict=True,
            )
        )
        phases = tuple(news.get(p.slug, p) for p in progress.phases)
        return progress.model_copy(update={"phases": phases})

    async def _phase(self, execution: str, view: PhaseView) -> PhaseView:
        from temporalio.client import WorkflowQueryFailedError
        from temporalio.service import RPCError

        handle = self._handle(phase_workflow_id(execution, view.slug))
        asked = "state" if view.steps else "counts"
        try:
            answer = await handle.query(asked, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError):
            return view  # it has just ended, has not begun or goes on: the parent's answer stands
        if not view.steps:
            return view.model_copy(update=PhaseCounts.model_validate(answer).model_dump())
        report = PhaseReport.model_validate(answer)
        most = {step.id: step.max_attempts for step in view.steps}
        steps = tuple(StepView.of(state, most.get(state.id)) for state in report.steps)
        counts = dict(Counter(step.status.value for step in steps))
        return view.model_copy(update={"steps": steps, "counts": counts, "attempt": report.attempt})

    async def beats(self, progress: Progress) -> Beats:
        """Returns what the running steps of an execution say, without anything personal, and whether they
        live. Not for each who asks for progress: it is a call for each phase that runs. Raises nothing of
        Temporal's; what does not answer says nothing."""
        from starter.beats import beats

        scrubber = await asyncio.to_thread(lambda: self.wiring.scrubber)
        return await beats(self.client, progress, scrubber.text)

    async def plan(self, execution: str) -> dict[str, Json]:
        """Returns what the execution runs: phases, waves, steps."""
        query = self._handle(execution).query("plan", rpc_timeout=QUERY_TIMEOUT)
        answer: dict[str, Json] = await self._ask(execution, query)
        return answer

    async def waiting(self) -> Waiting:
        """Returns the executions that wait for a person, each asked for what. Raises `Unreachable`."""
        from starter.waiting import asked

        return await asked([one.execution_id for one in await self.active()], self._told)

    async def active(self, limit: int | None = None, beginning: str = "") -> list[ActiveExecution]:
        """Returns the executions that run now, newest first: all, or so many of those whose ids begin so.

        Raises `Unreachable`.
        """
        query = f"WorkflowType = '{TASK_WORKFLOW}' AND ExecutionStatus = 'Running'"
        query += f" AND WorkflowId STARTS_WITH {quoted(beginning)}" if beginning else ""
        found: list[ActiveExecution] = await self._guard(self._listed(query, limit))
        return [one for one in found if one.execution_id.startswith(beginning)]  # SQL has wildcards

    async def kept(self, beginning: str) -> str:
        """Returns the id of the one execution in Temporal that begins so, ended or not; without any, the word
        itself. Raises `UnknownExecution` if there are several, and `Unreachable`."""
        from taskmark.store.reading import unknown_execution

        with suppress(UnknownExecution):
            await self._guard(self._handle(beginning).describe())
            return beginning
        found = await self._guard(self._beginning(beginning)) if beginning else []
        if len(found) > 1:
            raise unknown_execution(beginning, found)
        return found[0] if found else beginning

    async def _beginning(self, text: str) -> list[str]:
        """Returns the ids that begin so, without those of sub-tasks; of many only some."""
        query = f"WorkflowType = '{TASK_WORKFLOW}' AND WorkflowId STARTS_WITH {quoted(text)}"
        found: dict[str, None] = {}
        async for one in self.client.list_workflows(query):
            if one.id.startswith(text) and one.parent_id is None:  # SQL has wildcards
                found[one.id] = None
            if len(found) > CANDIDATES:
                break
        return list(found)

    async def _listed(self, query: str, limit: int | None) -> list[ActiveExecution]:
        found: list[ActiveExecution] = []
        async for execution in self.client.list_workflows(query, limit=limit):
            attributes = {pair.key.name: pair.value for pair in execution.typed_search_attributes}
            found.append(
                ActiveExecution(
                    execution_id=execution.id,
                    task=str(attributes.get(TASK_ATTRIBUTE, "")),
                    status=str(attributes.get(STATUS_ATTRIBUTE, "running")),
                    started_at=execution.start_time,
                )
            )
        return found

    async def history(
        self, limit: int = 50, wanted: ExecutionFilter | None = None, after: str | None = None
    ) -> tuple[StoredExecution, ...]:
        """Returns past and present executions from the history store, newest first; see
        `History.executions`."""
        from taskmark.store.filtering import EVERY

        return await asyncio.to_thread(self.wiring.history.executions, wanted or EVERY, limit, after)

    async def versions(self, task: str) -> tuple[Version, ...]:
        """Returns the versions of a task, given by id or path, that were run, the one used last first. Raises
        `Unreachable`."""
        return await asyncio.to_thread(self.wiring.versions.of, task)

    # --- control ----------------------------------------------------------------------------------

    async def pause(self, execution: str, *, reason: str = "", by: str = "", mode: PauseMode = "") -> None:
        """Starts no new steps until `resume`; with the mode `now` it also interrupts running ones that go on
        from their heartbeat."""
        await self._signal(execution, "pause", {"reason": reason, "by": by, "mode": mode})

    async def resume(self, execution: str, *, reason: str = "", by: str = "") -> None:
        """Goes on after a pause."""
        await self._signal(execution, "resume", {"reason": reason, "by": by})

    async def abort(self, execution: str, *, reason: str = "", by: str = "") -> None:
        """Ends it now, keeping partial results."""
        await self._signal(execution, "abort", {"reason": reason, "by": by})

    async def approve(
        self,
        execution: str,
        gate: str,
        *,
        decision: str = "approved",
        by: str = "",
        comment: str = "",
        shown: str = "",
    ) -> dict[str, Json]:
        """Decides a waiting approval; `shown` is that of the wait in `progress` that was decided about.

        Raises `Refused` with the reason, also if the gate shows something else by now.
        """
        payload = {"gate": gate, "decision": decision, "by": by, "comment": comment, "shown": shown}
        return await self._update(execution, "approve", payload)

    async def answer(
        self, execution: str, question: str, value: Json, *, by: str = "", shown: str = ""
    ) -> dict[str, Json]:
        """Answers a waiting question; `shown` is as for `approve`. Raises `Refused` with the reason."""
        payload = {"question": question, "value": value, "by": by, "shown": shown}
        return await self._update(execution, "answer", payload)

    async def retry(
        self,
        execution: str,
        phase: str = "",
        *,
        step: str = "",
        inputs: dict[str, Json] | None = None,
        by: str = "",
        comment: str = "",
        shown: str = "",
    ) -> dict[str, Json]:
        """Runs a held phase again, with other inputs if they are given; a `step` runs again though it had
        completed. `shown` is as for `approve`. Raises `Refused` with the reason."""
        said: dict[str, Json] = {"by": by, "comment": comment, "shown": shown}
        return await self._update(
            execution, "retry", {"phase": phase, "step": step, "inputs": inputs, **said}
        )

    async def skip(
        self,
        execution: str,
        phase: str = "",
        *,
        step: str = "",
        by: str = "",
        comment: str = "",
        shown: str = "",
    ) -> dict[str, Json]:
        """Goes on without a held phase, or a failed `step` of it. `shown` is as for `approve`. Raises
        `Refused` with the reason."""
        payload: dict[str, Json] = {"phase": phase, "step": step, "by": by, "comment": comment}
        return await self._update(execution, "skip", payload | {"shown": shown})

    async def raise_limit(
        self, execution: str, budget: str, limit: float, *, by: str = ""
    ) -> dict[str, Json]:
        """Raises a limit of the task's budget: `agentCalls`, `tokens` or `cost`. Raises `Refused`.

        It takes no `shown`: the limit is the whole of it, whatever was used meanwhile.
        """
        return await self._update(execution, "raise", {"budget": budget, "limit": limit, "by": by})

    async def _signal(self, execution: str, name: str, payload: dict[str, str]) -> None:
        given = {key: value for key, value in payload.items() if value}
        await self._ask(execution, self._handle(execution).signal(name, given))

    async def _update(self, execution: str, name: str, payload: dict[str, Json]) -> dict[str, Json]:
        from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError

        try:
            update = self._handle(execution).execute_update(name, payload)
            answer: dict[str, Json] = await self._ask(execution, update)
        except WorkflowUpdateFailedError as error:
            raise Refused(getattr(error.cause, "message", str(error.cause))) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            hint = "say it again: the same decision twice is one"
            raise Unreachable("no worker answered in time; it may have been taken", hint=hint) from error
        return answer

    def _handle(self, execution: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(execution)

    async def _ask(self, execution: str, call: Any) -> Any:
        """Awaits a call to an execution's workflow. Raises `DoneElsewhere` if it can have none."""
        try:
            return await self._guard(call)
        except UnknownExecution as error:
            if await asyncio.to_thread(self._is_elsewhere, execution):
                raise DoneElsewhere(execution) from error
            raise

    def _is_elsewhere(self, execution: str) -> bool:
        """Whether the store knows it as work that Temporal does not run."""
        try:
            found = self.wiring.history.execution(execution)
        except (UnknownExecution, Unreachable):
            return False
        return found.execution_id == execution and found.is_elsewhere

    async def _guard(self, call: Any) -> Any:
        """Awaits a call to Temporal and says in our words what goes wrong."""
        from temporalio.service import RPCError, RPCStatusCode

        # the connection broke off, or the server did, in the middle of an answer
        broken_off = (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL, RPCStatusCode.ABORTED)
        try:
            return await call
        except RPCError as error:
            match error.status:
                case RPCStatusCode.NOT_FOUND:
                    raise _not_found(error) from error
                case RPCStatusCode.DEADLINE_EXCEEDED | RPCStatusCode.CANCELLED:
                    hint = "a query needs a worker: start one with `taskmark worker` or `taskmark dev`"
                    raise Unreachable("no worker answered in time", hint=hint) from error
                case status if status in (RPCStatusCode.UNAVAILABLE, *broken_off):
                    hint = "`taskmark doctor` checks the connection"
                    raise Unreachable(f"Temporal does not answer: {error.message}", hint=hint) from error
                case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
                    raise StepFailed(error.message, Category.PERMISSION) from error
                case _:
                    raise Refused(error.message) from error


def _pending(
    name: str,
    task: TaskDefinition,
    project: str | None,
    build_id: str | None,
    inputs: dict[str, Json],
) -> ExecutionRecord:
    """Returns the record of an execution that no worker has taken yet, so that lists show it.

    Whatever a worker tells is later than it, also if the start found an execution that runs already.
    """
    return ExecutionRecord(
        execution_id=name,
        task_id=task.id,
        task_name=task.name,
        project=project,
        build_id=build_id,
        status=ExecutionStatus.PENDING,
        inputs=inputs,
        as_of=datetime.fromtimestamp(0, UTC),
    )


def _not_found(error: Any) -> TaskmarkError:
    if "completed" in error.message or "closing workflow" in error.message:
        return Refused("the execution has ended already")
    return UnknownExecution(
        f"Temporal knows no such execution: {error.message}", hint="`taskmark list` shows them"
    )


def quoted(text: str) -> str:
    """Returns a text as Temporal's queries take it."""
    return "'" + text.replace("'", "''") + "'"


def _shortened(text: str, size: int) -> str:
    raw = text.encode()
    return text if len(raw) <= size else raw[: size - 3].decode(errors="ignore") + "…"
