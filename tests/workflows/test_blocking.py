"""A workflow that computes for long, as any does on a very busy machine, is not interrupted."""

from __future__ import annotations

import asyncio
import time

from engine import PATIENCE, Engine
from observing import unique
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from starter.blocking import BLOCKED_SECONDS, allow_blocking
from starter.wiring import Wiring


@workflow.defn(sandboxed=False)
class Computing:
    """Computes for longer than the two seconds that the SDK grants by itself."""

    @workflow.run
    async def run(self) -> str:
        end = time.monotonic() + 2.3
        while time.monotonic() < end:
            sum(range(10_000))
        return "done"


async def test_the_first_attempt_of_a_long_computation_is_its_last(engine: Engine) -> None:
    queue, client = unique(), engine.client.client
    worker = Worker(
        client, task_queue=queue, workflows=[Computing], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with asyncio.timeout(PATIENCE), allow_blocking(worker):
        handle = await client.start_workflow(Computing.run, id=queue, task_queue=queue)
        assert await handle.result() == "done"
        kinds = [event.event_type async for event in handle.fetch_history_events()]
    assert len(kinds) == 5, "started, a workflow task of three events, completed"


async def test_the_worker_of_the_product_is_patient(engine: Engine) -> None:
    settings = engine.client.wiring.settings.model_copy(update={"task_queue": unique()})
    worker = Wiring(settings).worker(engine.client.client)
    assert worker._workflow_worker is not None
    assert worker._workflow_worker._deadlock_timeout_seconds == BLOCKED_SECONDS
