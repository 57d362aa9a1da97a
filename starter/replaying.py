"""Replays histories as a worker with the code at hand would, and tells which executions cannot go on with it.

Temporal compares the order of commands and what they are called, not what is in them. Here is also compared
what activities and children are given: that matters to an execution that goes on under a newer version.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from starter.converting import data_converter
from starter.fetching import fetched, reveal
from starter.gateway import quoted
from taskmark.contracts import (
    AGENT_ACTIVITY,
    AGGREGATE_ACTIVITY,
    KIND_ACTIVITY,
    PHASE_WORKFLOW,
    RECORD_ACTIVITY,
    TASK_WORKFLOW,
    TOOL_ACTIVITY,
    FinalRecord,
    PhaseStart,
    StartTask,
    StepCall,
)
from taskmark.errors import InvalidInputs

if TYPE_CHECKING:
    from datetime import datetime

    from temporalio.client import Client
    from temporalio.converter import PayloadCodec

STEPS = (TOOL_ACTIVITY, AGENT_ACTIVITY, AGGREGATE_ACTIVITY, KIND_ACTIVITY)
_READ: dict[str, type[BaseModel]] = {
    PHASE_WORKFLOW: PhaseStart,
    TASK_WORKFLOW: StartTask,
    RECORD_ACTIVITY: FinalRecord,
}
NOTE = "replaying_note"
SHOWN = 300
"""Characters of a reason that people are shown."""
_ENDS = (
    "workflow_execution_completed_event_attributes",
    "workflow_execution_failed_event_attributes",
    "workflow_execution_canceled_event_attributes",
    "workflow_execution_terminated_event_attributes",
    "workflow_execution_timed_out_event_attributes",
    "workflow_execution_continued_as_new_event_attributes",
)
_MESSAGE = re.compile(r'message: "(?P<message>\[TMPRL[^"]*)"')
Given = tuple[str, str, Any]
"""Who was called under which id, and with what."""


class ReplayedExecution(BaseModel):
    """What replaying the workflows of an execution told: its own, its phases' and its sub-tasks'."""

    execution_id: str
    open: bool = False
    """Whether one of them still runs, and so depends on the code."""
    affected: bool = False
    """Whether one of them does not replay: of an open execution, one that still runs."""
    workflow_id: str = ""
    """The first that does not."""
    reason: str = ""
    histories: int = 0


async def replayed(histories: AsyncIterable[WorkflowHistory]) -> dict[str, ReplayedExecution]:
    """Returns what each execution's histories told, by its id, with the code at hand."""
    found: dict[str, ReplayedExecution] = {}
    async for history, problem in replay_each(histories):
        execution, is_open = _execution_of(history), not is_ended(history)
        told = found.setdefault(execution, ReplayedExecution(execution_id=execution))
        told.histories += 1
        told.open = told.open or is_open
        if problem and (not told.affected or is_open):
            told.affected, told.workflow_id = True, history.workflow_id
            told.reason = " ".join(problem.split())[:SHOWN]
    return found


def _execution_of(history: WorkflowHistory) -> str:
    """Returns the id of the execution that a workflow is, or belongs to as a phase or sub-task.

    Whoever starts one with Temporal's means may give it an id with `/`.
    """
    started = history.events[0].workflow_execution_started_event_attributes
    root = started.root_workflow_execution.workflow_id
    if not started.parent_workflow_execution.workflow_id:
        return history.workflow_id
    is_below = bool(root) and history.workflow_id.startswith(f"{root}/")
    return root if is_below else history.workflow_id.partition("/")[0]


def is_ended(history: WorkflowHistory) -> bool:
    """Whether the run has ended, so that no worker will ever replay it to go on with it."""
    return history.events[-1].WhichOneof("attributes") in _ENDS


