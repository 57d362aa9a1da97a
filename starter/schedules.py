"""Tasks that start by themselves, through Temporal's own schedules.

A schedule names its task and brings inputs, nothing more: each of its executions compiles the file as it is
then. So the schedule keeps times and inputs, the file keeps what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from starter.due import cron_of, other_times
from taskmark.contracts import TASK_WORKFLOW, ExecutionStatus, StartTask, scheduled_execution_id
from taskmark.errors import InvalidInputs, InvalidTask, Refused, TaskmarkError
from taskmark.own_ids import check_own_id
from taskmark.task import check_inputs
from taskmark.task.model import Json, Schedule, TaskDefinition
from taskmark.task.options import OVERLAPS, is_cron, is_timezone

if TYPE_CHECKING:
    from temporalio.client import (
        Client,
        ScheduleActionStartWorkflow,
        ScheduleDescription,
        ScheduleHandle,
        SchedulePolicy,
        ScheduleSpec,
        ScheduleUpdate,
        ScheduleUpdateInput,
    )
    from temporalio.client import Schedule as TemporalSchedule

    from starter.wiring import Wiring

PREFIX = "taskmark-"
LEAST_CATCH_UP = 10.0
"""Seconds; Temporal takes no less."""
USUAL_CATCH_UP = 365 * 24 * 3600.0
"""Temporal's own, where a schedule names none."""
TRIGGER_SECONDS = 10.0
"""How long a triggered start is waited for."""
AT_ONCE = 20
_POLICIES: Mapping[str, str] = MappingProxyType(
    dict(
        zip(
            OVERLAPS,
            ("SKIP", "BUFFER_ONE", "BUFFER_ALL", "CANCEL_OTHER", "TERMINATE_OTHER", "ALLOW_ALL"),
            strict=True,
        )
    )
)
"""What Temporal calls what to do with a start while the execution before still runs."""
EXAMPLE = "schedule: {cron: 0 6 * * 1-5, timezone: Europe/Berlin}"


class ScheduledRun(BaseModel):
    """An execution that a schedule has started."""

    execution_id: str
    scheduled_at: datetime
    started_at: datetime


class ScheduleView(BaseModel):
    """A schedule as it stands."""

    name: str
    task: str
    cron: str
    other_times: tuple[str, ...] = ()
    """What no cron expression says, such as `every 1 hour`: a schedule may be made with Temporal's means."""
    timezone: str
    overlap: str
    catch_up_seconds: float
    inputs: dict[str, Json]
    project: str | None = None
    paused: bool
    note: str = ""
    next: tuple[datetime, ...]
    """The next times, ten at most; none while it is paused."""
    running: tuple[str, ...]
    recent: tuple[ScheduledRun, ...]
    """What it started last, newest first, ten at most."""
    started: int
    """How many executions it has started."""
    skipped: int
    """How many times found the execution before still running."""
    missed: int
    """How many times were past the catch-up when the server came back."""
    problems: tuple[str, ...] = ()
    """Why its next execution will fail, as far as can be seen from here."""


