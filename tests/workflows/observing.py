"""What the store, Temporal and the operating system say about an execution, as tests ask for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

import psutil
from engine import PATIENCE, Engine
from temporalio.service import RPCError, RPCStatusCode

from taskmark.records import AttemptRecord, EventRecord

Found = TypeVar("Found")


def unique(word: str = "n") -> str:
    """Returns a name that no other test uses."""
    return f"{word}{uuid4().hex[:8]}"


async def until(look: Callable[[], Awaitable[Found]], test: Callable[[Found], Any]) -> Found:
    """Returns the first finding for which the test holds; fails after a while without one."""
    end = time.monotonic() + PATIENCE
    while True:
        found = await look()
        if test(found):
            return found
        assert time.monotonic() < end, f"it never came: {found}"
        await asyncio.sleep(0.05)


async def stored_events(engine: Engine, execution: str, kind: str, count: int = 1) -> list[EventRecord]:
    """Returns the stored events of a kind once there are so many."""

    async def look() -> list[EventRecord]:
        events = await asyncio.to_thread(engine.client.wiring.history.events, execution)
        return [event for event in events if event.kind == kind]

    return await until(look, lambda found: len(found) >= count)


async def stored_attempts(
    engine: Engine, execution: str, step: str, test: Callable[[list[AttemptRecord]], Any]
) -> list[AttemptRecord]:
    """Returns the stored attempts of a step once the test holds for them."""

    async def look() -> list[AttemptRecord]:
        return list(await asyncio.to_thread(engine.client.wiring.history.attempts, execution, step))

    return await until(look, test)


async def temporal_status(engine: Engine, workflow: str) -> str:
    """Returns what Temporal says a workflow's status is: `COMPLETED`, `CANCELED`, …; `NONE` without one."""
    try:
        described = await engine.client.client.get_workflow_handle(workflow).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return "NONE"
    assert described.status is not None
    return described.status.name


async def until_temporal(engine: Engine, workflow: str, status: str) -> None:
    """Returns once Temporal says so."""
    await until(lambda: temporal_status(engine, workflow), lambda found: found == status)


async def timeline(engine: Engine, execution: str) -> str:
    """Returns what happened when, one line per event, to read when a test has failed."""
    lines, first = [], None
    for event in await engine.events(execution):
        at = event.event_time.ToDatetime()
        first = first or at
        name = str(event.WhichOneof("attributes")).removesuffix("_event_attributes")
        lines.append(f"{(at - first).total_seconds():8.3f} {event.event_id:4} {name}")
    return "\n".join(lines)


async def scheduled_once(engine: Engine, execution: str) -> list[str]:
    """Returns the names of the calls that the engine scheduled; fails if it scheduled one twice.

    What counts is the engine's decision: on a busy machine the server may repeat a call that it holds lost.
    """
    names = []
    for phase in (await engine.client.progress(execution)).phases:
        for event in await engine.events(execution, phase=phase.slug):
            payloads = event.activity_task_scheduled_event_attributes.input.payloads
            names += [json.loads(payloads[0].data)["arguments"]["name"]] if payloads else []
    assert len(names) == len(set(names)), sorted(names)
    return names


def starts_between(engine: Engine, execution: str, begin: float, end: float) -> list[str]:
    """Returns the names of the calls that started between two times of `time.time()`."""
    return [t["name"] for t in engine.traces(execution) if t["what"] == "start" and begin < t["at"] < end]


def processes(marker: str) -> list[psutil.Process]:
    """Returns the living processes that have a word in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if any(marker in part for part in command) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


async def until_processes(marker: str, count: int, patience: float = PATIENCE) -> None:
    """Returns once so many processes have a word in their command line; fails after `patience` seconds."""
    end = time.monotonic() + patience
    while len(processes(marker)) != count:
        assert time.monotonic() < end, f"{len(processes(marker))} processes instead of {count}"
        await asyncio.sleep(0.05)


async def until_parent(engine: Engine, execution: str, *statuses: str) -> str:
    """Returns the status once the execution itself says that it is one of these."""
    handle = engine.client.client.get_workflow_handle(execution)
    told = await until(lambda: handle.query("progress"), lambda told: told["status"] in statuses)
    return str(told["status"])


async def memo_of(engine: Engine, execution: str) -> tuple[dict[str, Any], int]:
    """Returns what the memo says, and its bytes."""
    described = await engine.client.client.get_workflow_handle(execution).describe()
    fields = described.raw_description.workflow_execution_info.memo.fields
    size = sum(len(name) + len(payload.data) for name, payload in fields.items())
    return (await described.memo()).get("taskmark", {}), size


async def pause(engine: Engine, execution: str, *phases: str, **why: str) -> None:
    """Pauses, and returns once these phases have heard of it."""
    await engine.client.pause(execution, **why)
    for phase in phases:
        handle = engine.client.client.get_workflow_handle(f"{execution}/{phase}")
        await until(lambda handle=handle: handle.query("state"), lambda told: told["epoch"] % 2)
