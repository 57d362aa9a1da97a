"""Replays recorded histories as a worker would, without a server.

Temporal compares the order of commands and what they are called, not what is in them. Here is also compared
what activities and children are given: that matters to an execution that goes on under a newer version.

As a program it can replay with another copy of the workflows, and prints what went wrong as JSON:

    python replaying.py PATTERN [FOLDER-THAT-HOLDS-WORKFLOWS]
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

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

STEPS = (TOOL_ACTIVITY, AGENT_ACTIVITY, AGGREGATE_ACTIVITY, KIND_ACTIVITY)
_READ: dict[str, type[BaseModel]] = {
    PHASE_WORKFLOW: PhaseStart,
    TASK_WORKFLOW: StartTask,
    RECORD_ACTIVITY: FinalRecord,
}
NOTE = "replaying_note"
Given = tuple[str, str, Any]
"""Who was called under which id, and with what."""


class Notes(Interceptor):
    """Notes what replayed workflows give to activities and children."""

    def __init__(self) -> None:
        self.given: dict[str, list[Given]] = {}

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_Inbound]:
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
        if now is None or not _holds(now[2], then):
            return f"PayloadError: {name} {key} was given {json.dumps(then)}, and now {json.dumps(now)}"
    return None


def _holds(now: Any, then: Any) -> bool:
    if isinstance(now, dict) and isinstance(then, dict):
        return all(key in now and _holds(now[key], value) for key, value in then.items())
    if isinstance(now, list) and isinstance(then, list):
        return len(now) == len(then) and all(map(_holds, now, then))
    return bool(now == then)


async def replay(histories: Sequence[WorkflowHistory]) -> dict[str, str]:
    """Returns why histories do not replay, by workflow id; nothing if all of them do."""
    from starter.sandbox import workflow_runner
    from workflows.phase import PhaseWorkflow
    from workflows.task import TaskWorkflow

    notes = Notes()
    replayer = Replayer(
        workflows=[TaskWorkflow, PhaseWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
        interceptors=[notes],
        debug_mode=True,  # slow machines are not taken for deadlocks
    )

    async def all_of_them() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    results = await replayer.replay_workflows(all_of_them(), raise_on_replay_failure=False)
    failures = {run: f"{type(error).__name__}: {error}" for run, error in results.replay_failures.items()}
    for history in histories:
        difference = _difference(history, notes.given.get(history.run_id, []))
        if difference is not None:
            failures.setdefault(history.run_id, difference)
    return {h.workflow_id: failures[h.run_id] for h in histories if h.run_id in failures}


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    from recorded import load

    print(json.dumps(asyncio.run(replay(load(sys.argv[1])))))
    gc.collect()  # a client runtime that outlives the loop may abort the process at its exit