class Schedules:
    """Makes, shows and steers schedules. A schedule is named in full, or by its task's id."""

    def __init__(self, client: Client, wiring: Wiring, guard: Callable[[Any], Awaitable[Any]]) -> None:
        """`guard` awaits a call to Temporal, and says in our words what goes wrong."""
        self._client = client
        self._wiring = wiring
        self._guard = guard

    async def set(
        self,
        task: str,
        *,
        name: str | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        overlap: str | None = None,
        catch_up: float | None = None,
        inputs: Mapping[str, Json] | None = None,
        project: str | None = None,
    ) -> ScheduleView:
        """Lets a task, given by id or path, start by itself; a schedule of that name is changed.

        What is not said here is as the file's `schedule` says. The schedule is then just as it is said now,
        with these inputs; only a pause stays. Raises `InvalidTask`, `InvalidInputs`, `Refused` and
        `Unreachable`.
        """
        compiler = self._wiring.compiler(confined=False)
        definition = await asyncio.to_thread(compiler.definition, StartTask(task=task))
        check_inputs(definition, inputs or {})
        told = {"cron": cron, "timezone": timezone, "overlap": overlap, "catch_up": catch_up}
        times = _times(definition, {key: value for key, value in told.items() if value is not None})
        named = name or f"{PREFIX}{definition.id}"
        check_own_id(named)
        project = project or (None if definition.project else self._wiring.settings.project)
        start = {"task": self._reference(task), "inputs": dict(inputs or {})}
        start |= {"project": project} if project else {}
        await self._put(named, definition, times, start)
        return await self.show(named)

    def _reference(self, task: str) -> str:
        """Returns how a worker finds the file: by id, else by its path below the root."""
        settings = self._wiring.settings
        path = self._wiring.compiler(confined=False).find(task).resolve()
        if path.parent == settings.tasks_dir.resolve() and path.suffix == ".md":
            return path.stem
        if not path.is_relative_to(settings.root.resolve()):
            raise InvalidInputs(
                [f"{task} lies outside of {settings.root}, where no worker may read it when its time comes"],
                hint="put it below the root (TASKMARK_ROOT), best into its tasks/",
            )
        return str(path.relative_to(settings.root.resolve()))

    async def _put(
        self, name: str, definition: TaskDefinition, times: Schedule, start: dict[str, Json]
    ) -> None:
        from temporalio.client import ScheduleAlreadyRunningError, ScheduleUpdate

        schedule = self._schedule(name, definition, times, start)

        def changed(given: ScheduleUpdateInput) -> ScheduleUpdate:
            found = given.description.schedule
            if getattr(found.action, "workflow", "") != TASK_WORKFLOW:
                raise Refused(f"the schedule {name} starts something else than a task; choose another name")
            schedule.state = found.state
            return ScheduleUpdate(schedule)

        try:
            await self._guard(self._client.create_schedule(name, schedule))
        except ScheduleAlreadyRunningError:
            await self._ask(name, self._client.get_schedule_handle(name).update(changed))

    def _schedule(
        self, name: str, definition: TaskDefinition, times: Schedule, start: dict[str, Json]
    ) -> TemporalSchedule:
        from temporalio.client import Schedule as TemporalSchedule
        from temporalio.client import ScheduleActionStartWorkflow

        from workflows.attributes import at_start

        settings, project = self._wiring.settings, start.get("project") or definition.project
        action = ScheduleActionStartWorkflow(
            TASK_WORKFLOW,
            start,
            id=scheduled_execution_id(name.removeprefix(PREFIX)),
            task_queue=settings.task_queue,
            task_timeout=timedelta(seconds=settings.limits().workflow_task),
            static_summary=definition.name[:100],
            static_details=(definition.description or definition.name)[:500],
            typed_search_attributes=at_start(
                definition.id, str(project) if project else None, None, ExecutionStatus.RUNNING
            ),
        )
        return TemporalSchedule(action=action, spec=_spec(times), policy=_policy(times))

    async def show(self, name: str) -> ScheduleView:
        """Returns a schedule as it stands. Raises `Refused` if there is none."""
        _, description = await self._found(name)
        view, start = await _view(self._client, description)
        problems = await asyncio.to_thread(lambda: tuple(self._problems(start)))
        return view.model_copy(update={"problems": problems})

    def _problems(self, start: Json) -> Iterator[str]:
        """Yields what is wrong with what a schedule brings."""
        if not isinstance(start, dict):
            yield "what it brings cannot be read: it is no JSON object"
            return
        try:
            StartTask.model_validate(start)
        except ValidationError as error:
            for one in error.errors():
                yield f"what it brings cannot be read: {'.'.join(map(str, one['loc']))}: {one['msg']}"
        task = start.get("task")
        if isinstance(task, str) and not (start.get("source") or start.get("definition")):
            try:
                self._wiring.compiler().find(task)
            except InvalidTask:
                yield f"there is no file of the task {task} here"

    async def list(self) -> tuple[ScheduleView, ...]:
        """Returns all schedules that start tasks, by name."""
        places, listed = asyncio.Semaphore(AT_ONCE), await self._guard(self._client.list_schedules())
        names = sorted([one.id async for one in listed if _starts_tasks(one)])

        async def show(name: str) -> ScheduleView | None:
            async with places:
                with suppress(Refused):  # deleted meanwhile
                    return await self.show(name)
            return None

        return tuple(view for view in await asyncio.gather(*map(show, names)) if view)

    async def pause(self, name: str, note: str = "") -> None:
        """Starts nothing until `resume`; times that pass meanwhile are not caught up."""
        handle, _ = await self._found(name)
        await self._ask(name, handle.pause(note=self._kept(note)))

    async def resume(self, name: str, note: str = "") -> None:
        """Goes on after a pause."""
        handle, _ = await self._found(name)
        await self._ask(name, handle.unpause(note=self._kept(note)))

    def _kept(self, note: str) -> str | None:
        """Returns the note that Temporal keeps: none where it shall read nothing, because notes are plain."""
        return None if self._client.data_converter.payload_codec else note or None

    async def trigger(self, name: str, overlap: str | None = None) -> str | None:
        """Starts one now, also while it is paused; returns the execution's id.

        That is None if the execution before still runs, and `overlap` therefore starts none (yet).
        """
        handle, before = await self._found(name)
        known = {run.execution_id for run in _runs(before)}
        await self._ask(name, handle.trigger(overlap=_overlap(overlap)))
        with suppress(TimeoutError):
            async with asyncio.timeout(TRIGGER_SECONDS):
                while True:
                    now = await self._ask(name, handle.describe())
                    for run in _runs(now):
                        if run.execution_id not in known:
                            return run.execution_id
                    if now.info.num_actions_skipped_overlap > before.info.num_actions_skipped_overlap:
                        return None
                    await asyncio.sleep(0.1)
        return None

    async def backfill(self, name: str, start: datetime, end: datetime, overlap: str | None = None) -> None:
        """Starts what it would have started from `start` to `end`, both included.

        One after the other, unless `overlap` says otherwise: a policy such as `skip` would leave out all but
        the first. Times without a zone are refused.
        """
        from temporalio.client import ScheduleBackfill

        if start.tzinfo is None or end.tzinfo is None:
            raise InvalidInputs(
                ["the times of a backfill need a zone"], hint="such as 2026-01-31T00:00+01:00"
            )
        if end < start:
            raise InvalidInputs([f"the backfill would end ({end}) before it begins ({start})"])
        handle, _ = await self._found(name)
        policy = _overlap(overlap or "bufferAll")
        # Temporal leaves out the first moment.
        await self._ask(
            name, handle.backfill(ScheduleBackfill(start - timedelta(milliseconds=1), end, policy))
        )

    async def delete(self, name: str) -> None:
        """Ends a schedule; what it has started goes on."""
        handle, _ = await self._found(name)
        await self._ask(name, handle.delete())

    async def _found(self, name: str) -> tuple[ScheduleHandle, ScheduleDescription]:
        """Returns the schedule of this name, or of the task of this id. Raises `Refused`."""
        for full in dict.fromkeys((name if name.startswith(PREFIX) else f"{PREFIX}{name}", name)):
            handle = self._client.get_schedule_handle(full)
            with suppress(_Unknown):
                return handle, await self._ask(name, handle.describe())
        raise _Unknown(name)

    async def _ask(self, name: str, call: Awaitable[Any]) -> Any:
        from temporalio.service import RPCError, RPCStatusCode

        try:
            return await self._guard(call)
        except TaskmarkError as error:
            cause = error.__cause__
            if isinstance(cause, RPCError) and cause.status is RPCStatusCode.NOT_FOUND:
                raise _Unknown(name) from error
            raise


