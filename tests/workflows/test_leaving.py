"""What a worker leaves behind: workflows that leave its cache leave it whole, in whatever state they are.

A workflow whose tasks do not end with one cancellation keeps its place in the cache for ever and hangs
the worker's shutdown; one that begins anything new while it leaves says so in the log.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from datetime import timedelta
from typing import Any

import pytest
from engine import Engine
from observing import unique, until_temporal

from starter.wiring import Wiring
from starter.working import working
from taskmark.contracts import TASK_WORKFLOW, ExecutionStatus, StartTask

STATES = {
    "running": ("- tool: hold\n  with: {name: NAME}", "running"),
    "waiting": ("- approval: go - Go?\n  timeout: 1 hour", "waiting"),
    "waits": ("- wait: 1 hour", "running"),
    "backoff": ("- tool: flaky\n  retry: {maxAttempts: 2, backoffMs: 60000}", "running"),
    "items": ("- tool: hold\n  forEach: [1, 2, 3]\n  with: {name: NAME}", "running"),
    "sub-task": ("- task: SUB", "waiting"),
}
HEADS = {"held": ("onFailure: pause\n### Steps\n- validation: 1 > 2 - No", "waiting")}


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects what Python says of coroutines that were dropped."""
    said: list[str] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda given: said.append(f"{given.err_msg} {given.exc_value}")
    )
    caplog.set_level(logging.WARNING)
    return said


@pytest.mark.semantics("C11", "C12")
async def test_executions_in_every_state_leave_the_cache_without_a_trace(
    engine: Engine, complaints: list[str], caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """They go on with the next worker, and nothing of them is left in the first."""
    queue, name, client = unique("queue-"), unique(), engine.client.client
    engine.file(f"tasks/sub-{name}.md", f"# Sub {name}\n\n## Phase: I\n### Steps\n- approval: go - Go?\n")
    settings = engine.client.wiring.settings.model_copy(
        update={"task_queue": queue, "state_dir": engine.root.parent / f"state-{queue}"}
    )
    texts = {state: (f"### Steps\n{steps}", status) for state, (steps, status) in STATES.items()} | HEADS

    async def start(state: str, text: str, paused: bool) -> str:
        source = (
            f"# {state}\n\n```yaml\nmaxExecutionTime: 1 hour\n```\n\n## Phase: A\ntimeout: 1 hour\n{text}\n"
        )
        source = source.replace("NAME", name).replace("SUB", f"sub-{name}")
        options: dict[str, Any] = {"start_signal": "pause"} if paused else {}
        handle = await client.start_workflow(
            TASK_WORKFLOW, StartTask(source=source), id=unique(f"{state}-"), task_queue=queue, **options
        )
        return handle.id

    async with working(client, Wiring(settings)):
        started = {}
        for state, (text, status) in texts.items():
            for paused in (False, True):
                execution = await start(state, text, paused)
                started[execution] = "paused" if paused else status
        for execution, status in started.items():
            await engine.until_status(execution, status)
        await asyncio.sleep(0.5)
    gc.collect()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [text for text in said if "evict" in text or "Task" in text], said
    assert not complaints
    assert not [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)]
    async with working(client, Wiring(settings)):
        for execution in started:
            handle = client.get_workflow_handle(execution)
            told = await handle.query("progress", rpc_timeout=timedelta(seconds=20))
            assert not ExecutionStatus(told["status"]).is_final
            await handle.cancel()
        for execution in started:
            await until_temporal(engine, execution, "CANCELED")