async def replay_each(
    histories: AsyncIterable[WorkflowHistory],
) -> AsyncIterator[tuple[WorkflowHistory, str | None]]:
    """Yields each history, with why it does not replay, if it does not. One at a time is in memory."""
    from starter.sandbox import workflow_runner
    from workflows.phase import PhaseWorkflow
    from workflows.task import TaskWorkflow

    notes = Notes()
    replayer = Replayer(
        workflows=[TaskWorkflow, PhaseWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=data_converter,
        interceptors=[notes],
        debug_mode=True,  # slow machines are not taken for deadlocks
    )

    async def each() -> AsyncIterator[WorkflowHistory]:
        async for history in histories:
            yield history

    async with replayer.workflow_replay_iterator(each()) as results:
        async for result in results:
            history, error = result.history, result.replay_failure
            given = notes.given.pop(history.run_id, [])
            yield history, _said(error) if error else _difference(history, given)


def _said(error: Exception) -> str:
    """Returns what went wrong, without the core's wrapping of it."""
    within = _MESSAGE.search(str(error))
    return f"{type(error).__name__}: {within['message'] if within else error}"


# --- where histories come from --------------------------------------------------------------------


async def of_executions(client: Client, executions: Sequence[str]) -> AsyncIterator[WorkflowHistory]:
    """Yields the histories of executions, their phases and sub-tasks; of one that runs, what still runs."""
    for execution in executions:
        query = f"WorkflowId = {quoted(execution)} OR WorkflowId STARTS_WITH {quoted(execution + '/')}"
        found = [one async for one in client.list_workflows(query)]
        below = [one for one in found if f"{one.id}/".startswith(f"{execution}/")]  # SQL has wildcards
        running = [one for one in below if one.close_time is None]
        for one in running if any(one.id == execution for one in running) else below:
            try:
                yield await fetched(client, one.id, one.run_id)
            except RPCError:
                continue  # Temporal has forgotten it meanwhile


async def executions_in(client: Client, *, since: datetime | None, limit: int | None = None) -> list[str]:
    """Returns the executions that run, and after them those that ended since then: all, or so many."""
    kind = f"WorkflowType = '{TASK_WORKFLOW}' AND ExecutionStatus"
    queries = [f"{kind} = 'Running'"]
    queries += [f"{kind} != 'Running' AND CloseTime >= '{since.isoformat()}'"] if since else []
    found: dict[str, None] = {}
    for query in queries:
        async for one in client.list_workflows(query):
            if limit is not None and len(found) >= limit:
                break
            if one.parent_id is None:  # else it is a sub-task
                found[one.id] = None
    return list(found)


async def in_folder(folder: Path, codec: PayloadCodec | None) -> AsyncIterator[WorkflowHistory]:
    """Yields the histories in the JSON files of a folder, as `temporal workflow show -o json` writes them.

    Raises `InvalidInputs` for a file that holds none, and for a folder without any; `UnreadableText` for one
    that is encrypted with a key that the codec does not know.
    """
    files = await asyncio.to_thread(lambda: sorted(folder.glob("*.json")))
    if not files:
        raise InvalidInputs(
            [f"{folder} has no .json file"],
            hint="write one with `temporal workflow show --workflow-id EXEC -o json > EXEC.json`",
        )
    for file in files:
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            history = WorkflowHistory.from_json(file.stem, told)
            started = history.events[0].workflow_execution_started_event_attributes
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InvalidInputs([f"{file} holds no history: {error}"]) from error
        await reveal(history.events, codec)
        yield WorkflowHistory(started.workflow_id or file.stem, history.events)


# --- what is given, then and now ------------------------------------------------------------------


class Notes(Interceptor):
    """Notes what replayed workflows give to activities and children."""

    def __init__(self) -> None:
        self.given: dict[str, list[Given]] = {}

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_Inbound]:
        """Lends the workflow what notes."""
        input.unsafe_extern_functions[NOTE] = lambda run, given: self.given.setdefault(run, []).append(given)
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> Any:
        _note(input.activity, input.activity_id or "", input.args)
        return super().start_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        _note(input.workflow, input.id, input.args)
        return await super().start_child_workflow(input)


def _note(name: str, key: str, args: Sequence[Any]) -> None:
    run, given = workflow.info().run_id, args[0]
    sent = json.loads(given.payload.data) if isinstance(given, RawValue) else to_jsonable_python(given)
    workflow.extern_functions()[NOTE](run, (name, key, _whole(name, sent)))


def _whole(name: str, sent: Any) -> Any:
    """Returns a message as who gets it reads it: with the defaults that do not travel."""
    if name.startswith(STEPS):
        return StepCall.model_validate(sent).model_dump(mode="json")
    if name in _READ:
        return _READ[name].model_validate(sent).model_dump(mode="json")
    return sent


def _recorded(history: WorkflowHistory) -> Iterator[Given]:
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            activity = event.activity_task_scheduled_event_attributes
            given = json.loads(activity.input.payloads[0].data)
            if activity.activity_type.name == RECORD_ACTIVITY:
                given.pop("definition_sha256", None)  # of the file's text once, of the whole definition now
            yield activity.activity_type.name, activity.activity_id, given
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            child = event.start_child_workflow_execution_initiated_event_attributes
            yield child.workflow_type.name, child.workflow_id, json.loads(child.input.payloads[0].data)


def _difference(history: WorkflowHistory, given: Sequence[Given]) -> str | None:
    """Returns who is given something else than then, if anybody is. New fields are nothing else."""
    recorded = list(_recorded(history))
    for (name, key, then), now in zip_longest(recorded, given[: len(recorded)]):
        if now is None:
            return f"PayloadError: {name} {key} was called, and now is not"
        if (place := _differs(now[2], then)) is not None:
            return f"PayloadError: {name} {key} was given another {place or 'input'} than now"
    return None


def _differs(now: Any, then: Any, place: str = "") -> str | None:
    """Returns where what was given then differs from now, or None. What is new now is no difference."""
    if isinstance(now, dict) and isinstance(then, dict):
        pairs = [(key, now.get(key, _MISSING), value) for key, value in then.items()]
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = [(str(number), *both) for number, both in enumerate(zip(now, then, strict=True))]
    else:
        return None if now == then else place
    inner = (_differs(new, old, f"{place}.{key}".lstrip(".")) for key, new, old in pairs)
    return next((found for found in inner if found is not None), None)


_MISSING = object()