class _Unknown(Refused):
    """There is no schedule of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no schedule {name}", hint="`taskmark schedule list` shows them")


# --- what is said ---------------------------------------------------------------------------------


def _times(definition: TaskDefinition, told: Mapping[str, Any]) -> Schedule:
    """Returns the file's schedule with what is said anew. Raises `InvalidInputs`."""
    file = definition.schedule.model_dump() if definition.schedule else {}
    said = {**file, **told}
    if "cron" not in said:
        problem = f"nothing says when {definition.id} is to start"
        raise InvalidInputs(
            [problem], hint=f"write `{EXAMPLE}` into the metadata of its file, or give a cron expression"
        )
    problems = []
    if not is_cron(said["cron"]):
        problems.append(
            f"`{said['cron']}` is no cron expression: minute, hour, day of month, month, day of week"
        )
    if not is_timezone(said.get("timezone", "UTC")):
        problems.append(f"there is no time zone `{said['timezone']}`, such as UTC or Europe/Berlin")
    if said.get("overlap", "skip") not in OVERLAPS:
        problems.append(f"`{said['overlap']}` is no overlap; known: {', '.join(OVERLAPS)}")
    if problems:
        raise InvalidInputs(problems)
    return Schedule.model_validate(said)


def _overlap(name: str | None) -> Any:
    """Returns Temporal's word for it. Raises `InvalidInputs`."""
    from temporalio.client import ScheduleOverlapPolicy

    if name is None:
        return None
    if name not in _POLICIES:
        raise InvalidInputs([f"`{name}` is no overlap"], hint=f"known: {', '.join(OVERLAPS)}")
    return ScheduleOverlapPolicy[_POLICIES[name]]


