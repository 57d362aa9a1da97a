"""What Temporal itself knows of an execution: its history events, as tests want to see them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from engine import UNCACHED, Engine
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from starter.embedded.binary import look
from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW

TASK_FAILURES = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)


async def start_raw(
    engine: Engine, *arguments: Any, workflow: str = TASK_WORKFLOW, id: str | None = None
) -> WorkflowHandle[Any, Any]:
    """Starts a workflow as a stranger would: by its name, with any JSON."""
    return await engine.client.client.start_workflow(
        workflow, args=list(arguments), id=id or f"raw-{uuid4().hex[:12]}", task_queue=TASK_QUEUE
    )


async def refusal(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Returns the failure of a workflow that must fail within seconds, without a failed workflow task."""
    with pytest.raises(WorkflowFailureError) as caught:
        async with asyncio.timeout(8):
            await handle.result()
    await no_task_failed(handle)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError), cause
    return cause


async def no_task_failed(handle: WorkflowHandle[Any, Any]) -> None:
    """Fails if a workflow task had to be repeated, except for a signal that came at the very end, for what a
    busy worker did not take within its second, and for what the SDK drops without a cache."""
    wrong = TASK_FAILURES[:1] if UNCACHED else TASK_FAILURES
    found = [event async for event in handle.fetch_history_events() if event.event_type in wrong]
    late = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    failed = [e for e in found if e.workflow_task_timed_out_event_attributes.timeout_type != late]
    crossed = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    assert all(event.workflow_task_failed_event_attributes.cause == crossed for event in failed), failed


async def activities(engine: Engine, execution: str, *, phase: str | None = None) -> list[str]:
    """Returns the types of the activities that were scheduled, in order."""
    events = await engine.events(execution, phase=phase)
    found = [e.activity_task_scheduled_event_attributes for e in events if _is(e, "ACTIVITY_TASK_SCHEDULED")]
    return [attributes.activity_type.name for attributes in found]


async def children(engine: Engine, execution: str, *, phase: str | None = None) -> list[str]:
    """Returns the ids of the child workflows that were started, in order."""
    events = await engine.events(execution, phase=phase)
    kind = "START_CHILD_WORKFLOW_EXECUTION_INITIATED"
    found = [e.start_child_workflow_execution_initiated_event_attributes for e in events if _is(e, kind)]
    return [attributes.workflow_id for attributes in found]


async def signals(engine: Engine, execution: str, name: str) -> list[tuple[datetime, dict[str, Any]]]:
    """Returns when a signal came, and its payload."""
    events = [e for e in await engine.events(execution) if _is(e, "WORKFLOW_EXECUTION_SIGNALED")]
    found = [(e.event_time.ToDatetime(), e.workflow_execution_signaled_event_attributes) for e in events]
    return [(at, json.loads(s.input.payloads[0].data)) for at, s in found if s.signal_name == name]


async def summaries(engine: Engine, execution: str, kind: str, *, phase: str | None = None) -> list[str]:
    """Returns the summaries that events of a kind show in the Web UI."""
    events = [e for e in await engine.events(execution, phase=phase) if _is(e, kind)]
    return [json.loads(e.user_metadata.summary.data or b'""') for e in events]


async def timers(engine: Engine, execution: str, *, phase: str | None = None) -> list[float]:
    """Returns the seconds of every timer that was started, in order."""
    events = [e for e in await engine.events(execution, phase=phase) if _is(e, "TIMER_STARTED")]
    return [e.timer_started_event_attributes.start_to_fire_timeout.ToMilliseconds() / 1000 for e in events]


async def cancelled_timers(engine: Engine, execution: str, *, phase: str | None = None) -> int:
    """Returns how many timers were cancelled."""
    return sum(_is(e, "TIMER_CANCELED") for e in await engine.events(execution, phase=phase))


def most_at_once(traces: Sequence[dict[str, Any]], names: Sequence[str]) -> int:
    """Returns how many of the named calls ran at the same time at most."""
    running = most = 0
    for trace in sorted(traces, key=lambda trace: trace["at"]):
        if trace["name"] in names:
            running += {"start": 1, "end": -1}.get(trace["what"], 0)
            most = max(most, running)
    return most


def _is(event: Any, kind: str) -> bool:
    return bool(event.event_type == EventType.Value(f"EVENT_TYPE_{kind}"))


async def temporal(engine: Engine, *arguments: str) -> Any:
    """Runs the real CLI against the real server and returns what it prints as JSON."""
    server = engine.client.server
    assert server is not None
    binary, _ = look(engine.client.wiring.settings)
    assert binary is not None
    command = [*arguments, "--address", server.address, "--output", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(engine.root)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(binary.path), *command, stdout=pipe, stderr=pipe, env=environment
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (arguments, err.decode())
    return json.loads(out) if out.strip() else None