def _spec(times: Schedule) -> ScheduleSpec:
    """The server makes numbers of a cron expression and keeps what stands behind `#`: the same again."""
    from temporalio.client import ScheduleSpec

    return ScheduleSpec(cron_expressions=[f"{times.cron} # {times.cron}"], time_zone_name=times.timezone)


def _policy(times: Schedule) -> SchedulePolicy:
    from temporalio.client import SchedulePolicy

    seconds = None if times.catch_up is None else timedelta(seconds=max(times.catch_up, LEAST_CATCH_UP))
    return SchedulePolicy(overlap=_overlap(times.overlap), catchup_window=seconds)


# --- what Temporal says ---------------------------------------------------------------------------


def _starts_tasks(listed: Any) -> bool:
    return listed.schedule is not None and getattr(listed.schedule.action, "workflow", "") == TASK_WORKFLOW


async def _view(client: Client, found: ScheduleDescription) -> tuple[ScheduleView, Json]:
    """Returns a schedule as far as it can be read, and what it brings: others may have made it, anyhow."""
    from temporalio.client import ScheduleActionStartWorkflow

    schedule, info = found.schedule, found.info
    action, window = schedule.action, schedule.policy.catchup_window
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != TASK_WORKFLOW:
        raise Refused(f"the schedule {found.id} starts something else than a task")
    brought = await _brought(client, action)
    start = brought if isinstance(brought, dict) else {}
    inputs, project = start.get("inputs"), start.get("project")
    words = {value: key for key, value in _POLICIES.items()}
    view = ScheduleView(
        name=found.id,
        task=str(start.get("task") or ""),
        cron=cron_of(schedule.spec),
        other_times=tuple(other_times(schedule.spec)),
        timezone=schedule.spec.time_zone_name or "UTC",
        overlap=words.get(schedule.policy.overlap.name, "skip"),
        catch_up_seconds=window.total_seconds() if window else USUAL_CATCH_UP,
        inputs=inputs if isinstance(inputs, dict) else {},
        project=project if isinstance(project, str) else None,
        paused=schedule.state.paused,
        note=schedule.state.note or "",
        next=() if schedule.state.paused else tuple(info.next_action_times),
        running=tuple(getattr(one, "workflow_id", "") for one in info.running_actions),
        recent=_runs(found),
        started=info.num_actions,
        skipped=info.num_actions_skipped_overlap,
        missed=info.num_actions_missed_catchup_window,
    )
    return view, brought


async def _brought(client: Client, action: ScheduleActionStartWorkflow) -> Json:
    """Returns what the workflow is started with, or None if that is nothing that we can read."""
    try:
        given = await client.data_converter.decode(action.args)
    except Exception:  # whatever a converter raises at what another one made
        return None
    return given[0] if given else {}


def _runs(found: ScheduleDescription) -> tuple[ScheduledRun, ...]:
    """Returns what it started last, newest first."""
    return tuple(
        ScheduledRun(
            execution_id=getattr(one.action, "workflow_id", ""),
            scheduled_at=one.scheduled_at,
            started_at=one.started_at,
        )
        for one in reversed(found.info.recent_actions)
    )
